"""HTTP of a sentinel in this process: over TLS, against guesses, and its history."""

import json
import shutil
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
from e2e.certificates import make_pair

from sentinel_py import Sentinel, SentinelError
from sentinel_py.local import HOST, Sandbox, eventually_async
from sentinel_py.web import history
from sentinel_py.web.guesses import MAX_WRONG, WINDOW_S

ANOTHER_HOST = "127.0.0.2"
TOKEN = "open-sesame"
# Nobody is there: what happens is that the sentinel begins to watch them.
MASTERS = [f"sentinel monitor m{number} {HOST} 1 1" for number in range(3)]
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")


@asynccontextmanager
async def running(folder, *lines):
    """A sentinel with HTTP until the block ends; the port of that."""
    path = folder / "sentinel.conf"
    with Sandbox() as box:
        port, http = box.port(), box.port()
    head = [f"port {port}", f"dir {folder}", f"bind {HOST}", f"sentinel http-port {http}"]
    path.write_text("\n".join([*head, *lines, ""]))
    async with Sentinel(str(path)):
        yield http


@asynccontextmanager
async def client(port, scheme="http", token="", **connector):
    """Asks for a path; status, headers, and JSON or text."""
    login = {"Authorization": f"Bearer {token}"} if token else {}
    base = f"{scheme}://{HOST}:{port}"
    async with aiohttp.ClientSession(
        base, headers=login, connector=aiohttp.TCPConnector(**connector)
    ) as session:

        async def ask(path, **options):
            async with session.get(path, **options) as answer:
                text = await answer.text()
                is_json = answer.content_type == "application/json"
                return answer.status, answer.headers, json.loads(text) if is_json else text

        ask.session = session
        yield ask


# TLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("certificates"), "here")


def encrypted(pair):
    """The lines of HTTPS; over the RESP port nobody could come in without a certificate."""
    files = [f"{name} {value}" for name, value in pair.directives().items()]
    return [*files, "sentinel http-tls yes", f"sentinel http-token {TOKEN}"]


def trusting(pair):
    context = ssl.create_default_context(cafile=pair.authority)
    context.check_hostname = False
    return context


@needs_openssl
async def test_all_pages_are_served_over_tls(tmp_path, pair):
    """With the certificate of tls-cert-file; the client shows none, but logs in as ever."""
    async with running(tmp_path, *MASTERS, *encrypted(pair)) as port:
        async with client(port, "https", TOKEN, ssl=trusting(pair)) as ask:
            for path in ("/", "/metrics", "/history", "/api/v1/status"):
                assert (await ask(path))[0] == 200
            assert (await ask("/primary/m0"))[0] == 503
            async with ask.session.get("/events?since=0") as stream:
                assert await stream.content.readline() == b"retry: 1000\n"
        async with client(port, "https", ssl=trusting(pair)) as ask:
            assert (await ask("/"))[0] == 401


@needs_openssl
async def test_over_tls_there_is_no_plain_word(tmp_path, pair):
    """Nor is anything said to a client that does not trust the certificate."""
    async with running(tmp_path, *encrypted(pair)) as port:
        async with client(port, token=TOKEN) as ask:
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask("/")
        async with client(port, "https", TOKEN) as ask:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask("/")


@needs_openssl
@pytest.mark.parametrize(
    ("left_out", "text"),
    [
        ("tls-cert-file", "No tls-cert-file configured!"),
        ("tls-key-file", "No tls-key-file configured!"),
    ],
)
async def test_without_a_certificate_it_does_not_start(tmp_path, pair, left_out, text):
    """It says what is missing, as for tls-port."""
    lines = [line for line in encrypted(pair) if not line.startswith(f"{left_out} ")]
    with pytest.raises(SentinelError, match=f"^{text}$"):
        async with running(tmp_path, *lines):
            pass


# Guesses -----------------------------------------------------------------------------------------


async def test_who_guesses_is_slowed_down(tmp_path):
    """A wrong token is one too many then, and a right one still opens; it is counted."""
    async with running(tmp_path, f"sentinel http-token {TOKEN}") as port:
        async with client(port) as ask:
            for number in range(MAX_WRONG):
                wrong = {"Authorization": f"Bearer {number}"}
                assert (await ask("/metrics", headers=wrong))[0] == 401
            status, headers, value = await ask("/metrics", headers=wrong)
            assert (status, value) == (429, {"error": "Too many wrong logins"})
            assert 0 < int(headers["Retry-After"]) <= WINDOW_S
            right = {"Authorization": f"Bearer {TOKEN}"}
            assert (await ask("/metrics", headers=right))[0] == 200
            assert (await ask("/metrics"))[0] == 401, "to ask for a login is no guess"
        async with client(port, token=TOKEN, local_addr=(ANOTHER_HOST, 0)) as ask:
            status, _, text = await ask("/metrics")
            assert status == 200
            failed = "sentinel_py_http_failed_logins_total"
            assert f'{failed}{{status="401"}} {MAX_WRONG:.1f}' in text
            assert f'{failed}{{status="429"}} 1.0' in text


