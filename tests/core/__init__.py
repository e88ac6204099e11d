"""The decision core through ``Sentinel.step`` alone: no IO, no waiting, nobody's clock."""
