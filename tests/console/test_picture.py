"""How rows and INFO become a picture."""

import json
from dataclasses import asdict

import pytest
from rich.console import Console

from sentinel_py.console.paint import bytes_text, span
from sentinel_py.console.picture import lag_of, state_of
from sentinel_py.console.status import tree
from sentinel_py.console.wire import info_fields, pairs, rows

from .pictures import master, picture, raft

ROW = {"ip": "192.0.2.10", "port": "6379", "slave-repl-offset": "70"}


@pytest.mark.parametrize(
    ("info", "lag"),
    [
        ("", None),
        ("master_repl_offset:100\n", 30),
        ("master_repl_offset:50\n", 0),
        ("slave0:ip=192.0.2.10,port=6379,state=online,offset=95,lag=1\nmaster_repl_offset:100", 5),
        ("slave0:ip=192.0.2.1,port=6379,state=online,offset=95,lag=1\nmaster_repl_offset:100", 30),
        ("slave0:ip=192.0.2.10,port=637,state=online,offset=95,lag=1\nmaster_repl_offset:100", 30),
    ],
)
def test_the_lag_is_by_the_masters_count(info, lag):
    """Where one INFO has both ends; else by what both last said; else it is not known."""
    assert lag_of(ROW, info_fields(info)) == lag


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ("master", "ok"),
        ("slave", "ok"),
        ("s_down,master", "sdown"),
        ("s_down,o_down,master,disconnected", "odown"),
        ("master,disconnected", "disconnected"),
        ("sentinel,master_down", "ok"),
    ],
)
def test_the_worst_flag_is_the_state(flags, state):
    """One word says how an instance stands."""
    assert state_of(flags) == state


def test_rows():
    """Anything that is no row is an empty one."""
    assert pairs(["a", "1", "b", 2]) == {"a": "1", "b": "2"}
    assert pairs(None) == {}
    assert rows([["a", "1"], ["a", "2"]]) == [{"a": "1"}, {"a": "2"}]
    assert info_fields("# Server\r\na:1:2\r\n\r\nb:\r\n") == {"a": "1:2", "b": ""}


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_000_000, "2.0 MB")],
)
def test_bytes(count, text):
    """Short enough for a column."""
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (1_999, "1999 ms"), (2_000, "2 s"), (120_000, "2 min"), (10**9, "11 d")],
)
def test_spans(ms, text):
    """The largest unit of which there are two."""
    assert span(ms) == text


def test_the_tree():
    """Raft, masters, and below them replicas and sentinels."""
    console = Console(width=100)
    with console.capture() as shown:
        console.print(tree(picture(master(), raft=raft())))
    lines = shown.get().splitlines()
    assert lines[0].startswith("sentinel 192.0.2.20:26379  sentinel_py 1.0")
    assert "raft leader  term 7  majority" in lines[1]
    assert "4 entries behind" in lines[4]
    assert "mymaster 192.0.2.1:6379  ok  quorum 2 of 3  epoch 3" in lines[5]
    assert [line.split()[1] for line in lines[6:]] == ["replica"] * 2 + ["sentinel"] * 2


def test_the_picture_is_json():
    """What status --json prints."""
    assert json.loads(json.dumps(asdict(picture(master()))))["masters"][0]["name"] == "mymaster"
