"""Servers that end with the test."""

import pytest

from .redis_like import RedisLike


@pytest.fixture
async def server():
    """Start one that answers like a sentinel or a Redis."""
    started = []

    async def start(**options):
        started.append(await RedisLike(**options).start())
        return started[-1]

    yield start
    for one in started:
        await one.stop()
