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


def cache_folder():
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentinel_py"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def suite_source():
    """The folder with the suite, from the cache or fetched now; its name ends in the version."""
    cache = cache_folder()
    cached = sorted(cache.glob("redis-*"))
    if cached:
        return cached[-1]
    if not shutil.which("apt-get"):
        raise UnavailableError("no apt-get here to fetch the suite with (source package redis)")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = _fetch(Path(scratch))
        folder = cache / re.sub(r"redis_(.+)\.orig\..+", r"redis-\1", archive.name)
        # One step, so that nobody finds half of it.
        return unpack(archive, Path(scratch) / "unpacked").rename(folder)


def _fetch(scratch):
    """Download the archive of the source package into the scratch folder."""
    parts = scratch / "sources"
    parts.mkdir()
    for path in package_sources():
        (parts / path.name).write_text(as_source_packages(path.read_text(), path.suffix))
    trouble = _apt(scratch, "update")  # of one source that is not needed, it may be
    trouble += _apt(scratch, "source", "--download-only", "redis")
    archive = next(scratch.glob("redis_*.orig.tar.*"), None)
    if archive is None:
        raise UnavailableError(f"apt-get could not fetch the suite: {trouble[0]}")
    return archive


def _apt(scratch, *words):
    """Run apt-get on a state of its own; its lines on errors."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": scratch / "sources",
        "APT::Sandbox::User": "",  # that user may not read in the cache
    }
    settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    command = ["apt-get", "--quiet", *settings, *words]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    return [line[3:] for line in done.stderr.splitlines() if line.startswith("E: ")]


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
