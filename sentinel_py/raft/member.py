"""This sentinel as a member of a Raft cluster, or on its way into one.

Joins the parts: who we are (`identity`), whom we talk to (`peers`), the way in (`seeking`), what
operators change (`changes`), and the engine with the core behind it (`driver`). The rules guarded:
what was promised is on disk before it is said; a sentinel that is to be a member casts no vote that
is not in the log; one that was removed stays silent until it is added again, under a new id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Protocol

from sentinel_py import tasks
from sentinel_py.core import members, snapshot
from sentinel_py.core.messages import (
    GiveLead,
    Input,
    Installed,
    Level,
    Notice,
    ProposalEnded,
    Propose,
    Tell,
)
from sentinel_py.core.model import History, Raft, State
from sentinel_py.links import LinkOptions
from sentinel_py.raft import addresses, formation
from sentinel_py.raft.adapters import LibraryError
from sentinel_py.raft.answers import Answers
from sentinel_py.raft.changes import Changes
from sentinel_py.raft.driver import Driver
from sentinel_py.raft.files import Files, RaftError, Storage, waiting_for_disk
from sentinel_py.raft.handshake import Introduction, is_secret, stretched
from sentinel_py.raft.identity import Identity, Phase
from sentinel_py.raft.journal import JournalDamagedError
from sentinel_py.raft.peers import Peers
from sentinel_py.raft.questions import MEMBERS_MAX, Answer, AskStanding, Question, Standing
from sentinel_py.raft.seeking import Seeker

LOOK_EVERY_S = 1.0
"""Addresses that are not known yet, and whether we were removed, are asked for this often."""

OPEN_TO_ALL_TEXT = (
    "{address} is another host, and there is no raft-secret: whoever reaches this port could pass "
    "for a member. Say 'sentinel raft-secret <text>' in the file of each member, the same text, or "
    "'sentinel raft-secret none' to go without."
)
_REMOVED_TEXT = (
    "Raft: this sentinel was removed from cluster {cluster}. It neither votes nor leads until "
    "SENTINEL RAFT ADD on a member of a cluster takes it in again."
)
_LOST_TEXT = (
    "Raft: the config file is that of a member, and nothing of its log is in {name}. What the "
    "directive dir names must outlive restarts."
)


class Host(Protocol):
    """The sentinel around the member."""

    @property
    def state(self) -> State: ...
    def now(self) -> int: ...
    def feed(self, event: Input) -> None: ...
    def held_up(self, ms: int) -> None:
        """Take note that the loop has just waited so long for a disk."""

    def save_state(self) -> bool: ...
    def notice(self, notice: Notice) -> None: ...
    def log(self, level: Level, text: str) -> None: ...


class Member:
    """All of Raft that is not the engine's."""

    def __init__(self, host: Host, storage: Storage, options: LinkOptions, rng: Random) -> None:
        self.host = host
        self.boot = secrets.token_hex(8)
        self.peers = Peers(self, options, rng)
        self.changes = Changes(self)
        self.driver: Driver | None = None
        self._files = Files(
            storage, lambda text: self.log(Level.WARNING, text), partial(waiting_for_disk, host)
        )
        self._rng = rng
        self._seeker = Seeker(self)
        self._answers = Answers(self)
        self._visited: set[str] = set()  # addresses that an order needs, members or not
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        self._is_asking = False  # members whether we were removed
        self._check_secret()
        if self.identity:
            self.state.myid = self.identity.run_id
        self.phase = self._settled_phase()
        if not self._works_as_classic():
            self._enter_raft_mode()
        if self.phase is Phase.MEMBER:
            if not self.state.raft_applied:
                members.leave_log(self.state, is_founder=False)
                self._forget_epochs()
            self.driver = self._engine_room()
        # Whether the config file may stand for entries of a log that is not, or not yet, ours.
        self._file_has_log = self.driver is not None or self.state.raft_applied > 0

    def _check_secret(self) -> None:
        """Refuse to start where another host could pass for a member, unless that is wanted.

        Make the key now, too: it takes as long as many requests, and no stream should wait for it.
        """
        secret = self.state.settings.raft_secret
        outside = [it for it in self.places() if not addresses.is_loopback(it)]
        if outside and not secret:
            raise RaftError(OPEN_TO_ALL_TEXT.format(address=outside[0]))
        stretched(secret)

    def _settled_phase(self) -> Phase:
        if self.identity is None:
            return Phase.SEEKING if self.state.settings.raft_peers else Phase.CLASSIC
        return self.identity.phase

    def _works_as_classic(self) -> bool:
        by_order = self.identity is not None and self.identity.by_order
        return self.phase is Phase.CLASSIC or (self.phase is Phase.PREPARED and by_order)

    def _engine_room(self) -> Driver:
        try:
            with waiting_for_disk(self.host):
                return Driver(self, self._files.disk, self._rng)
        except (JournalDamagedError, LibraryError, OSError) as error:
            raise RaftError(f"{self._files.name}: {error}") from None

    # What others read

    @property
    def state(self) -> State:
        return self.host.state

    @property
    def run_id(self) -> str:
        return self.state.myid

    @property
    def identity(self) -> Identity | None:
        return self._files.identity

    @property
    def cluster(self) -> str:
        return self.identity.cluster if self.identity and self.phase is Phase.MEMBER else ""

    @property
    def listed(self) -> list[str]:
        """The addresses that are to be a cluster; those of a promise outlive the directive."""
        listed = self.state.settings.raft_peers
        promised = self.identity if self.phase is Phase.PREPARED else None
        if not listed and promised and not promised.by_order:
            return list(promised.addresses.values())
        return listed

    @property
    def own_address(self) -> str:
        """Where others reach us, as far as we know; empty if we do not."""
        if own := self.state.settings.raft_self:
            return own
        if self.identity and self.run_id in self.identity.addresses:
            return self.identity.addresses[self.run_id]
        return next((it for it in self.listed if self.peers.found_at(it) == self.run_id), "")

    def found_at(self, address: str) -> str | None:
        """The id of the sentinel at this address, as far as it is known."""
        return self.run_id if address == self.own_address else self.peers.found_at(address)

    @property
    def addresses(self) -> dict[str, str]:
        """The members' addresses by id, as far as they are known."""
        known = self.identity.addresses if self.identity else {}
        members = self.driver.status.members if self.driver else ()
        if self.run_id not in members:
            # Who was just adopted knows the founders from its journal, who may all be gone, and
            # who is a member now from the leader only.
            return dict(known)
        return {run_id: known.get(run_id, "") for run_id in members}

    @property
    def found_ids(self) -> tuple[str, ...]:
        """The ids behind ``raft-peers``, once all are known."""
        return self._seeker.found_ids

    @property
    def waiting_for(self) -> str:
        """What keeps us out of a cluster; empty once we are in one, or are to be in none."""
        return self._seeker.said if self.phase in (Phase.SEEKING, Phase.PREPARED) else ""

    @property
    def is_founding(self) -> bool:
        return self._seeker.is_founding

    @property
    def known_peers(self) -> tuple[str, ...]:
        """Ids of sentinels that watch a master with us; one more than a cluster has tells all."""
        ids = {run_id for master in self.state.masters.values() for run_id in master.peers}
        return tuple(sorted(ids)[: MEMBERS_MAX + 1])

    @property
    def leads_failover(self) -> bool:
        return any(master.failover for master in self.state.masters.values())

    @property
    def leader(self) -> str | None:
        return self.driver.status.leader if self.driver else None

    def log(self, level: Level, text: str) -> None:
        self.host.log(level, text)

    # Start and end

    def start(self) -> None:
        self._explain_start()
        if self.driver:
            self.driver.start()
        self._dial()
        self._seek()
        self.spawn(self._look_around())

    async def stop(self) -> None:
        """End; leadership is handed over first, if somebody takes it soon."""
        if self.driver and not self._is_stopped:
            await self.driver.hand_over()
        self.close()

    def close(self) -> None:
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()
        self.peers.close()
        if self.driver:
            self.driver.close()
        self._files.close()

    def note_fault(self, error: BaseException) -> None:
        """The process is about to end for this bug. What cannot be noted then is not."""
        if self.driver:
            with suppress(OSError):
                self.driver.note_fault(error)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run this beside everything else, until it ends or we do."""
        tasks.spawn(work, self._tasks)

    def _enter_raft_mode(self) -> None:
        if self.state.raft is None:
            applied = self.state.raft_applied if self.phase is Phase.MEMBER else 0
            self.state.raft = Raft(self.boot, applied=applied)

    def _explain_start(self) -> None:
        """Tell the log what the operator may have meant otherwise."""
        listed = self.listed
        if self.phase is Phase.REMOVED:
            self.log(Level.WARNING, _REMOVED_TEXT.format(cluster=self.identity_text))
        elif self.phase is Phase.MEMBER and set(listed) != set(self.addresses.values()):
            self.log(Level.WARNING, self._list_text(listed))
        elif self.phase is Phase.SEEKING and self.state.raft_applied:
            self.log(Level.WARNING, _LOST_TEXT.format(name=self._files.name))
        if listed and (text := formation.advice(len(listed))):
            self.log(Level.WARNING, text)

    @property
    def identity_text(self) -> str:
        return self.identity.cluster if self.identity else ""

    def _list_text(self, listed: list[str]) -> str:
        addresses = set(self.addresses.values())
        kept = len(addresses.intersection(listed))
        loss = " It would drop the majority." if kept <= len(addresses) // 2 else ""
        return (
            f"raft-peers differs from the members of Raft cluster {self.cluster}, which are "
            f"{' '.join(sorted(addresses))}.{loss} The list changes nothing: use SENTINEL RAFT ADD "
            "and REMOVE."
        )

    # Into the cluster, and out of it

    def _seek(self) -> None:
        if self.phase in (Phase.SEEKING, Phase.PREPARED):
            self.spawn(self._seeker.run())

    def promise(self, identity: Identity) -> bool:
        """Put on disk that we will be in this cluster; False if the disk does not take it."""
        is_idle = self.phase is Phase.CLASSIC
        if not self._files.keep(identity):
            return False
        self.phase = Phase.PREPARED
        self._dial()
        if is_idle:
            self._seek()
        return True

    def forget_promise(self) -> None:
        """The cluster that an operator has begun will not be. A listed one may still come."""
        if self.phase is Phase.PREPARED and self.identity and self.identity.by_order:
            self._files.forget()
            self.phase = Phase.CLASSIC
            self._dial()

    def take_place(self, standing: Standing) -> None:
        """Take the place that a cluster has for us; we have never been there before."""
        identity = Identity(
            phase=Phase.MEMBER,
            run_id=self.run_id,
            cluster=standing.cluster,
            founder="",
            founders=standing.founders,
            addresses=standing.members,
        )
        if self.become(identity):
            self.begin_anew()

    def change_id(self) -> None:
        """Go on under a new id: what was promised under the old one is lost."""
        self._take_new_id()
        self.peers.restart()

    def _take_new_id(self) -> None:
        self.state.former_ids.add(self.state.myid)
        self.state.myid = secrets.token_hex(20)
        self.host.save_state()

    def become(self, identity: Identity) -> bool:
        """Be a member from now on; one that is no founder waits until the leader has added it."""
        if not (self._begin_log(identity) and self._files.keep_member(identity)):
            return False
        self._forget_epochs()
        self.phase = Phase.MEMBER
        self.log(Level.WARNING, f"Raft: member {self.run_id} of cluster {identity.cluster}")
        self.driver = self._engine_room()
        self.driver.start()
        self.members_changed()
        return True

    def _begin_log(self, identity: Identity) -> bool:
        """Make the configuration stand for no entry, whatever log it has stood for.

        A file that never stood for any need not be saved, and maybe cannot be.
        """
        state = self.state
        state.raft_applied = 0
        state.history = History()
        self._enter_raft_mode()
        assert state.raft
        state.raft.applied = 0
        members.leave_log(state, is_founder=identity.run_id in identity.founders)
        is_clean = self.host.save_state() or not self._file_has_log
        self._file_has_log = True
        return is_clean

    def _forget_epochs(self) -> None:
        """Have epochs and votes begin as on all members, once our disk has us as one.

        The log is to begin behind the latest: we may have voted in it, as redis-sentinel does.
        """
        state = self.state
        assert state.raft
        masters = state.masters.values()
        known = [it for master in masters for it in (master.config_epoch, master.leader_epoch)]
        state.raft.floor_epoch = max([state.raft.floor_epoch, state.current_epoch, *known])
        state.current_epoch = 0
        for master in masters:
            master.leader, master.leader_epoch = None, 0
            master.config_epoch = 0 if master.is_carried else master.config_epoch

    def begin_anew(self) -> None:
        """Start all streams again under our new standing, once what is being said is out."""
        asyncio.get_running_loop().call_soon(self.peers.restart)

    def leave(self) -> None:
        """We were removed: no vote from here on, and no leadership."""
        if self.phase is not Phase.MEMBER or self.identity is None:
            return
        cluster = self.cluster
        self._files.keep(self.identity.at(Phase.REMOVED))
        self.phase = Phase.REMOVED
        if self.driver:
            self.driver.abandon()
            self.driver = None
        self.host.notice(Notice(Level.WARNING, "-raft-member", self.run_id))
        self.log(Level.WARNING, _REMOVED_TEXT.format(cluster=cluster))
        self._dial()

    def forget_past(self, cluster: str) -> None:
        """Be ready to join this cluster. It may have voted as who it was, so not under its id."""
        raft = self.state.raft
        assert self.identity
        assert raft
        if self.identity.cluster != cluster:
            # No entry of this cluster's log would ever end what one of another log has begun.
            nothing = snapshot.dump(replace(self.state, masters={}))
            self.host.feed(Installed(raft.applied + 1, nothing))
        self._files.forget()
        self.phase = self._settled_phase()
        self._take_new_id()

    # Addresses

    def visit(self, address: str) -> None:
        """Dial this address, too, until `depart`."""
        self._visited.add(address)
        self._dial()

    def depart(self, address: str) -> None:
        self._visited.discard(address)
        self._dial()

    def _dial(self) -> None:
        wanted = dict.fromkeys(self._visited)
        if self.phase is Phase.SEEKING or self.phase is Phase.PREPARED:
            wanted |= dict.fromkeys(self.listed)
        if self.phase in (Phase.PREPARED, Phase.MEMBER):
            wanted |= dict.fromkeys(it for it in self.addresses.values() if it)
        if self.phase is Phase.MEMBER:
            # Raft's thesis, 4.1: candidates and leaders are answered, members by our log or not. It
            # may end with their removal, which the others never got, and they must tell us so.
            wanted |= dict.fromkeys(self.peers.callers())
        own = self.own_address if self.phase is Phase.MEMBER else self.state.settings.raft_self
        self.peers.dial(it for it in wanted if it != own)

    def members_changed(self) -> None:
        """Bring the addresses on disk, the streams and ``raft-peers`` in line with the members."""
        assert self.identity
        known = self.identity.addresses
        addresses = {it: known.get(it) or self.peers.announced(it) for it in self.addresses}
        if own := self.own_address:
            addresses[self.run_id] = own
        if addresses != known:
            self._files.keep(replace(self.identity, addresses=addresses))
        self._dial()
        listed = list(addresses.values())
        if all(listed) and set(listed) != set(self.state.settings.raft_peers):
            self.state.settings.raft_peers = listed
            self.host.save_state()

    def learn_address(self, run_id: str, address: str) -> None:
        assert self.identity
        known = {**self.identity.addresses, run_id: address}
        self._files.keep(replace(self.identity, addresses=known))
        self.members_changed()

    def places_of_members(self) -> tuple[tuple[str, str, int, str], ...]:
        """The members by id, each with host, port and the ip that the host stands for."""
        places = {it: at for it, at in self.addresses.items() if at}
        if own := self.own_address:
            places[self.run_id] = own
        return tuple(
            (it, *addresses.split(at), self.peers.ip_of(at)) for it, at in sorted(places.items())
        )

    def why_alone(self) -> str:
        """What is said where members are not reached."""
        away = [
            f"{at or run_id} ({self.peers.trouble_at(at) or 'not connected'})"
            for run_id, at in sorted(self.addresses.items())
            if run_id != self.run_id and not self.peers.is_connected(run_id)
        ]
        return f"not reached: {', '.join(away)}" if away else "the members elect a leader"

    def address_of(self, run_id: str) -> str:
        """Where this sentinel is or was reached; empty if that is not known."""
        known = self.identity.addresses.get(run_id) if self.identity else None
        return known or self.peers.announced(run_id)

    def is_up(self, run_id: str) -> bool:
        """Whether this member can be told something now."""
        return self.peers.is_connected(run_id)

    async def found(self, members: dict[str, str]) -> str:
        """Found a cluster of these by an operator's order; empty, or why there is none."""
        return await self._seeker.found(members, by_order=True)

    async def _look_around(self) -> None:
        """What no message brings up: addresses of members that are new to us, and our removal."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.phase is Phase.MEMBER and self.driver:
                if not all(self.addresses.values()):
                    await self._ask_for_addresses()
                elif self.driver.is_lonely:
                    await self._ask_for_removal()

    async def _ask_for_addresses(self) -> None:
        for run_id in self.addresses:
            answer = await self.peers.ask(run_id, AskStanding())
            if isinstance(answer, Standing) and answer.cluster == self.cluster and self.identity:
                known = {it: at for it, at in answer.members.items() if at}
                merged = {**known, **{it: at for it, at in self.addresses.items() if at}}
                self._files.keep(replace(self.identity, addresses=merged))
        self.members_changed()

    def ask_for_removal(self) -> None:
        """See whether we were removed, as somebody says; once at a time."""
        if not self._is_asking:
            self._is_asking = True
            self.spawn(self._ask_for_removal())

    async def _ask_for_removal(self) -> None:
        try:
            await self._ask_members_for_removal()
        finally:
            self._is_asking = False

    async def _ask_members_for_removal(self) -> None:
        for run_id in self.addresses:
            answer = await self.peers.ask(run_id, AskStanding())
            if not isinstance(answer, Standing) or answer.cluster != self.cluster:
                continue
            known = (*answer.members, *answer.joining)
            if answer.leader == answer.run_id and self.run_id not in known:
                self.leave()
                return

    # Owner: what the streams need and bring

    def asked(self, run_id: str, question: Question) -> Answer | asyncio.Future[Answer]:
        return self._answers.asked(run_id, question)

    def introduction(self) -> Introduction:
        return Introduction(self.run_id, self.boot, self.cluster, self.own_address)

    def secret(self) -> str:
        return self.state.settings.raft_secret

    def takes_part(self) -> bool:
        is_named = bool(self.listed) or is_secret(self.secret())
        return is_named or self.phase is not Phase.CLASSIC

    def knows(self, run_id: str) -> bool:
        told = self.identity.addresses if self.identity else {}
        return run_id in self.addresses or run_id in told

    def places(self) -> list[str]:
        told = self.identity.addresses.values() if self.identity else ()
        return [it for it in (*self.state.settings.raft_peers, *self._visited, *told) if it]

    def login(self) -> tuple[str, ...]:
        """As links to peers log in."""
        settings = self.state.settings
        if settings.sentinel_pass:
            user = (settings.sentinel_user,) if settings.sentinel_user else ()
            return "AUTH", *user, settings.sentinel_pass
        return ("AUTH", settings.own_pass) if settings.own_pass else ()

    def met(self, peer: Introduction) -> None:
        if self.identity is None or not peer.address or self.phase is not Phase.MEMBER:
            return
        if self.addresses.get(peer.run_id, peer.address) != peer.address:
            self.learn_address(peer.run_id, peer.address)
        elif peer.run_id not in self.addresses:
            self._dial()

    def parted(self, peer: Introduction) -> None:
        if self.phase is Phase.MEMBER and peer.run_id not in self.addresses:
            self._dial()

    def connected(self, run_id: str) -> None:
        if self.driver:
            self.driver.connected(run_id)

    def disconnected(self, run_id: str) -> None:
        if self.driver:
            self.driver.disconnected(run_id)

    def died(self, run_id: str) -> None:
        if self.driver:
            self.driver.died(run_id)

    def received(self, run_id: str, message: bytes) -> None:
        if self.driver:
            self.driver.receive(run_id, message)

    # What the core wants

    def propose(self, effect: Propose) -> None:
        if self.driver:
            self.driver.propose(effect)
        else:
            ended = ProposalEnded(effect.entry_id, certain=True)
            asyncio.get_running_loop().call_soon(self.host.feed, ended)

    def tell(self, effect: Tell) -> None:
        if self.driver:
            self.driver.tell(effect)

    def give_lead(self, effect: GiveLead) -> None:
        if self.driver:
            self.driver.give_lead(effect.run_id)
