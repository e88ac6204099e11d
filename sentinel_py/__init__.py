"""A Redis Sentinel in Python: same port, commands, events and config file as redis-sentinel."""

__version__ = "0.1.0"
