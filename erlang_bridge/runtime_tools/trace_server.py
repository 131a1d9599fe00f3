"""What the tracers of other nodes have here: tracers, sessions, trace ports, and the relays that keep them.

Up to OTP 26 all tracing of a node is one (``erlang:trace/3``, ``erlang:trace_pattern/3``); from 27 on each tracer has
a session (``trace:process/4``, ``trace:function/4``). Both are there at the same time.

A tracer on another node starts a relay here, ``dbg:do_relay``, linked with it: it passes trace messages on to a
process, or opens a trace port. What a relay traces ends with it, and so with its connection: every process and function
is as it was before.

Trace files are never written: whoever asks for a file is told to trace through a port (``ttb:tracer(Node, {local,
File})``).

Source: OTP ``lib/runtime_tools/src/dbg.erl``, ``do_relay/2,3``; ``lib/kernel/src/trace.erl``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from erlang_bridge.errors import BridgeError
from erlang_bridge.etf import Encoded, decode_prefix, encode_term
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.net.options import NetOptions
from erlang_bridge.process import Process
from erlang_bridge.process.tracing import MASKS, STYLES, Matcher, Session, TraceEvent, Tracer, match_nothing
from erlang_bridge.runtime_tools.match_specs import compile_match_spec, refused
from erlang_bridge.runtime_tools.trace_port import TracePort
from erlang_bridge.runtime_tools.trace_terms import trace_message
from erlang_bridge.runtime_tools.tracer import EXISTING, NEW, PORTS, ProcessTracer, Traces
from erlang_bridge.terms import Atom, Fun, Pid, Port, Reference

log = logging.getLogger("erlang_bridge.trace")

DROP: Final = Atom("drop")
STARTED: Final = Atom("started")
TRACER: Final = Atom("tracer")
UNDEFINED: Final = Atom("undefined")

INERT: Final = frozenset(
    {
        "exiting",
        "garbage_collection",
        "ports",
        "return_to",
        "running_ports",
    }
)
"""Flags of OTP's that are taken, and mean nothing that there is here."""
_REFUSED: Final = frozenset({"cpu_timestamp"})
_RELAYED: Final = 1000
"""How many trace messages wait in a relay."""
_FIRST_PORT: Final = 1 << 32
"""Numbers of trace ports; what else has a port term here has smaller ones."""
_MOST_PORTS: Final = 100
"""Trace ports at a time: each is a socket, and the node needs some for others."""


