"""Who is let in by a token, and who by a name and a password."""

import base64

import pytest

from sentinel_py.web.access import Access


def basic(login):
    return f"Basic {base64.b64encode(login.encode()).decode()}"


ACCESS = Access("secret", {"ann": "pass:word", "ben": "other"})


@pytest.mark.parametrize(
    "header",
    [
        "Bearer secret",
        "bearer secret ",
        basic("ann:pass:word"),
        basic("ben:other"),
        basic("token:secret"),
        basic("ann:pass:word").replace("Basic", "basic"),
    ],
)
def test_who_proves_it_is_let_in(header):
    """The token, a name with its password, and the token as a browser can send it."""
    assert ACCESS.admits(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "secret",
        "Bearer",
        "Bearer wrong",
        "Bearer secre",
        "Bearer ann:pass:word",
        "Basic secret",
        "Basic ====",
        "Basic \udcff",
        "Digest secret",
        basic("ann:other"),
        basic("ann:"),
        basic("nobody:secret"),
        basic("token:"),
        basic("secret"),
    ],
)
def test_nobody_else_is_let_in(header):
    """Nothing, half of it, or the proof of somebody else is not enough."""
    assert not ACCESS.admits(header)


def test_nothing_set_admits_nobody():
    """An empty token is none: it must not be what an empty header proves."""
    access = Access("", {})
    assert not access.is_set
    assert not any(map(access.admits, ["", "Bearer ", "Bearer", basic(":"), basic("token:")]))


def test_a_password_of_any_bytes():
    """What the config file has is compared byte by byte."""
    header = f"Basic {base64.b64encode(b'ann:' + bytes([0xFF, 0x3A])).decode()}"
    assert Access("", {"ann": "\udcff:"}).admits(header)
