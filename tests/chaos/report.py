"""Rounds summed up: a verdict on each, and a Markdown table of their medians."""

from dataclasses import dataclass

from .accounting import Figures, medians

COLUMNS = (
    "scenario",
    "program",
    "rounds",
    "outage ms",
    "acknowledged",
    "lost",
    "two masters s",
    "after the heal s",
    "disagreed s",
    "verdict",
)


@dataclass(frozen=True)
class Round:
    """What one round cost, or why it could not be finished."""

    figures: Figures | None
    complaints: tuple[str, ...]
    notes: tuple[str, ...] = ()


def excesses(figures, limits):
    """Where figures are beyond the limits, in words."""
    checks = (
        ("outage", figures.outage_ms, limits.outage_ms, "{:.0f} ms"),
        ("lost", figures.lost_share, limits.lost_share, "{:.2%}"),
        ("two masters", figures.two_masters_ms, limits.two_masters_ms, "{:.0f} ms"),
        ("after the heal", figures.after_heal_ms, limits.after_heal_ms, "{:.0f} ms"),
    )
    return tuple(
        f"{name} {form.format(value)}, not {form.format(limit)}"
        for name, value, limit, form in checks
        if value > limit
    )


def line(scenario, program, done):
    """One round in one line, for those who wait."""
    if done.figures is None:
        return f"{scenario:23} {program:22} {'; '.join(done.complaints)}"
    it = done.figures
    said = "; ".join([*done.notes, *done.complaints])
    return (
        f"{scenario:23} {program:22} outage {it.outage_ms:6.0f} ms  acknowledged"
        f" {it.acknowledged:5.0f}  lost {it.lost:5.0f}  two masters {it.two_masters_ms:5.0f} ms"
        f"  after the heal {it.after_heal_ms:5.0f} ms  disagreed {it.disagreed_ms:5.0f} ms  {said}"
    )


def table(results):
    """Markdown of results by (scenario, program); a string in the place of rounds is a reason."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    for (scenario, program), rounds in results.items():
        rows.append((scenario, program, *_row(rounds)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(rounds):
    if isinstance(rounds, str):
        return ("0", *[""] * 6, f"skipped: {rounds}")
    finished = [one.figures for one in rounds if one.figures]
    return (str(len(rounds)), *(_cells(medians(finished)) if finished else [""] * 6), _said(rounds))


def _cells(it):
    return (
        f"{it.outage_ms:.0f}",
        f"{it.acknowledged:.0f}",
        f"{it.lost:.0f} ({it.lost_share:.1%})",
        *(f"{ms / 1000:.1f}" for ms in (it.two_masters_ms, it.after_heal_ms, it.disagreed_ms)),
    )


def _said(rounds):
    """How many rounds were within the limits, and what was wrong with the first that was not."""
    bad = [one for one in rounds if one.complaints]
    notes = [note for one in rounds for note in one.notes][:1]
    if not bad:
        return "; ".join(["good", *notes])
    count = f"bad in {len(bad)} of {len(rounds)}"
    return "; ".join([f"{count}: {', '.join(bad[0].complaints)}", *notes])
