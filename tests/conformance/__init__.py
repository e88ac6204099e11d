"""The Sentinel test suite of Redis, run against this sentinel by `scripts/conformance`."""
