"""Benchmarks: numbers that the README quotes, from one run on one machine."""
