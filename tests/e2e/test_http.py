"""HTTP of a real sentinel: who may do what, REST, health, metrics, events, and bad requests."""

import base64
import http.client
import json
import re
import shutil
import socket
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from sentinel_py.local import HOST, Sandbox, eventually, sentinel_program, wait_ready

from .group import FAILOVER_WITHIN_MS, NAME, ask, master_row, settle, start_cluster, watch
from .web import LOGINS, TOKEN, USER, WITHIN_S, Http, start

MASTERS = "/api/v1/masters"
EXPORTER = "prometheus-redis-exporter"


@contextmanager
def events(client, query="", headers=()):
    """The stream of events, as a function that waits for the next one."""
    with closing(http.client.HTTPConnection(HOST, client.port, timeout=WITHIN_S)) as connection:
        login = {"Authorization": f"Bearer {TOKEN}"}
        connection.request("GET", f"/events{query}", headers={**login, **dict(headers)})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"

        def take():
            while not (line := answer.readline()).startswith(b"data: "):
                assert line, "the stream has ended"
            return json.loads(line[6:])

        yield take


@pytest.fixture(scope="module")
def watched():
    """A cluster, and one sentinel with HTTP on it that nothing here changes for good."""
    with Sandbox() as box:
        cluster = start_cluster(box)
        sentinel, client = start(box, [*watch(cluster, quorum=1), *LOGINS])
        settle([sentinel], cluster)
        yield cluster, sentinel, client


@pytest.fixture
def client(watched):
    return watched[2]


# Who may do what ---------------------------------------------------------------------------------


def basic(login):
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


@pytest.mark.parametrize("path", ["/", MASTERS, "/metrics", "/events", f"/primary/{NAME}", "/x"])
def test_nothing_is_read_without_a_login(client, path):
    """A wrong token is no better than none; a browser is asked for a name and a password."""
    stranger = Http(client.port, token=None)
    status, headers, value = stranger("GET", path)
    assert (status, value) == (401, {"error": "Wrong token, or wrong name or password"})
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert stranger.refusal("GET", path, headers={"Authorization": "Bearer wrong"})[0] == 401
    assert stranger.refusal("GET", path, headers=basic(f"{USER[0]}:wrong"))[0] == 401


@pytest.mark.parametrize("login", [":".join(USER), f"token:{TOKEN}"])
def test_a_name_and_a_password_do_as_well(client, login):
    """Basic authentication, also with the token as a password."""
    assert Http(client.port, token=None)("GET", MASTERS, headers=basic(login))[0] == 200


def test_nothing_is_written_without_a_login(client):
    """And nothing has happened then."""
    stranger = Http(client.port, token=None)
    assert stranger.refusal("DELETE", f"{MASTERS}/{NAME}")[0] == 401
    assert stranger.refusal("POST", f"{MASTERS}/{NAME}/failover", {})[0] == 401
    assert stranger.refusal("PUT", "/master?masters=127.0.0.1:1")[0] == 401
    assert client.get(f"{MASTERS}/{NAME}")["failover"] is None


def test_other_sites_cannot_write_through_a_browser(client):
    """It adds the login to what their pages send; where that comes from stands in the header."""
    path = f"{MASTERS}/nobody/failover"
    foreign = {"Origin": "https://evil.example"}
    assert client.refusal("POST", path, {}, foreign)[0] == 403
    assert client.refusal("POST", path, {}, {"Origin": "null"})[0] == 403
    assert client.refusal("POST", path, {}, {"Origin": "http://["})[0] == 403
    own = {"Origin": f"http://{HOST}:{client.port}"}
    assert client.refusal("POST", path, {}, own)[0] == 404


def test_without_logins_reading_is_free_and_writing_is_off(sandbox):
    """What everybody could do, nobody may."""
    _, anyone = start(sandbox, [])
    assert anyone.get(MASTERS) == {"masters": []}
    status, text = anyone.refusal("POST", MASTERS, {})
    assert status == 403
    assert "http-token" in text


