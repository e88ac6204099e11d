"""Run simulated Raft clusters of every kind, or one seed again."""

import argparse
import logging
import sys
import time
from collections import Counter

from .sim_raft import KINDS, run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seed", type=int, help="this one, instead of many")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    logging.disable()  # of disks that are full
    seeds = [args.seed] if args.seed is not None else range(args.first, args.first + args.seeds)
    failed = 0
    for kind in args.kind or KINDS:
        totals, started_at = Counter(), time.monotonic()
        for seed in seeds:
            try:
                world = run(kind, seed)
            except Exception as error:
                failed += 1
                print(f"--kind {kind} --seed {seed}: {type(error).__name__}: {error}", flush=True)
                if args.seed is not None:
                    raise
                continue
            totals += world.counts
            if args.seed is not None:
                print(world.trace.hexdigest())
        print(kind, len(seeds), f"{time.monotonic() - started_at:.1f} s", dict(totals), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
