"""Fuzzing one target in a process of its own, which may hang or grow without harm."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Each target is a function of this module that takes any bytes and raises nothing: documented
# errors are caught in it. `SEEDS` of the module has samples to begin with.
TARGETS = {
    "requests": "streams",
    "replies": "streams",
    "raft": "streams",
    "commands": "service",
    "info": "strangers",
    "hello": "strangers",
    "config": "files",
}

INPUT_BYTES_MAX = 4096
INPUT_TIMEOUT_S = 5
MEMORY_MAX_MB = 512
REPORT_CHARS_MAX = 8000
# For the start, and for an input that began at the very end.
GRACE_S = 60

_EXECUTIONS = re.compile(r"stat::number_of_executed_units: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True)
class Result:
    """How often a target was run, and what was found: nothing, or the end of the report on it."""

    executions: int
    finding: str = ""
    artifact: str = ""


def run(name, seconds, folder, module=None, input_timeout_s=INPUT_TIMEOUT_S):
    """Fuzz a target for so long; what is found is kept in the folder, as its corpus is."""
    module = module or TARGETS[name]
    corpus = Path(folder) / name
    corpus.mkdir(parents=True, exist_ok=True)
    flags = {
        "max_total_time": seconds,
        "max_len": INPUT_BYTES_MAX,
        "timeout": input_timeout_s,
        "rss_limit_mb": MEMORY_MAX_MB,
        "print_final_stats": 1,
        "artifact_prefix": f"{folder}/{name}-",
    }
    argv = [sys.executable, "-m", "tests.fuzz.worker", module, name]
    argv += [f"-{flag}={value}" for flag, value in flags.items()]
    ended = subprocess.run(
        [*argv, str(corpus)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds + input_timeout_s + GRACE_S,
        check=False,
        text=True,
        errors="replace",
    )
    executions, artifact = _EXECUTIONS.search(ended.stdout), _ARTIFACT.search(ended.stdout)
    return Result(
        int(executions[1]) if executions else 0,
        ended.stdout[-REPORT_CHARS_MAX:] if ended.returncode else "",
        artifact[1] if artifact else "",
    )
