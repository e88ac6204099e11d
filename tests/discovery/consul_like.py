"""The part of a Consul agent's HTTP API that keeps services with a check that runs out."""

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from sentinel_py.local import HOST

REGISTER = "/v1/agent/service/register?replace-existing-checks=true"
UPDATE = "/v1/agent/check/update/"
DEREGISTER = "/v1/agent/service/deregister/"


class ConsulLike:
    """Services by their id; `requests` is all that came, as (path, body, token)."""

    def __init__(self):
        self.services, self.requests = {}, []
        self.status = 200
        self.hangs = False
        self._go_on = Event()

    def passing(self):
        """Addresses of the services whose check passes now."""
        return [
            f"{one['Address']}:{one['Port']}"
            for one in self.services.values()
            if one["status"] == "passing" and time.monotonic() < one["ends_at"]
        ]

    def statuses(self):
        """What the check was told to be, one after the other, without repetitions."""
        told = [
            body.get("Status") or body["Check"]["Status"] for _, body, _ in self.requests if body
        ]
        return [one for one, before in zip(told, [None, *told], strict=False) if one != before]

    def put(self, path, body):
        """Returns the status of the answer."""
        if self.hangs:
            self._go_on.wait()
        if self.status != 200:
            return self.status
        if path == REGISTER:
            self.services[body["ID"]] = body
            self._renew(body, body["Check"]["Status"])
        elif path.startswith(UPDATE):
            checks = {one["Check"]["CheckID"]: one for one in self.services.values()}
            if path.removeprefix(UPDATE) not in checks:
                return 404
            self._renew(checks[path.removeprefix(UPDATE)], body["Status"])
        elif not self.services.pop(path.removeprefix(DEREGISTER), None):
            return 404
        return 200

    def _renew(self, service, status):
        seconds = int(service["Check"]["TTL"].removesuffix("s"))
        service.update(status=status, ends_at=time.monotonic() + seconds)

    @contextmanager
    def serving(self):
        """Serve on a port of its own."""
        server = ThreadingHTTPServer((HOST, 0), self._handler())
        self.url = f"http://{HOST}:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._go_on.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self):
        consul = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(text) if text else {}
                consul.requests.append((self.path, body, self.headers.get("X-Consul-Token")))
                status = consul.put(self.path, body)
                said = b"" if status == 200 else b"Unknown check ID\n"
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        return Handler
