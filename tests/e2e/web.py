"""HTTP of a sentinel as tests ask it."""

import http.client
import json
from contextlib import closing

from sentinel_py.local import HOST, wait_ready

TOKEN = "open-sesame"
USER = ("ann", "pass:word")
LOGINS = (f"sentinel http-token {TOKEN}", f"sentinel http-user {USER[0]} {USER[1]}")
WITHIN_S = 30


class Http:
    """A client of one sentinel's HTTP port."""

    def __init__(self, port, token=TOKEN):
        self.port = port
        self._login = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method, path, body=None, headers=None):
        """Status, headers, and what the body says."""
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=WITHIN_S)) as connection:
            data = json.dumps(body) if isinstance(body, dict | list) else body
            connection.request(method, path, data, {**self._login, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get("Content-Type", "").startswith("application/json")
            return answer.status, answer.headers, json.loads(text) if is_json and text else text

    def get(self, path):
        status, _, value = self("GET", path)
        assert status == 200, value
        return value

    def refusal(self, method, path, body=None, headers=None):
        """Status and error text of what must not work."""
        status, _, value = self(method, path, body, headers)
        assert value.keys() == {"error"}
        return status, value["error"]


def start(box, lines, **options):
    """A sentinel with HTTP, its client, and how to ask it."""
    port = box.port()
    sentinel = box.sentinel([*lines, f"sentinel http-port {port}"], **options)
    wait_ready([sentinel])
    return sentinel, Http(port)
