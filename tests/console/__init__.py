"""Tests of the commands of the terminal, without any server."""
