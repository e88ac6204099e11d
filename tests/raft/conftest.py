"""A Raft group in virtual time, and a way to take a guard out."""

import pytest

from tests.raft.group import Group


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def replace(monkeypatch):
    """Put something in the place of a guard."""
    return monkeypatch.setattr
