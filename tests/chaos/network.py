"""Five hosts on one switch: network namespaces, joined by veth pairs to a bridge, and cuts.

Knows nothing of Redis. Everything is made inside namespaces of this run (the switch has one, too),
so deleting those by name takes the bridge, the pairs and all packet filters with it. The rule it
guards: whatever the caller's end, no namespace and no file under /etc/netns stays behind.
"""

import atexit
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from sentinel_py.local import LocalError

NUMBERS = (1, 2, 3, 4, 5)
SUBNET = "10.231.0"
SWITCH_ADDRESS = f"{SUBNET}.254"
TOOLS = ("ip", "iptables-restore")
# `ip netns exec` lays the files that it finds here over those of /etc.
FILES = Path("/etc/netns")


def refusal():
    """Why there can be no network here, in one line; nothing if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"not installed: {', '.join(missing)}"
    try:
        with Network() as network:
            network.part({1}, {2})
    except LocalError as error:
        return f"network namespaces are not allowed here: {error}"
    return None


def address(number):
    return f"{SUBNET}.{number}"


class Network:
    """The hosts by number, 1 to 5; a cut is silent: packets vanish, and nobody is told."""

    def __init__(self):
        self._prefix = f"chaos{os.getpid()}"
        self._cuts = set()
        self._unplugged = set()
        self.switch = f"{self._prefix}-switch"

    def __enter__(self):
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def host(self, number):
        """The name of the host's namespace."""
        return f"{self._prefix}-{number}"

    def run_on(self, number):
        """What argv begins with to run on this host; the process keeps its pid."""
        return ["ip", "netns", "exec", self.host(number)]

    def run_on_switch(self):
        return ["ip", "netns", "exec", self.switch]

    def close(self):
        atexit.unregister(self.close)
        for name in (self.switch, *map(self.host, NUMBERS)):
            if Path("/run/netns", name).exists():
                _end_processes(name)
                subprocess.run(["ip", "netns", "delete", name], check=False)
            shutil.rmtree(FILES / name, ignore_errors=True)

    # Cuts

    def cut(self, sources, targets):
        """Nothing that these hosts send arrives at those any more."""
        self._cuts |= {(source, target) for source in sources for target in targets}
        self._filter(targets)

    def part(self, group, others):
        self._cuts |= {(source, target) for source in group for target in others}
        self._cuts |= {(source, target) for source in others for target in group}
        self._filter({*group, *others})

    def heal(self):
        """All cuts end, and all links are up."""
        self._cuts.clear()
        self._filter(NUMBERS)
        while self._unplugged:
            self._set_link(self._unplugged.pop(), "up")

    def unplug(self, number):
        """The link is down: the others get no answer to ARP."""
        self._unplugged.add(number)
        self._set_link(number, "down")

    def _set_link(self, number, state):
        run("ip", "-n", self.switch, "link", "set", f"host{number}", state)

    def _filter(self, numbers):
        """Load each host's whole filter at once, all hosts at the same time."""
        loading = [
            (_start([*self.run_on(number), "iptables-restore", "-w"]), self._rules(number))
            for number in numbers
        ]
        for process, rules in loading:
            _finish(process, rules)

    def _rules(self, number):
        drops = [
            f"-A INPUT -i eth0 -s {address(source)} -j DROP"
            for source, target in sorted(self._cuts)
            if target == number
        ]
        return "\n".join(["*filter", ":INPUT ACCEPT [0:0]", *drops, "COMMIT", ""])

    # Construction

    def _build(self):
        for name in (self.switch, *map(self.host, NUMBERS)):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        bridge = ["link add bridge type bridge", f"address add {SWITCH_ADDRESS}/24 dev bridge"]
        self._batch(self.switch, [*bridge, "link set bridge up"])
        for number in NUMBERS:
            self._connect(number)

    def _connect(self, number):
        host, port = self.host(number), f"host{number}"
        self._batch(
            self.switch,
            [
                f"link add {port} type veth peer name eth0 netns {host}",
                f"link set {port} master bridge up",
            ],
        )
        self._batch(host, [f"address add {address(number)}/24 dev eth0", "link set eth0 up"])
        folder = FILES / host
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {SWITCH_ADDRESS}\n")

    def _batch(self, namespace, lines):
        _finish(_start(["ip", "-n", namespace, "-batch", "-"]), "\n".join([*lines, ""]))


def _end_processes(name):
    """Usually there are none, unless the end came while one was started."""
    listing = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    for pid in listing.stdout.split():
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)


def run(*argv):
    """Run a system's tool; what it says when it fails becomes one line."""
    _finish(_start(argv), "")


def _start(argv):
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process, text):
    said, _ = process.communicate(text)
    if process.returncode:
        last = said.strip().rpartition("\n")[2] or f"status {process.returncode}"
        raise LocalError(f"{' '.join(process.args)}: {last}")
