"""Names that a stranger can give our address, and who is asked under which."""

import pytest

from sentinel_py.web.names import LOCAL, is_browser, is_own

from .test_server import client, running

BROWSER = {"User-Agent": "Mozilla/5.0"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "[::1]:8080", "192.0.2.1", "localhost", LOCAL[1], "Mine.example."]
)
def test_names_that_nobody_can_rebind(host):
    """Addresses, our own names, and what the operator has named."""
    assert is_own(host, ["mine.example"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_names_that_a_stranger_may_own(host):
    """Whatever they look like."""
    assert not is_own(host, ["mine.example"])


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (BROWSER, True),
        ({"User-Agent": "forged", "Accept-Language": "en"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"User-Agent": "Prometheus/2.53"}, False),
        ({}, False),
    ],
)
def test_a_page_cannot_pass_for_a_program(headers, found):
    """It may change its user agent, and not what else its browser says."""
    assert is_browser(headers) is found


async def test_a_rebound_name_is_told_nothing(tmp_path):
    """A page is not, a program is; and a page is under a name that the file has."""
    async with running(tmp_path, "sentinel http-host mine.example") as port, client(port) as ask:
        evil, mine = {"Host": "evil.example"}, {"Host": "mine.example"}
        status, _, value = await ask("/metrics", headers=evil | BROWSER)
        assert status == 403
        assert "sentinel http-host" in value["error"]
        assert (await ask("/metrics", headers=evil))[0] == 200
        assert (await ask("/metrics", headers=mine | BROWSER))[0] == 200
        assert (await ask("/metrics", headers=BROWSER))[0] == 200
