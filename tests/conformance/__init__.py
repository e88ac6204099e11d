"""Redis's own test suite of its Sentinel, run against this one; `scripts/conformance` is the command."""
