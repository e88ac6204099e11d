"""Figures of a run, summed up and shown."""

from statistics import median

from rich.console import Console
from rich.table import Table


def p90(values):
    return percentile(values, 90)


def p99(values):
    return percentile(values, 99)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def show(title, rows, columns=("median", "p90", "max")):
    """Print a table of rows (name, values, unit)."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("n", justify="right")
    for name, values, unit in rows:
        figures = (median(values), p90(values), max(values))
        table.add_row(name, *(f"{figure:.2f} {unit}" for figure in figures), str(len(values)))
    Console().print(table)
