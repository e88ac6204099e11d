"""The disk: a file is replaced whole or not at all, and nobody new may read it."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from sentinel_py import in_place
from sentinel_py.storage import LOCAL, LocalDisk, SaveError, is_executable


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    tmp_path.chmod(0o755)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_text_is_replaced(folder):
    """The new text stands in the file, and nothing else stays in the directory."""
    path = folder / "c.conf"
    path.write_text("old and longer")
    LOCAL.write_atomically(str(path), "new\n")
    assert path.read_text() == "new\n"
    assert os.listdir(folder) == ["c.conf"]


def test_readers_see_the_old_file_or_the_new_one(folder):
    """An open file keeps its text: it is replaced and not written into."""
    path = folder / "c.conf"
    path.write_text("old")
    with path.open() as reader:
        LOCAL.write_atomically(str(path), "new")
        assert reader.read() == "old"


def test_any_bytes_survive(folder):
    """What is not UTF-8 is read and written as it is."""
    path = folder / "c.conf"
    path.write_bytes(b"requirepass \xff\xfe\n")
    LOCAL.write_atomically(str(path), LOCAL.read_text(str(path)))
    assert path.read_bytes() == b"requirepass \xff\xfe\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_mode_is_kept(folder, mode):
    """A file that only its owner may read stays so."""
    path = folder / "c.conf"
    path.write_text("old")
    path.chmod(mode)
    LOCAL.write_atomically(str(path), "new")
    assert mode_of(path) == mode


def test_mode_of_a_new_file(folder):
    """Without an old file the mode is as redis-sentinel's, within the umask."""
    path = folder / "c.conf"
    umask = os.umask(0o027)
    try:
        LOCAL.write_atomically(str(path), "new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(umask)
    assert mode_of(path) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_owner_is_kept(folder):
    """A file of another user still belongs to that user."""
    path = folder / "c.conf"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    LOCAL.write_atomically(str(path), "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_link_stays_a_link(folder):
    """What a symbolic link points to is replaced, in its own directory."""
    (folder / "real").mkdir()
    target = folder / "real" / "c.conf"
    target.write_text("old")
    link = folder / "link.conf"
    link.symlink_to(target)
    LOCAL.write_atomically(str(link), "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_missing_directory(folder):
    """The step that failed is named as in redis-sentinel's log."""
    with pytest.raises(SaveError) as caught:
        LOCAL.write_atomically(str(folder / "gone" / "c.conf"), "new")
    assert str(caught.value) == "Could not create tmp config file (No such file or directory)"
    assert caught.value.reason == "No such file or directory"


def test_failure_leaves_the_old_file_alone(folder):
    """A directory cannot be replaced by a file; the temporary file does not stay."""
    path = folder / "c.conf"
    path.mkdir()
    with pytest.raises(SaveError, match=r"^Could not rename tmp config file \(Is a directory\)$"):
        LOCAL.write_atomically(str(path), "new")
    assert os.listdir(folder) == ["c.conf"]


def test_full_disk(folder):
    """A text that does not fit is not left behind in part."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = folder / "c.conf"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(SaveError) as caught:
            LOCAL.write_atomically(str(path), "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        "Failed after writing (4096) bytes to tmp config file (File too large)"
    )
    assert path.read_text() == "old"
    assert os.listdir(folder) == ["c.conf"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture
def mounted(folder):
    """A file that is mounted by itself, over another one: no file can be renamed over it."""
    path, behind = folder / "c.conf", folder / "behind"
    path.touch()
    behind.write_text("old\n")
    done = subprocess.run(["mount", "--bind", behind, path], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no mounts here: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


@needs_root
def test_a_file_that_is_mounted_by_itself(mounted):
    """It is written in place, each time, and why is known; nothing else stays in the directory."""
    disk = LocalDisk()
    for text in ("new and longer\n", "newer\n"):
        disk.write_atomically(str(mounted), text)
        assert disk.read_text(str(mounted)) == mounted.read_text() == text
    assert disk.why_in_place(str(mounted)) == "Device or resource busy"
    assert sorted(os.listdir(mounted.parent)) == ["behind", "c.conf"]


@needs_root
def test_a_directory_that_may_not_be_written():
    """The file alone belongs to the sentinel's user: it keeps owner and mode."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        os.chmod(folder, 0o755)
        _write_as_nobody(Path(folder, "c.conf"))


def _write_as_nobody(path):
    path.write_text("old\n")
    os.chown(path, 65534, 65534)
    path.chmod(0o640)
    os.seteuid(65534)
    try:
        disk = LocalDisk()
        disk.write_atomically(str(path), "new\n")
    finally:
        os.seteuid(0)
    assert path.read_text() == "new\n"
    assert (path.stat().st_uid, mode_of(path)) == (65534, 0o640)
    assert disk.why_in_place(str(path)) == "Permission denied"


def test_a_save_that_was_cut_off_is_read_as_the_old_text(folder):
    """Whoever reads the file gets what it stands for, and not what was left behind."""
    path = folder / "c.conf"
    path.write_bytes(b"port 1\n\n" + in_place.BEGIN + b"#| port 2\n")
    assert LOCAL.read_text(str(path)) == "port 1\n\n"


def test_a_file_that_can_be_replaced_is(folder):
    """Nothing is written in place for a reason that may be gone the next time."""
    path = folder / "c.conf"
    path.write_text("old")
    disk = LocalDisk()
    disk.write_atomically(str(path), "new")
    assert disk.why_in_place(str(path)) == ""


def test_text_that_is_none(folder):
    """A lone surrogate is no character and no byte: the file stays, and the error is ours."""
    path = folder / "c.conf"
    path.write_text("old")
    with pytest.raises(SaveError, match="surrogates not allowed"):
        LOCAL.write_atomically(str(path), "name \ud800")
    assert path.read_text() == "old"


def test_executable(folder):
    """A script must exist and be executable; no path makes the question fail."""
    script = folder / "s.sh"
    script.write_text("")
    script.chmod(0o755)
    assert is_executable(str(script))
    script.chmod(0o644)
    assert not is_executable(str(script))
    assert not is_executable(str(folder / "gone"))
    assert not is_executable("a\0b")
