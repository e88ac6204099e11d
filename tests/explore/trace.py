"""Paths through a world in words: for people to read, and for the command line to play again."""

from tests.sim.violation import Violation

from . import rules
from .member import SERVERS, endpoint_of, is_channel
from .moment import Kind
from .play import Play


def word(play, event):
    """An event as one word, which means the same in every run."""
    name, *about = event
    if name == "torn":
        return f"torn/{word(play, about)}"
    if about and isinstance(about[0], tuple):
        return f"{name}/{_packet(play, about[0])}"
    if name in ("unknown",):
        return f"{name}/{_entry(play, about[0])}"
    if name in ("island", "blind"):
        return f"{name}/{_member(about[0])}+{rules.name(about[1])}"
    if name in ("die", "revive"):
        return f"{name}/{rules.name(about[0])}"
    if name == "elect":
        return f"{name}/{_member(about[0])}+{about[1]}"
    return "/".join([name, *map(_member, about)])


def _member(number):
    return rules.name(SERVERS + number)


def _packet(play, key):
    kind, *about = key
    match kind:
        case Kind.LINK | Kind.ORPHAN:
            member, link = about
            mark = "#" if is_channel(link) else "-"
            text = f"{_member(member)}{mark}{rules.name(endpoint_of(link))}"
        case Kind.PROPOSAL:
            text = _member(about[0])
        case Kind.ENDED:
            text = _entry(play, about[1])
        case Kind.TELL:
            text = f"{_member(about[1])}-{_member(about[0])}"
        case Kind.HELLO:
            hearer, sender, payload = about
            fields = play.table[payload].split(",")
            text = f"{_member(sender)}-{_member(hearer)}:{fields[3]}.{fields[7]}.{fields[5]}"
        case _:
            text = f"{_member(about[0])}-{rules.name(about[1])}"
    return f"{kind.name.lower()}:{text}"


def _entry(play, entry):
    entry_id, _ = play.table[entry]
    run_id, boot, number = entry_id.split(":")
    return f"s{int(run_id)}.{boot}.{number}"


def lines(world, words):
    """The lines that tell a path, to the rule that it breaks; ValueError if it cannot be gone."""
    play = Play(world)
    moment = play.begin()
    began_at = moment.now
    for text in words:
        notes = []
        at = moment.now - began_at
        event = _find(play, moment, text)
        is_over = False
        try:
            moment = play.apply(moment, event, notes)
        except Violation as violation:
            notes.append(f"BROKEN: {violation}")
            is_over = True
        said = "; ".join(notes)
        yield f"{at:6} ms  {text}{'  ' if said else ''}{said}"
        if is_over:
            return
    try:
        if not play.going_on(moment):
            rules.check_end(moment, play)
    except Violation as violation:
        yield f"{moment.now - began_at:6} ms  BROKEN: {violation}"


def command(world, words):
    """What plays a path again."""
    return f"scripts/explore --world {world.name} --replay '{' '.join(words)}'"


def _find(play, moment, text):
    plain = text.removeprefix("torn/")
    events = [*play.going_on(moment), *play.faults(moment)]
    for event in events:
        if word(play, event) == plain:
            return event if plain == text else ("torn", *event)
    possible = " ".join(word(play, event) for event in events)
    raise ValueError(f"{text} cannot happen there, but {possible or 'nothing'}")
