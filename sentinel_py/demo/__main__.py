"""`python -m sentinel_py.demo` is `scripts/demo`."""

from sentinel_py.demo.command import main

main(prog_name="scripts/demo")
