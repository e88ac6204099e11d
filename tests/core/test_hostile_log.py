"""Whatever stands in the log or in a snapshot: nobody falls over it, and all members skip the same.

Good entries and snapshots are bent at random places: other types, lengths, names, numbers, missing
and strange fields. What a member has applied it can write into its file and start from again.
"""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_py.config import directives
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import split
from sentinel_py.core import entry_checks, snapshot
from sentinel_py.core.ledger import Claim, Command, Delivered, Record, decode, encode
from sentinel_py.core.messages import Committed, Installed, Notice, Open, Send
from sentinel_py.core.model import Raft, State

from .test_log_alone import IDS, Member, entries, record

WORDS = st.sampled_from(
    [
        *(
            "",
            "m",
            "-x",
            "a\nb",
            "\x00",
            "\ud800",
            "\udcc3\udca9",
            "é",
            "a b",
            '"',
            "#",
            "x" * 5000,
        ),
        *("10.0.0.1", "nonsense", "db.example", "-1", "0", "6379", "65536"),
        *(str(2**63), "01", "\u0661"),
        *("yes", "no", "quorum", "down-after-milliseconds", "auth-pass", "rename-command"),
        *("notification-script", "/bin/sh", "resolve-hostnames", "announce-ip", "sentinel-pass"),
    ]
)
ODD = st.one_of(
    WORDS,
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, 2**63]),
    st.sampled_from([None, True, False, 1.5, float("inf"), [], {}, [[]], {"a": 1}, ["m"]]),
)
ORDERS = st.sampled_from([*entry_checks.COMMANDS, "other", ""])
SETTINGS = ["resolve-hostnames", "announce-hostnames", "sentinel-user", "sentinel-pass"]

wild = st.one_of(
    st.builds(lambda o, w: Command(o, tuple(w)), ORDERS, st.lists(WORDS, max_size=6)),
    st.builds(lambda n, w: Command("set", (n, *w)), st.just("m"), st.lists(WORDS, max_size=5)),
    st.builds(lambda o, w: Command("config", (o, w)), st.sampled_from(SETTINGS), WORDS),
    st.builds(lambda w: Record(tuple(w)), st.lists(WORDS, max_size=8)),
    st.builds(Delivered, WORDS, st.integers(-1, 2**60)),
)
adopted = st.builds(
    lambda options, name: Command("adopt", (bent_master(options, name),)),
    st.dictionaries(
        st.sampled_from(["quorum", "auth_pass", "auth_user", "down_after_ms", "renamed"]), ODD
    ),
    WORDS | st.just("n"),
)


def bent_master(options, name):
    text = json.loads(record("n", "10.0.0.1", 1, 1))
    text["name"] = name
    text["options"] |= options
    return json.dumps(text)


