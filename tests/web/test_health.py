"""When a node is recommended to clients, by what a sentinel knows of it."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sentinel_py.config import config, directives
from sentinel_py.core.model import Dataset, LinkState, Raft, State
from sentinel_py.web.access import Access
from sentinel_py.web.answers import Gatekeeper
from sentinel_py.web.guesses import Guesses
from sentinel_py.web.health import Health

NOW = 100_000
FILE = """\
sentinel monitor m 10.0.0.1 6379 1
sentinel known-replica m 10.0.0.2 6379
sentinel minority-reads no
"""
PRIMARY = "/primary/m?node=10.0.0.1:6379"
REPLICA = "/replica/m?node=10.0.0.2:6379"


class Knowing:
    """A node that knows one master with one replica, both well."""

    def __init__(self, tmp_path):
        path = tmp_path / "sentinel.conf"
        path.write_text(f"dir {tmp_path}\n{FILE}")
        self.state = State(myid="0" * 40)
        loaded = config.load(str(path))
        directives.apply(loaded.statements, self.state, now=NOW, resolve=lambda name: None)
        self.master = self.state.masters["m"]
        (self.replica,) = self.master.replicas.values()
        for node in (self.master, self.replica):
            node.command.state = LinkState.UP
            node.info_at = NOW
        self.replica.master_link_up = True
        self.master.dataset = Dataset(offset=100_000)
        self.replica.offset = 100_000

    def settled(self):
        return self.state

    def now(self):
        return NOW


@pytest.fixture
def known(tmp_path):
    return Knowing(tmp_path)


@pytest.fixture
async def status(known):
    """The status of a page."""
    keeper = Gatekeeper(Access("", {}), Guesses(), lambda status: None)
    app = web.Application(middlewares=[keeper.middleware])
    app.add_routes(Health(known).routes())
    async with TestClient(TestServer(app)) as client:

        async def ask(path):
            async with client.get(path) as answer:
                assert ("error" in await answer.json()) is (answer.status != 200)
                return answer.status

        yield ask


async def test_what_is_well_is_recommended(status):
    """With any limit of the lag."""
    assert await status(PRIMARY) == 200
    assert await status(REPLICA) == await status(f"{REPLICA}&lag=0") == 200


@pytest.mark.parametrize(
    ("lag", "limit", "expected"),
    [
        (1024, "1024", 200),
        (1024, "1023", 503),
        (1024, "1kB", 200),
        (1025, "1KB", 503),
        (99_999, "1 mb", 200),
        (99_999, "1TB", 200),
        (99_999, "99998b", 503),
    ],
)
async def test_a_replica_that_lags_is_not(known, status, lag, limit, expected):
    """Bytes, or units of 1024."""
    known.replica.offset -= lag
    assert await status(f"{REPLICA}&lag={limit}") == expected
    assert await status(REPLICA) == 200


async def test_a_lag_that_nobody_knows_is_too_much(known, status):
    """Nothing has been heard of the replica yet, or of its master."""
    known.replica.info_at = None
    assert await status(f"{REPLICA}&lag=1TB") == 503
    known.replica.info_at, known.master.dataset = NOW, None
    assert await status(f"{REPLICA}&lag=1TB") == 503


async def test_a_node_that_does_not_answer_is_not(known, status):
    """It is down, or there is no connection to it."""
    for node, page in ((known.master, PRIMARY), (known.replica, REPLICA)):
        node.is_down = True
        assert await status(page) == 503
        node.is_down = False
        node.command.state = LinkState.DOWN
        assert await status(page) == 503


async def test_a_replica_without_its_link_is_not(known, status):
    """Its data grow old."""
    known.replica.master_link_up = False
    assert await status(REPLICA) == 503
    assert await status(PRIMARY) == 200


async def test_a_minority_recommends_nobody(known, status):
    """With minority-reads no, as it gives clients no address then."""
    known.state.raft = Raft("boot", has_majority=False, lost_at=0)
    assert await status(PRIMARY) == await status(REPLICA) == 503
    known.state.settings.minority_reads = True
    assert await status(PRIMARY) == await status(REPLICA) == 200