# Bad requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{MASTERS}/nobody", None, 404),
        ("DELETE", f"{MASTERS}/nobody", None, 404),
        ("PATCH", f"{MASTERS}/nobody", {"quorum": 1}, 404),
        ("POST", f"{MASTERS}/nobody/failover", None, 404),
        ("GET", "/primary/nobody", None, 404),
        ("GET", "/replica/nobody", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", MASTERS, None, 405),
        ("PATCH", "/master", None, 405),
        ("POST", "/metrics", None, 405),
        ("POST", MASTERS, "{", 400),
        ("POST", MASTERS, "\xff", 400),
        ("POST", MASTERS, "[" * 60_000, 400),
        ("POST", MASTERS, [], 400),
        ("POST", MASTERS, {}, 400),
        ("POST", MASTERS, {"name": "", "host": HOST, "port": 1, "quorum": 1}, 400),
        ("POST", MASTERS, {"name": "a", "host": HOST, "port": 65536, "quorum": 1}, 400),
        ("POST", MASTERS, {"name": "a", "host": HOST, "port": 1, "quorum": 0}, 400),
        ("POST", MASTERS, {"name": "a", "host": HOST, "port": 1.5, "quorum": 1}, 400),
        ("POST", MASTERS, {"name": "a", "host": "no host", "port": 1, "quorum": 1}, 400),
        ("POST", MASTERS, {"name": "a", "host": HOST, "port": 1, "quorum": 1, "x": 1}, 400),
        ("POST", MASTERS, {"name": NAME, "host": HOST, "port": 1, "quorum": 1}, 409),
        ("PATCH", f"{MASTERS}/{NAME}", {}, 400),
        ("PATCH", f"{MASTERS}/{NAME}", {"quorum": "many"}, 400),
        ("PATCH", f"{MASTERS}/{NAME}", {"quorum": None}, 400),
        ("PATCH", f"{MASTERS}/{NAME}", {"nothing": 1}, 400),
        ("POST", f"{MASTERS}/{NAME}/failover", {"how": 1}, 400),
        ("POST", f"{MASTERS}/{NAME}/failover", {"coordinated": 1}, 400),
        ("POST", f"{MASTERS}/{NAME}/failover", {"coordinated": True, "stale": True}, 400),
        ("POST", "/master", None, 400),
        ("POST", "/master?masters=nowhere", None, 400),
        ("POST", "/master?masters=127.0.0.1:0", None, 400),
        ("GET", f"/replica/{NAME}", None, 400),
        ("GET", f"/replica/{NAME}?node=nowhere", None, 400),
        ("GET", "/events?since=-1", None, 400),
    ],
)
def test_what_is_wrong_has_a_status_and_a_reason(watched, method, path, body, status):
    """As JSON; and what is watched is as it was."""
    cluster, sentinel, client = watched
    got, text = client.refusal(method, path, body)
    assert (got, bool(text)) == (status, True)
    assert [row["name"] for row in client.get(MASTERS)["masters"]] == [NAME]
    assert master_row(sentinel)["port"] == str(cluster.master.port)


def test_a_body_that_is_too_long_is_not_read(client):
    """Neither one that says so, nor one that does not say how long it is."""
    assert client.refusal("POST", MASTERS, "x" * 65_537)[0] == 413
    with closing(http.client.HTTPConnection(HOST, client.port, timeout=WITHIN_S)) as connection:
        pieces = (b"x" * 16_384 for _ in range(5))
        login = {"Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", MASTERS, pieces, login, encode_chunked=True)
        assert connection.getresponse().status == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"*1\r\n$4\r\nPING\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(watched, request_bytes):
    """With one answer and the end of the connection, and without a line in the log."""
    _, sentinel, client = watched
    before = sentinel.log
    with socket.create_connection((HOST, client.port), WITHIN_S) as stranger:
        stranger.sendall(request_bytes)
        assert re.match(rb"HTTP/1\.[01] 4\d\d ", stranger.recv(65536))
    assert client.get(MASTERS)
    assert "Traceback" not in sentinel.log.removeprefix(before)


