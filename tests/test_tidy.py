"""House style that a formatter does not hold: sizes, names, leftovers, docstrings of tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "sentinel_py").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
TESTS = [path for path in SOURCES if path.name.startswith("test_")]

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_LINE = 100
# Written in two halves, so that this file does not find itself.
MARKERS = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
BANNED_NAMES = {"utils", "constants", "exceptions", "types", "helpers", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function)]


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_sizes(path):
    """What does not fit is split."""
    # As ruff counts: the mark that switches a rule off does not make a line too long.
    lines = [line.split("  # noqa")[0] for line in path.read_text().splitlines()]
    assert len(lines) <= MAX_FILE_LINES
    assert not [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE]
    assert not [
        function.name
        for function in functions(path)
        if function.end_lineno - function.lineno >= MAX_FUNCTION_LINES
    ]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_leftovers(path):
    """What is still to be done is not kept in the code."""
    text = path.read_text()
    assert not [marker for marker in MARKERS if marker in text]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_is_named_after_what_it_is_about(path):
    """A drawer for everything attracts everything."""
    assert path.stem not in BANNED_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())) or not path.stat().st_size


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_each_test_says_what_it_shows(path):
    """The list of tests reads as a specification."""
    tests = [function for function in functions(path) if function.name.startswith("test_")]
    assert not [test.name for test in tests if not ast.get_docstring(test)]


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_no_test_sleeps_for_luck(path):
    """A test waits for a condition with a deadline; `eventually` is the only one that sleeps."""
    assert not [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]


MAKES_TASKS = {"create_task", "ensure_future"}
# A TaskGroup keeps its tasks, and is ended by what one of them raises.
TASK_GROUPS = {"group", "self._group"}


@pytest.mark.parametrize("path", sorted((ROOT / "sentinel_py").rglob("*.py")), ids=name)
def test_no_task_can_fail_unseen(path):
    """Tasks are made by `tasks` alone, which keeps them and tells at once what they raise."""
    if path.name == "tasks.py":
        return
    assert not [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and ast.unparse(node.func).rpartition(".")[2] in MAKES_TASKS
        and ast.unparse(node.func).rpartition(".")[0] not in TASK_GROUPS
    ]


def test_the_median_function_is_short():
    """A ratchet on the whole package: long functions stay exceptions."""
    lengths = sorted(
        function.end_lineno - function.lineno + 1
        for path in (ROOT / "sentinel_py").rglob("*.py")
        for function in functions(path)
    )
    assert lengths[len(lengths) // 2] <= 8
