"""Whole processes, as operators run them and clients see them. Only these tests open ports."""
