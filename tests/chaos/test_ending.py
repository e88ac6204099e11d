"""The word to end arrives, whatever runs at that moment."""

import subprocess
import sys

import pytest

HEAD = """
import os, signal, time
from tests.chaos import ending

class Client:
    def __del__(self):
        os.kill(os.getpid(), signal.{word})
        time.sleep(0.001)

ending.in_order()
try:
    {action}
    time.sleep(60)
except KeyboardInterrupt:
    {then}
    print("in order")
"""


def said(word="SIGTERM", action="Client()", then="pass"):
    code = HEAD.format(word=word, action=action, then=then)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    return run.stdout + run.stderr


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM"])
def test_in_the_middle_of_a_clients_end(word):
    """Python drops what is raised in a ``__del__``; the word comes again."""
    assert said(word) == "in order\n"


def test_elsewhere():
    """The word arrives at once."""
    assert said(action="os.kill(os.getpid(), signal.SIGTERM)") == "in order\n"


def test_a_second_word_does_not_break_the_unwinding():
    """Who presses Ctrl-C twice leaves nothing behind either."""
    assert said(then="Client()") == "in order\n"


def test_what_else_a_client_drops_is_reported():
    """Other errors in a ``__del__`` are told as ever."""
    action = "Client.__del__ = lambda _: 1 / 0; Client(); os.kill(os.getpid(), signal.SIGTERM)"
    assert "ZeroDivisionError" in said(action=action)
