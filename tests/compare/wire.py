"""A client that shows replies as they are on the wire: one line per element, types included.

A client library would hide what is to be compared: whether a reply is a status or a bulk string, a
null bulk or a null array, a map or a flat list.
"""

import socket

from sentinel_py.local import HOST

REPLY_WITHIN_S = 3
CLOSED = ["(closed)"]
SILENT = ["(no reply)"]
INDENT = "  "


class Connection:
    """One connection to a sentinel."""

    def __init__(self, port):
        self._socket = socket.create_connection((HOST, port), REPLY_WITHIN_S)
        self._file = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._file.close()
        self._socket.close()

    def ask(self, request, replies=1, unordered_levels=0):
        """Send and return the lines of that many replies."""
        try:
            self._socket.sendall(request)
            return [line for _ in range(replies) for line in self._reply(unordered_levels)]
        except TimeoutError:
            return SILENT
        except (ConnectionError, EOFError):
            return CLOSED

    def rest(self):
        """The lines of all replies until the server closes, once it has heard our last word."""
        lines = []
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while True:
                lines += self._reply()
        except TimeoutError:
            return [*lines, "(left open)"]
        except (OSError, EOFError):
            return lines

    def _reply(self, unordered_levels=0):
        line = self._file.readline()
        if not line:
            raise EOFError
        kind, text = chr(line[0]), line[1:-2].decode(errors="backslashreplace")
        if kind in "*~>" and text != "-1":
            items = [self._reply(unordered_levels - 1) for _ in range(int(text))]
        elif kind == "%":
            items = [self._reply() + self._reply(unordered_levels - 1) for _ in range(int(text))]
        elif kind in "$=" and text != "-1":
            return _bulk(kind, self._file.read(int(text) + 2)[:-2])
        else:
            return [kind + text]
        # What stands in a table is all of one type; a reply of several has an order.
        if unordered_levels > 0 and len({item[0][0] for item in items}) == 1:
            items.sort()
        return [kind + text, *(INDENT + line for item in items for line in item)]


def _bulk(kind, value):
    head, *more = value.decode(errors="backslashreplace").split("\n")
    return [kind + head, *(INDENT + line for line in more)]
