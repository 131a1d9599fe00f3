"""Fixtures for every test; those for BEAMs come from `erlang_bridge.testing.plugin`."""

from tests.fix_leaks import no_leaks

__all__ = ["no_leaks"]
