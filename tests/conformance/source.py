"""The suite, out of the source package of redis in the machine's own distribution.

It is fetched once, unpacked into the user's cache and never becomes part of this project. The rule
guarded: apt's lists and settings stay as they are. It works on a state of its own, with the
machine's package sources turned into sources of source packages.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

APT_FOLDER = Path("/etc/apt")
# What of the source the Sentinel tests need; paths are within the unpacked package.
WANTED = ("runtest-sentinel", "tests/instances.tcl", "tests/sentinel/", "tests/support/")


class UnavailableError(Exception):
    """One line for the user: why the suite cannot be run here."""


def suite_source():
    """The folder with the suite, from the cache or fetched now; its name ends in the version."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentinel_py"
    cached = sorted(cache.glob("redis-*"))
    if cached:
        return cached[-1]
    if not shutil.which("apt-get"):
        raise UnavailableError(
            "no apt-get here, and the suite is in Debian's source package of redis"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        return _fetch(Path(scratch)).rename(cache / _fetched_name(Path(scratch)))


def _fetch(scratch):
    """Download and unpack; the unpacked folder lies in the scratch folder."""
    parts = scratch / "sources"
    parts.mkdir()
    for path in package_sources():
        (parts / path.name).write_text(as_source_packages(path.read_text(), path.suffix))
    _apt(scratch, "update")
    _apt(scratch, "source", "--download-only", "redis")
    return unpack(_archive(scratch), scratch / "unpacked")


def _archive(scratch):
    return next(scratch.glob("redis_*.orig.tar.*"))


def _fetched_name(scratch):
    version = re.fullmatch(r"redis_(.+)\.orig\.tar\.\w+", _archive(scratch).name)
    return f"redis-{version[1]}"


def _apt(scratch, *words):
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": scratch / "sources",
        "APT::Sandbox::User": "",
    }
    settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    done = subprocess.run(
        ["apt-get", "--quiet", *settings, *words],
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"apt-get {words[0]} failed, which is to fetch the suite: {reason}")


def package_sources():
    """The files that say where this machine's packages come from."""
    one_file = APT_FOLDER / "sources.list"
    parts = APT_FOLDER / "sources.list.d"
    found = [one_file, *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    return [path for path in found if path.is_file()]


def as_source_packages(text, suffix):
    """The same places in either format of apt, asked for source packages instead."""
    if suffix == ".sources":
        return re.sub(r"(?mi)^Types:.*$", "Types: deb-src", text)
    lines = (re.sub(r"^deb(-src)?(?=\s)", "deb-src", line.strip()) for line in text.splitlines())
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def unpack(archive, folder):
    """Only the wanted files are written, and only under the folder."""
    with tarfile.open(archive) as members:
        for member in members:
            path = member.name.partition("/")[2]
            if member.isfile() and path.startswith(WANTED) and ".." not in path:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(members.extractfile(member).read())
                target.chmod(member.mode)
    return folder
