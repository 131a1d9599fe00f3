"""Functions of Elixir's modules that are called by name on other nodes: ``Process``, ``Node``, ``Supervisor``.

``:rpc.call(node, Process, :info, [pid])`` is how Elixir asks for a process of another node. Each is what it is in
Elixir: OTP's function, with ``nil`` where that says ``undefined``.

Source: Elixir ``lib/elixir/lib/process.ex``, ``node.ex``, ``supervisor.ex``, ``application.ex``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.terms import Atom

UNDEFINED: Final = Atom("undefined")
REGISTERED_NAME: Final = Atom("registered_name")

_SAME: Final = (
    ("Process", "list", 0, "erlang", "processes"),
    ("Process", "whereis", 1, "erlang", "whereis"),
    ("Process", "alive?", 1, "erlang", "is_process_alive"),
    ("Process", "registered", 0, "erlang", "registered"),
    ("Process", "exit", 2, "erlang", "exit"),
    ("Process", "info", 1, "erlang", "process_info"),
    ("Node", "self", 0, "erlang", "node"),
    ("Node", "list", 0, "erlang", "nodes"),
    ("Node", "list", 1, "erlang", "nodes"),
    ("Supervisor", "which_children", 1, "supervisor", "which_children"),
    ("Application", "started_applications", 0, "application", "which_applications"),
    ("Application", "loaded_applications", 0, "application", "loaded_applications"),
    ("GenServer", "call", 2, "gen_server", "call"),
    ("GenServer", "call", 3, "gen_server", "call"),
    ("GenServer", "cast", 2, "gen_server", "cast"),
    ("GenServer", "whereis", 1, "erlang", "whereis"),
)
"""Module, function, arity in Elixir; module and function in OTP."""


def export(node: Any) -> None:
    """Export what is here to other nodes."""

    def ask(call: RemoteCall, module: str, function: str, arguments: list[Any]) -> Any:
        answer = node.callables.apply(call, Atom(module), Atom(function), arguments)
        return None if answer is UNDEFINED else answer

    def same(module: str, function: str) -> Any:
        return lambda call, *arguments: ask(call, module, function, list(arguments))

    def info(call: RemoteCall, pid: Any, items: Any) -> Any:
        answer = ask(call, "erlang", "process_info", [pid, items])
        return (REGISTERED_NAME, []) if items is REGISTERED_NAME and answer == [] else answer

    def count_children(call: RemoteCall, supervisor: Any) -> Any:
        return dict(ask(call, "supervisor", "count_children", [supervisor]))

    for elixir, name, arity, module, function in _SAME:
        node.export(f"Elixir.{elixir}", name, same(module, function), with_call=True, arity=arity)
    node.export("Elixir.Process", "info", info, with_call=True, arity=2)
    node.export("Elixir.Supervisor", "count_children", count_children, with_call=True, arity=1)
