"""The RESP server: bytes of clients in, commands looked up, replies out.

What a command means for the watched masters is asked of the core; nothing here decides it.
"""
