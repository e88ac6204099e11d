"""The process that fuzzes one target until its time is over or something is found.

Arguments: the target's module and name, libFuzzer's flags, and the folder of the corpus, which is
given the target's samples. Fuzzing ends with the process.
"""

import importlib
import logging
import sys
from pathlib import Path

import atheris


def main():
    module, name, *flags = sys.argv[1:]
    logging.disable()  # of warnings that an input deserves
    with atheris.instrument_imports(include=["sentinel_py"]):
        targets = importlib.import_module(f".{module}", __package__)
    for number, seed in enumerate(targets.SEEDS[name]):
        Path(flags[-1], f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *flags], getattr(targets, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
