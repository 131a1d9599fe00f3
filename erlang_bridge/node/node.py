"""A node: everything below joined together, and the public face of the bridge."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self

import gevent
import greenlet
from gevent.event import Event

from erlang_bridge import runtime_tools
from erlang_bridge import shell as python_shell
from erlang_bridge.dist.flags import OFFERED_HIDDEN, OFFERED_VISIBLE
from erlang_bridge.dist.handshake import NodeIdentity
from erlang_bridge.epmd.node_names import parse_node_name
from erlang_bridge.errors import BridgeError, exit_for
from erlang_bridge.kernel import child_starts, group_leader, io, push, rpc, services
from erlang_bridge.kernel.applications import Applications
from erlang_bridge.kernel.callables import Callables
from erlang_bridge.kernel.code_server import CodeServer
from erlang_bridge.kernel.global_names import GlobalNames
from erlang_bridge.kernel.multi_call import calling_process
from erlang_bridge.kernel.pg import ProcessGroups
from erlang_bridge.kernel.releases import PeerReleases
from erlang_bridge.kernel.report_log import ReportLog
from erlang_bridge.kernel.spawn_server import SpawnServer, body_crashed, unencodable_result
from erlang_bridge.kernel.statistics import NodeStatistics
from erlang_bridge.kernel.tables import Tables
from erlang_bridge.net.channel import Channel
from erlang_bridge.net.connections import Connections
from erlang_bridge.net.cookies import find_cookie
from erlang_bridge.net.epmd_client import epmd_port, resolve_node
from erlang_bridge.net.epmd_registration import EpmdRegistration
from erlang_bridge.net.epmd_server import epmd_addresses
from erlang_bridge.net.options import NetOptions
from erlang_bridge.node.dispatch import Dispatcher
from erlang_bridge.node.shutdown import stop_engines, stop_trees
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.process.exit_rules import SHUTDOWN
from erlang_bridge.runtime_tools.tracer import Traces
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.text import format_term

log = logging.getLogger("erlang_bridge.node")

OK: Final = Atom("ok")
IGNORE: Final = Atom("ignore")
_MAX_CONNECT_FAILURES: Final = 1000
_ENGINES_STOP_S: Final = 5.0
"""For the engines that other nodes' supervisors have here; the default shutdown time of a worker in OTP."""

PANG: Final = "pang"
PONG: Final = "pong"


