"""Hostile input by coverage-guided fuzzing: `scripts/fuzz`, and a short run with the tests."""
