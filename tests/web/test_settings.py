"""The directives of HTTP: read from the file, and written back to the same."""

import pytest

from sentinel_py.config import config, directives
from sentinel_py.core.model import State
from sentinel_py.web.server import exposure

FILE = """\
sentinel http-port 8080
sentinel http-bind 127.0.0.1 ::1
sentinel http-tls yes
sentinel http-token "a b"
sentinel http-user ann "pass word"
sentinel http-user ben other
"""


def apply(tmp_path, text):
    path = tmp_path / "sentinel.conf"
    path.write_text(f"dir {tmp_path}\n{text}")
    state = State(myid="0" * 40)
    loaded = config.load(str(path))
    directives.apply(loaded.statements, state, now=0, resolve=lambda name: None)
    return state


def test_what_is_set_is_read_and_written(tmp_path):
    """Each in its own line, in words that mean the same when they are read again."""
    state = apply(tmp_path, FILE)
    settings = state.settings
    assert (settings.http_port, settings.http_bind) == (8080, ["127.0.0.1", "::1"])
    assert settings.http_tls
    assert settings.http_token == "a b"
    assert settings.http_users == {"ann": "pass word", "ben": "other"}
    lines = [line.text for line in directives.render(state) if " http-" in line.text]
    assert apply(tmp_path, "\n".join(lines)).settings == settings


def test_by_default_it_is_off_and_local(tmp_path):
    """And nothing of it is written."""
    state = apply(tmp_path, "")
    assert (state.settings.http_port, state.settings.http_bind) == (0, ["127.0.0.1"])
    assert not state.settings.http_tls
    assert not [line for line in directives.render(state) if " http-" in line.text]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("http-port 65536", "Invalid port number."),
        ("http-port -1", "Invalid port number."),
        ("http-bind", "http-bind takes addresses."),
        ("http-user ann", "Unrecognized sentinel configuration statement."),
        ('http-user ann ""', "http-user takes a name without a colon, and a password."),
        ("http-user a:b c", "http-user takes a name without a colon, and a password."),
        ("http-tls maybe", "Please specify yes or no for the http-tls option."),
        ("http-token", "Unrecognized sentinel configuration statement."),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, line, reason):
    """One clear reason."""
    with pytest.raises(config.ConfigError) as refused:
        apply(tmp_path, f"sentinel {line}\n")
    assert refused.value.reason == reason


def test_secrets_are_not_shown(tmp_path):
    """Whoever prints the settings prints no password."""
    shown = repr(apply(tmp_path, FILE).settings)
    assert "a b" not in shown
    assert "pass word" not in shown


OPEN = "sentinel http-bind 127.0.0.1 192.0.2.10\n"
TOKEN = "sentinel http-token secret\n"


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ("", ""),
        (TOKEN, ""),
        ("sentinel http-bind -::1 localhost\n", ""),
        (OPEN, "can read it"),
        (f"{OPEN}sentinel http-tls yes\n", "can read it"),
        (OPEN + TOKEN, "plain text"),
        (f"{OPEN}sentinel http-user ann secret\n", "plain text"),
        (f"{OPEN}{TOKEN}sentinel http-tls yes\n", ""),
    ],
)
def test_what_the_network_can_see_is_said(tmp_path, lines, word):
    """One line: that all can be read, or that logins can be overheard."""
    warning = exposure(apply(tmp_path, lines).settings)
    assert bool(word) is bool(warning)
    assert word in warning
