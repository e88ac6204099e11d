"""Whole clusters of sentinels in virtual time, driven by one seed. See `run`."""
