"""Fixtures of the tests that run the command line."""

from tests.command_line import environment, pyanoma, python, start

__all__ = ["environment", "pyanoma", "python", "start"]
