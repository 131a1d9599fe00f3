"""Supervisors: they start their children, restart those that end, and stop them all when they end themselves.

::

    class Engines(Supervisor):
        def init(self, args):
            return SupervisorFlags("rest_for_one", intensity=3), [
                ChildSpec("storage", (Storage, args)),
                ChildSpec("mempool", (Mempool, args, {"name": "mempool"}), shutdown_ms=10_000),
            ]

    node.start(Engines, {"node_id": "anoma1"}, name="engines")

One that needs no class of its own: ``node.start(Supervisor, (SupervisorFlags(...), [ChildSpec(...), ...]))``.

To others it is OTP's ``supervisor``: ``supervisor:which_children/1``, Elixir's ``Supervisor``, and the tools that look
at supervision trees work on it. What another node asks it to start is named by ``{Module, Function, Arguments}``, which
our node looks up among the functions that it exports.

Decisions are in `supervision`; this is the process around them.

Source: OTP ``lib/stdlib/src/supervisor.erl``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, ClassVar, Final, Protocol, TypeVar

import gevent

from erlang_bridge.errors import ErlangError, ErlangExit, ErlangThrow
from erlang_bridge.otp import gen, reports
from erlang_bridge.otp.child_specs import (
    ChildSpec,
    DynamicSupervisorFlags,
    InvalidSpec,
    SupervisorFlags,
    check_child_spec,
    check_child_specs,
    check_dynamic_child,
    class_atom,
    filed_id,
)
from erlang_bridge.otp.dynamic_supervision import DynamicSupervision, SimpleSupervision
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.results import Ignore, NoReply, Reply, Stop
from erlang_bridge.otp.supervision import (
    ERROR,
    Child,
    Failed,
    Report,
    Start,
    Started,
    StaticSupervision,
    Steps,
    Supervision,
    Terminate,
    TryAgain,
)
from erlang_bridge.otp.supervisor_reports import report_error, report_progress
from erlang_bridge.process.exit_rules import KILL, SHUTDOWN
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.otp")

EXIT: Final = Atom("EXIT")
DOWN: Final = Atom("DOWN")
IGNORE: Final = Atom("ignore")
UNDEF: Final = Atom("undef")
BADARG: Final = Atom("badarg")
SUPERVISOR: Final = Atom("supervisor")

Children = Iterable[Any]
"""`ChildSpec` values, or child specifications as terms."""

_T = TypeVar("_T")


class _TryAgain:
    """A message to itself: restart this child, whose start failed."""

    __slots__ = ("child",)

    def __init__(self, child: Child) -> None:
        self.child = child


class Supervisor(GenServer):
    """Base of supervisors: subclass it and implement ``init``, or start it with what ``init`` would return.

    Its other callbacks belong to the supervisor: leave them as they are.
    """

    __slots__ = ("_args", "_module")

    trap_exit: ClassVar[bool] = True
    behaviour: ClassVar[str] = "supervisor"

    _args: Any
    _module: Atom

    def init(self, args: Any) -> tuple[SupervisorFlags, Children] | Children | Ignore:
        """Say what to supervise. Runs in the new process; also when its code is changed, so it should do nothing else.

        Returns:
            Flags and child specifications in start order, or the latter alone, or `Ignore`.
        """
        return args  # type: ignore[no-any-return]  # checked by the caller

    # -- start ----------------------------------------------------------------------------------

    def _init(self, args: Any) -> Any:
        self._args = args
        self._module = class_atom(type(self))
        self._process.initial_call = (SUPERVISOR.name, self._module.name, 1)
        made = self.init(args)
        if isinstance(made, (Ignore, Stop)):
            return made
        try:
            supervision = self._supervision(made)
        except InvalidSpec as error:
            return Stop(error.reason)
        failure = self._carry_out(supervision.start_all())
        return supervision if failure is None else Stop((SHUTDOWN, failure))

    def _supervision(self, made: Any) -> Supervision:
        """What ``init`` returned, checked.

        Raises:
            InvalidSpec: with the reason that OTP's supervisor fails to start with.
        """
        flags, specs = self._checked(made)
        if flags.strategy == "simple_one_for_one":
            return SimpleSupervision(flags, specs[0], self._is_alive)
        return StaticSupervision(flags, specs, self._is_alive)

    def _checked(self, made: Any) -> tuple[SupervisorFlags, list[ChildSpec]]:
        if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], SupervisorFlags):
            flags, children = made
        else:
            flags, children = SupervisorFlags(), made
        if not isinstance(children, (list, tuple)):
            raise InvalidSpec((Atom("bad_return"), (self._module, Atom("init"), readable(made))))
        if flags.strategy == "simple_one_for_one" and len(children) != 1:
            raise InvalidSpec((Atom("bad_start_spec"), readable(list(children))))
        try:
            return flags, check_child_specs(children, flags.auto_shutdown)
        except InvalidSpec as error:
            raise InvalidSpec((Atom("start_spec"), error.reason)) from None

    def _initial_call(self) -> tuple[Any, ...]:
        return (SUPERVISOR, self._module, 1)

    # -- what it is asked -----------------------------------------------------------------------

    def handle_call(self, request: Any, caller: gen.Caller, state: Supervision) -> Any:
        match request:
            case Atom("which_children"):
                reply: Any = state.which_children()
            case Atom("count_children"):
                reply = state.count_children()
            case (Atom("which_child"), id):
                reply = state.which_child(filed_id(id))
            case (Atom("get_childspec"), id):
                reply = state.child_spec(filed_id(id))
            case (Atom("start_child"), child):
                reply = self._start_child(child, state)
            case (Atom("terminate_child"), id):
                reply = self._carry_out(state.terminate_child(filed_id(id)))
            case (Atom("restart_child"), id):
                reply = self._carry_out(state.restart_child(filed_id(id)))
            case (Atom("delete_child"), id):
                reply = state.delete_child(filed_id(id))
            case _:
                return None
        return Reply(reply, state)

    def _start_child(self, child: Any, state: Supervision) -> Any:
        if isinstance(state, SimpleSupervision):
            if not isinstance(child, (list, tuple)):
                return ERROR, (EXIT, (BADARG, []))
            return self._carry_out(state.start_with(child))
        assert isinstance(state, StaticSupervision)
        try:
            spec = check_child_spec(child, state.flags.auto_shutdown)
        except InvalidSpec as error:
            return ERROR, error.reason
        return self._carry_out(state.start_child(spec))

    def handle_info(self, message: Any, state: Supervision) -> Any:
        match message:
            case _TryAgain(child=child):
                ends = self._carry_out(state.try_again(child, monotonic()))
            case (Atom("EXIT"), Pid() as pid, reason):
                ends = self._carry_out(state.child_ended(pid, reason, monotonic()))
            case _:
                log.error("Supervisor %s received unexpected message: %s", self._name(), reports.shorten(message))
                ends = False
        return Stop(SHUTDOWN, state) if ends else NoReply(state)

    def terminate(self, reason: Any, state: Supervision) -> None:
        self._carry_out(state.terminate_all())

    def code_change(self, old_version: Any, state: Supervision, extra: Any) -> Any:
        made = self.init(self._args)
        if isinstance(made, Ignore):
            return state
        try:
            self._change(made, state)
        except InvalidSpec as error:
            raise ErlangExit((ERROR, error.reason)) from None
        return state

    def _change(self, made: Any, state: Supervision) -> None:
        flags, specs = self._checked(made)
        if isinstance(state, StaticSupervision) and flags.strategy != "simple_one_for_one":
            state.change(flags, specs)
        elif isinstance(state, SimpleSupervision) and flags.strategy == "simple_one_for_one":
            state.change(flags, specs[0])
        else:
            raise InvalidSpec((Atom("bad_flags"), Atom(flags.strategy)))

    def _name(self) -> Any:
        return self._process.name or self._process.pid

    def _is_alive(self, pid: Pid) -> bool:
        """Whether a child runs. One on another node does, as long as no exit signal says otherwise."""
        table = self._process.table
        return pid.node is not table.node_name or table.find(pid) is not None

    # -- what is to be done ---------------------------------------------------------------------

    def _carry_out(self, steps: Steps[_T]) -> _T:
        """Do what a decision asks for, step by step, and return its result."""
        answer: Any = None
        while True:
            try:
                command = steps.send(answer)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # what the generator returns
            answer = None
            match command:
                case Start(child):
                    answer = self._start_process(child)
                case Terminate(children):
                    answer = self._stop_processes(children)
                case Report():
                    report_error(self._process, self._module, command)
                case TryAgain(child):
                    self._process.deliver(_TryAgain(child))

    def _start_process(self, child: Child) -> Started | Failed:
        try:
            result = self._apply_start(child)
        except ErlangThrow as thrown:
            # OTP applies the start function under `catch`, where a thrown term is as good as a returned one.
            result = thrown.reason
        except (Exception, gevent.Timeout) as error:
            result = (ERROR, (EXIT, reports.exit_reason(error)))
        match result:
            case Pid():
                started = Started(result)
            case (Atom("ok"), Pid() as pid):
                started = Started(pid)
            case (Atom("ok"), Pid() as pid, info):
                started = Started(pid, info)
            case Ignore() | Atom("ignore"):
                return Started(None)
            case (Atom("error"), reason):
                return Failed(readable(reason))
            case _:
                return Failed(readable(result))
        assert started.pid is not None
        # A start function that has not linked the child would leave its end unnoticed.
        self._process.table.link(self._process, started.pid)
        report_progress(self._process, child, started.pid)
        return started

    def _apply_start(self, child: Child) -> Any:
        process = self._process
        start: Any = child.spec.start
        extra = child.extra
        if not isinstance(start, tuple):
            return start(self, *extra)
        if not isinstance(start[0], type):
            module, function, arguments = start
            mfa = (module, function, [*arguments, *extra])
            if process.table.node is None:
                raise ErlangError(UNDEF, [(*mfa, [])])
            return process.table.node.start_child_mfa(mfa, process)
        server_class, *given = start
        options = dict(given[1]) if len(given) == 2 else {}
        name = options.get("name")
        return wait_started(
            process.table,
            server_class,
            _init_argument(given[:1], extra),
            options.get("timeout_s"),
            name=Atom(name) if isinstance(name, str) else name,
            parent=process,
            link=True,
        )

    def _stop_processes(self, children: Sequence[Child]) -> list[tuple[Child, Any]]:
        """Have children end, each within its time, and wait for them all.

        Returns:
            Each with its exit reason, in the order of their ends.
        """
        process = self._process
        table = process.table
        started = monotonic()
        monitors: dict[Any, Child] = {}
        deadlines: list[tuple[float, Reference]] = []
        for child in children:
            assert child.pid is not None
            shutdown = child.spec.shutdown_ms
            # Not the EXIT but a DOWN is waited for: a child that has unlinked itself would be waited for in vain.
            monitor = table.monitor(process, child.pid)
            monitors[monitor] = child
            table.send_exit(process.pid, child.pid, KILL if shutdown == "brutal_kill" else SHUTDOWN)
            if isinstance(shutdown, int):
                deadlines.append((started + shutdown / 1000, monitor))
        deadlines.sort(key=lambda deadline: deadline[0], reverse=True)
        pids = {child.pid for child in children}
        reasons: dict[Pid, Any] = {}
        ends: list[tuple[Child, Any]] = []

        def is_end(message: Any) -> bool:
            if type(message) is not tuple or not message:
                return False
            if message[0] is DOWN:
                return len(message) == 5 and type(message[1]) is Reference and message[1] in monitors
            return message[0] is EXIT and len(message) == 3 and type(message[1]) is Pid and message[1] in pids

        while monitors:
            try:
                message = process.receive(is_end, max(0.0, deadlines[-1][0] - monotonic()) if deadlines else None)
            except TimeoutError:
                _, monitor = deadlines.pop()
                late = monitors.get(monitor)
                if late is not None and late.pid is not None:
                    table.send_exit(process.pid, late.pid, KILL)
                continue
            if message[0] is EXIT:
                reasons[message[1]] = message[2]
                continue
            child = monitors.pop(message[1])
            pid = child.pid
            assert pid is not None
            if pid not in reasons:
                self._flush_exit(pid, reasons)
            # The DOWN of one that was dead already says only noproc.
            ends.append((child, reasons.get(pid, message[4])))
        return ends

    def _flush_exit(self, pid: Pid, reasons: dict[Pid, Any]) -> None:
        """Undo the link with a child that has ended: no exit signal of it comes later. Note one that has come."""
        process = self._process
        process.table.unlink(process, pid)
        try:
            message = process.receive(
                lambda message: type(message) is tuple and message[:2] == (EXIT, pid) and len(message) == 3, 0
            )
        except TimeoutError:
            return
        reasons[pid] = message[2]


class DynamicSupervisor(Supervisor):
    """A supervisor that starts with no children, and whose children have no ids: Elixir's ``DynamicSupervisor``.

    ``init`` returns `DynamicSupervisorFlags`; started without arguments, it has the defaults.
    """

    __slots__ = ()

    def init(self, args: Any) -> Any:
        return args if args is not None else DynamicSupervisorFlags()

    def _supervision(self, made: Any) -> Supervision:
        if not isinstance(made, DynamicSupervisorFlags):
            raise InvalidSpec((Atom("bad_return"), (self._module, Atom("init"), readable(made))))
        return DynamicSupervision(made, self._is_alive)

    def _start_child(self, child: Any, state: Supervision) -> Any:
        assert isinstance(state, DynamicSupervision)
        try:
            spec = check_dynamic_child(child)
        except InvalidSpec as error:
            return ERROR, error.reason
        return self._carry_out(state.start_child(spec))

    def _change(self, made: Any, state: Supervision) -> None:
        changed = self._supervision(made)
        assert isinstance(changed, DynamicSupervision)
        assert isinstance(state, DynamicSupervision)
        state.flags = changed.flags
        state.window.intensity, state.window.period_s = changed.flags.intensity, changed.flags.period_s


def _init_argument(given: Sequence[Any], extra: tuple[Any, ...]) -> Any:
    """The argument of ``init``: that of the specification, followed, in a tuple, by those of ``start_child``."""
    arguments = (*given, *extra)
    if len(arguments) == 1:
        return arguments[0]
    return arguments or None


# -- what others ask of a supervisor ----------------------------------------------------------


class CanCall(Protocol):
    """A server, or a node: whoever can call."""

    def call(self, destination: Any, request: Any, timeout_s: float | None = ...) -> Any: ...


def start_child(caller: CanCall, supervisor: Any, child: Any) -> Any:
    """Add a child to a supervisor, here or on a BEAM, and start it.

    Args:
        caller: the server or node that asks. A supervisor must not ask itself.
        supervisor: a pid, a registered name, or ``(name, node)``.
        child: a `ChildSpec`; for ``simple_one_for_one`` the list of further arguments.

    Returns:
        ``(ok, Pid)``, ``(ok, Pid, Info)``, ``(ok, undefined)``, or ``(error, Reason)`` with ``already_present``,
        ``{already_started, Pid}``, or what the start function said.
    """
    return caller.call(supervisor, (Atom("start_child"), child), None)


def terminate_child(caller: CanCall, supervisor: Any, id: Any) -> Any:
    """Stop a child (a dynamic one by its pid): ``ok``, or ``(error, not_found)``.

    It can be restarted with `restart_child`, unless it is temporary.
    """
    return caller.call(supervisor, (Atom("terminate_child"), filed_id(id)), None)


def restart_child(caller: CanCall, supervisor: Any, id: Any) -> Any:
    """Start a child that was stopped; answers as `start_child`, or ``(error, running | restarting | not_found)``."""
    return caller.call(supervisor, (Atom("restart_child"), filed_id(id)), None)


def delete_child(caller: CanCall, supervisor: Any, id: Any) -> Any:
    """Forget a child that was stopped: ``ok``, or ``(error, running | restarting | not_found)``."""
    return caller.call(supervisor, (Atom("delete_child"), filed_id(id)), None)


def which_children(caller: CanCall, supervisor: Any) -> list[tuple[Any, ...]]:
    """``(Id, Pid | restarting | undefined, worker | supervisor, Modules)`` of each child, the last started first."""
    return caller.call(supervisor, Atom("which_children"), None)  # type: ignore[no-any-return]  # by protocol


def count_children(caller: CanCall, supervisor: Any) -> dict[str, int]:
    """How many ``specs``, ``active`` children, ``supervisors`` and ``workers`` there are."""
    return {key.name: count for key, count in caller.call(supervisor, Atom("count_children"), None)}


def get_childspec(caller: CanCall, supervisor: Any, id: Any) -> Any:
    """``(ok, ChildSpec)``, or ``(error, not_found)``. That of a supervisor on another node is the map."""
    return caller.call(supervisor, (Atom("get_childspec"), filed_id(id)), None)