class Node:
    """A node of an Erlang cluster. Running when the constructor returns.

    Args:
        name: full name, ``alive@host``. The host must be one that the other nodes can look up; ``127.0.0.1`` will do
        on one machine. cookie: shared by the cluster; by default from ``PYANOMA_COOKIE``, ``RELEASE_COOKIE`` or
        ``~/.erlang.cookie``. hidden: stay out of ``nodes()``, ``global`` and the automatic mesh of the others.
        listen: False makes a node that can dial but not be dialled and is in no epmd (for tools); it is hidden.
        options: how to listen, dial and tick; see `NetOptions`. Loopback unless told otherwise.
        embedded_epmd: run an epmd in this node if none answers.
        engines: servers that others may start here by name, with ``pyanoma:start_link(Name, Args)``.
        streams: what the process ``user`` writes to and reads from; by default it writes to ``sys.stdout`` and reads
            nothing.
        shell: let whoever has the cookie open a Python prompt in this node. That is full power over it.

    Attributes:
        trace: tracing of its processes, see `Traces`.

    Raises:
        ConfigError: no such name, no cookie.
        NameTaken, EpmdUnreachable: epmd's answer. OSError: no port to listen at.

    Two nodes in one Python process do not meet; each needs a name of its own. Use it from one thread, and stop it
    (`stop`, or as a context manager).
    """

    def __init__(
        self,
        name: str,
        *,
        cookie: str | bytes | None = None,
        hidden: bool = False,
        listen: bool = True,
        options: NetOptions | None = None,
        embedded_epmd: bool = True,
        epmd_port_number: int | None = None,
        engines: Mapping[str, type[GenServer]] | None = None,
        streams: group_leader.Streams | None = None,
        shell: bool = False,
    ) -> None:
        parsed = parse_node_name(name)
        self.name = Atom(str(parsed))
        self.hidden = hidden or not listen
        self.options = options or NetOptions()
        self.engines: dict[str, type[GenServer]] = dict(engines or {})
        self.streams = streams or group_leader.Streams()
        self.shell_enabled = shell
        self.callables = Callables()
        self.applications = Applications(self)
        self.tables = Tables(self)
        self.reports = ReportLog()
        self.code = CodeServer(self)
        self.statistics = NodeStatistics(self)
        self._at_stop: list[Callable[[], None]] = []
        self._cookie = find_cookie(cookie, create=True).value
        self._cookies: dict[str, bytes] = {}
        self._epmd_port = epmd_port_number if epmd_port_number is not None else epmd_port(os.environ)
        self._on_nodeup: list[Callable[[Atom, bool], None]] = []
        self._on_nodedown: list[Callable[[Atom, bool, str], None]] = []
        self._stopped = False
        self._may_dial = True
        self._stopped_event = Event()
        self.registration: EpmdRegistration | None = None
        flags = OFFERED_HIDDEN if self.hidden else OFFERED_VISIBLE
        self.connections = Connections(
            NodeIdentity(self.name.name, 0, flags),
            options=self.options,
            cookie_for=self._cookie_for,
            resolve=self._resolve,
            on_signals=self._on_signals,
            on_up=self._on_up,
            on_down=self._on_down,
            is_behind=lambda: bool(self.table.scheduler.ready),
        )
        try:
            creation = self._register(parsed.alive, listen, embedded_epmd)
            self.creation = creation
            self.table = ProcessTable(self.name, creation, self._emit)
            self.table.node = self
            self.table.substitute_reason = unencodable_result
            self.table.on_body_crash = body_crashed
            self.table.on_server = self.code.note
            self.table.on_report = self.reports.add
            self._releases = PeerReleases(self)
            self.table.release_of = self._releases.ask
            self._dispatcher = Dispatcher(self.table, SpawnServer(self, self.table, self.callables))
            self.global_names = GlobalNames(self)
            self.pg = ProcessGroups(self)
            self.kernel = services.start(self)
            self.trace = Traces(self)
            runtime_tools.start(self)
            python_shell.start(self)
            self.connections.set_identity(NodeIdentity(self.name.name, creation, flags))
        except BaseException:
            self._close_network()
            raise

    def _register(self, alive: str, listen: bool, embedded_epmd: bool) -> int:
        if not listen:
            # Nobody can dial it, so no epmd gives the creation; any will do that no earlier start is likely to have
            # had.
            return secrets.randbelow(0xFFFFFFFF - 4) + 4
        port = self.connections.listen()
        self.registration = EpmdRegistration(
            alive,
            port,
            hidden=self.hidden,
            epmd_port=self._epmd_port,
            embedded=embedded_epmd,
            embedded_addresses=epmd_addresses(os.environ),
        )
        return self.registration.start()

    def __repr__(self) -> str:
        return f"<Node {self.name}{' stopped' if self._stopped else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def stopped(self) -> bool:
        """True from the moment that it is told to stop."""
        return self._stopped

    def wait(self, timeout_s: float | None = None) -> bool:
        """Let the node run until it is stopped; for a main program that has nothing else to do.

        A node runs whenever the program waits in gevent, so ``gevent.sleep`` does as well; `time.sleep`, unpatched,
        does not.

        Returns:
            False where `timeout_s` ended first.
        """
        return bool(self._stopped_event.wait(timeout_s))

    def stop(self, timeout_s: float = 30.0) -> None:
        """End all processes, then the connections. What is supervised, here or from elsewhere, is shut down first.

        Whoever is linked with a process here, or monitors one, hears ``shutdown`` from it. Returns when the node has
        stopped; at once in the hub, and in a process of the node, which may end with it.

        Args:
            timeout_s: for the supervisors all together. Each child has its own, shorter time.
        """
        is_first, self._stopped = not self._stopped, True
        if self.table.scheduler.in_hub() or self.table.current() is not None:
            # The hub must not block, and a process may be ended by the very tree that it would wait for.
            if is_first:
                gevent.spawn(self._stop, timeout_s)
        elif is_first:
            self._stop(timeout_s)
        else:
            self._stopped_event.wait()

    def _stop(self, timeout_s: float) -> None:
        try:
            stop_trees(self.table, timeout_s)
            stop_engines(self.table, min(timeout_s, _ENGINES_STOP_S))
        finally:
            self._may_dial = False
            for function in reversed(self._at_stop):
                _tell(function)
            services.stop(self)
            self.table.close(SHUTDOWN)
            # Closing a channel writes what the ends of the processes have queued.
            self._close_network()
            self._stopped_event.set()

    def at_stop(self, function: Callable[[], None]) -> None:
        """Have `function` called once when the node stops, after what is supervised has ended. Must not block."""
        self._at_stop.append(function)

    def _close_network(self) -> None:
        self.connections.close()
        if self.registration is not None:
            self.registration.stop()

    # -- processes ------------------------------------------------------------------------------

    def start(
        self,
        server_class: type[GenServer],
        args: Any = None,
        *,
        name: str | Atom | None = None,
        timeout_s: float | None = None,
    ) -> Pid:
        """Start a server. Returns when its ``init`` has.

        Called in a process, it links the two (``start_link``); called from elsewhere the server stands alone.

        Raises:
            ErlangExit: the start failed, with the reason (``{already_started, Pid}`` where the name is taken), or
            was ignored.
        """
        parent = self.table.current()
        answer = wait_started(
            self.table,
            server_class,
            args,
            timeout_s,
            name=_atom(name) if name is not None else None,
            parent=parent,
            link=parent is not None,
        )
        if type(answer) is tuple and answer[0] is OK:
            pid: Pid = answer[1]
            return pid
        reason = answer if answer is IGNORE else answer[1]
        raise exit_for(reason, f"start of {server_class.__name__}", format_term(reason, most=500))

    def spawn(self, function: Callable[..., Any], *arguments: Any, link: bool = False) -> Pid:
        """Start a process that runs ``function(own, *arguments)``, where `own` is an `OwnProcess`."""
        own = OwnProcess()
        process = self.table.add_body(lambda: function(own, *arguments))
        own._process = process
        name = getattr(function, "__qualname__", type(function).__qualname__)
        process.initial_call = (str(function.__module__), name, len(arguments) + 1)
        parent = self.table.current()
        if parent is not None:
            process.parent = parent.pid
            process.group_leader = parent.group_leader
            if link:
                self.table.link(parent, process.pid)
        return process.pid

    def whereis(self, name: str | Atom) -> Pid | None:
        return self.table.whereis(_atom(name))

    def register(self, name: str | Atom, pid: Pid) -> None:
        """Give a local process a name. Raises ValueError where OTP says ``badarg``: taken, dead, named already."""
        process = self.table.find(pid)
        if process is None:
            raise ValueError(f"cannot register {name}: {pid} is no live process of this node")
        self.table.register(_atom(name), process)

    def unregister(self, name: str | Atom) -> None:
        """Raises KeyError: no process has that name."""
        self.table.unregister(_atom(name))

    def is_alive(self, pid: Pid) -> bool:
        return self.table.find(pid) is not None

    # -- messages -------------------------------------------------------------------------------

    def send(self, destination: Any, message: Any) -> None:
        """Send a message; to another node it connects first. Destinations as for `OwnProcess`."""
        self.table.send(self.table.current(), gen.resolve(self.table, destination), message)

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any:
        """``gen_server:call``: ask a server here or on another node and wait for the reply; see `gen.call`."""
        with self._caller() as process:
            return gen.call(process, destination, request, timeout_s)

    def cast(self, destination: Any, request: Any) -> None:
        """``gen_server:cast``."""
        gen.cast(self.table.current(), self.table, destination, request)

    def exit(self, pid: Pid, reason: Any) -> None:
        """``exit(Pid, Reason)``."""
        with self._caller() as process:
            self.table.send_exit(process.pid, pid, reason)
            process.check_alive()

    def rpc(
        self, node: str | Atom, module: str, function: str, arguments: Iterable[Any] = (), timeout_s: float | None = 5.0
    ) -> Any:
        """``erpc:call``: run a function on another node; see `rpc.call` for what it raises."""
        with self._caller() as process:
            return rpc.call(process, _atom(node), module, function, list(arguments), timeout_s)

    def rpc_cast(self, node: str | Atom, module: str, function: str, arguments: Iterable[Any] = ()) -> None:
        """``erpc:cast``."""
        with self._caller() as process:
            rpc.cast(process, _atom(node), module, function, list(arguments))

    def push_pyanoma_sup(
        self, node: str | Atom, *, compile_on: str | Atom | None = None, timeout_s: float = 30.0
    ) -> bool:
        """Load the Erlang module ``pyanoma_sup`` into a running BEAM, compiled there; raises as `push.push` does.

        Returns:
            False if the BEAM had it already.
        """
        source = push.pyanoma_sup_source()
        return push.push(self.rpc, node, source, compile_on=compile_on, timeout_s=timeout_s).loaded

    def spawn_remote(
        self,
        node: str | Atom,
        module: str,
        function: str,
        arguments: Iterable[Any] = (),
        *,
        link: bool = False,
        monitor: bool = False,
        timeout_s: float | None = 5.0,
    ) -> tuple[Pid, Reference | None]:
        """Start a process on another node; see `rpc.spawn`. `link` and `monitor` only make sense inside a process."""
        with self._caller() as process:
            return rpc.spawn(
                process, _atom(node), module, function, list(arguments), link=link, monitor=monitor, timeout_s=timeout_s
            )

    def _caller(self) -> AbstractContextManager[Process]:
        return calling_process(self.table)

    def offload(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run what would hold up everybody, C code above all, in a thread of the pool; waits for its result.

        Other processes and the node's connections go on meanwhile. The function must not call into the node. What it
        raises is raised here.
        """
        value, error = self.table.scheduler.hub.threadpool.apply(_outcome, (function, arguments))
        if error is not None:
            raise error
        return value

    # -- other nodes ----------------------------------------------------------------------------

    def connect(self, node: str | Atom) -> None:
        """Connect with a node. Does nothing where it is connected already.

        Raises:
            HandshakeError, EpmdError, ConnectionLost: why not, within the set-up time.
        """
        self.connections.connect(_atom(node))

    def disconnect(self, node: str | Atom) -> bool:
        """Close the connection; everybody linked or monitoring hears ``noconnection``. False: there was none."""
        return self.connections.disconnect(_atom(node))

    def ping(self, node: str | Atom, timeout_s: float = 7.0) -> str:
        """``net_adm:ping``: ``"pong"``, or ``"pang"`` where the node cannot be reached."""
        name = _atom(node)
        if name is self.name:
            return PONG
        try:
            self.connect(name)
            answer = self.call((Atom("net_kernel"), name), (Atom("is_auth"), self.name), timeout_s)
        except (BridgeError, OSError):
            return PANG
        return PONG if answer is Atom("yes") else PANG

    def nodes(self, kind: str = "visible") -> list[str]:
        """Connected nodes: ``visible``, ``hidden`` or ``connected`` (both)."""
        if kind not in ("visible", "hidden", "connected"):
            raise ValueError(f"expected 'visible', 'hidden' or 'connected', got {kind!r}")
        wanted = {"visible": (False,), "hidden": (True,), "connected": (False, True)}[kind]
        return sorted(
            channel.node.name
            for channel in self.connections.channels()
            if channel.peer is not None and channel.peer.hidden in wanted
        )

    def set_cookie(self, node: str, cookie: str | bytes) -> None:
        """Use another cookie towards one node."""
        self._cookies[node] = find_cookie(cookie).value

    def monitor_nodes(
        self, on_nodeup: Callable[[Atom, bool], None] | None, on_nodedown: Callable[[Atom, bool, str], None] | None
    ) -> Callable[[], None]:
        """Have functions called, in the hub.

        Args:
            on_nodeup: when a node has connected, with its name and whether it is hidden.
            on_nodedown: when its connection has ended, with the reason as a third argument.

        Returns:
            A function that takes this back.
        """
        if on_nodeup is not None:
            self._on_nodeup.append(on_nodeup)
        if on_nodedown is not None:
            self._on_nodedown.append(on_nodedown)

        def take_back() -> None:
            if on_nodeup in self._on_nodeup:
                self._on_nodeup.remove(on_nodeup)
            if on_nodedown in self._on_nodedown:
                self._on_nodedown.remove(on_nodedown)

        return take_back

    def peer_release(self, node: str | Atom) -> int | None:
        """The OTP release of a connected node as far as it has been learnt, such as 27."""
        return self._releases.known(_atom(node))

    # -- what others may call here --------------------------------------------------------------

    def export(
        self, module: str, name: str, function: Callable[..., Any], *, with_call: bool = False, arity: int | None = None
    ) -> None:
        """Let other nodes call `function` as ``module:name`` by rpc, erpc and spawn; see `Callables.export`."""
        self.callables.export(module, name, function, with_call=with_call, arity=arity)

    def start_child_mfa(self, mfa: tuple[Atom, Atom, list[Any]], process: Process) -> Any:
        """Apply the start function of a child, for the supervisor that `process` is; see `child_starts`."""
        return child_starts.start_child_mfa(self, process, mfa)

    # -- output ---------------------------------------------------------------------------------

    def print(self, *values: object, end: str = "\n") -> None:
        """As Python's `print`, to the group leader of the process that runs: a BEAM's shell, if that has started it."""
        self.put_chars(None, " ".join(map(str, values)) + end)

    def put_chars(self, device: Any, text: Any, timeout_s: float | None = None) -> None:
        """``io:put_chars``: write text to a device of any node and wait until it is written; see `io.put_chars`.

        Args:
            device: a pid, a name, ``(name, node)``; None for the group leader of the process that runs.
        """
        with self._caller() as process:
            io.put_chars(process, device, text, timeout_s)

    def format(self, device: Any, format_string: Any, arguments: Iterable[Any] = ()) -> None:
        """``io:format(Device, Format, Arguments)``."""
        with self._caller() as process:
            io.print_format(process, device, format_string, list(arguments))

    def get_line(self, prompt: Any = "", device: Any = None, timeout_s: float | None = None) -> str | None:
        """``io:get_line``: a line with its end, None at the end of the file."""
        with self._caller() as process:
            return io.get_line(process, device, prompt, timeout_s)

    def print_to(self, leader: Pid | None, text: str) -> None:
        """Write text to a group leader without waiting, here or on another node; may be called in the hub."""
        group_leader.print_to(self.table, leader, text)

    # -- between the network and the processes --------------------------------------------------

    def _emit(self, node: Atom, control: tuple[Any, ...], payload: Any, connect: bool) -> bool:
        connect = connect and self._may_dial
        channel = self.connections.get(node) if connect else self.connections.peek(node)
        if channel is None:
            return False
        may_wait = connect and greenlet.getcurrent() is not self.table.scheduler.hub
        channel.send(control, payload, sender_may_wait=may_wait)
        return True

    def _on_signals(self, channel: Channel, signals: list[tuple[int, Any, Any]]) -> None:
        self._dispatcher.dispatch(channel.node, signals)

    def _on_up(self, channel: Channel) -> None:
        hidden = channel.peer is None or channel.peer.hidden
        self.table.connect_failures.pop(channel.node, None)
        log.info("node %s is up%s", channel.node, " (hidden)" if hidden else "")
        for function in list(self._on_nodeup):
            _tell(function, channel.node, hidden)

    def _on_down(self, channel: Channel, reason: str) -> None:
        if not hasattr(self, "table"):
            return
        hidden = channel.peer is None or channel.peer.hidden
        was_up = channel.peer is not None
        if was_up:
            log.info("node %s is down: %s", channel.node, reason)
        self._releases.forget(channel.node)
        failures = self.table.connect_failures
        if channel.failure is not None:
            if len(failures) >= _MAX_CONNECT_FAILURES:
                failures.clear()
            failures[channel.node] = channel.failure
        self.table.on_node_down(channel.node)
        if was_up:
            for function in list(self._on_nodedown):
                _tell(function, channel.node, hidden, reason)

    def _cookie_for(self, node_name: str) -> bytes:
        return self._cookies.get(node_name, self._cookie)

    def _resolve(self, node_name: str) -> tuple[str, int]:
        return resolve_node(node_name, port=self._epmd_port, timeout_s=self.options.setup_time_s)


def _tell(function: Callable[..., None], *arguments: Any) -> None:
    """Call one of those that want to hear of something: what it raises must not keep the others from hearing."""
    try:
        function(*arguments)
    except Exception:
        log.exception("a function that was told of a node that came or went, or of the stop, has raised")


def _atom(name: str | Atom) -> Atom:
    return name if isinstance(name, Atom) else Atom(name)


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """What a function returns, or raises: gevent prints what leaves its threads as an exception."""
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001  # it is raised again
        return None, error
