"""The processes and functions that other nodes expect of every node, started with it."""

from __future__ import annotations

from typing import Any

from erlang_bridge.kernel import standard
from erlang_bridge.kernel.net_kernel import NetKernel
from erlang_bridge.kernel.rex import Rex
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.terms import Atom, Pid


def start(node: Any) -> Any:
    """Start the kernel processes of `node` and fill its table of callables."""
    standard.export_standard(node)
    for name, server in (("net_kernel", NetKernel), ("rex", Rex)):
        start_server(node.table, server, None, lambda answer: None, name=Atom(name))
    return None


def stop(node: Any) -> None:
    """Stop them again."""


def print_to(node: Any, group_leader: Pid | None, text: str) -> None:
    print(text, end="")


def stdout_to(node: Any, client: Pid) -> Pid:
    return client
