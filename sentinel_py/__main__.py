"""``python -m sentinel_py`` is ``sentinel-py``."""

from sentinel_py.cli import main

main()
