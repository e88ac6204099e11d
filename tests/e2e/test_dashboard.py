"""The dashboard in a real browser: what it shows, live, and the switchover from it.

With UPDATE_SCREENSHOTS=1 what it looks like is kept in docs/.
"""

import json
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sentinel_py.local import HOST, Sandbox, as_async, eventually, raft_peers, wait_ready
from sentinel_py.local import eventually_async as wait_until

from .browser import browsing, chromium
from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    Cluster,
    ask,
    follows,
    master_port,
    new_master,
    settle,
    watch,
)
from .members import follower_of, leader_of

pytestmark = pytest.mark.skipif(not chromium(), reason="no chromium on PATH")

DOCS = Path(__file__).parents[2] / "docs"
KEEPS_PICTURES = os.environ.get("UPDATE_SCREENSHOTS") == "1"
DESKTOP, PHONE = (1280, 800), (390, 844)
TOKEN = "open-sesame"
# Old masters are told to follow at the next INFO, so that a picture is whole soon.
HASTE = ("SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500")


class Installation:
    """Three sentinels of a Raft cluster with HTTP, and what they watch."""

    def __init__(self, box):
        # Ports that look well in a picture; only the run that takes it may have them for itself.
        def port(wanted):
            return box.port(wanted if KEEPS_PICTURES else 0)

        master = box.redis(port=port(6379))
        replicas = [box.redis(port=port(wanted), replica_of=master) for wanted in (6380, 6381)]
        self.cluster = Cluster(master, replicas)
        wait_ready(self.cluster.servers)
        for replica in replicas:
            eventually(lambda replica=replica: follows(replica, master))
        ports = [port(wanted) for wanted in (26379, 26380, 26381)]
        self.http = {each: port(8080 + number) for number, each in enumerate(ports)}
        login = f"sentinel http-token {TOKEN}"
        common = [*watch(self.cluster), raft_peers(ports), login]
        self.sentinels = [
            box.sentinel([*common, f"sentinel http-port {http}"], port=each)
            for each, http in self.http.items()
        ]
        wait_ready(self.sentinels)
        settle(self.sentinels, self.cluster)
        for sentinel in self.sentinels:
            ask(sentinel, *HASTE)

    def url(self, sentinel):
        return f"http://token:{TOKEN}@{HOST}:{self.http[sentinel.port]}/"


def order(sentinel, *words):
    """Give an order that needs a Raft majority, again if there is none at the moment."""
    eventually(lambda: ask(sentinel, "SENTINEL", *words) == "OK", what=f"OK to {words}")


@pytest.fixture(scope="module")
def installed():
    with Sandbox() as box:
        yield Installation(box)


@asynccontextmanager
async def looking(folder, url, size, *, is_phone=False):
    """The dashboard at that address, when it has drawn what it knows; without any complaint."""
    async with browsing(folder) as page:
        await page.resize(*size, is_phone=is_phone)
        await page.open(url)
        await page.wait("document.body?.dataset.drawn")
        await page.wait("document.querySelector('#live').textContent.includes('live')")
        yield page
        assert page.complaints == []


def text_of(selector):
    return f"(document.querySelector({json.dumps(selector)})?.textContent ?? '')"


def click(selector):
    return f"document.querySelector({json.dumps(selector)}).click()"


def title_starts(word):
    """How many nodes of the topology say that they are this."""
    script = "[...document.querySelectorAll('svg g title')].filter(it => it.textContent.startsWith"
    return f"{script}({json.dumps(word)})).length"


def legend_has(phase):
    """Whether the latest failover is told with this phase.

    When another member leads the Raft cluster before it is over, it has only been observed.
    """
    return f"/{phase}|observed/.test({text_of('#failovers .legend')})"


FIT = "document.documentElement.scrollWidth <= innerWidth"
OVERLAPS = """
(() => {
  const boxes = [...document.querySelectorAll('svg rect')].map(it => it.getBoundingClientRect());
  return boxes.filter((one, at) => boxes.some((other, number) => number > at &&
    one.left < other.right && other.left < one.right &&
    one.top < other.bottom && other.top < one.bottom)).length;
})()
"""
SPILLS = """
[...document.querySelectorAll('svg g')].filter(group => {
  const room = group.querySelector('rect').getBoundingClientRect();
  return [...group.querySelectorAll('text')].some(text => {
    const words = text.getBoundingClientRect();
    return words.left < room.left || words.right > room.right || words.bottom > room.bottom;
  });
}).length
"""


async def assert_looks_right(page):
    """Nothing lies outside the page, on something else, or outside its box."""
    assert await page.ask(FIT)
    assert await page.ask(OVERLAPS) == 0
    assert await page.ask(SPILLS) == 0


async def keep(page, name):
    if KEEPS_PICTURES:
        DOCS.mkdir(exist_ok=True)
        await page.picture(DOCS / name)


