"""The rule of the architecture: the shell knows the core, the core knows nobody.

The core is a pure function of its inputs. So it may not reach a clock, a socket, the disk or a
source of randomness, and nothing it does may hang on the order of a set.
"""

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "sentinel_py" / "core"
MODULES = sorted(CORE.rglob("*.py"))

# The modules of the standard library that compute, and reach nothing outside.
PURE = {
    "__future__",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "zlib",
}
# The type of the generator that the shell hands in, with its seed; the core may not make one. And
# what makes classes, which computes nothing.
PURE_NAMES = {"random.Random", "sentinel_py.values.dataclass"}
# They read or write outside, or depend on the process that runs them.
IMPURE_CALLS = {"Random", "__import__", "eval", "exec", "hash", "id", "input", "open", "print"}


def calls(node, *names):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def imported(tree):
    """Everything that a module of the core imports, by its absolute name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ("", "sentinel_py.core.", "sentinel_py.")[node.level]
            module = f"{package}{node.module or ''}".rstrip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def allowed(name):
    return name.split(".")[0] in PURE or name in PURE_NAMES or in_core(name)


def in_core(name):
    return f"{name}.".startswith("sentinel_py.core.")


def iterated(tree):
    """Everything that a loop, a comprehension or an unpacking walks over."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.iter
        elif isinstance(node, ast.Starred):
            yield node.value
        elif calls(node, "list", "tuple", "enumerate", "iter", "next", "zip"):
            yield from node.args


def faults(source):
    """What in this source would make the core impure."""
    tree = ast.parse(source)
    yield from (f"imports {name}" for name in imported(tree) if not allowed(name))
    for node in ast.walk(tree):
        if calls(node, *IMPURE_CALLS):
            yield f"line {node.lineno}: calls {node.func.id}"
    for node in iterated(tree):
        if isinstance(node, ast.Set | ast.SetComp) or calls(node, "set", "frozenset"):
            yield f"line {node.lineno}: iterates over a set"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_core_is_pure(path):
    """Imports of the pure standard library and of the core only, no outside call, no set order."""
    assert not list(faults(path.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from asyncio import sleep",
        "from sentinel_py import node",
        "from sentinel_py.corelike import x",
        "from .. import config",
        "from random import choice",
        "Random(1)",
        "def f():\n    from random import random",
        "print('x')",
        "open('x')",
        "for x in {1, 2}: pass",
        "[x for x in set(y)]",
        "a = [*{1, 2}]",
        "list(frozenset(x))",
    ],
)
def test_the_check_finds(source):
    """A check that never fails guards nothing."""
    assert list(faults(source))


def test_there_is_a_core_to_check():
    """An empty list of modules would pass."""
    assert MODULES
