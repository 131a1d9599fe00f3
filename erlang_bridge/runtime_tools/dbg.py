"""``dbg``, ``trace`` and ``erlang:trace/3``: what the tracers of other nodes call here; see `trace_server`.

Source: OTP ``lib/runtime_tools/src/dbg.erl``; ``lib/kernel/src/trace.erl``; ERTS ``erlang.erl``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.runtime_tools import ttb
from erlang_bridge.runtime_tools.match_specs import refused
from erlang_bridge.runtime_tools.trace_port import TracePort
from erlang_bridge.runtime_tools.trace_server import TRACER, TraceServer, checked_flags
from erlang_bridge.runtime_tools.tracer import EXISTING, NEW, PORTS
from erlang_bridge.terms import Atom, Pid, Port, Reference

BADARG: Final = Atom("badarg")
TRACE_DELIVERED: Final = Atom("trace_delivered")


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    server = TraceServer(node)
    _export_dbg(node, server)
    _export_trace(node, server)
    _export_erlang(node, server)
    ttb.export(node, server)


def _export_dbg(node: Any, server: TraceServer) -> None:
    def erlang_trace(call: RemoteCall, *arguments: Any) -> Any:
        *session, who, how, flags = arguments
        found = _pid_spec(node, who)
        if found is None:
            return (Atom("no_proc"), who)
        if session:
            its, tracer = server.session_of(session[0])
            return server.trace(its, tracer, found, how, flags)
        return _legacy_trace(call, server, found, how, flags)

    def deliver_and_flush(*arguments: Any) -> Any:
        port = arguments[-1]
        if type(port) is Pid:
            raise ErlangError(BADARG)
        return _control(server, port, Atom("f"))

    export = node.export
    export("dbg", "do_relay", lambda call, parent, to: server.run_relay(call, None, parent, to), with_call=True)
    export("dbg", "do_relay", server.run_relay, with_call=True)
    export("dbg", "erlang_trace", erlang_trace, with_call=True, arity=3)
    export("dbg", "erlang_trace", erlang_trace, with_call=True, arity=4)
    export("dbg", "deliver_and_flush", deliver_and_flush, arity=1)
    export("dbg", "deliver_and_flush", deliver_and_flush, arity=2)
    export("dbg", "get_info", lambda: _traced(node, server))


def _export_trace(node: Any, server: TraceServer) -> None:
    def session_create(name: Any, tracer: Any, _options: Any) -> Any:
        if type(name) is not Atom:
            raise refused("the name of a trace session is an atom")
        return server.create_session(name, server.tracer_of(tracer))

    def process(session: Any, who: Any, how: Any, flags: Any) -> int:
        its, tracer = server.session_of(session)
        return server.trace(its, tracer, who, how, flags)

    def port(session: Any, _who: Any, _how: Any, flags: Any) -> int:
        server.session_of(session)
        checked_flags(flags)
        return 0

    def function(session: Any, what: Any, spec: Any, options: Any) -> int:
        return server.pattern(server.session_of(session)[0], what, spec, options)

    def send(session: Any, spec: Any, _options: Any) -> int:
        return server.message_pattern(server.session_of(session)[0], "send", spec)

    def receive(session: Any, spec: Any, _options: Any) -> int:
        return server.message_pattern(server.session_of(session)[0], "receive", spec)

    def info(session: Any, tracee: Any, item: Any) -> Any:
        return server.info(server.session_of(session)[0], tracee, item)

    export = node.export
    export("trace", "session_create", session_create)
    export("trace", "session_destroy", server.destroy_session)
    export("trace", "process", process)
    export("trace", "port", port)
    export("trace", "function", function)
    export("trace", "send", send)
    export("trace", "recv", receive)
    export("trace", "info", info)
    export("trace", "delivered", lambda call, _session, who: _delivered(call, who), with_call=True)


def _export_erlang(node: Any, server: TraceServer) -> None:
    def set_system_tracer(tracer: Any) -> Any:
        if tracer is not False:
            server.tracer_of(tracer)
        earlier, server.system_tracer = server.system_tracer, tracer
        return earlier

    export = node.export
    export(
        "erlang",
        "trace",
        lambda call, who, how, flags: _legacy_trace(call, server, who, how, flags),
        with_call=True,
    )
    export(
        "erlang",
        "trace_pattern",
        lambda what, spec, options=(): server.pattern(server.legacy, what, spec, options),
    )
    export("erlang", "trace_info", lambda tracee, item: server.info(server.legacy, tracee, item))
    export("erlang", "trace_delivered", _delivered, with_call=True)
    export("erlang", "port_control", lambda port, operation, _data: _control(server, port, operation))
    export("seq_trace", "set_system_tracer", set_system_tracer)
    export("seq_trace", "get_system_tracer", lambda: server.system_tracer)
    export("seq_trace", "reset_trace", lambda: True)


def _legacy_trace(call: RemoteCall, server: TraceServer, who: Any, how: Any, flags: Any) -> int:
    tracer = None
    if how is True:
        named = _tracer_in(flags)
        tracer = server.tracer_of(named if named is not None else call.process.pid)
    return server.trace(server.legacy, tracer, who, how, flags)


def _pid_spec(node: Any, who: Any) -> Any:
    """``dbg:to_pidspec/1``; None where there is no such process."""
    if type(who) is Pid:
        return who if node.is_alive(who) else None
    if type(who) is Port:
        return None
    if type(who) is Atom and who.name not in EXISTING | NEW | PORTS:
        return node.whereis(who)
    return who if type(who) is Atom else None


def _port(server: TraceServer, port: Any) -> TracePort:
    found = server.ports.get(port) if type(port) is Port else None
    if found is None:
        raise ErlangError(BADARG)
    return found


def _control(server: TraceServer, port: Any, operation: Any) -> Any:
    found = _port(server, port)
    match operation.name if type(operation) is Atom else chr(operation) if type(operation) is int else None:
        case "p":
            return b"\x00" + found.number.to_bytes(2, "big")
        case "f":
            found.flush()
            return [0]
    raise ErlangError(BADARG)


def _delivered(call: RemoteCall, who: Any) -> Reference:
    """``erlang:trace_delivered/1``: events are told at once, so they have been."""
    table = call.node.table
    reference: Reference = table.make_reference()
    table.send(None, call.process.pid, (TRACE_DELIVERED, who, reference))
    return reference


def _traced(node: Any, server: TraceServer) -> list[Any]:
    """``dbg:get_info/0``: ``[{Pid, InitialCall, Flags}]`` of what is traced."""
    found = []
    for session in server.traces.tracing.sessions:
        for watch in session.watches.values():
            initial = process_info.process_info(node.table, watch.process.pid, Atom("initial_call"))
            if type(initial) is tuple:
                found.append((watch.process.pid, initial[1], server.flags_of(session, watch.process)))
    return found


def _tracer_in(flags: Any) -> Any:
    for flag in flags if isinstance(flags, list) else ():
        if type(flag) is tuple and len(flag) == 2 and flag[0] is TRACER:
            return flag[1]
    return None
