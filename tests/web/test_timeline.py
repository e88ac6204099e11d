"""Failovers as they are put together from notices."""

from sentinel_py.core import chronicle
from sentinel_py.core.model import Event, State
from sentinel_py.web.timeline import MAX_KEPT, MAX_MARKS, Phase, SharedPast, Timeline

MASTER = "master m 10.0.0.1 6379"
REPLICA = "slave 10.0.0.2:6379 10.0.0.2 6379 @ m 10.0.0.1 6379"
SWITCH = "m 10.0.0.1 6379 10.0.0.2 6379"
LED = (
    (1000, "+sdown", MASTER),
    (1010, "+odown", f"{MASTER} #quorum 2/2"),
    (1020, "+try-failover", MASTER),
    (1025, "+elected-leader", MASTER),
    (1040, "+selected-slave", REPLICA),
    (1041, "+failover-state-wait-promotion", REPLICA),
    (1060, "+promoted-slave", REPLICA),
    (1061, "+switch-master", SWITCH),
    (1100, "+slave-reconf-done", "slave 10.0.0.3:6379 10.0.0.3 6379 @ m 10.0.0.2 6379"),
    (1150, "+failover-end", "master m 10.0.0.2 6379"),
)


class Shared:
    """The history of a Raft cluster; each writing is one log entry."""

    def __init__(self):
        self.state = State(myid="0" * 40)
        self.index = 0

    @property
    def now(self):
        return self.state.history

    def write(self, notices, later_ms=0):
        self.index += 1
        events = [Event(0, at + later_ms, name, text, "m") for at, name, text in notices]
        chronicle.committed(self.state, self.index, chronicle.record(events))


def told(notices):
    """A timeline that was told these, and what it said had ended."""
    ended = []
    timeline = Timeline(ended.append)
    for notice in notices:
        timeline.notice(*notice)
    return timeline, ended


def test_a_failover_that_is_led_has_its_phases():
    """Each phase goes from the notice that begins it to the one that ends it."""
    timeline, (failover,) = told(LED)
    assert (failover.master, failover.outcome, failover.took_ms) == ("m", "switched", 150)
    assert (failover.old, failover.new) == ("10.0.0.1:6379", "10.0.0.2:6379")
    assert failover.phases == [
        Phase("detection", 0, 20),
        Phase("election", 20, 25),
        Phase("choice", 25, 40),
        Phase("promotion", 40, 61),
        Phase("reconfiguration", 61, 150),
    ]
    assert list(timeline.past) == [failover]
    assert not timeline.open


def test_a_failover_that_others_lead_is_seen_from_the_outside():
    """It is over with the switch."""
    _, (failover,) = told([LED[0], LED[1], LED[7]])
    assert failover.outcome == "switched"
    assert failover.phases == [Phase("observed", 0, 61)]


def test_a_failover_on_order_has_no_detection():
    """Nothing was down."""
    _, (failover,) = told(LED[2:])
    assert failover.phases[0] == Phase("election", 0, 5)


def test_a_leader_may_be_the_last_to_see_it():
    """It acts on the others' word, before its own ping is late, or was ordered to."""
    _, (failover,) = told(LED[1:])
    assert failover.phases[0] == Phase("detection", 0, 10)
    _, (failover,) = told([LED[2], (1022, "+sdown", MASTER), *LED[3:]])
    assert next(phase.name for phase in failover.phases) == "election"


def test_an_attempt_that_fails_says_why():
    """The next attempt is another one."""
    abort = (1050, "-failover-abort-no-good-slave", MASTER)
    timeline, ended = told([*LED[:4], abort, *LED[2:]])
    assert [failover.outcome for failover in ended] == ["no good slave", "switched"]
    assert len(timeline.past) == 2


def test_a_master_that_comes_back_was_no_failover():
    """Nor one that is watched no longer; one that is led goes on."""
    for name in ("-sdown", "-monitor", "+reset-master"):
        timeline, ended = told([*LED[:2], (1015, name, MASTER)])
        assert not timeline.open
        assert not ended
    timeline, _ = told([*LED[:4], (1030, "-sdown", MASTER)])
    assert timeline.open["m"].outcome == ""


def test_what_is_not_about_the_master_begins_nothing():
    """A replica or a sentinel that is down, and notices without a master."""
    timeline, _ = told(
        [
            (1, "+sdown", REPLICA),
            (2, "+sdown", "sentinel abc 10.0.0.9 26379 @ m 10.0.0.1 6379"),
            (3, "+tilt", "#tilt mode entered"),
            (4, "+new-epoch", "7"),
            (5, "+switch-master", "m 10.0.0.1"),
            (6, "+sdown", "master"),
            (7, "+sdown", ""),
            (8, "+selected-slave", REPLICA),
        ]
    )
    assert not timeline.open
    assert not timeline.past


def test_what_is_kept_is_bounded():
    """Failovers, and the notices of one that never ends."""
    timeline, _ = told(LED * (MAX_KEPT + 5))
    assert len(timeline.past) == MAX_KEPT
    timeline, _ = told([*LED[:4], *[LED[8]] * (2 * MAX_MARKS), LED[9]])
    assert len(timeline.past[0].marks) == MAX_MARKS + 1
    assert timeline.past[0].outcome == "switched"


def test_the_shared_history_tells_what_others_led():
    """And what was before our start; what was led here is told as it was seen here."""
    history, past = Shared(), SharedPast()
    seen, _ = told([(at + 3, name, text) for at, name, text in (LED[0], LED[7])])
    history.write(LED[:2])
    assert [it.is_led for it in seen.told(past.read(history.now))] == [False]
    history.write(LED[2:])
    (from_history,) = seen.told(past.read(history.now))
    assert from_history.is_led
    assert from_history.started_at == 1000
    led, (own,) = told([(at + 3, name, text) for at, name, text in LED])
    assert led.told(past.read(history.now)) == [own]
    history.write(LED, later_ms=60_000)
    assert [it.started_at for it in led.told(past.read(history.now))] == [61_000, 1003]


def test_the_shared_history_is_read_once():
    """However often somebody asks; also what a snapshot brings, which is a history of its own."""
    history, past = Shared(), SharedPast()
    history.write(LED)
    assert [list(past.read(history.now)) for _ in range(2)] == [list(past.read(history.now))] * 2
    behind, ahead = Shared(), Shared()
    behind.write(LED)
    ahead.write(LED)
    ahead.write(LED, later_ms=60_000)
    reader = SharedPast()
    assert len(reader.read(behind.now)) == 1
    kept = chronicle.read(chronicle.dump(ahead.now)["history"])
    chronicle.install(behind.state, 9, kept)
    assert [it.started_at for it in reader.read(behind.now)] == [1000, 61_000]


def test_a_history_of_one_sentinel_is_not_the_past():
    """In classic mode it has what the timeline has seen itself."""
    history = Shared()
    history.write(LED)
    history.now.is_shared = False
    assert not SharedPast().read(history.now)


def test_without_a_shared_history_what_was_seen_is_told():
    """In classic mode there is no other."""
    timeline, (seen,) = told([LED[0], LED[7]])
    assert timeline.told(()) == [seen]