# Masters -----------------------------------------------------------------------------------------


def test_a_master_and_all_that_belongs_to_it(watched):
    """Numbers are numbers, and there is no secret."""
    cluster, sentinel, client = watched
    ask(sentinel, "SENTINEL", "SET", NAME, "auth-user", "somebody")
    found = client.get(f"{MASTERS}/{NAME}")
    assert client.get(MASTERS)["masters"][0].keys() == found.keys()
    assert (found["host"], found["port"]) == (HOST, cluster.master.port)
    assert (found["status"], found["role"], found["can_fail_over"]) == ("ok", "master", True)
    assert found["down_after_ms"] == 1000
    ports = sorted(replica["port"] for replica in found["replicas"])
    assert ports == sorted(server.port for server in cluster.replicas)
    assert [replica["link"] for replica in found["replicas"]] == ["up", "up"]
    assert all(isinstance(replica["lag"], int) for replica in found["replicas"])
    assert "somebody" not in json.dumps(found)
    ask(sentinel, "SENTINEL", "SET", NAME, "auth-user", "")


def test_the_life_of_a_master(watched):
    """It is watched, changed and forgotten, as with the commands, and the file has it."""
    _, sentinel, client = watched
    file = Path(sentinel.folder, "sentinel.conf")
    name = "new/one"
    body = {"name": name, "host": HOST, "port": 1, "quorum": 2, "options": {"parallel_syncs": 3}}
    status, headers, made = client("POST", MASTERS, body)
    assert (status, made["name"], made["quorum"], made["parallel_syncs"]) == (201, name, 2, 3)
    place = headers["Location"]
    assert client.get(place)["port"] == 1
    assert f'monitor "{name}"' in file.read_text() or f"monitor {name} " in file.read_text()
    changes = {"down-after-milliseconds": 5000, "quorum": "1", "rename-command": ["CONFIG", "C"]}
    status, _, changed = client("PATCH", place, changes)
    assert (status, changed["down_after_ms"], changed["quorum"]) == (200, 5000, 1)
    assert master_row(sentinel, name)["down-after-milliseconds"] == "5000"
    assert client.refusal("POST", f"{place}/failover")[0] == 409
    assert client("DELETE", place)[0] == 204
    assert name not in file.read_text()


def test_a_master_with_an_option_that_cannot_be_is_not_watched(client):
    """The request is carried out as a whole, or not at all."""
    body = {"name": "half", "host": HOST, "port": 1, "quorum": 1, "options": {"quorum": "x"}}
    status, text = client.refusal("POST", MASTERS, body)
    assert (status, text) == (400, "Invalid argument 'x' for SENTINEL SET 'quorum'")
    assert client.refusal("GET", f"{MASTERS}/half")[0] == 404


def test_the_list_of_addresses_as_redis_failover_has_it(sandbox):
    """GET shows it, POST adds to it, PUT replaces it, DELETE takes out of it; twice is no error."""
    sentinel, client = start(sandbox, LOGINS)
    assert client.get("/master") == ""
    assert client("POST", "/master?masters=127.0.0.1:1,127.0.0.1:2")[2] == "127.0.0.1:1,127.0.0.1:2"
    assert client("POST", "/master?masters=127.0.0.1:2")[2] == "127.0.0.1:1,127.0.0.1:2"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    given = "masters=127.0.0.1%3A2,named%3D[::1]:3&quorum=2"
    assert client("PUT", "/master", given, form)[2] == "127.0.0.1:2,::1:3"
    assert master_row(sentinel, "named")["quorum"] == "2"
    assert master_row(sentinel, "127.0.0.1-2")["quorum"] == "1"
    assert client("DELETE", "/master?masters=127.0.0.1:2,127.0.0.1:9")[2] == "::1:3"
    assert client.refusal("PUT", "/master?masters=named=127.0.0.1:4")[0] == 409
    assert client.get("/master") == "::1:3"