async def test_a_switchover_from_the_page(installed, tmp_path):
    """Asked first, done then, and drawn without a reload, with the phases that it took."""
    cluster, sentinels = installed.cluster, installed.sentinels
    old = cluster.at(master_port(sentinels[0]))
    async with looking(tmp_path, installed.url(leader_of(sentinels)), DESKTOP) as page:
        assert await page.ask(title_starts("Sentinel ")) == 3
        assert await page.ask(title_starts("Replica ")) == 2
        assert await page.ask(title_starts(f"Primary {old.address}")) == 1
        assert "Raft " in await page.ask(text_of("#place"))
        assert "3 of 3 members" in await page.ask(text_of("#place"))
        await assert_looks_right(page)

        await page.ask(click(f"[data-switch={NAME}]"))
        assert old.address in await page.ask(text_of("dialog[open]"))
        await page.ask(click("#ask-no"))
        assert await page.ask(text_of("dialog[open]")) == ""
        assert master_port(sentinels[0]) == old.port

        await page.ask(click(f"[data-switch={NAME}]"))
        await page.ask(click("#ask-yes"))
        others = [server for server in cluster.servers if server is not old]
        drawn = " + ".join(title_starts(f"Primary {server.address}") for server in others)
        await page.wait(f"{drawn} === 1")
        assert await page.ask(text_of("dialog[open]")) == ""
        await page.wait(f"{text_of('#failovers .chip')} === 'switched'")
        for phase in ("election", "choice", "promotion", "reconfiguration"):
            await page.wait(legend_has(phase))
        assert "+switch-master" in await page.ask(text_of("#events"))


async def test_a_death_as_it_is_drawn(installed, tmp_path):
    """What is down is red, what took its place is the primary; then all is well again."""
    cluster, sentinels = installed.cluster, installed.sentinels
    old = cluster.at(master_port(sentinels[0]))
    async with looking(tmp_path, installed.url(leader_of(sentinels)), DESKTOP) as page:
        old.kill()
        await page.wait("document.querySelectorAll('svg .box.down').length === 1")
        await page.wait(f"{title_starts(f'Replica {old.address}')} === 1")
        old.start()
        await page.wait("document.querySelectorAll('svg .box.down, svg .flow.off').length === 0")
        await page.wait(f"{text_of('#failovers .chip')} === 'switched'")
        await page.wait(legend_has("detection"))
        await assert_looks_right(page)
        await keep(page, "dashboard.png")


async def test_it_looks_right_on_a_phone(installed, tmp_path):
    """Nothing is cut off or has to be moved sideways, and a thumb finds the button."""
    cluster, (leader, follower) = installed.cluster, follower_of(installed.sentinels)
    old = cluster.at(master_port(leader))
    order(leader, "FAILOVER", NAME)
    new_master(installed.sentinels, old)
    url = installed.url(follower)
    async with looking(tmp_path, url, PHONE, is_phone=True) as page:
        assert await page.ask(title_starts("Replica ")) == 2
        await assert_looks_right(page)
        height = "document.querySelector('[data-switch]').getBoundingClientRect().height"
        assert await page.ask(height) >= 40
        # Another member has led the failovers; the history that they share tells of the phases.
        await page.wait(legend_has("promotion"))
        await keep(page, "dashboard-phone.png")
        await page.ask(click(f"[data-switch={NAME}]"))
        assert await page.ask(
            "document.querySelector('dialog').getBoundingClientRect().right < 390"
        )


async def test_a_refusal_is_shown(installed, tmp_path):
    """With the server's words; the question stays open."""
    sentinel = installed.sentinels[0]
    order(sentinel, "MONITOR", "lonely", HOST, "1", "1")
    async with looking(tmp_path, installed.url(sentinel), DESKTOP) as page:
        await page.wait("document.querySelector('[data-switch=lonely]') !== null")
        assert await page.ask("document.querySelector('[data-switch=lonely]').disabled")
        await page.ask("ask(seen.masters.find(it => it.name === 'lonely'))")
        await page.ask(click("#ask-yes"))
        await page.wait(f"{text_of('#ask-problem')}.includes('No suitable replica')")
        page.complaints.clear()  # the browser reports the status 409 to its console
    order(sentinel, "REMOVE", "lonely")


async def test_names_are_text_and_nothing_else(installed, tmp_path):
    """A master's name that looks like a page of its own does nothing."""
    sentinel = installed.sentinels[0]
    name = "<img/src=x/onerror=document.title='taken'>"
    order(sentinel, "MONITOR", name, HOST, "1", "1")
    async with looking(tmp_path, installed.url(sentinel), DESKTOP) as page:
        await page.wait(f"{text_of('#masters')}.includes({json.dumps(name)})")
        assert await page.ask("document.querySelectorAll('img').length") == 0
        assert "sentinel_py" in await page.ask("document.title")
    order(sentinel, "REMOVE", name)


async def test_without_a_login_it_can_only_be_looked_at(sandbox, tmp_path):
    """The button says why; what is lost and found again is told."""
    port = sandbox.port()
    lines = [f"sentinel http-port {port}", f"sentinel monitor {NAME} {HOST} 1 1"]
    sentinel = sandbox.sentinel(lines)
    wait_ready([sentinel])
    async with looking(tmp_path, f"http://{HOST}:{port}/", DESKTOP) as page:
        assert await page.ask("document.querySelector('[data-switch]').disabled")
        title = await page.ask("document.querySelector('[data-switch]').title")
        assert "http-token" in title
        sentinel.kill()
        await page.wait(f"{text_of('#live')} === 'no connection'")
        sentinel.start()
        await wait_until(as_async(sentinel.ready))
        await page.wait(f"{text_of('#live')}.includes('live')", FAILOVER_WITHIN_MS)
        page.complaints.clear()  # of connections that were refused