class TraceServer:
    """What the tracers of other nodes use here.

    Attributes:
        ports: the open trace ports.
        sessions: those of `trace`, by their reference.
    """

    def __init__(self, node: Any) -> None:
        self.node = node
        self.traces: Traces = node.trace
        self.ports: dict[Port, TracePort] = {}
        self.sessions: dict[Reference, tuple[Session, Tracer]] = {}
        self.system_tracer: Any = False
        self._legacy = Session("legacy")
        self._tracers: dict[Pid, ProcessTracer] = {}
        self._last_port = _FIRST_PORT
        self._last_session = 0
        node.at_stop(self.close)

    def close(self) -> None:
        """Close every trace port at once."""
        for port in list(self.ports.values()):
            port.abort()

    # -- tracers --------------------------------------------------------------------------------

    def open_port(self, peer: Atom, number: int, limit: int) -> TracePort:
        """A trace port for a client on the node `peer`.

        Args:
            number: where to listen; 0 lets the system choose.
        """
        node = self.node
        self._last_port += 1
        options = NetOptions(host=node.options.host, port_range=(number, number) if number else None, backlog=4)
        port = TracePort(
            node.table.scheduler.hub.loop,
            Port(node.name, self._last_port, node.creation),
            options,
            allowed=_address_of(node, peer),
            limit=limit,
            on_closed=self._port_closed,
        )
        self.ports[port.port] = port
        return port

    def _port_closed(self, port: TracePort) -> None:
        self.ports.pop(port.port, None)
        if self.system_tracer == port.port:
            self.system_tracer = False
        self.drop_tracer(port)

    def process_tracer(self, process: Process, *, is_relay: bool = False) -> ProcessTracer:
        """What tells `process`, until that ends."""
        tracer = self._tracers.get(process.pid)
        if tracer is None:
            message = _encoded_message if is_relay else trace_message
            tracer = ProcessTracer(process, message, lambda missing: (DROP, missing), _RELAYED)
            self._tracers[process.pid] = tracer
            if is_relay:
                self.traces.tracing.serve(process)
            _at_exit(process, lambda: self.drop_process_tracer(process))
        return tracer

    def drop_process_tracer(self, process: Process) -> None:
        self.traces.tracing.serve_no_more(process)
        tracer = self._tracers.pop(process.pid, None)
        if tracer is not None:
            self.drop_tracer(tracer)

    def drop_tracer(self, tracer: Tracer) -> None:
        """End what `tracer` is told."""
        tracing = self.traces.tracing
        tracing.drop_tracer(tracer)
        for reference, (session, its) in list(self.sessions.items()):
            if its is tracer:
                del self.sessions[reference]
                tracing.end_session(session)
        if not self.ports and not self._tracers:
            # Patterns of old are the node's; nobody is left who would take them away.
            tracing.end_session(self._legacy)

    def tracer_of(self, term: Any) -> Tracer:
        """Raises ErlangError ``badarg``: neither a live process of this node nor an open trace port."""
        if type(term) is Port and term in self.ports:
            return self.ports[term]
        process = self.node.table.find(term) if type(term) is Pid else None
        if process is None:
            raise refused("the tracer is neither a process of this node nor a trace port of it")
        return self.process_tracer(process)

    @property
    def legacy(self) -> Session:
        """The one session of OTP up to 26."""
        tracing = self.traces.tracing
        if self._legacy not in tracing.sessions:
            self._legacy = Session("legacy")
            tracing.add_session(self._legacy)
        return self._legacy

    # -- sessions -------------------------------------------------------------------------------

    def create_session(self, name: Any, tracer: Tracer) -> Any:
        """``trace:session_create/3``: ``{Ref, {Name, N}}``, opaque for others."""
        session = Session(str(name))
        self.traces.tracing.add_session(session)
        reference = self.node.table.make_reference()
        self.sessions[reference] = (session, tracer)
        self._last_session += 1
        return (reference, (name, self._last_session))

    def session_of(self, term: Any) -> tuple[Session, Tracer]:
        """Raises ErlangError ``badarg``: no session, or one that has ended."""
        match term:
            case (Reference() as reference, _) if reference in self.sessions:
                return self.sessions[reference]
        raise refused("there is no such trace session; it ends with its tracer")

    def destroy_session(self, term: Any) -> bool:
        match term:
            case (Reference() as reference, _) if reference in self.sessions:
                session, _ = self.sessions.pop(reference)
                self.traces.tracing.end_session(session)
                return True
        return False

    # -- what they do ---------------------------------------------------------------------------

    def trace(self, session: Session, tracer: Tracer | None, who: Any, how: Any, flags: Any) -> int:
        """``erlang:trace/3`` and ``trace:process/4``: how many processes that are."""
        wanted = checked_flags(flags)
        if type(who) is Port or (type(who) is Atom and who.name in PORTS):
            return 0
        if type(who) is not Pid and not (type(who) is Atom and who.name in EXISTING | NEW):
            raise refused("expected a pid, all, existing, new, or one of their kin")
        try:
            if how is True:
                wanted -= {"all"}
                assert tracer is not None
                return self.traces.watch(session, who, wanted, tracer)
            if how is False:
                return self.traces.unwatch(session, who, None if "all" in wanted else wanted)
        except ValueError as error:
            raise refused(str(error)) from None
        raise refused("expected true or false")

    def pattern(self, session: Session, what: Any, spec: Any, options: Any) -> int:
        """``erlang:trace_pattern/3`` and ``trace:function/4``: how many functions that are."""
        if type(what) is Atom and what.name in ("send", "receive"):
            return self.message_pattern(session, what.name, spec)
        for option in options if isinstance(options, list) else ():
            if option not in (Atom("local"), Atom("global")):
                raise refused(f"the option {option} of a trace pattern is not supported here")
        match what:
            case (Atom() as module, Atom() as function, int() as arity) if arity >= 0:
                given: int | None = arity
            case (Atom() as module, Atom() as function, Atom("_")):
                given = None
            case _:
                raise refused("expected {Module, Function, Arity}")
        matcher: Matcher | None = None
        if spec is False:
            pass
        elif type(spec) is Atom:
            raise refused(f"{spec} is not supported here")
        else:
            matcher = compile_match_spec(spec)
        return self.traces.set_calls(session, module.name, function.name, given, matcher)

    def message_pattern(self, session: Session, what: str, spec: Any) -> int:
        """Which messages are told. ``true`` is all of them, ``false`` none."""
        matcher: Matcher | None = None
        if spec is True:
            pass
        elif spec is False:
            matcher = match_nothing
        else:
            matcher = compile_match_spec(spec)
        setattr(session, what, matcher)
        return 1

    def flags_of(self, session: Session, process: Process) -> list[Atom]:
        watch = session.watches.get(process.pid.id)
        return [Atom(flag) for flag in sorted(watch.flags)] if watch is not None else []

    def info(self, session: Session, tracee: Any, item: Any) -> Any:
        """``erlang:trace_info/2``, ``trace:info/3``: flags and tracer of a process, the pattern of a function."""
        match tracee, item:
            case Pid(), Atom("flags" | "tracer"):
                process = self.node.table.find(tracee)
                if process is None:
                    return UNDEFINED
                if item.name == "flags":
                    return (item, self.flags_of(session, process))
                watch = session.watches.get(process.pid.id)
                return (item, self._tracer_term(watch.tracer) if watch is not None else [])
            case Atom("new" | "new_processes"), Atom("flags"):
                flags = session.new[0] if session.new is not None else frozenset()
                return (item, [Atom(flag) for flag in sorted(flags)])
            case (Atom() as module, Atom() as function, int(arity)), Atom("traced" | "all" | "match_spec"):
                is_traced = (module.name, function.name, arity) in session.calls
                return (item, Atom("local") if is_traced and item.name == "traced" else is_traced and [])
        raise refused("there is no such trace information here")

    def _tracer_term(self, tracer: Tracer) -> Any:
        if isinstance(tracer, TracePort):
            return tracer.port
        return tracer.process.pid if isinstance(tracer, ProcessTracer) else []

    # -- relays ---------------------------------------------------------------------------------

    def run_relay(self, call: RemoteCall, name: Any, parent: Any, target: Any) -> None:
        """``dbg:do_relay``, as the process that it is.

        Args:
            name: of the session to create; None where the parent does not know of sessions.
            target: who gets the trace messages, or ``{port, Fun}``, the port to open.
        """
        process = call.process
        process.trap_exit = True
        table = self.node.table
        if type(parent) is not Pid:
            raise refused("do_relay is called with a pid")
        if parent not in (process.links or ()):
            # Called by rpc: nothing else would tell that nobody is left for whom it is.
            table.monitor(process, parent)
        tracer: Tracer
        term: Any
        if type(target) is Pid:
            tracer, term = self.process_tracer(process, is_relay=True), process.pid
        else:
            opened = self._open_for(call, target, parent)
            if opened is None:
                return
            tracer, term = opened, opened.port
        try:
            if name is None:
                started: tuple[Any, ...] = (STARTED, term)
            else:
                started = (STARTED, term, self.create_session(name, tracer))
            table.send(process, parent, started)
            self._relay(process, target if type(target) is Pid else None)
        finally:
            if isinstance(tracer, TracePort):
                tracer.close()

    def _relay(self, process: Process, to: Pid | None) -> None:
        while True:
            message = process.receive()
            match message:
                case (Atom("EXIT"), _, _) | (Atom("DOWN"), _, _, _, _):
                    return
            if to is not None:
                self.node.table.send(process, to, message)
            else:
                log.warning("a relay of trace messages got a message of another kind: %r", message)

    def _open_for(self, call: RemoteCall, target: Any, parent: Pid) -> TracePort | None:
        """The port that is asked for; None where there cannot be one, which the user has been told of."""
        what = (
            f"{self.node.name} traces to a process or an ip port, and writes no trace files: "
            "use ttb:tracer(Node, {local, File}), or {shell, only}"
        )
        match target:
            case (Atom("port"), Fun() as fun):
                match free_variables(fun):
                    # In which order they are is the compiler's choice; a queue has room for something.
                    case (0 as number, int(limit)) if limit > 0:
                        pass
                    case (int(limit), int(number)) if 0 <= number < 65536 and limit > 0:
                        pass
                    case _:
                        number = -1
                if len(self.ports) >= _MOST_PORTS:
                    what = f"{self.node.name} has {_MOST_PORTS} trace ports open, and opens no more"
                elif number >= 0:
                    try:
                        return self.open_port(call.caller.node, number, limit)
                    except OSError as error:
                        what = f"{self.node.name} has no trace port: {error.strerror}"
        self.node.print_to(call.group_leader, f"** {what}\n")
        # Whoever waits for the relay goes on, and finds that it has ended.
        self.node.table.send(call.process, parent, (STARTED, Port(self.node.name, 0, self.node.creation)))
        return None


