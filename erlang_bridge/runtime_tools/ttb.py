"""The part of ``observer_backend`` that serves ``ttb``, the trace tool builder: what goes with a trace for its reader.

``ttb`` (and so observer's Trace Overview) traces through a trace port, see `dbg`. Here a process sends, through the
same port, what the trace information file will have: the options of the trace, and what each pid is. It lasts until
``ttb_stop``, or until the ``ttb`` that it is for has ended.

Source: OTP ``lib/runtime_tools/src/observer_backend.erl``, "ttb backend".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import gevent

from erlang_bridge.errors import ErlangError, EtfEncodeError
from erlang_bridge.etf import encode
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.process import Process
from erlang_bridge.runtime_tools.trace_port import TracePort
from erlang_bridge.runtime_tools.trace_server import TraceServer
from erlang_bridge.terms import Atom, Fun, Pid, Port

OK: Final = Atom("ok")
BADARG: Final = Atom("badarg")
METADATA: Final = Atom("metadata")
PID: Final = Atom("pid")
STOP: Final = Atom("stop")
DOWN: Final = Atom("DOWN")

_MOST_NAMES: Final = 2000
"""Of how many processes the names are told at the start; others' are when they first do something."""
_PAUSE_S: Final = 0.01
_PATIENCE_S: Final = 30.0


def export(node: Any, server: TraceServer) -> None:
    """Export what is here to other nodes."""

    def init_node(call: RemoteCall, file: Any, with_processes: Any, about: Any) -> Any:
        return _init_node(call, server, file, with_processes is True, about)

    def write_trace_info(call: RemoteCall, meta: Any, key: Any, what: Any) -> Atom:
        if type(meta) is not Pid:
            raise ErlangError(BADARG)
        call.node.table.send(call.process, meta, (METADATA, key, what))
        return OK

    def stop(call: RemoteCall, meta: Any) -> Any:
        _stop(call, meta)
        tracer, server.system_tracer = server.system_tracer, False
        return tracer

    node.export("observer_backend", "ttb_init_node", init_node, with_call=True)
    node.export("observer_backend", "ttb_write_trace_info", write_trace_info, with_call=True)
    node.export("observer_backend", "ttb_stop", stop, with_call=True)
    # There are no trace files here: nothing to fetch, and nothing to go on with after a restart.
    node.export("observer_backend", "ttb_get_filenames", lambda _file: [])
    node.export("observer_backend", "ttb_resume_trace", lambda: OK)


def _init_node(call: RemoteCall, server: TraceServer, file: Any, with_processes: bool, about: Any) -> Any:
    """``ttb_init_node/3``: ``{ok, File, Pid}``, the process that sends what goes with the trace."""
    match file:
        case (Atom("local"), name, Port() as port_term) if port_term in server.ports and isinstance(about, list):
            port = server.ports[port_term]
        case _:
            # A file here, which is never written.
            raise ErlangError(BADARG)
    table = call.node.table
    control = next((value for key, value in _pairs(about) if key is Atom("ttb_control")), None)
    meta = _MetaTracer(call.node, port, name)

    def body() -> None:
        meta.run(process, about, with_processes)

    process: Process = table.add_body(body, group_leader=call.group_leader)
    process.initial_call = ("observer_backend", "ttb_meta_tracer", 4)
    if type(control) is Pid:
        table.monitor(process, control)
    return (OK, file, process.pid)


def _stop(call: RemoteCall, meta: Any) -> None:
    table = call.node.table
    process = table.find(meta) if type(meta) is Pid else None
    if process is None:
        return
    reference = table.monitor(call.process, meta)
    table.send(call.process, meta, STOP)
    call.process.receive(lambda message: type(message) is tuple and message[:2] == (DOWN, reference))


class _MetaTracer:
    """What `ttb_meta_tracer` is on a BEAM."""

    def __init__(self, node: Any, port: TracePort, file: Any) -> None:
        self._node = node
        self._port = port
        self._file = file

    def run(self, process: Process, about: list[Any], with_processes: bool) -> None:
        for entry in about:
            self._write(entry)
        if with_processes:
            for entry in self._names():
                self._write(entry)
            self._port.on_new_pid = self._tell_name
        try:
            while True:
                match process.receive():
                    case (Atom("metadata"), list(entries)):
                        for entry in entries:
                            self._write(entry)
                    case (Atom("metadata"), _, Fun()):
                        pass  # a BEAM's own, which only a BEAM can run
                    case (Atom("metadata"), key, what):
                        self._write((key, what))
                    case Atom("stop") | (Atom("DOWN"), _, _, _, _):
                        return
        finally:
            self._port.on_new_pid = None

    def _names(self) -> Iterator[Any]:
        for pid in [process.pid for process in list(self._node.table.processes.values())[:_MOST_NAMES]]:
            entry = self._name(pid)
            if entry is not None:
                yield entry

    def _name(self, pid: Pid) -> Any:
        process = self._node.table.find(pid)
        if process is None:
            return None
        if process.name is not None:
            return (PID, (pid, process.name))
        dictionary = process_info.process_info(self._node.table, pid, (Atom("dictionary"), Atom("$initial_call")))
        initial = dictionary[1] if type(dictionary) is tuple else None
        if type(initial) is not tuple:
            initial = process_info.process_info(self._node.table, pid, Atom("initial_call"))[1]
        return (PID, (pid, initial))

    def _tell_name(self, pid: Pid) -> None:
        entry = self._name(pid)
        if entry is not None:
            self._port.send((METADATA, self._file, _chunk(entry)))

    def _write(self, entry: Any) -> None:
        """Send one entry, waiting for room: it is the trace itself that may be dropped."""
        try:
            frame = (METADATA, self._file, _chunk(entry))
        except EtfEncodeError:
            return
        patience_s = _PATIENCE_S
        while not self._port.is_closed and not self._port.send(frame) and patience_s > 0:
            gevent.sleep(_PAUSE_S)
            patience_s -= _PAUSE_S


def _chunk(entry: Any) -> bytes:
    """``ttb_make_binary/1``: the term with its size before it."""
    term = encode(entry)
    if len(term) <= 255:
        return bytes((len(term),)) + term
    size = encode((Atom("$size"), len(term)))
    return bytes((len(size),)) + size + term


def _pairs(entries: list[Any]) -> Iterator[tuple[Any, Any]]:
    for entry in entries:
        if type(entry) is tuple and len(entry) == 2:
            yield entry
