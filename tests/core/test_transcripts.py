"""Scripted scenarios: what goes in, and exactly what the core does about it.

``transcripts/*.txt`` hold blocks of input lines, ``----``, and the output lines up to a blank line;
lines with ``#`` are prose. The words of the input are the ``do_`` methods of ``stage.Stage``.

``REWRITE_TRANSCRIPTS=1 pytest tests/core/test_transcripts.py`` writes what the core does now into
the files; the difference is to be read like one in the code.
"""

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from .stage import Stage

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
RULE = "----"


def replay(text):
    """The text of a transcript as it reads when the core plays it now."""
    stage = Stage()
    played = []
    for is_blank, lines in groupby(text.splitlines(), key=lambda line: not line.strip()):
        if not is_blank:
            played.append("\n".join(replay_block(stage, list(lines))))
    return "\n\n".join(played) + "\n"


def replay_block(stage, lines):
    if RULE not in lines:
        assert all(line.startswith("#") for line in lines), f"no {RULE} in {lines}"
        return lines
    script = lines[: lines.index(RULE)]
    seen = [out for line in script if not line.startswith("#") for out in stage.play(line)]
    return [*script, RULE, *seen]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path):
    """The core does what the transcript says, effect by effect."""
    text = path.read_text(encoding="utf-8")
    played = replay(text)
    if os.environ.get("REWRITE_TRANSCRIPTS"):
        path.write_text(played, encoding="utf-8")
    else:
        assert played.splitlines() == text.splitlines()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_whatever_the_hash_seed(hash_seed):
    """The same script gives the same output in any process: no set decides an order."""
    path = Path(__file__).parent / "transcripts" / "reconfiguration_parallel_2.txt"
    program = (
        "import sys; from core.test_transcripts import replay; print(replay(sys.stdin.read()))"
    )
    played = subprocess.run(
        [sys.executable, "-c", program],
        input=path.read_text(encoding="utf-8"),
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONUTF8": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert played.stdout.rstrip() == path.read_text(encoding="utf-8").rstrip()
