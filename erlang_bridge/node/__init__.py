"""The node: joins the network and the processes."""

from erlang_bridge.node.node import Node

__all__ = ["Node"]
