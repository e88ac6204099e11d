"""Whether the sentinel of this container answers: `healthcheck.py [port]`, by exit status."""

import socket
import sys

PATIENCE_S = 2
ANSWERS = (b"+PONG", b"-NOAUTH")

port = int(sys.argv[1]) if len(sys.argv) > 1 else 26379
try:
    with socket.create_connection(("localhost", port), PATIENCE_S) as probe:
        probe.sendall(b"PING\r\n")
        answer = probe.recv(64)
except OSError as error:
    sys.exit(f"no answer on port {port}: {error}")
if not answer.startswith(ANSWERS):
    sys.exit(f"port {port} answers {answer!r}")