def free_variables(fun: Fun) -> tuple[Any, ...] | None:
    """What a closure carries; the body of NEW_FUN_EXT is arity, 16 bytes, index, their number, and then these.

    None: it cannot be read.

    Source: ERTS, "External Term Format", NEW_FUN_EXT.
    """
    raw = fun.raw
    try:
        count = int.from_bytes(raw[21:25], "big")
        position = 25
        values = []
        # Before them: module, old index, old unique number, and the pid that has made it.
        for _ in range(4 + min(count, 16)):
            value, position = decode_prefix(raw, position)
            values.append(value)
    except (BridgeError, ValueError, IndexError):
        return None
    return tuple(values[4:])


def _encoded_message(event: TraceEvent, flags: frozenset[str]) -> Any:
    # Now, not when the relay sends it: what it is about may change.
    return Encoded(encode_term(trace_message(event, flags)))


def checked_flags(flags: Any) -> frozenset[str]:
    """The names of the flags that have a meaning here, and ``all``.

    Raises:
        ErlangError: ``{badarg, Why}``.
    """
    if not isinstance(flags, list):
        raise refused("flags are a list")
    names = set()
    for flag in flags:
        if type(flag) is tuple and len(flag) == 2 and flag[0] is TRACER:
            continue
        name = flag.name if type(flag) is Atom else None
        if name is None or name in _REFUSED or not (name in MASKS or name in STYLES or name in INERT or name == "all"):
            raise refused(f"the flag {flag} is not supported here")
        names.add(name)
    if "all" in names:
        return (frozenset(MASKS) | STYLES | {"all"}) - _REFUSED - {"silent"}
    return frozenset(names - INERT)


def _address_of(node: Any, peer: Atom) -> str:
    """The address that the connection with `peer` has at its side; without one it can only be this machine's."""
    channel = node.connections.peek(peer)
    sock = channel.socket if channel is not None else None
    if sock is None:
        return "127.0.0.1"
    address: str = sock.getpeername()[0]
    return address


def _at_exit(process: Process, function: Any) -> None:
    earlier = process.on_exit

    def ended(reason: Any) -> None:
        if earlier is not None:
            earlier(reason)
        function()

    process.on_exit = ended
