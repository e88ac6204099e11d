"""`scripts/bench plot`: pictures and a table for the README, out of the files of saved runs."""

import json
from pathlib import Path
from statistics import median

import click

from .failover import LAST, MARKS, WRITE
from .figures import p90

COLOURS = {"raft": "#2a6f97", "classic": "#89c2d9", "original": "#c9ada7"}
LABELS = {"raft": "sentinel_py, Raft", "classic": "sentinel_py, classic", "original": "original"}
KIND = ("masters", "query", "way")  # what tells one measurement of queries from another
# What of a scale run grows with the number of masters.
GROWING = {
    "sentinel CPU": "% of a core",
    "memory": "MiB",
    "discovery": "s",
    "query p99": "ms",
    "last switch": "s",
}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--to", default=".", show_default=True, help="Where the pictures go.")
def plot(files, to):
    """PNG pictures of saved runs, and a table of them in Markdown."""
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        run = json.loads(Path(file).read_text())
        if run["kind"] not in DRAWN:
            raise click.UsageError(f"{file}: no plot of a run of '{run['kind']}'")
        draw, tabulate = DRAWN[run["kind"]]
        click.echo(f"{made_on(run)}\n")
        click.echo("\n".join(tabulate(run["rows"])) + "\n")
        for name, figure in draw(run["rows"]):
            figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
            click.echo(f"{folder / name}.png", err=True)


def made_on(run):
    """Where the figures come from, without which they mean nothing."""
    machine, versions = run["machine"], run["versions"]
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{run['when']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        f"{software}."
    )


# Failovers ---------------------------------------------------------------------------------------


def failover_table(rows):
    """One line for each kind of failover, medians and slowest tenths."""
    contenders = present(rows)
    head = ["failover", "down-after", "figure, ms", *(LABELS[name] for name in contenders)]
    yield line(head)
    yield line(["---"] * 3 + ["---:"] * len(contenders))
    for mode, down_after in kinds(rows):
        for mark in (LAST, WRITE, "lost writes"):
            found = [values(rows, mode, down_after, name, mark) for name in contenders]
            if any(found):
                cells = [f"{median(v):.0f} (p90 {p90(v):.0f})" if v else "-" for v in found]
                wait = "-" if mode == "manual" else str(down_after)
                yield line([mode, wait, mark, *cells])


def failover_figures(rows):
    """For each down-after, the steps of each kind of failover, side by side."""
    for down_after in sorted({row["down_after"] for row in rows}):
        modes = [mode for mode, wait in kinds(rows) if wait == down_after]
        figure, axes = canvas(len(modes))
        for mode, ax in zip(modes, axes, strict=True):
            draw_steps(ax, rows, mode, down_after)
            ax.set_title(mode)
        axes[0].set_ylabel("ms since it was caused, median")
        axes[0].legend(fontsize="small")
        yield f"failover-{down_after}", figure


def draw_steps(ax, rows, mode, down_after):
    for name in present(rows):
        steps = [(mark, values(rows, mode, down_after, name, mark)) for mark in MARKS]
        steps = [(mark, median(found)) for mark, found in steps if found]
        ax.plot(*zip(*steps, strict=True), marker="o", color=COLOURS[name], label=LABELS[name])
    if mode != "manual":
        ax.axhline(down_after, color="grey", linestyle=":")
    ax.set_yscale("log")
    number(ax.yaxis)
    ax.tick_params(axis="x", rotation=60)


def kinds(rows):
    return list(dict.fromkeys((row["mode"], row["down_after"]) for row in rows))


def values(rows, mode, down_after, contender, mark):
    kind = (mode, down_after, contender)
    return [
        row[mark]
        for row in rows
        if (row["mode"], row["down_after"], row["contender"]) == kind and mark in row
    ]


# Scale -------------------------------------------------------------------------------------------


def scale_table(rows):
    """One line for each number of masters and contender."""
    figures = [name for name in rows[0] if name not in ("masters", "contender")]
    yield line(["masters", "sentinels", *figures])
    yield line(["---:", "---", *["---:"] * len(figures)])
    for row in rows:
        cells = ["-" if row[name] is None else f"{row[name]:.4g}" for name in figures]
        yield line([str(row["masters"]), LABELS[row["contender"]], *cells])


def scale_figures(rows):
    """How each figure grows with the number of masters."""
    figure, axes = canvas(len(GROWING))
    for (name, unit), ax in zip(GROWING.items(), axes, strict=True):
        for contender in present(rows):
            points = [
                (row["masters"], row[name])
                for row in rows
                if row["contender"] == contender and row[name] is not None
            ]
            if points:
                style = {"color": COLOURS[contender], "label": LABELS[contender]}
                ax.plot(*zip(*points, strict=True), marker="o", **style)
        ax.set(title=f"{name}, {unit}", xlabel="masters", xscale="log", yscale="log")
        number(ax.xaxis)
        number(ax.yaxis)
    axes[0].legend(fontsize="small")
    yield "scale", figure


# Queries -----------------------------------------------------------------------------------------


def query_table(rows):
    """One line for each query and way: ours, the original's and the ratio."""
    yield line(
        ["masters", "query", "way", "1000/s", "ratio", "p99 ms", "CPU µs a request", "ratio"]
    )
    yield line(["---:", "---", "---", *["---:"] * 5])
    for ours in rows:
        if ours["contender"] == "original":
            continue
        theirs = original_of(rows, ours)
        yield line(
            [
                *(str(ours[name]) for name in KIND),
                f"{ours['per_second'] / 1000:.1f} / {theirs['per_second'] / 1000:.1f}",
                f"{ours['per_second'] / theirs['per_second']:.2f}",
                f"{ours['p99_ms']:.2f} / {theirs['p99_ms']:.2f}",
                f"{ours['cpu_us']:.1f} / {theirs['cpu_us']:.1f}",
                f"{ours['cpu_us'] / theirs['cpu_us']:.2f}",
            ]
        )


def query_figures(rows):
    """Requests per second and CPU per request as parts of the original's, for each query."""
    masters = sorted({row["masters"] for row in rows})
    figure, axes = canvas(len(masters))
    for count, ax in zip(masters, axes, strict=True):
        names, ratios = [], []
        for row in rows:
            if row["masters"] == count and row["contender"] == "classic":
                names.append(f"{row['query']}, {row['way']}")
                ratios.append(row["per_second"] / original_of(rows, row)["per_second"])
        ax.barh(names, ratios, color=COLOURS["raft"])
        ax.axvline(1, color="grey", linestyle=":")
        ax.invert_yaxis()
        ax.set(title=f"throughput, {count} watched", xlabel="of the original's")
    yield "query", figure


def original_of(rows, ours):
    """The original's row beside one of ours."""
    return next(
        row
        for row in rows
        if row["contender"] == "original" and all(row[name] == ours[name] for name in KIND)
    )


# All ---------------------------------------------------------------------------------------------


def canvas(count):
    import matplotlib  # takes a second to load, which the other benchmarks need not wait for

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = {"figsize": (4 * count, 4), "layout": "constrained"}
    figure, axes = pyplot.subplots(1, count, squeeze=False, **size)
    return figure, list(axes[0])


def number(axis):
    """Plain numbers on a logarithmic axis."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def present(rows):
    return [name for name in COLOURS if any(row["contender"] == name for row in rows)]


def line(cells):
    return f"| {' | '.join(cells)} |"


DRAWN = {
    "failover": (failover_figures, failover_table),
    "query": (query_figures, query_table),
    "scale": (scale_figures, scale_table),
}
