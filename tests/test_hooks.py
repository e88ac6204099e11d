"""Webhooks: what is posted, what is tried again, and what a bad receiver costs."""

import asyncio
import json
import time

import pytest
from receiver import receiving

from sentinel_py import hooks
from sentinel_py.config.config import StartError
from sentinel_py.core import chronicle
from sentinel_py.core.ledger import Delivered
from sentinel_py.core.model import Event, History, Raft, State, Webhook

US = "a" * 40
SECRET = "s3cret"
PATIENCE_S = 10


class Host:
    """A sentinel that notes what its webhooks want."""

    cluster = "cafe"

    def __init__(self, *webhooks, raft=None):
        self.state = State(myid=US, raft=raft)
        self.state.settings.webhooks = list(webhooks)
        self.notes = []
        self.lines = []

    def feed(self, note):
        self.notes.append(note.entry)

    def log(self, level, text):
        self.lines.append(text)


def event(number, name="+sdown", master="m"):
    return Event(number, 1_000 + number, name, f"text {number}", master)


def row(webhooks, number=0):
    return dict(part.split("=", 1) for part in dict(webhooks.info())[f"webhook{number}"].split(","))


async def eventually(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setattr(hooks, "BACKOFF_S", (0.02, 0.1))
    monkeypatch.setattr(hooks, "CONFIRM_MS", 20)
    with receiving() as listening:
        yield listening


@pytest.fixture
async def start():
    """Start webhooks on a host; they are stopped with the test."""
    started = []

    def run(host):
        started.append(hooks.Webhooks(host))
        started[-1].start()
        return started[-1]

    yield run
    for webhooks in started:
        await webhooks.stop()


@pytest.fixture
async def alone(receiver, start):
    """A sentinel without a Raft cluster, with one webhook."""
    host = Host(Webhook("*", receiver.url, SECRET))
    return host, start(host)


@pytest.fixture
async def leader(receiver, start):
    """The leader of a Raft cluster whose webhook has taken everything up to id 2."""
    host = Host(Webhook("*", receiver.url), raft=Raft(boot="x"))
    key = hooks.key_of(host.state.settings.webhooks[0])
    host.state.history = History(is_shared=True, last_id=4, delivered={key: 2})
    host.state.history.events.extend(event(number) for number in (1, 2, 3, 4))
    return host, start(host), key


async def test_an_event_is_posted_and_signed(alone, receiver):
    """JSON with all that is known of it, and an id that a receiver can know again."""
    _, webhooks = alone
    webhooks.seen(event(0, "+switch-master"))
    await eventually(lambda: receiver.taken)
    (body,) = receiver.taken
    assert body == {
        "id": f"{US}-1000",
        "at": 1000,
        "event": "+switch-master",
        "text": "text 0",
        "master": "m",
        "sentinel": US,
    }
    headers = receiver.requests[0][0]
    assert headers["Content-Type"] == "application/json"
    assert headers[hooks.ID_HEADER] == body["id"]
    assert receiver.are_signed(SECRET)
    assert not receiver.are_signed("other")


async def test_they_come_in_order_and_only_of_the_master(receiver, start):
    """A webhook may be about one master; its ids grow, even where the clock does not."""
    webhooks = start(Host(Webhook("m", receiver.url)))
    for number, master in enumerate(("m", "other", "m", "")):
        webhooks.seen(Event(0, 5000, "+sdown", str(number), master))
    await eventually(lambda: len(receiver.taken) == 2)
    assert [it["text"] for it in receiver.taken] == ["0", "2"]
    assert receiver.ids == [f"{US}-5000", f"{US}-5002"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_a_receiver_in_trouble_is_tried_again(alone, receiver, status):
    """Until it takes the event; told once in the log, and counted."""
    host, webhooks = alone
    receiver.status = status
    webhooks.seen(event(1))
    await eventually(lambda: len(receiver.requests) >= 3)
    assert (row(webhooks)["failing"], row(webhooks)["last"]) == ("1", str(status))
    receiver.status = 204
    await eventually(lambda: receiver.taken)
    await eventually(lambda: row(webhooks)["sent"] == "1")
    assert int(row(webhooks)["retries"]) == len(receiver.requests) - 1
    assert len({body for _, body in receiver.requests}) == 1
    assert len(host.lines) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 302])
async def test_a_receiver_that_refuses_gets_the_next_one(alone, receiver, status):
    """What is wrong with an event does not get better; nobody is led elsewhere, either."""
    _, webhooks = alone
    receiver.status = status
    webhooks.seen(event(1))
    webhooks.seen(event(2))
    await eventually(lambda: row(webhooks)["refused"] == "2")
    assert len(receiver.requests) == 2
    assert row(webhooks)["queued"] == "0"


async def test_nobody_there_is_trouble_like_any_other(start, receiver):
    """A refused connection is tried again; the log has no more than the host of the address."""
    with receiving() as gone:
        url = gone.url.replace("http://", "http://user:pw@") + "/token"
    host = Host(Webhook("*", url))
    webhooks = start(host)
    webhooks.seen(event(1))
    await eventually(lambda: int(row(webhooks)["retries"]) >= 2)
    shown = " ".join([*host.lines, *row(webhooks).values(), repr(host.state.settings.webhooks)])
    assert "127.0.0.1" in shown
    assert not any(word in shown for word in ("user", "pw@", "token", SECRET))


