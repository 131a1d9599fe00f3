"""Functions of OTP's modules that other nodes call here: ``erlang:node/0``, ``pyanoma:start_link/2``, and so on."""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.otp.gen_server import GenServer, start_server
from erlang_bridge.process import Waiter
from erlang_bridge.terms import Atom, Export, Pid

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
BADARG: Final = Atom("badarg")


def export_standard(node: Any) -> None:
    """Export what is here to other nodes."""
    export = node.export
    export("pyanoma", "start_link", start_link, with_call=True)
    export("erlang", "apply", apply, with_call=True)
    export("init", "get_status", lambda: (Atom("stopping" if node.stopped else "started"), Atom("started")))
    export("erlang", "node", lambda: node.name)
    export("erlang", "whereis", lambda name: _whereis(node, name))
    export("erlang", "is_process_alive", lambda pid: _is_process_alive(node, pid))
    export("erlang", "processes", lambda: process_info.processes(node.table), arity=0)
    export("erlang", "process_info", lambda pid: process_info.process_info(node.table, pid), arity=1)
    export("erlang", "process_info", lambda pid, items: process_info.process_info(node.table, pid, items), arity=2)


def _whereis(node: Any, name: Any) -> Any:
    if type(name) is not Atom:
        raise ErlangError(BADARG)
    pid = node.whereis(name)
    return Atom("undefined") if pid is None else pid


def _is_process_alive(node: Any, pid: Any) -> bool:
    if type(pid) is not Pid or pid.node is not node.name:
        raise ErlangError(BADARG)
    alive: bool = node.is_alive(pid)
    return alive


def apply(call: RemoteCall, *arguments: Any) -> Any:
    """``erlang:apply/2`` and ``/3``: what ``erpc:call(Node, fun M:F/A)`` and ``spawn(Node, fun M:F/0)`` ask for.

    Raises:
        ErlangError: ``undef`` for a closure, which only a BEAM with its module can run; ``badarity``.
    """
    match arguments:
        case (Export() as fun, list(given)) if fun.arity == len(given):
            return call.node.callables.apply(call, fun.module, fun.function, given)
        case (Export() as fun, list(given)):
            raise ErlangError((Atom("badarity"), (fun, given)))
        case (module, function, given):
            return call.node.callables.apply(call, module, function, given)
    raise ErlangError(Atom("undef"), [(Atom("erlang"), Atom("apply"), list(arguments), [])])


def start_link(call: RemoteCall, engine: Any, args: Any, options: Any = None) -> Any:
    """``pyanoma:start_link(Engine, Args)``: start an engine under a supervisor of another node.

    The engine is linked with the caller (the supervisor) before this answers, so that no exit can be missed; a
    failed start leaves no link behind.

    Args:
        engine: an atom known to the node, see `Node.engines`.
        args: one term, given to ``init``.
        options: a map; ``name`` registers it under that name. Without, the engine's own name is used while it is free.

    Returns:
        ``{ok, Pid}``, ``{error, Reason}`` or ``ignore``.
    """
    node = call.node
    table = node.table
    if node.stopped:
        return (ERROR, Atom("shutdown"))
    server_class: type[GenServer] | None = node.engines.get(engine.name) if type(engine) is Atom else None
    if server_class is None:
        known = ", ".join(sorted(node.engines)) or "none"
        return (ERROR, (Atom("unknown_engine"), engine, f"this node knows: {known}"))
    name = _name_for(node, engine, options)
    waiter = Waiter(table.scheduler)

    def on_started(answer: Any) -> None:
        # Linked before the engine goes on: where it ends in its first turn, the caller has to hear why.
        process = table.find(answer[1]) if type(answer) is tuple and answer[0] is OK else None
        if process is not None and not call.abandoned:
            table.link(process, call.caller)
        waiter.set(answer)

    pid = start_server(
        table, server_class, args, on_started, name=name, parent=call.caller, group_leader=call.group_leader
    )
    try:
        answer = waiter.wait()
    except BaseException:
        _end(table, pid, call.caller)
        raise
    if type(answer) is tuple and answer[0] is OK and call.abandoned:
        # The caller has given up (a time-out of its own): nobody would ever stop this engine.
        _end(table, pid, call.caller)
        raise ErlangError(Atom("abandoned"))
    return answer


def _end(table: Any, pid: Pid | None, caller: Pid) -> None:
    process = table.find(pid) if pid is not None else None
    if process is not None:
        table.unlink(process, caller)
        table.exit(process, Atom("killed"))


def _name_for(node: Any, engine: Atom, options: Any) -> Atom | None:
    if options is None:
        return engine if node.whereis(engine) is None else None
    if isinstance(options, dict):
        name = options.get(Atom("name"))
        if name is None or type(name) is Atom:
            return name
    raise ErlangError(BADARG)
