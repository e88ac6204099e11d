"""Targets with each kind of flaw, to see that it is found."""

SEEDS = {"error": [b"x"], "hang": [b"x"], "growth": [b"x"]}


def error(data):
    raise KeyError(data)


def hang(_data):
    while True:
        pass


def growth(_data):
    kept = []
    while True:
        kept.append(bytes(1024 * 1024))
