"""A run's figures kept: as JSON, with the machine and the versions they were measured on."""

import json
import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def save(path, kind, options, rows):
    """Write rows (a list of dicts) where a plot or a table can find them."""
    if path:
        Path(path).write_text(json.dumps(described(kind, options, rows), indent=1) + "\n")


def described(kind, options, rows):
    return {
        "kind": kind,
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "options": options,
        "rows": rows,
    }


def machine():
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions():
    ours = {name: version(name) for name in ("sentinel-py", "redis", "uvloop", "hiredis")}
    return {"python": platform.python_version(), "redis-server": redis_version(), **ours}


def redis_version():
    program = shutil.which("redis-server")
    if program is None:
        return "none"
    answer = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    words = answer.stdout.split()
    return next((word[2:] for word in words if word.startswith("v=")), "unknown")
