"""A program that runs a sentinel of its own and has a say in failovers.

    python examples/embedded.py /etc/sentinel.conf

No failover starts while the file ``maintenance`` is there, and each new master is printed.
"""

import asyncio
import sys
from pathlib import Path

from sentinel_py import MasterStatus, Sentinel, SentinelError, Switch, Verdict

MAINTENANCE = Path("maintenance")


async def nobody_works_on_it(master: MasterStatus) -> bool:
    if MAINTENANCE.exists():
        print(f"{master.name}: no failover during maintenance", flush=True)
        return False
    return True


async def tell(switch: Switch) -> None:
    print(f"{switch.master}: {switch.old.port} -> {switch.new.port}", flush=True)


async def main(config_file: str) -> None:
    sentinel = Sentinel(config_file)
    sentinel.before_failover(nobody_works_on_it, within_s=2, on_timeout=Verdict.CONSENT)
    sentinel.after_failover(tell)
    async with sentinel:
        for master in sentinel.masters():
            print(f"{master.name}: {master.endpoint.host}:{master.endpoint.port}", flush=True)
        async for notice in sentinel.notices("+sdown", "-sdown", "-failover-vetoed"):
            print(notice.name, notice.text, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except SentinelError as error:  # it cannot start, or a bug has ended it: see the log
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
