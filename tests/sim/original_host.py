"""A model of redis-sentinel: what its peers, its Redis servers and its clients see of one.

It works in ticks, votes first come first served, says hello every two seconds and leads failovers
with the original's delays (Sentinel documentation; its state machine is known by its events). The
rule it guards: it is a peer to live with, not a judge. Where the original contradicts itself, as
with votes that it counts for another epoch than its attempt's, the model is the better one.
"""

from collections import Counter

from sentinel_py.resp import OK, Error, Simple

from .machine import PORT, Machine
from .original_state import (
    ASK_MS,
    DESYNC_MS,
    ELECTION_TIMEOUT_MS,
    HELLO_CHANNEL,
    INFO_FAST_MS,
    INFO_MS,
    LINK_PERIOD_MS,
    PING_MS,
    PUBLISH_MS,
    RECONF_TIMEOUT_MS,
    TILT_MS,
    TILT_TRIGGER_MS,
    Known,
    Phase,
    Reconf,
    Role,
    choose,
    read_info,
)
from .original_wire import Client, Link


class OriginalHost(Machine):
    """A machine with redis-sentinel on it. ``saved`` is its config file, written at each change."""

    def __init__(self, world, observer, number, layout, *, master):
        """``master`` is the one to watch: its name and its address."""
        super().__init__(world, observer, f"c{number}", f"10.0.0.{number}")
        self.layout = layout
        self.master_name, address = master
        self.saved = {
            "myid": f"{self.rng.getrandbits(160):040x}",
            "epoch": 0,
            "address": address,
            "config_epoch": 0,
            "leader_epoch": 0,
            "replicas": (),
            "peers": {},
        }

    def live(self, process):
        return OriginalLife(process, self)


