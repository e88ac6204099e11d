"""Somebody who takes webhooks: a real HTTP server, in a thread of the test."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sentinel_py import signature


class Receiver:
    """What was posted, and how to answer it: with ``status``, after ``release`` if it hangs."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/hook"
        self.status = 200
        self.hangs = False
        self.release = threading.Event()
        self.asked = 0  # with those that wait for their answer
        self.requests = []  # (headers, body), whatever the answer was
        self.taken = []  # bodies as JSON, those that were answered with 2xx

    @property
    def names(self):
        return [event["event"] for event in self.taken]

    @property
    def ids(self):
        return [event["id"] for event in self.taken]

    def answer(self, headers, body):
        self.asked += 1
        if self.hangs:
            self.release.wait()
        self.requests.append((headers, body))
        if 200 <= self.status < 300:
            self.taken.append(json.loads(body))
        return self.status

    def are_signed(self, secret):
        return all(
            signature.verify(secret, body, headers[signature.HEADER])
            for headers, body in self.requests
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.send_response(self.server.receiver.answer(self.headers, body))
            self.send_header("Content-Length", "0")
            if 300 <= self.server.receiver.status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
        except OSError:
            self.close_connection = True

    def log_message(self, *args):
        pass


@contextmanager
def receiving():
    """A receiver that listens until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        server.receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.receiver
        finally:
            server.receiver.release.set()
            server.shutdown()
            thread.join()