async def test_a_receiver_that_hangs_costs_a_bounded_queue(alone, receiver, monkeypatch):
    """Giving it an event takes no time; beyond the limit the oldest are dropped, and counted."""
    monkeypatch.setattr(hooks, "QUEUE_MAX", 5)
    _, webhooks = alone
    receiver.hangs = True
    began = time.perf_counter()
    for number in range(20):
        webhooks.seen(event(number))
    assert time.perf_counter() - began < 0.1
    assert (row(webhooks)["queued"], row(webhooks)["dropped"]) == ("5", "15")
    receiver.hangs = False
    receiver.release.set()
    await eventually(lambda: "text 19" in [it["text"] for it in receiver.taken])
    assert [it["text"] for it in receiver.taken][-5:] == [f"text {it}" for it in range(15, 20)]


async def test_it_waits_no_longer_than_the_limit(alone, receiver, monkeypatch):
    """An answer that does not come is a failure, and the event is posted again."""
    monkeypatch.setattr(hooks, "TIMEOUT_S", 0.05)
    host = Host(Webhook("*", receiver.url))
    webhooks = hooks.Webhooks(host)
    webhooks.start()
    receiver.hangs = True
    webhooks.seen(event(1))
    await eventually(lambda: row(webhooks)["last"] == "timeout")
    receiver.hangs = False
    await eventually(lambda: row(webhooks)["sent"] == "1")
    await webhooks.stop()


async def test_stopping_does_not_wait_for_a_receiver(alone, receiver):
    """A sentinel that is told to end ends."""
    _, webhooks = alone
    receiver.hangs = True
    webhooks.seen(event(1))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await webhooks.stop()


# In a Raft cluster -------------------------------------------------------------------------------


async def test_a_follower_posts_nothing(leader, receiver):
    """What is seen here, and what the log brings, is the leader's to post."""
    _, webhooks, _ = leader
    webhooks.seen(event(5))
    webhooks.recorded([event(5)])
    assert row(webhooks)["queued"] == "0"


async def test_a_new_leader_goes_on_where_the_old_one_was(leader, receiver):
    """What was not confirmed is posted, with ids that are the cluster's; then that is noted."""
    host, webhooks, key = leader
    webhooks.lead_changed(True)
    webhooks.recorded([event(5)])
    await eventually(lambda: len(receiver.taken) == 3)
    assert receiver.ids == ["cafe-3", "cafe-4", "cafe-5"]
    await eventually(lambda: Delivered(key, 5) in host.notes)
    assert len(host.notes) <= 3


async def test_who_leads_no_more_stops(leader, receiver):
    """What waits is left to the next leader."""
    _, webhooks, _ = leader
    receiver.status = 503
    webhooks.lead_changed(True)
    await eventually(lambda: receiver.requests)
    webhooks.lead_changed(False)
    receiver.status = 200
    assert row(webhooks)["queued"] == "0"
    webhooks.lead_changed(True)
    await eventually(lambda: len(receiver.taken) == 2)
    assert receiver.ids == ["cafe-3", "cafe-4"]


async def test_an_answer_may_come_when_the_lead_is_gone(leader, receiver):
    """The event is no longer ours to note; who leads again posts it again, under its id."""
    _, webhooks, _ = leader
    receiver.hangs = True
    webhooks.lead_changed(True)
    await eventually(lambda: receiver.asked)
    webhooks.lead_changed(False)
    receiver.hangs = False
    receiver.release.set()
    await eventually(lambda: row(webhooks)["sent"] == "1")
    webhooks.lead_changed(True)
    await eventually(lambda: len(receiver.taken) == 3)
    assert receiver.ids == ["cafe-3", "cafe-3", "cafe-4"]


async def test_a_new_webhook_gets_no_old_events(leader, receiver, start):
    """It begins with what comes; where, is in the log before that."""
    host, _, _ = leader
    host.state.history.delivered.clear()
    webhooks = start(host)
    webhooks.lead_changed(True)
    webhooks.recorded([event(5)])
    await eventually(lambda: receiver.taken)
    assert receiver.ids == ["cafe-5"]
    assert host.notes[0] == Delivered(hooks.key_of(host.state.settings.webhooks[0]), 4)


async def test_per_node_each_posts_what_it_sees(receiver, start):
    """With webhook-per-node yes it is as without a cluster, and needs no majority."""
    host = Host(Webhook("*", receiver.url), raft=Raft(boot="x"))
    host.state.settings.webhook_per_node = True
    webhooks = start(host)
    webhooks.recorded([event(4)])
    webhooks.seen(event(5))
    await eventually(lambda: receiver.taken)
    assert receiver.ids == [f"{US}-1005"]
    assert host.notes == []


def test_a_webhook_without_a_history_is_refused():
    """The leader would have nothing to post."""
    host = Host(Webhook("*", "http://127.0.0.1:1/"))
    host.state.settings.event_history = 0
    with pytest.raises(StartError, match="event-history"):
        hooks.Webhooks(host)


def test_any_text_is_json():
    """Names may have bytes that are no UTF-8."""
    body = hooks.body_of(Event(1, 2, "+sdown", "master \udce9 x", "\udce9"), "x-1", US)
    assert json.loads(body)["master"] == "\udce9"


def test_the_key_in_the_log_tells_no_secret():
    """It stands in every member's journal."""
    one, other = (Webhook("*", "http://h/token", secret) for secret in ("a", "b"))
    assert hooks.key_of(one) == hooks.key_of(other)
    assert "token" not in hooks.key_of(one)
    assert hooks.key_of(one) != hooks.key_of(Webhook("m", "http://h/token"))
    assert chronicle.DELIVERED_MAX > 16
