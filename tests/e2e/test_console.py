"""The commands of the terminal, against real groups of our sentinels and of the original."""

import json
import os
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.terminal_theme import MONOKAI

from sentinel_py.console import picture
from sentinel_py.console.events import Event
from sentinel_py.console.screen import screen
from sentinel_py.console.wire import Connection, Place
from sentinel_py.local import HOST, eventually, wait_ready

from .certificates import make_pair
from .commands import KINDS, PROGRAMS, group, groups, needs_original, output, sentinel_py
from .group import NAME, ask, master_port, master_row, rows, settle, start_cluster, watch
from .terminal import COLUMNS, LINES, Terminal

__all__ = ["group", "groups"]  # fixtures
SCREENSHOT = Path(__file__).parents[2] / "docs" / "top.svg"

both = pytest.mark.parametrize("group", KINDS, indirect=True)


# Status -------------------------------------------------------------------------------------------


@both
def test_status(group):
    """Everybody is in the tree, the Raft cluster too where there is one."""
    printed = output("status", "-p", group.port)
    for server in (*group.cluster.servers, *group.sentinels):
        assert f"{HOST}:{server.port}" in printed
    assert f"{NAME} {HOST}:{group.master.port}  ok  quorum 2 of 3" in printed
    assert printed.count("replica ") == printed.count(" lag ") == 2
    assert ("raft " in printed) == group.is_ours


@both
def test_status_for_programs(group):
    """The same as JSON; no lag is known that is not a number of bytes."""
    seen = json.loads(output("status", "--json", "-p", group.port))
    (master,) = seen["masters"]
    assert (master["name"], master["state"]) == (NAME, "ok")
    assert len(master["replicas"]) == len(master["sentinels"]) == 2
    assert all(replica["lag_bytes"] >= 0 for replica in master["replicas"])
    assert (seen["raft"] is not None) == group.is_ours


def test_status_of_a_master_that_is_down(group):
    """It is told in the tree, and is no error of the command."""
    master = group.master
    for sentinel in group.sentinels:
        ask(sentinel, "SENTINEL", "SET", NAME, "LOCAL", "quorum", "4")
    master.pause()
    try:
        eventually(lambda: "sdown" in output("status", "-p", group.port))
    finally:
        master.resume()
        for sentinel in group.sentinels:
            ask(sentinel, "SENTINEL", "SET", NAME, "LOCAL", "UNSET", "quorum")


def test_status_in_a_terminal(group):
    """In colour, and within the width."""
    with Terminal("status", "-p", group.port) as terminal:
        assert terminal.ends() == 0
        assert "\x1b[32m" in terminal.raw
        assert max(map(len, terminal.text().splitlines())) <= COLUMNS


# What fails ---------------------------------------------------------------------------------------