# Health ------------------------------------------------------------------------------------------


def test_the_primary_is_one_node(watched):
    """Whoever asks for another node hears 503; methods are those that load balancers use."""
    cluster, _, client = watched
    primary = f"/primary/{NAME}?node={cluster.master.address}"
    assert client.get(primary)["node"] == cluster.master.address
    assert client.get(f"/primary/{NAME}")["node"] == cluster.master.address
    assert client("HEAD", primary)[0] == client("OPTIONS", primary)[0] == 200
    for replica in cluster.replicas:
        assert client.refusal("GET", f"/primary/{NAME}?node={replica.address}")[0] == 503
    state = f"UP 2/3; address={HOST}; port={cluster.master.port}; name=be/a; node=lb"
    header = {"X-Haproxy-Server-State": state}
    assert client("OPTIONS", f"/primary/{NAME}", headers=header)[0] == 200
    other = {"X-Haproxy-Server-State": state.replace(f"port={cluster.master.port}", "port=1")}
    assert client("OPTIONS", f"/primary/{NAME}", headers=other)[0] == 503


def test_a_replica_is_fit_when_it_is_near_enough(watched):
    """Its link is up, and it lacks no more bytes than the question allows."""
    cluster, _, client = watched
    path = f"/replica/{NAME}?node={cluster.replicas[0].address}"
    for lag in ("", "&lag=1000000", "&lag=16kB", "&lag=1MB"):
        assert client.get(f"{path}{lag}")["status"] == "ok"
    assert client.refusal("GET", f"{path}&lag=far")[0] == 400
    assert client.refusal("GET", f"/replica/{NAME}?node={cluster.master.address}")[0] == 503
    assert client.refusal("GET", f"/replica/{NAME}?node=127.0.0.1:1")[0] == 503


# Metrics -----------------------------------------------------------------------------------------

SAMPLE = re.compile(r"^(\w+)(?:{(.*)})? (\S+)$", re.MULTILINE)


def samples(text, prefix):
    """Value by name and labels."""
    return {
        (name, tuple(sorted(re.findall(r'(\w+)="(.*?)"', labels)))): float(value)
        for name, labels, value in SAMPLE.findall(text)
        if name.startswith(prefix)
    }


