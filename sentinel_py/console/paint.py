"""How states, sizes and times look, alike in all commands."""

from __future__ import annotations

from rich.text import Text

_STATE_STYLES = {
    "ok": "green",
    "sdown": "bold red",
    "odown": "bold red",
    "disconnected": "yellow",
    "foreign": "bold red",
}
_EVENT_STYLES = {
    "+sdown": "red",
    "+odown": "red",
    "-sdown": "green",
    "-odown": "green",
    "+promoted-slave": "green",
    "+switch-master": "bold green",
    "+tilt": "bold red",
}


def state_text(state: str) -> Text:
    """A state in its colour; what is none of them is the phase of a failover."""
    return Text(state, _STATE_STYLES.get(state, "bold yellow"))


def event_text(name: str) -> Text:
    style = _EVENT_STYLES.get(name, "red" if name.startswith("-failover-abort") else "cyan")
    return Text(name, style)


def quiet(text: str) -> Text:
    return Text(text, "dim")


def bytes_text(count: int | None) -> str:
    """So many bytes, in a unit that keeps it short."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def span(ms: int) -> str:
    """A time in the largest unit of which there are two."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= 2 * length:
            return f"{ms // length} {unit}"
    return f"{ms} ms"
