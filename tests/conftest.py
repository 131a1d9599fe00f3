"""Fixtures for every test; those for BEAMs come from `erlang_bridge.testing.plugin`."""

from tests.fix_leaks import no_leaks, optimiser, thawed
from tests.fix_node import node, node_factory

__all__ = ["no_leaks", "node", "node_factory", "optimiser", "thawed"]