async def test_who_mistypes_and_logs_in_is_not(tmp_path):
    """A right login forgives what was wrong before."""
    async with running(tmp_path, f"sentinel http-token {TOKEN}") as port, client(port) as ask:
        for number in range(2 * MAX_WRONG):
            is_right = number % (MAX_WRONG - 1) == 0
            login = {"Authorization": f"Bearer {TOKEN if is_right else number}"}
            assert (await ask("/metrics", headers=login))[0] == (200 if is_right else 401)


async def test_without_logins_nobody_guesses(tmp_path):
    """What everybody may read is not kept from who sends a login that nobody asked for."""
    async with running(tmp_path) as port, client(port) as ask:
        for number in range(MAX_WRONG + 1):
            login = {"Authorization": f"Bearer {number}"}
            assert (await ask("/history", headers=login))[0] == 200


# History -----------------------------------------------------------------------------------------


async def written_down(ask):
    """What has happened at the start."""

    async def found():
        events = (await ask("/history"))[2]["events"]
        return events if len(events) == len(MASTERS) else None

    return await eventually_async(found)


async def test_the_history_is_asked_by_id(tmp_path, monkeypatch):
    """Which events there are, how many at once, and where to go on."""
    async with running(tmp_path, *MASTERS) as port, client(port) as ask:
        events = await written_down(ask)
        first, second, third = events
        assert [event["master"] for event in events] == ["m0", "m1", "m2"]
        assert first.keys() == {"id", "at", "name", "text", "master"}
        assert (first["name"], first["text"]) == ("+monitor", f"master m0 {HOST} 1 quorum 1")

        async def page(query):
            status, _, value = await ask(f"/history?{query}")
            assert (status, value["last_id"]) == (200, third["id"])
            return value["events"]

        assert await page(f"since={first['id']}") == [second, third]
        assert await page(f"since={first['id']}&count=1") == [second]
        assert await page("count=2") == [first, second]
        assert await page("count=0") == await page(f"since={third['id']}") == []
        monkeypatch.setattr(history, "MAX_COUNT", 1)
        assert await page("count=3") == await page("") == [first]


@pytest.mark.parametrize(
    "query", ["since=-1", "since=x", "count=1.5", "count=-1", "since=" + "9" * 20]
)
async def test_bad_numbers_are_refused(tmp_path, query):
    """With the name of what is wrong."""
    async with running(tmp_path) as port, client(port) as ask:
        status, _, value = await ask(f"/history?{query}")
        assert status == 400
        assert value == {"error": f"{query.partition('=')[0]} is not a number from 0 on"}


async def test_without_a_history_there_is_no_page(tmp_path):
    """It says how that is set."""
    async with running(tmp_path, "sentinel event-history 0") as port, client(port) as ask:
        status, _, value = await ask("/history")
        assert (status, "event-history" in value["error"]) == (404, True)


# What no file can hold ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "", {"name": "a\ud800", "host": HOST, "port": 1, "quorum": 1}),
        (
            "post",
            "",
            {"name": "x", "host": HOST, "port": 1, "quorum": 1, "options": {"a\udfff": 1}},
        ),
        ("patch", "/m0", {"auth-pass": "a\udc00\ud800"}),
        ("patch", "/m0", {"auth-pass": "a\nsentinel monitor x 127.0.0.1 1 1"}),
        ("post", "", {"name": "-x", "host": HOST, "port": 1, "quorum": 1}),
        ("post", "", {"name": "a\tb", "host": HOST, "port": 1, "quorum": 1}),
    ],
)
async def test_what_cannot_be_kept_is_refused(tmp_path, method, path, body):
    """JSON can say lone surrogates; with one in the state, no save would work again."""
    lines = [*MASTERS, f"sentinel http-token {TOKEN}"]
    async with running(tmp_path, *lines) as port, client(port, token=TOKEN) as ask:
        async with ask.session.request(method, f"/api/v1/masters{path}", json=body) as answer:
            assert answer.status == 400
            assert list(await answer.json()) == ["error"]
        _, _, seen = await ask("/api/v1/masters")
        assert [master["name"] for master in seen["masters"]] == ["m0", "m1", "m2"]
