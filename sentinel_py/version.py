"""The Redis version whose Sentinel surface this server follows.

Clients branch on it, so it is what INFO and HELLO report as `redis_version` and `version`. Our own
version is in the package itself and is reported beside it.
"""

REDIS_VERSION = "7.2.4"