@pytest.mark.skipif(not shutil.which(EXPORTER), reason=f"no {EXPORTER} on PATH")
def test_metrics_are_those_of_the_exporter(watched, sandbox):
    """Names, labels and values; a dashboard and alerts that were made for it go on."""
    _, sentinel, client = watched
    port = sandbox.port()
    words = [EXPORTER, "-web.listen-address", f"{HOST}:{port}"]
    words += ["-redis.addr", f"redis://{sentinel.address}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        theirs = eventually(lambda: Http(port, token=None).get("/metrics"))
    finally:
        process.kill()
        process.wait()
    wanted = samples(theirs, "redis_sentinel_")
    assert len(wanted) > 8
    found = samples(client.get("/metrics"), "redis_")
    assert {key: found.get(key) for key in wanted} == wanted
    assert found["redis_up", ()] == 1


def test_metrics_of_our_own(client):
    """Links, lag, the loop, and no Raft in classic mode."""
    found = samples(client.get("/metrics"), "sentinel_py_")
    assert found["sentinel_py_links", (("kind", "cmd"), ("state", "up"))] == 3
    assert found["sentinel_py_raft_enabled", ()] == 0
    assert found["sentinel_py_loop_lag_seconds_count", ()] > 0
    assert [name for name, _ in found].count("sentinel_py_replica_lag_bytes") == 2


# A failover --------------------------------------------------------------------------------------


def test_a_failover_as_it_is_seen_through_http(sandbox):
    """It is ordered, told by events to all who listen, and then part of health and metrics."""
    cluster = start_cluster(sandbox)
    sentinel, client = start(sandbox, [*watch(cluster, quorum=1), *LOGINS])
    settle([sentinel], cluster)
    with events(client) as take, events(client) as _nobody_reads:
        assert client("POST", f"{MASTERS}/{NAME}/failover", {"coordinated": True})[0] == 202
        heard = [take()]
        while heard[-1]["name"] != "+failover-end":
            heard.append(take())
    names = [event["name"] for event in heard]
    assert names[0] == "+new-epoch"
    assert "+switch-master" in names
    assert [event["id"] for event in heard] == sorted({event["id"] for event in heard})
    switch = next(event for event in heard if event["name"] == "+switch-master")
    new = cluster.at(int(switch["text"].split()[-1]))
    assert client.get(f"/primary/{NAME}?node={new.address}")["status"] == "ok"
    assert client.refusal("GET", f"/primary/{NAME}?node={cluster.master.address}")[0] == 503
    old = f"/replica/{NAME}?node={cluster.master.address}"
    eventually(lambda: client("GET", old)[0] == 200, FAILOVER_WITHIN_MS)

    (told,) = client.get("/api/v1/failovers")["failovers"]
    assert (told["outcome"], told["to"]) == ("switched", new.address)
    phases = [phase["name"] for phase in told["phases"]]
    assert phases == ["election", "choice", "promotion", "reconfiguration"]
    found = samples(client.get("/metrics"), "sentinel_py_")
    for phase in phases:
        assert found["sentinel_py_failover_phase_seconds_count", (("phase", phase),)] == 1
    assert found["sentinel_py_failovers_total", (("led", "yes"), ("outcome", "switched"))] == 1

    since = heard[2]["id"]
    with events(client, f"?since={since}") as take:
        assert take() == heard[3]
    with events(client, "?since=0", {"Last-Event-ID": str(since)}) as take:
        assert take() == heard[3]


def test_a_dead_primary_is_not_recommended(sandbox):
    """From the moment in which it is down; a sentinel alone with quorum 2 replaces nobody."""
    cluster = start_cluster(sandbox, replicas=1)
    sentinel, client = start(sandbox, [*watch(cluster, quorum=2), *LOGINS])
    settle([sentinel], cluster)
    assert client.get(f"/primary/{NAME}")["status"] == "ok"
    cluster.master.kill()
    eventually(lambda: client("GET", f"/primary/{NAME}")[0] == 503)
    replica = f"/replica/{NAME}?node={cluster.replicas[0].address}"
    eventually(lambda: client("GET", replica)[0] == 503, FAILOVER_WITHIN_MS)


def test_listeners_that_go_make_room(client):
    """There are 32 places."""
    streams = [events(client) for _ in range(32)]
    for stream in streams:
        stream.__enter__()
    try:
        assert client.refusal("GET", "/events")[0] == 503
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)

    def has_room():
        with events(client):
            return True

    eventually(lambda: client("GET", "/events?since=x")[0] == 400)
    eventually(as_condition(has_room))


def as_condition(check):
    def checked():
        try:
            return check()
        except AssertionError:
            return False

    return checked


# A load balancer ---------------------------------------------------------------------------------

HAPROXY = Path(__file__).parents[2] / "docs" / "proxies" / "haproxy-httpchk.cfg"