COMMANDS = {
    "status": (),
    "explain": (NAME,),
    "failover": (NAME,),
    "doctor": (),
    "events": (),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_sentinel_that_is_not_there(sandbox, command):
    """One line that names it, and status 1."""
    port = sandbox.port()
    done = sentinel_py(command, *COMMANDS[command], "-p", str(port))
    assert done.returncode == 1
    assert done.stderr == f"sentinel-py: cannot talk to {HOST}:{port}: Connection refused\n"


@pytest.mark.parametrize("command", [*COMMANDS, "top"])
def test_wrong_use(command):
    """Status 2; the help is there for each."""
    assert sentinel_py(command, "--nonsense").returncode == 2
    assert "--cacert" in output(command, "--help")


@both
@pytest.mark.parametrize("command", ["explain", "failover"])
def test_an_unknown_master(group, command):
    """The sentinel's own words."""
    done = sentinel_py(command, "nobody", "-p", group.port)
    assert done.returncode == 1
    assert re.fullmatch(
        r"sentinel-py: 127\.0\.0\.1:\d+: (ERR )?No such master with that name\n", done.stderr
    )


def test_a_server_that_is_no_sentinel(group):
    """A Redis is told from a sentinel."""
    done = sentinel_py("status", "-p", str(group.master.port))
    assert done.returncode == 1
    assert re.fullmatch(r"sentinel-py: 127\.0\.0\.1:\d+: .*SENTINEL.*\n", done.stderr)


def test_top_wants_a_terminal(group):
    """For programs there is another way."""
    done = sentinel_py("top", "-p", group.port)
    assert done.returncode == 1
    assert done.stderr == "sentinel-py: top needs a terminal; for programs there is status --json\n"


# Login --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_password(sandbox, kind):
    """From -a or from the environment; without it one line says so, and never with it."""
    sentinel = sandbox.sentinel(["requirepass open-sesame"], program=PROGRAMS[kind])
    wait_ready([sentinel])
    words = ("status", "-p", str(sentinel.port))
    assert "it watches nothing" in output(*words, "-a", "open-sesame")
    assert sentinel_py(*words, REDISCLI_AUTH="open-sesame").returncode == 0
    assert sentinel_py(*words, "--user", "default", "-a", "open-sesame").returncode == 0
    for login in ((), ("-a", "wrong-one")):
        refused = sentinel_py(*words, *login)
        assert refused.returncode == 1
        assert refused.stderr.startswith(
            f"sentinel-py: {HOST}:{sentinel.port} does not let us in: "
        )
        assert "wrong-one" not in refused.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_tls(sandbox, tmp_path, kind):
    """By the options of redis-cli; a stranger's certificate is refused."""
    pair, strange = make_pair(tmp_path, "ours"), make_pair(tmp_path, "strange")
    port = sandbox.port()
    tls = [f"{key} {value}" for key, value in pair.directives().items()]
    sentinel = sandbox.sentinel(
        ["port 0", f"tls-port {port}", *tls], port=port, program=PROGRAMS[kind]
    )
    eventually(lambda: sentinel.alive and comes_in(port, pair, pair.authority).returncode == 0)
    refused = comes_in(port, pair, strange.authority)
    assert refused.returncode == 1
    assert "TLS failed" in refused.stderr
    assert comes_in(port, pair, strange.authority, "--insecure").returncode == 0


def comes_in(port, pair, authority, *more):
    own = ("--cert", str(pair.cert), "--key", str(pair.key), "--cacert", str(authority))
    return sentinel_py("status", "-p", str(port), "--tls", *own, *more)


# Explain ------------------------------------------------------------------------------------------


@both
def test_explain_a_master_that_is_well(group):
    """It is not down, and that is all there is to say."""
    printed = output("explain", NAME, "-p", group.port)
    first = f"{NAME} {HOST}:{group.master.port} is not failed over. "
    assert printed.startswith(f"{first}This sentinel does not find the master down.\n")
    assert "is fit" in printed
    told = json.loads(output("explain", NAME, "--json", "-p", group.port))
    met = {row["condition"]: row["met"] for row in told["conditions"]}
    assert met["down"] is False
    assert met["replica"] is True
    assert ("raft-leader" in met) == group.is_ours
    assert (met["turn"] is None) == (not group.is_ours)


@both
def test_explain_what_a_failover_waits_for(group):
    """The master hangs, and the quorum cannot be met."""
    master = group.master
    for sentinel in group.sentinels:
        ask(sentinel, "SENTINEL", "SET", NAME, "quorum", "4")
    master.pause()
    try:
        eventually(lambda: "s_down" in master_row(group.sentinels[0])["flags"])
        told = eventually(lambda: explained_as(group, "Too few sentinels find the master down."))
        values = {row["condition"]: row["value"] for row in told["conditions"]}
        assert values["down"].startswith("down for ")
        assert values["quorum"].endswith("quorum 4")
    finally:
        master.resume()
        eventually(lambda: master_row(group.sentinels[0])["flags"] == "master")
        for sentinel in group.sentinels:
            ask(sentinel, "SENTINEL", "SET", NAME, "quorum", "2")


def explained_as(group, meaning):
    told = json.loads(output("explain", NAME, "--json", "-p", group.port))
    return told if told["verdict"] == f"is not failed over. {meaning}" else None


# Failover -----------------------------------------------------------------------------------------

STEPS = ("+selected-slave", "+promoted-slave", "+switch-master", "+failover-end")


@both
def test_a_failover(group):
    """Each step is shown as it happens, the new master at the end; coordinated where it can be."""
    old = group.master
    printed = output("failover", NAME, "-p", group.port)
    for step in STEPS:
        assert printed.count(f"{step} ") == 1, printed
    assert printed.index(STEPS[0]) < printed.index(STEPS[1])
    new = group.master
    assert new is not old
    assert printed.splitlines()[-1].endswith(f"{NAME} is {HOST}:{new.port} now")
    assert ("not coordinated: wrong number" in printed) == (not group.is_ours)


@both
def test_a_failover_that_does_not_work(group):
    """No replica may be promoted: status 1, and the master stays."""
    old, servers = group.master, group.replicas
    ask(group.sentinels[0], "SENTINEL", "DEBUG", "info-period", "500")
    for server in servers:
        ask(server, "CONFIG", "SET", "replica-priority", "0")
    try:
        eventually(lambda: priorities(group) == ["0", "0"])
        done = sentinel_py("failover", NAME, "-p", group.port)
        assert done.returncode == 1
        assert re.fullmatch(r"sentinel-py: 127\.0\.0\.1:\d+: NOGOODSLAVE .+\n", done.stderr)
        assert group.master is old
        explained = output("explain", NAME, "--json", "-p", group.port)
        assert explained.count("has priority 0") == 2
    finally:
        for server in servers:
            ask(server, "CONFIG", "SET", "replica-priority", "100")
        eventually(lambda: priorities(group) == ["100", "100"])
        ask(group.sentinels[0], "SENTINEL", "DEBUG", "info-period", "10000")


def priorities(group):
    return [row["slave-priority"] for row in rows(group.sentinels[0], "REPLICAS")]


def test_a_master_that_cannot_hand_over(sandbox):
    """It is asked in vain, and replaced in the stock way; who insists on its consent is told."""
    options = {"rename-command": 'FAILOVER ""'}
    cluster = start_cluster(sandbox, replicas=1, options=options)
    sentinel = sandbox.sentinel(watch(cluster, quorum=1))
    wait_ready([sentinel])
    settle([sentinel], cluster)
    words = ("failover", NAME, "-p", str(sentinel.port))
    insisted = sentinel_py(*words, "--coordinated")
    assert insisted.returncode == 1
    assert "The master says: " in insisted.stderr
    assert master_port(sentinel) == cluster.master.port

    printed = output(*words)
    assert "not coordinated: The master says: " in printed
    assert printed.count("+try-failover ") == 2
    assert master_port(sentinel) == cluster.replicas[0].port


@needs_original
@pytest.mark.parametrize("group", ["original"], indirect=True)
def test_who_insists_on_consent_gets_no_other_failover(group):
    """The original cannot coordinate; nothing is done instead."""
    old = group.master
    done = sentinel_py("failover", NAME, "--coordinated", "-p", group.port)
    assert done.returncode == 1
    assert "wrong number of arguments" in done.stderr
    assert group.master is old
    both_ways = sentinel_py("failover", NAME, "--coordinated", "--stock", "-p", group.port)
    assert both_ways.returncode == 2


# Events -------------------------------------------------------------------------------------------


@both
def test_events_are_followed(group):
    """Whatever the sentinel publishes, until Ctrl-C."""
    with Terminal("events", "-n", "0", "-p", group.port) as terminal:
        terminal.shows("+set", again=lambda: change(group))
        terminal.press(b"\x03")
        assert terminal.ends() == 130
        assert f"master {NAME} {HOST}" in terminal.text()
        assert "Traceback" not in terminal.text()


def change(group):
    ask(group.sentinels[0], "SENTINEL", "SET", NAME, "parallel-syncs", "1")


def test_events_that_have_happened(group):
    """With ids that grow; what is asked for after one of them is newer."""
    output("failover", NAME, "-p", group.port)
    told = eventually(lambda: history(group, "-n", "100"))
    ids = [event["id"] for event in told]
    assert ids == sorted(set(ids))
    switch = [event["text"] for event in told if event["name"] == "+switch-master"][-1]
    assert switch.startswith(f"{NAME} {HOST}")
    later = history(group, "--since", str(ids[-2]))
    assert [event["id"] for event in later] == ids[-1:]
    assert output("events", "--no-follow", "-n", "1", "-p", group.port).count("\n") == 1


def history(group, *words):
    lines = output("events", "--no-follow", "--json", *words, "-p", group.port).splitlines()
    return [json.loads(line) for line in lines]


@needs_original
@pytest.mark.parametrize("group", ["original"], indirect=True)
def test_events_that_nobody_keeps(group):
    """The original has no history: that is said, and following goes on."""
    done = sentinel_py("events", "--no-follow", "-p", group.port)
    line = f"sentinel-py: {HOST}:{group.port} keeps no history"
    assert (done.returncode, done.stderr) == (1, f"{line}\n")
    with Terminal("events", "-p", group.port) as terminal:
        terminal.shows(f"{line}; following")
        terminal.shows("+set", again=lambda: change(group))


# Top ----------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top(group, key):
    """It shows everybody and what happens, fills the terminal, and leaves it as it was."""
    with Terminal("top", "-p", group.port) as terminal:
        before = terminal.modes()
        terminal.shows(NAME)
        terminal.shows("+set", again=lambda: change(group))
        frame = terminal.frame()
        for server in (*group.cluster.servers, *group.sentinels[1:]):
            assert f"{HOST}:{server.port}" in frame
        assert len(frame.splitlines()) == LINES
        assert max(map(len, frame.splitlines())) <= COLUMNS
        terminal.press(key)
        assert terminal.ends() == 0
        assert terminal.raw.count("\x1b[?1049h") == terminal.raw.count("\x1b[?1049l") == 1
        assert terminal.modes() == before


def test_top_begins_with_what_has_happened(group):
    """Where the sentinel keeps it."""
    output("failover", NAME, "-p", group.port)
    with Terminal("top", "-p", group.port) as terminal:
        terminal.shows("+switch-master")
        terminal.press(b"q")
        assert terminal.ends() == 0


def test_top_outlives_the_sentinel(sandbox):
    """What is wrong stands in the first line, and goes with it."""
    sentinel = sandbox.sentinel([])
    wait_ready([sentinel])
    with Terminal("top", "-p", str(sentinel.port)) as terminal:
        terminal.shows("no master")
        sentinel.kill()
        terminal.shows("Connection refused")
        sentinel.start()
        eventually(lambda: "Connection refused" not in terminal.frame())
        terminal.press(b"q")
        assert terminal.ends() == 0


async def test_a_picture_of_top(group):
    """As a file for the README, when that is asked for."""
    output("failover", NAME, "-p", group.port)
    group.settle()
    events = [
        Event(it["id"], it["at_ms"], it["name"], it["text"]) for it in history(group, "-n", "20")
    ]
    async with Connection(Place(HOST, int(group.port))) as connection:
        seen = await picture.take(connection)
    console = Console(
        record=True, width=COLUMNS, height=LINES, file=StringIO(), force_terminal=True
    )
    console.print(screen(seen, events, LINES))
    svg = console.export_svg(title="sentinel-py top", theme=MONOKAI, unique_id="top")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    assert NAME in svg
    assert "url(http" not in svg  # nothing of it is loaded from elsewhere
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        SCREENSHOT.parent.mkdir(exist_ok=True)
        SCREENSHOT.write_text(svg)
