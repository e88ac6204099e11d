"""The kinds of worlds in which simulated Raft clusters live."""

from dataclasses import dataclass, field

from sentinel_py.raft.guarded import LAN, timing_of


@dataclass
class Options:
    """What kind of world it is. ``faults`` has a weight for each thing that may go wrong."""

    hosts: int = 3
    run_ms: int = 6_000
    quiet_ms: int = 6_000
    propose_ms: int = 20
    fault_ms: int = 400
    delay_us: tuple = (100, 2_000)
    compact_entries: int = 40
    write_us: tuple = (0, 0)  # what a write of the journal takes, if not no time
    stall: float = 0.0  # how likely it takes many seconds instead
    timing: object = LAN
    faults: dict = field(default_factory=lambda: dict(FAULTS))


FAULTS = {
    "kill": 3,
    "power": 3,
    "cut_write": 5,
    "cut_send": 3,
    "part": 4,
    "rift": 3,
    "pause": 2,
    "reset": 3,
    "full": 1,
    "transfer": 1,
    "kill_all": 1,
    "cut_all": 3,
    "grow": 0,
    "shrink": 0,
}


KINDS = {
    "three": Options(),
    "quiet": Options(propose_ms=400),  # any log is as good as the leader's
    "five": Options(hosts=5, run_ms=5_000),
    "harsh": Options(fault_ms=150),
    "power": Options(faults={**FAULTS, "cut_write": 20, "cut_all": 20, "power": 10}),
    "moving": Options(
        hosts=1, run_ms=10_000, fault_ms=200, faults={**FAULTS, "grow": 15, "shrink": 15}
    ),
    "busy": Options(propose_ms=3, compact_entries=25, run_ms=4_000, delay_us=(2_000, 30_000)),
    "wan": Options(
        delay_us=(5_000, 50_000),
        timing=timing_of(1000),
        quiet_ms=15_000,
        propose_ms=8,
        fault_ms=2_500,
        run_ms=15_000,
    ),
    # Round trips of 300 ms, with the timing of one data centre and with one that fits.
    "continents": Options(
        delay_us=(145_000, 155_000),
        fault_ms=8_000,
        run_ms=40_000,
        quiet_ms=15_000,
    ),
    "far": Options(delay_us=(400_000, 500_000), fault_ms=20_000, run_ms=90_000, quiet_ms=30_000),
    "continents told": Options(
        delay_us=(145_000, 155_000),
        timing=timing_of(1500),
        fault_ms=8_000,
        run_ms=40_000,
        quiet_ms=15_000,
    ),
    # A sync takes as long as three elections.
    "slow": Options(
        write_us=(700_000, 1_300_000),
        fault_ms=8_000,
        run_ms=40_000,
        propose_ms=300,
        quiet_ms=20_000,
    ),
    "stalls": Options(
        write_us=(100, 20_000), stall=0.02, fault_ms=1_000, run_ms=20_000, quiet_ms=16_000
    ),
}