@contextmanager
def haproxy(folder, replaced):
    """HAProxy on the example of the documentation, with other addresses in it."""
    conf = folder / "haproxy.cfg"
    text = HAPROXY.read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, str(new))
    conf.write_text(text)
    words = [shutil.which("haproxy"), "-db", "-f", str(conf)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH")
def test_haproxy_is_led_by_health(sandbox, tmp_path):
    """One port leads to the primary, the other to the replica, also when they change places."""
    cluster = start_cluster(sandbox, replicas=1)
    sentinel, client = start(sandbox, [*watch(cluster, quorum=1), *LOGINS])
    settle([sentinel], cluster)
    ask(sentinel, "SENTINEL", "DEBUG", "info-period", "500")
    writes, reads = (SimpleNamespace(port=sandbox.port()) for _ in range(2))
    one, two = cluster.servers
    replaced = {
        "127.0.0.1:6380": f"{HOST}:{writes.port}",
        "127.0.0.1:6381": f"{HOST}:{reads.port}",
        "192.0.2.10:6379": one.address,
        "192.0.2.11:6379": two.address,
        "192.0.2.10": HOST,
        "192.0.2.11": HOST,
        "port 8080": f"port {client.port}",
        "change-me": TOKEN,
    }

    def lead_to(primary, replica):
        found = [ask(each, "CONFIG", "GET", "port")[1] for each in (writes, reads)]
        return found == [str(primary.port), str(replica.port)]

    with haproxy(tmp_path, replaced):
        eventually(lambda: lead_to(one, two), FAILOVER_WITHIN_MS, "way to both")
        assert client("POST", f"{MASTERS}/{NAME}/failover", {"coordinated": True})[0] == 202
        eventually(lambda: lead_to(two, one), FAILOVER_WITHIN_MS, "way to both after the switch")
        eventually(lambda: ask(writes, "SET", "key", "value") in ("OK", True))


# The process -------------------------------------------------------------------------------------


def maps(sentinel):
    return Path(f"/proc/{sentinel.pid}/maps").read_text()


def test_nothing_of_it_is_loaded_without_a_port(sandbox, watched):
    """A sentinel that serves no HTTP pays nothing for it."""
    plain = sandbox.sentinel(["sentinel http-token x"], program=sentinel_program())
    wait_ready([plain])
    assert "aiohttp" in maps(watched[1])
    assert "aiohttp" not in maps(plain)


def test_without_the_packages_the_way_out_is_named(sandbox, tmp_path, monkeypatch):
    """One line, and no start."""
    error = "raise ModuleNotFoundError(\"No module named 'aiohttp'\", name='aiohttp')"
    (tmp_path / "aiohttp.py").write_text(error)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sentinel = sandbox.sentinel([f"sentinel http-port {sandbox.port()}"])
    assert sentinel.wait() == 1
    last = sentinel.log.splitlines()[-1]
    assert last.endswith(
        "sentinel http-port needs what is not installed (aiohttp): pip install 'sentinel-py[http]'"
    )
    assert "Traceback" not in sentinel.log


def test_a_port_that_is_taken_ends_the_start(sandbox):
    """With the address in one line."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        sentinel = sandbox.sentinel([f"sentinel http-port {port}"])
        assert sentinel.wait() == 1
    assert f"listening socket {HOST}:{port}: bind: Address already in use" in sentinel.log


@pytest.mark.parametrize(("lines", "is_exposed"), [((), False), (("*",), True)])
def test_it_listens_on_loopback_unless_told(sandbox, lines, is_exposed):
    """What listens for everybody without a login says so in the log."""
    bind = [f"sentinel http-bind {' '.join(lines)}"] if lines else []
    sentinel, client = start(sandbox, bind)
    assert client.get(MASTERS)
    with socket.socket() as elsewhere:
        elsewhere.settimeout(WITHIN_S)
        assert (elsewhere.connect_ex(("127.0.0.2", client.port)) == 0) is is_exposed
    assert ("whoever reaches it can read it" in sentinel.log) is is_exposed


def test_it_ends_with_its_sentinel(sandbox):
    """At once, whoever listens; there is nothing odd in the log."""
    sentinel, client = start(sandbox, LOGINS)
    with events(client):
        assert sentinel.terminate() == 0
    assert "bye bye" in sentinel.log.splitlines()[-1]
    assert "Traceback" not in sentinel.log
    with pytest.raises(ConnectionRefusedError):
        client.get(MASTERS)