class OriginalLife:
    """One life of the process. The state that is its own stands here, of others in `Known`."""

    has_halted = False

    def __init__(self, process, machine):
        self.process = process
        self.machine = machine
        self.name = machine.name
        self.loop = process.loop
        self.layout = machine.layout
        saved = machine.saved
        self.myid = saved["myid"]
        self.epoch = saved["epoch"]
        self.config_epoch = saved["config_epoch"]
        self.leader, self.leader_epoch = None, saved["leader_epoch"]
        now = self.now()
        self.master = Known(Role.MASTER, saved["address"], now)
        self.replicas = {at: Known(Role.REPLICA, at, now) for at in saved["replicas"]}
        self.peers = {it: Known(None, at, now) for it, at in saved["peers"].items()}
        self.is_odown = False
        self.phase = Phase.NONE
        self.phase_at = 0
        self.attempt_epoch = 0
        self.attempt_at = -(10**9)
        self.promoted = None
        self._tilt_at = None
        self._ticked_at = now
        machine.observer.started_original(self)
        self.loop.call_soon(self._begin)

    def _begin(self):
        network = self.process.network
        network.listen(self.process, lambda: Client(self), self.machine.host, PORT)
        self._tick()

    def now(self):
        return self.process.now_us // 1000

    def _say(self, name, text=""):
        self.machine.observer.original_notice(self, name, text)

    def _save(self):
        self.machine.saved = {
            "myid": self.myid,
            "epoch": self.epoch,
            "address": self.told_address,
            "config_epoch": self.config_epoch,
            "leader_epoch": self.leader_epoch,
            "replicas": tuple(self.replicas),
            "peers": {run_id: peer.address for run_id, peer in self.peers.items()},
        }

    # As others see it from above

    @property
    def told_address(self):
        """What clients and hellos are told: the promoted one as soon as it is promoted."""
        return self.promoted.address if self.phase is Phase.RECONF else self.master.address

    def belief(self, _name):
        return (*self.told_address, self.config_epoch)

    def known_replicas(self, _name):
        return set(self.replicas)

    def trouble(self, _name, peers, replicas):
        down = [it.address[0] for it in self._all() if it.is_down]
        troubles = (
            (len(self.peers) != peers, f"knows {len(self.peers)} peers"),
            (len(self.replicas) != replicas, f"knows replicas {sorted(self.replicas)}"),
            (self.phase is not Phase.NONE, "is failing over"),
            (down, f"sees down {down}"),
            (self._tilt_at is not None, "is in tilt"),
        )
        return next((text for is_so, text in troubles if is_so), None)

    # The tick

    def _all(self):
        return [self.master, *self.replicas.values(), *self.peers.values()]

    def _tick(self):
        self.loop.call_later(1 / (10 + self.machine.rng.randrange(10)), self._tick)
        now, before = self.now(), self._ticked_at
        self._ticked_at = now
        if now < before or now > before + TILT_TRIGGER_MS:
            self._tilt_at = now
            self._say("+tilt")
        elif self._tilt_at is not None and now >= self._tilt_at + TILT_MS:
            self._tilt_at = None
            self._say("-tilt")
        for it in self._all():
            self._attend(it, now)
        if self._tilt_at is not None:
            return
        for it in self._all():
            self._check_down(it, now)
        self._check_odown()
        if self._may_try(now):
            self._try(now)
        _PHASES[self.phase](self, now)
        self._ask_peers(now)

    def _attend(self, it, now):
        self._reconnect(it, now)
        if not it.is_connected:
            return
        is_urgent = it.link_down_ms or self.is_odown or self.phase is not Phase.NONE
        period_ms = INFO_FAST_MS if it.role is Role.REPLICA and is_urgent else INFO_MS
        if it.role and now >= it.info_at + period_ms and now >= it.info_asked_at + INFO_FAST_MS:
            it.info_asked_at = now
            it.link.ask(lambda reply: self._read_info(it, reply), "INFO")
        ping_ms = min(self.layout.down_after_ms, PING_MS)
        if now > it.ok_at + ping_ms and now > it.pinged_at + ping_ms // 2:
            self.ping(it)
        if now > it.hello_at + PUBLISH_MS and now > it.hello_asked_at + PING_MS:
            self._say_hello(it, now)

    def _reconnect(self, it, now):
        half_ms = self.layout.down_after_ms // 2
        is_silent = it.ping_since is not None and now > it.ping_since + half_ms
        if it.link and is_silent and now > it.linked_at + LINK_PERIOD_MS:
            it.link.close()
        for kind in ("link", "channel") if it.role else ("link",):
            if getattr(it, kind) is None and now >= it.tried_at.get(kind, 0) + PING_MS:
                it.tried_at[kind] = now
                it.linked_at = now
                Link(self, it, kind)
                it.ping_since = now if it.ping_since is None else it.ping_since

    def ping(self, it):
        it.pinged_at = now = self.now()
        it.ping_since = now if it.ping_since is None else it.ping_since
        it.link.ask(lambda reply: self._read_pong(it, reply), "PING")

    def _read_pong(self, it, reply):
        if reply == b"PONG" or str(reply).startswith(("LOADING", "MASTERDOWN")):
            it.ok_at = self.now()
            it.ping_since = None

    def _say_hello(self, it, now):
        it.hello_asked_at = now
        host, port = self.told_address
        fields = (
            *(self.machine.host, PORT, self.myid, self.epoch, self.machine.master_name),
            *(host, port, self.config_epoch),
        )
        payload = ",".join(map(str, fields))

        def delivered(reply):
            if isinstance(reply, int):
                it.hello_at = self.now()

        it.link.ask(delivered, "PUBLISH", HELLO_CHANNEL, payload)

    # Down

    def _check_down(self, it, now):
        silent_ms = now - it.ping_since if it.ping_since is not None else 0
        if it.link is None and it.ping_since is None:
            silent_ms = now - it.ok_at
        is_misplaced = (
            it is self.master
            and it.told_role is Role.REPLICA
            and now > it.role_at + self.layout.down_after_ms + 2 * INFO_MS
        )
        is_down = silent_ms > self.layout.down_after_ms or is_misplaced
        if is_down != it.is_down:
            it.is_down = is_down
            it.down_at = now if is_down else it.down_at
            self._say("+sdown" if is_down else "-sdown", it.address[0])

    def _check_odown(self):
        seen = 1 + sum(peer.says_down for peer in self.peers.values())
        is_odown = self.master.is_down and seen >= self.layout.quorum
        if is_odown != self.is_odown:
            self.is_odown = is_odown
            self._say("+odown" if is_odown else "-odown")

    def _ask_peers(self, now, *, is_forced=False):
        for peer in self.peers.values():
            if now > peer.answered_at + 5 * ASK_MS:
                peer.says_down, peer.leader = False, None
            is_due = is_forced or now >= max(peer.answered_at, peer.asked_at) + ASK_MS
            if self.master.is_down and peer.is_connected and is_due:
                peer.asked_at = now
                candidate = "*" if self.phase is Phase.NONE else self.myid
                epoch = self.epoch if self.phase is Phase.NONE else self.attempt_epoch
                words = "is-master-down-by-addr", *self.master.address, epoch, candidate
                peer.link.ask(
                    lambda reply, it=peer: self._read_answer(it, reply),
                    *("SENTINEL", *map(str, words)),
                )

    def _read_answer(self, peer, reply):
        match reply:
            case [int(down), bytes(leader), int(epoch)]:
                peer.answered_at = self.now()
                peer.says_down = down == 1
                if leader != b"*":
                    peer.leader, peer.leader_epoch = leader.decode(), epoch

    # Election

    def _may_try(self, now):
        rest_ms = 2 * self.layout.failover_timeout_ms
        return self.is_odown and self.phase is Phase.NONE and now >= self.attempt_at + rest_ms

    def _try(self, now):
        self._enter(Phase.WAIT_START, now)
        self.epoch += 1
        self.attempt_epoch = self.epoch
        self.attempt_at = now + self.machine.rng.randrange(DESYNC_MS)
        self._save()
        self._say("+try-failover", str(self.epoch))
        self._ask_peers(now, is_forced=True)

    def _enter(self, phase, now):
        self.phase, self.phase_at = phase, now

    def vote(self, epoch, candidate):
        """First come, first served: one vote per epoch, saved before it is told."""
        if epoch > self.epoch:
            self.epoch = epoch
            self._save()
        if self.leader_epoch < epoch and self.epoch <= epoch:
            self.leader, self.leader_epoch = candidate, epoch
            self._save()
            self.machine.observer.original_voted(self, epoch, candidate)
            if candidate != self.myid:
                self.attempt_at = self.now() + self.machine.rng.randrange(DESYNC_MS)

    def _count_votes(self, now):
        cast = [it.leader for it in self.peers.values() if it.leader_epoch == self.attempt_epoch]
        votes = Counter(leader for leader in cast if leader)
        self.vote(self.attempt_epoch, max(votes, key=votes.get) if votes else self.myid)
        if self.leader_epoch == self.attempt_epoch and self.leader:
            votes[self.leader] += 1
        needed = max((1 + len(self.peers)) // 2 + 1, self.layout.quorum)
        if votes[self.myid] >= needed:
            self.machine.observer.original_elected(self, self.attempt_epoch)
            self._enter(Phase.SELECT, now)
        elif now > self.attempt_at + min(ELECTION_TIMEOUT_MS, self.layout.failover_timeout_ms):
            self._abort("-failover-abort-not-elected")

    def _abort(self, text):
        self._say(text)
        self.phase, self.promoted = Phase.NONE, None

    # Failover

    def _select(self, now):
        chosen = choose(self.replicas.values(), self.master, now, self.layout.down_after_ms)
        if chosen is None:
            self._abort("-failover-abort-no-good-slave")
            return
        self.promoted = chosen
        self._say("+selected-slave", chosen.address[0])
        self._enter(Phase.SEND, now)

    def _send_promotion(self, now):
        if self.promoted.is_connected:
            self._point(self.promoted, ("NO", "ONE"))
            self._enter(Phase.WAIT_PROMOTION, now)
            self._say("+failover-state-wait-promotion", self.promoted.address[0])
        else:
            self._give_up_in_time(now)

    def _give_up_in_time(self, now):
        if now > self.phase_at + self.layout.failover_timeout_ms:
            self._abort("-failover-abort-slave-timeout")

    def _point(self, it, target):
        """The transaction that makes a server follow another, or nobody."""
        for words in (
            *(("MULTI",), ("SLAVEOF", *map(str, target)), ("CONFIG", "REWRITE")),
            *(("CLIENT", "KILL", "TYPE", kind) for kind in ("normal", "pubsub")),
            ("EXEC",),
        ):
            it.link.ask(lambda _reply: None, *words)

    def _was_promoted(self, now):
        self.config_epoch = self.attempt_epoch
        self._enter(Phase.RECONF, now)
        self._save()
        self.machine.observer.original_located(self)
        self._say("+promoted-slave", self.promoted.address[0])
        for it in self._all():
            it.hello_at = 0

    def _reconfigure(self, now):
        if self.promoted.is_down:
            return
        others = [it for it in self.replicas.values() if it is not self.promoted]
        busy = sum(it.reconf in (Reconf.SENT, Reconf.IN_PROGRESS) for it in others)
        for it in others:
            if it.reconf is Reconf.SENT and now > it.reconf_at + RECONF_TIMEOUT_MS:
                it.reconf = Reconf.DONE
            if busy < self.layout.parallel_syncs and it.reconf is Reconf.NONE and it.is_connected:
                self._point(it, self.promoted.address)
                it.reconf, it.reconf_at = Reconf.SENT, now
                busy += 1
                self._say("+slave-reconf-sent", it.address[0])
        is_late = now > self.phase_at + self.layout.failover_timeout_ms
        if is_late or all(it.reconf is Reconf.DONE or it.is_down for it in others):
            self._say("+failover-end")
            self._switch(self.promoted.address)

    def _switch(self, address):
        """Watch another address; the old one becomes a replica, and all is found out anew."""
        self._say("+switch-master", f"{self.master.address[0]} {address[0]}")
        now = self.now()
        wheres = {*self.replicas, self.master.address} - {address}
        for it in (self.master, *self.replicas.values()):
            it.close()
        self.master = Known(Role.MASTER, address, now)
        self.replicas = {at: Known(Role.REPLICA, at, now) for at in sorted(wheres)}
        self.is_odown = False
        self.phase, self.promoted = Phase.NONE, None
        self.attempt_at = -(10**9)
        self._save()

    # What others say

    def _read_info(self, it, reply):
        if not isinstance(reply, bytes):
            return
        now = self.now()
        for address in read_info(it, reply, now):
            if it is self.master and address not in self.replicas:
                self.replicas[address] = Known(Role.REPLICA, address, now)
                self._save()
        if self._tilt_at is not None or it is self.master:
            return
        if it.told_role is Role.MASTER:
            if it is self.promoted and self.phase is Phase.WAIT_PROMOTION:
                self._was_promoted(now)
            elif it is not self.promoted and self._is_at_rest(it, it.role_at, 4 * PUBLISH_MS):
                self._say("+convert-to-slave", it.address[0])
                self._point(it, self.master.address)
        else:
            self._read_progress(it)
            rest_ms = self.layout.failover_timeout_ms
            is_elsewhere = it.master_address != self.master.address and it.reconf is Reconf.NONE
            if is_elsewhere and self._is_at_rest(it, it.moved_at, rest_ms):
                self._say("+fix-slave-config", it.address[0])
                self._point(it, self.master.address)

    def _is_at_rest(self, it, since, rest_ms):
        """Whether a replica is where it is for long enough, under a master that looks sane."""
        now, master = self.now(), self.master
        is_sane = master.told_role is Role.MASTER and not master.is_down
        is_fresh = now < master.info_at + 2 * INFO_MS
        return is_sane and is_fresh and now > since + rest_ms and now > it.down_at + rest_ms

    def _read_progress(self, it):
        if self.phase is not Phase.RECONF:
            return
        if it.reconf is Reconf.SENT and it.master_address == self.promoted.address:
            it.reconf = Reconf.IN_PROGRESS
        if it.reconf is Reconf.IN_PROGRESS and it.master_link_up:
            it.reconf = Reconf.DONE

    def hear(self, payload):
        """A hello, from a channel or from a peer itself."""
        host, port, run_id, epoch, name, ip, master_port, config_epoch = payload.split(",")
        if run_id == self.myid or name != self.machine.master_name:
            return
        self._meet(run_id, (host, int(port)))
        if int(epoch) > self.epoch:
            self.epoch = int(epoch)
            self._save()
        if int(config_epoch) > self.config_epoch:
            self.config_epoch = int(config_epoch)
            address = ip, int(master_port)
            if address != self.told_address or self.phase is Phase.RECONF:
                self._switch(address)
            self.machine.observer.original_located(self)

    def _meet(self, run_id, address):
        known = self.peers.get(run_id)
        if known and known.address == address:
            return
        for other, peer in list(self.peers.items()):
            if other == run_id or peer.address == address:
                peer.close()
                del self.peers[other]
        self.peers[run_id] = Known(None, address, self.now())
        self._save()

    # Its own clients

    def answer(self, words):
        name, *args = words
        match name.lower(), *args[:1]:
            case "ping", *_:
                return Simple("PONG")
            case "publish", _:
                self.hear(args[1])
                return 1
            case "client", *_:
                return OK
            case "sentinel", word:
                return self._answer_sentinel(word.lower(), args[1:])
        return Error(f"ERR unknown command '{name}'")

    def _answer_sentinel(self, word, args):
        if word == "get-master-addr-by-name":
            return [str(it).encode() for it in self.told_address]
        if word != "is-master-down-by-addr":
            return Error(f"ERR Unknown subcommand or wrong number of arguments for '{word}'")
        host, port, epoch, candidate = args
        if (host, int(port)) != self.master.address:
            return [0, b"*", 0]
        down = int(self.master.is_down and self._tilt_at is None)
        if candidate == "*":
            return [down, b"*", 0]
        self.vote(int(epoch), candidate)
        return [down, (self.leader or "*").encode(), self.leader_epoch]


_PHASES = {
    Phase.NONE: lambda _life, _now: None,
    Phase.WAIT_START: OriginalLife._count_votes,
    Phase.SELECT: OriginalLife._select,
    Phase.SEND: OriginalLife._send_promotion,
    Phase.WAIT_PROMOTION: OriginalLife._give_up_in_time,
    Phase.RECONF: OriginalLife._reconfigure,
}
