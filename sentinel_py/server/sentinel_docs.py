"""What SENTINEL HELP and COMMAND DOCS say about the SENTINEL subcommands. Texts only."""

from __future__ import annotations

from sentinel_py.server.commands import Docs

_PER_MASTER = "O(N) where N is the number of monitored masters"
_PER_REPLICA = "O(N) where N is the number of replicas"
_PER_PEER = "O(N) where N is the number of Sentinels"
_PER_INSTANCE = "O(N) where N is the number of instances"
_PER_PARAMETER = "O(N) where N is the number of configurable parameters"


def _docs(summary: str, since: str, arguments: str = "", complexity: str = "O(1)") -> Docs:
    return Docs(summary, since, "sentinel", complexity, arguments)


CONTAINER = _docs("All about the watched masters.", "2.8.4", complexity="Depends on subcommand.")

_MASTER = "master-name"
_QUESTION = "ip port:integer current-epoch:integer runid"

SUBCOMMANDS = {
    "admit": _docs(
        "Lets a foreign instance be made a replica, and its data be overwritten.",
        "7.2.0",
        f"{_MASTER} ip port:integer",
    ),
    "ckquorum": _docs("Tells whether a failover could be authorized now.", "2.8.4", _MASTER),
    "config": _docs(
        "Shows or changes global parameters.",
        "6.2.0",
        "<SET <parameter value> ...>|<GET parameter ...>",
    ),
    "debug": _docs(
        "Shows or changes time constants.", "7.0.0", "[<parameter value> ...]", _PER_PARAMETER
    ),
    "explain": _docs("Tells why a master is or is not failed over.", "7.2.0", _MASTER),
    "failover": _docs(
        "Replaces a master by a replica at once.", "2.8.4", f"{_MASTER} [COORDINATED|FORCE-STALE]"
    ),
    "flushconfig": _docs("Writes the configuration file now.", "2.8.4"),
    "get-master-addr-by-name": _docs("Tells where clients find a master.", "2.8.4", _MASTER),
    "get-primary-addr-by-name": _docs("Tells where clients find a primary.", "8.0.0", _MASTER),
    "help": _docs("Describes the subcommands.", "6.2.0"),
    "info-cache": _docs(
        "Shows the latest INFO of masters and replicas.", "3.2.0", f"{_MASTER} ...", _PER_INSTANCE
    ),
    "is-master-down-by-addr": _docs("Tells a peer if a master is down.", "2.8.4", _QUESTION),
    "is-primary-down-by-addr": _docs("Tells a peer if a primary is down.", "8.0.0", _QUESTION),
    "master": _docs("Shows the state of a master.", "2.8.4", _MASTER),
    "masters": _docs("Shows the state of every master.", "2.8.4", complexity=_PER_MASTER),
    "monitor": _docs("Watches a new master.", "2.8.4", "name ip port:integer quorum:integer"),
    "myid": _docs("Tells the id of this Sentinel.", "6.2.0"),
    "pending-scripts": _docs("Lists the scripts that run or wait.", "2.8.4"),
    "primaries": _docs("Shows the state of every primary.", "8.0.0", complexity=_PER_MASTER),
    "primary": _docs("Shows the state of a primary.", "8.0.0", _MASTER),
    "remove": _docs("Watches a master no longer.", "2.8.4", _MASTER),
    "replicas": _docs("Shows the state of a master's replicas.", "5.0.0", _MASTER, _PER_REPLICA),
    "reset": _docs(
        "Forgets the replicas and peers of masters.", "2.8.4", "pattern:pattern", _PER_MASTER
    ),
    "sentinels": _docs("Shows the state of a master's Sentinels.", "2.8.4", _MASTER, _PER_PEER),
    "set": _docs(
        "Changes options of a master, on all Raft members or here only (a quorum of its own lets "
        "this Sentinel replace a master that nobody else has lost).",
        "2.8.4",
        f"{_MASTER} <[LOCAL] <option value> ...|LOCAL UNSET option ...>",
    ),
    "simulate-failure": _docs(
        "Lets the next failover crash this Sentinel.",
        "3.2.0",
        "[CRASH-AFTER-ELECTION|CRASH-AFTER-PROMOTION|HELP] ...",
    ),
    "slaves": _docs("Shows the state of a master's replicas.", "2.8.0", _MASTER, _PER_REPLICA),
}

HELP_LINES = (
    "CKQUORUM <master-name>",
    "    Tell whether enough Sentinels are usable now to agree that the master is",
    "    down (the quorum) and to authorize a failover of it (the majority of all",
    "    that are known).",
    "CONFIG SET <param> <value> [<param> <value> ...]",
    "    Change global parameters: all of them, or none if one is wrong.",
    "CONFIG GET <param> [<param> <param> ...]",
    "    Show the global parameters that match the patterns.",
    "DEBUG [<param> <value> ...]",
    "    Show the time constants and their values in milliseconds, or change one or",
    "    more of them until the next start.",
    "GET-MASTER-ADDR-BY-NAME <master-name>",
    "    Tell the address and port where clients find this master.",
    "FAILOVER <master-name>",
    "    Replace a master by one of its replicas at once, whether it is down or not,",
    "    and without the consent of other Sentinels.",
    "FLUSHCONFIG",
    "    Write the configuration file now, with all that this Sentinel has learned",
    "    and decided.",
    "INFO-CACHE <master-name>",
    "    Show the latest INFO of a master and of each of its replicas.",
    "IS-MASTER-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
    "    Tell whether this Sentinel sees the master at that address down, and vote",
    "    if asked to. Sentinels send this to each other.",
    "MASTER <master-name>",
    "    Show what is known about one master.",
    "MASTERS",
    "    Show what is known about each master.",
    "MONITOR <name> <ip> <port> <quorum>",
    "    Watch a new master under this name, at this address and with this quorum.",
    "MYID",
    "    Tell the id of this Sentinel.",
    "PENDING-SCRIPTS",
    "    List the scripts that run or wait to run.",
    "REMOVE <master-name>",
    "    Watch this master no longer.",
    "REPLICAS <master-name>",
    "    Show what is known about each replica of a master.",
    "RESET <pattern>",
    "    Forget all replicas and peers of the masters whose names match the pattern.",
    "SENTINELS <master-name>",
    "    Show what is known about each other Sentinel that watches a master.",
    "SET <master-name> <option> <value> [<option> <value> ...]",
    "    Change options of a master; with LOCAL in front of them, here only.",
    "SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]",
    "    Have this Sentinel crash in its next failover.",
)
