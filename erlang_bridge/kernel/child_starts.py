"""Start functions of children for supervisors of this node: the ``{Module, Function, Arguments}`` of a specification.

Looked up among what the node exports, so ``{pyanoma, start_link, [Engine, Args]}`` starts an engine here. In addition
``{erpc, call, [Node, Module, Function, Arguments]}`` starts one on another node of this kind, which links it with the
supervisor: the same specification as for a supervisor on a BEAM. (A BEAM links it with a process that ends at once.)
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.kernel import rpc
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom

CALL: Final = Atom("call")


def start_child_mfa(node: Any, process: Process, mfa: tuple[Atom, Atom, list[Any]]) -> Any:
    """Apply a start function in the process of a supervisor. Returns and raises what it does.

    Raises:
        ErlangError: ``undef``: no such function is exported.
    """
    module, function, arguments = mfa
    if module is rpc.ERPC and function is CALL:
        match arguments:
            case [Atom() as target, Atom() as module, Atom() as function, list(arguments), *timeout]:
                if target is not node.name:
                    return rpc.call(process, target, module.name, function.name, arguments, _seconds(timeout))
    call = RemoteCall(node, process, process.pid, process.group_leader)
    return node.callables.apply(call, module, function, arguments)


def _seconds(timeout: list[Any]) -> float | None:
    match timeout:
        case [int(milliseconds)]:
            return milliseconds / 1000
    return None