def places(value, path=()):
    """Every place in a JSON value, by the way to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


@st.composite
def bent(draw, text):
    """A JSON text with some of its values replaced, left out or added."""
    value = copy.deepcopy(json.loads(draw(text)))
    for _ in range(draw(st.integers(0, 2))):
        found = list(places(value))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        inside = value
        for key in way:
            inside = inside[key]
        match draw(st.sampled_from(["replace", "drop", "add"])):
            case "replace":
                inside[last] = draw(ODD)
            case "drop":
                del inside[last]
            case "add" if isinstance(inside, dict):
                inside[draw(WORDS)] = draw(ODD)
            case _:
                inside.append(draw(ODD))
    return json.dumps(value).encode()


good = (entries | wild | adopted).map(lambda it: encode("x:1:1", it))
logs = st.lists(good | bent(good) | st.binary(max_size=40), max_size=12)


def members_of(log):
    """Three members that have applied this log, and how often each has said that it skips one."""
    found = [Member(run_id) for run_id in IDS]
    skipped = [0] * len(found)
    for index, data in enumerate(log, start=1):
        for number, member in enumerate(found):
            for effect in member.core.step(member.now, Committed(index, *decode(data))):
                skipped[number] += isinstance(effect, Notice) and effect.name == "+rejected-entry"
    return found, skipped


def lines_of(state):
    return [line.text for line in directives.render(state)]


def loaded(lines):
    """The state that a sentinel starts from with these lines."""
    state = State(myid="")
    statements = [
        Statement(tuple(split(it)), it, n, Origin.FILE, "f") for n, it in enumerate(lines)
    ]
    directives.apply(statements, state, now=0, resolve=lambda _: None)
    state.raft = Raft(boot="y", members=IDS, applied=state.raft_applied)
    return state


def assert_can_be_saved(state):
    """What is written is bytes, is read without a word, and is written the same again."""
    lines = lines_of(state)
    "\n".join(lines).encode("utf-8", "surrogateescape")
    again = loaded(lines)
    assert lines_of(again) == lines
    for name, master in state.masters.items():
        assert again.masters[name].shared == master.shared
        assert again.masters[name].address.same_as(master.address)


@settings(max_examples=400, deadline=None)
@given(logs)
def test_no_entry_is_too_much(log):
    """Nothing raises, all members skip the same and come to the same, and each can be restarted."""
    found, skipped = members_of(log)
    made = [snapshot.dump(member.core.state) for member in found]
    assert len(set(made)) == len(set(skipped)) == 1
    snapshot.read(made[0])
    for member in found:
        assert_can_be_saved(member.core.state)


@st.composite
def snapshots(draw):
    found, _ = members_of(draw(logs))
    text = snapshot.dump(found[0].core.state)
    return draw(st.just(text) | bent(st.just(text)) | st.binary(max_size=40))


@settings(max_examples=300, deadline=None)
@given(logs, snapshots())
def test_no_snapshot_is_too_much(log, data):
    """It is taken over as a whole, the same way by all; or nothing changes, and that is said."""
    found, _ = members_of(log)
    before = snapshot.dump(found[0].core.state)
    index = len(log) + 5
    for member in found:
        said = member.core.step(member.now, Installed(index, data))
        refused = [it for it in said if isinstance(it, Notice) and it.name == "+rejected-snapshot"]
        if refused:
            assert not [it for it in said if isinstance(it, Open | Send)]
            assert snapshot.dump(member.core.state) == before
            assert member.core.state.raft.applied < index
        else:
            assert snapshot.read(data)
            assert member.core.state.raft.applied == index
            assert_can_be_saved(member.core.state)
    assert len({snapshot.dump(member.core.state) for member in found}) == 1


HOSTILE = {
    "an unknown kind": b'{"id":"x","kind":"other"}',
    "no JSON": b"{",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "no id": b'{"kind":"finish","master":"m","epoch":1}',
    "an id of another type": b'{"id":[],"kind":"finish","master":"m","epoch":1}',
    "a strange field": b'{"id":"x","kind":"finish","master":"m","epoch":1,"more":1}',
    "a flag as number": b'{"id":"x","kind":"finish","master":"m","epoch":true}',
    "an epoch below": encode("x", Claim("m", 0, IDS[0], True, False)),
    "an epoch above": encode("x", Claim("m", 2**63, IDS[0], True, False)),
    "a leader without id": encode("x", Claim("m", 1, "", True, False)),
    "an unknown order": encode("x", Command("shutdown", ())),
    "a setting of each": encode("x", Command("config", ("announce-ip", "6.6.6.6"))),
    "a setting without value": encode("x", Command("config", ("resolve-hostnames",))),
    "a master's option": encode("x", Command("adopt", (bent_master({"quorum": "2"}, "n"),))),
    "an empty password": encode("x", Command("adopt", (bent_master({"auth_pass": ""}, "n"),))),
    "an argument": encode("x", Command("monitor", (bent_master({}, "--version"),))),
    "a line end": encode("x", Command("set", ("m", "auth-pass", "a\nsentinel myid x"))),
    "an option": encode("x", Command("set", ("m", "quorum", "0"))),
    "half a pair": encode("x", Command("set", ("m", "auth-pass", "\ud800"))),
    "no number": encode("x", Command("force-stale", ("m", "one"))),
    "an epoch that is too far ahead": encode(
        "x", Command("adopt", (json.dumps(json.loads(record("n", "10.0.0.1", 2**62, 0))),))
    ),
    "half an event": encode("x", Record(("1", "+x", "text"))),
    "an event in no bytes": encode("x", Record(("1", "+x", "\ud800", "m"))),
    "no webhook": encode("x", Delivered("\ud800", 1)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_skipped_is_said(what):
    """Each is one loud event, and changes nothing."""
    watched = encode("x", Command("monitor", (record("m", "10.0.0.1", 0, 0),)))
    before, _ = members_of([watched])
    found, skipped = members_of([watched, HOSTILE[what]])
    assert skipped == [1, 1, 1]
    for one, other in zip(before, found, strict=True):
        assert snapshot.dump(one.core.state) == snapshot.dump(other.core.state)


NEWER = b'{"version":2,"epoch":0,"settings":{},"masters":[]}'


def test_a_later_version_is_named():
    """Who reads it knows what to do."""
    member = Member(IDS[0])
    (said,) = member.core.step(member.now, Installed(9, NEWER))
    assert said.text == "9 #it is of version '2', and this sentinel knows 1 alone"
