"""A server behind the messages of OTP's ``gen_server``.

What callbacks return:

====================  ==========================================================  ====================================
callback              when                                                        returns
====================  ==========================================================  ====================================
``init``              once, in the new process                                    the state, `Init`, `Stop`, `Ignore`
``handle_call``       ``gen_server:call`` and ``GenServer.call``                  `Reply`, `NoReply`, `Stop`
``handle_cast``       ``gen_server:cast``                                         `NoReply`, `Stop`
``handle_info``       any other message, ``{'EXIT', ..}``, ``{'DOWN', ..}``       `NoReply`, `Stop`
``handle_continue``   right after a result with ``continue_with``                 `NoReply`, `Stop`
``terminate``         before the end, see there                                   anything
``code_change``       ``sys:change_code``, while suspended                        the new state
``format_status``     before a state is shown to people                           the changed mapping
====================  ==========================================================  ====================================

A callback that returns None did not match the message (a ``match`` with no case for it does just that): the server
crashes with ``function_clause``, as an Erlang function without a matching clause does. An exception ends the server
with ``{{'ValueError', <<"text">>}, Stacktrace}``.

Source: OTP ``lib/stdlib/src/gen_server.erl``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Final

from erlang_bridge.errors import ErlangError, ErlangExit, ErlangThrow, ProcessExit
from erlang_bridge.otp import gen, reports, sys_protocol
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.results import UNSET, Ignore, Init, NoReply, Reply, Stop
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable, Timer, Waiter
from erlang_bridge.process.exit_rules import NORMAL, SHUTDOWN, is_quiet
from erlang_bridge.process.process import DEAD
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.otp")

GEN_CALL: Final = gen.GEN_CALL
GEN_CAST: Final = gen.GEN_CAST
SYSTEM: Final = gen.SYSTEM
EXIT: Final = Atom("EXIT")
CONTINUE: Final = Atom("continue")
TIMEOUT: Final = Atom("timeout")
OK: Final = Atom("ok")
ERROR: Final = Atom("error")
IGNORE: Final = Atom("ignore")
UNDEFINED: Final = Atom("undefined")
FUNCTION_CLAUSE: Final = Atom("function_clause")
BAD_RETURN_VALUE: Final = Atom("bad_return_value")


class _Start:
    """What the first turn of every server does: run ``init`` and tell the starter."""

    __slots__ = ("args", "on_started")

    def __init__(self, args: Any, on_started: Callable[[Any], None]) -> None:
        self.args = args
        self.on_started = on_started


class _TimedOut:
    """A server's own time-out message; outdated where `number` is not the latest."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def is_timeout(message: Any) -> bool:
    """Whether a message is a server's own time-out, which OTP's servers do not get as a message."""
    return type(message) is _TimedOut


class GenServer(OwnProcess):
    """Base of servers. Subclass it, implement the callbacks, start it with `Node.start` or from a supervisor.

    Attributes:
        trap_exit: exit signals come to ``handle_info`` as ``(Atom("EXIT"), pid, reason)``, and ``terminate`` runs
            when the parent ends. In a callback: `set_trap_exit`.
    """

    __slots__ = ("__dict__", "__weakref__", "_state", "_sys", "_timeout_number", "_timeout_s", "_timer")

    trap_exit: ClassVar[bool] = False

    behaviour: ClassVar[str] = "gen_server"
    """The module that a BEAM takes this for."""

    _process: BehaviourProcess
    _state: Any
    _sys: sys_protocol.SystemState | None
    _timeout_s: float | None
    """The time-out that the last callback asked for, until a message or its end comes."""
    _timer: Timer | None
    _timeout_number: int

    # -- callbacks ------------------------------------------------------------------------------

    def init(self, args: Any) -> Any:
        """Make the first state. Runs in the new process, before the starter is told.

        Args:
            args: the one argument given at start.
        """
        return args

    def handle_call(self, request: Any, caller: gen.Caller, state: Any) -> Any:
        """Answer a request. `caller` is for ``self.reply(caller, value)`` where the answer comes later."""
        return None

    def handle_cast(self, message: Any, state: Any) -> Any:
        """Handle a message that nobody waits for."""
        return None

    def handle_info(self, message: Any, state: Any) -> Any:
        """Handle any other message. The default logs it and goes on, as OTP's does."""
        shown = self._shown({"state": self._state, "message": message})["message"]
        reports.report_unhandled(self._process, readable(shown), type(self).__module__)
        return NoReply(state)

    def handle_continue(self, continue_with: Any, state: Any) -> Any:
        """Go on with work that was put off by ``continue_with``."""
        return None

    def terminate(self, reason: Any, state: Any) -> Any:
        """Clean up.

        Runs when a callback stopped or raised, when ``sys:terminate`` asks, and, only where exits are trapped, when
        the parent ends. Not when the process is killed or dies of an exit signal that it does not trap.
        """

    def code_change(self, old_version: Any, state: Any, extra: Any) -> Any:
        """Convert the state to this version of the code. Raise to refuse."""
        return state

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        """Change what is shown of the server: keys ``state``, and in reports ``message``, ``reason``, ``log``."""
        return status

    def reply(self, caller: gen.Caller, value: Any) -> None:
        """Answer a call that ``handle_call`` returned `NoReply` to."""
        gen.reply(self._process, self._process.table, caller, value)

    # -- the loop -------------------------------------------------------------------------------

    def handle_message(self, message: Any) -> None:
        """One turn of the server. Called by the scheduler."""
        system = self._sys
        if self._timeout_s is not None and type(message) is not _TimedOut:
            # Any message takes the time-out back, also where its own message stands in the mailbox already.
            self._stop_timer()
        if type(message) is tuple and message:
            tag = message[0]
        elif type(message) is sys_protocol.Order:
            self._guarded(message, message.run, self)
            self._start_timer()
            return
        else:
            tag = None
        if tag is SYSTEM and len(message) == 3 and gen.is_caller(message[1]) and not (system and system.held):
            self._guarded(message, sys_protocol.handle_system_message, self, message[1], message[2])
            # As OTP: it begins again after a system message, and is put off while suspended.
            self._start_timer()
            return
        if tag is EXIT and len(message) == 3 and message[1] is not None and message[1] == self._process.parent:
            self._terminate(message[2], message)
            return
        if system is not None and (system.suspended or system.held):
            system.waiting.append(message)
            return
        caller: gen.Caller | None = None
        callback: Callable[..., Any]
        try:
            if system is not None and type(message) is not _TimedOut:
                system.event_in(self, message)
            if self._timeout_s is not None and type(message) is not _TimedOut:
                self._timeout_s = None
            if tag is GEN_CALL and len(message) == 3 and gen.is_caller(message[1]):
                caller = message[1]
                callback = self.handle_call
                result = callback(message[2], caller, self._state)
            elif tag is GEN_CAST and len(message) == 2:
                callback = self.handle_cast
                result = callback(message[1], self._state)
            else:
                if type(message) is _TimedOut:
                    if message.number != self._timeout_number:
                        return
                    self._timer = self._timeout_s = None
                    message = TIMEOUT
                callback = self.handle_info
                result = callback(message, self._state)
            self._carry_on(result, caller, message, callback)
            if self._sys is not None and self._sys.late is not None and self._process.alive:
                self._sys.late.returned(self)
        except ProcessExit:
            raise
        except BaseException as error:
            self._crash(error, message)

    def first_turn(self) -> None:
        """Run ``init``. Called by the scheduler, before any message."""
        start: _Start = self._state
        self._state = None
        process = self._process
        try:
            result = self._init(start.args)
        except ProcessExit:
            raise
        except BaseException as error:
            reason = reports.exit_reason(error)
            reports.report_crash(process, error, self._initial_call())
            self._end_start(start, (ERROR, reason), reason)
            return
        if process.state == DEAD:
            # It has ended itself; the starter knows.
            return
        kind = type(result)
        if kind is Stop:
            self._end_start(start, (ERROR, result.reason), result.reason)
        elif kind is Ignore:
            self._end_start(start, IGNORE, NORMAL)
        elif kind in (Reply, NoReply):
            bad = (BAD_RETURN_VALUE, readable(result))
            self._end_start(start, (ERROR, bad), bad)
        else:
            following = result if kind is Init else Init(result)
            self._state = following.state
            process.on_exit = None
            start.on_started((OK, process.pid))
            if kind is Init:
                self._go_on(following, None)
            if self._sys is not None and self._sys.late is not None and process.alive:
                self._sys.late.returned(self)

    def _init(self, args: Any) -> Any:
        return self.init(args)

    def _end_start(self, start: _Start, answer: Any, reason: Any) -> None:
        # The name is free again before the starter hears of the failure: it may start another at once.
        process = self._process
        if process.name is not None:
            process.table.unregister(process.name)
        process.on_exit = None
        start.on_started(answer)
        process.table.exit(process, reason)

    def _carry_on(self, result: Any, caller: gen.Caller | None, message: Any, callback: Callable[..., Any]) -> None:
        """Do what a callback's result says."""
        kind = type(result)
        if kind is NoReply:
            self._state = result.state
            if self._sys is not None:
                self._sys.event_noreply(self)
            if result.timeout_s is not None or result.continue_with is not UNSET:
                self._go_on(result, message)
        elif kind is Reply and caller is not None:
            self._state = result.state
            self.reply(caller, result.value)
            if self._sys is not None:
                # A reply that is given later is no event, as in OTP.
                self._sys.event_out(self, result.value, caller)
            if result.timeout_s is not None or result.continue_with is not UNSET:
                self._go_on(result, message)
        elif kind is Stop:
            if result.state is not None:
                self._state = result.state
            if result.reply is not UNSET and caller is not None:
                self._stop_with_reply(result, caller, message)
            else:
                self._terminate(result.reason, message)
        elif result is None:
            raise _no_clause(self, callback, message)
        else:
            self._terminate((BAD_RETURN_VALUE, readable(result)), message)

    def _guarded(self, message: Any, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except ProcessExit:
            raise
        except BaseException as error:
            self._crash(error, message)

    def _stop_with_reply(self, result: Stop, caller: gen.Caller, message: Any) -> None:
        # As OTP: terminate first, so that a caller who hears the reply can rely on the clean-up being done.
        failure = self._run_terminate(result.reason)
        try:
            gen.reply(self._process, self._process.table, caller, result.reply)
        except Exception as error:  # the reply may have no term, or its conversion may raise
            failure = failure or (reports.exit_reason(error), error)
        if failure is not None:
            self._die(failure[0], message, failure[1])
        else:
            self._die(result.reason, message, None)

    def _go_on(self, result: Init | Reply | NoReply, message: Any) -> None:
        """What a result asks for beside the new state: a time-out, or ``handle_continue``, as often as that asks."""
        while self._process.alive:
            if result.continue_with is UNSET:
                if result.timeout_s is not None:
                    self._timeout_s = result.timeout_s
                    self._start_timer()
                return
            message = (CONTINUE, result.continue_with)
            try:
                following = self.handle_continue(result.continue_with, self._state)
                if type(following) is not NoReply:
                    self._carry_on(following, None, message, self.handle_continue)
                    return
            except ProcessExit:
                raise
            except BaseException as error:
                self._crash(error, message)
                return
            self._state = following.state
            if self._sys is not None:
                self._sys.event_noreply(self)
            result = following

    def _start_timer(self) -> None:
        system = self._sys
        if self._timeout_s is None or not self._process.alive:
            return
        if system is not None and (system.suspended or system.held):
            return
        self._timeout_number += 1
        self._timer = self._process.table.send_after(
            self._timeout_s, self._process.pid, _TimedOut(self._timeout_number)
        )

    def _stop_timer(self) -> None:
        self._timeout_number += 1
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # -- the end --------------------------------------------------------------------------------

    def _crash(self, error: BaseException, message: Any) -> None:
        if isinstance(error, ErlangThrow):
            reason: Any = (BAD_RETURN_VALUE, error.reason)
        else:
            reason = reports.exit_reason(error)
        failure = self._run_terminate(reason)
        if failure is not None:
            reason, error = failure
        self._die(reason, message, error)
        if isinstance(error, KeyboardInterrupt):
            self._process.table.scheduler.hub.handle_system_error(type(error), error)

    def _terminate(self, reason: Any, message: Any) -> None:
        failure = self._run_terminate(reason)
        if failure is not None:
            self._die(failure[0], message, failure[1])
        else:
            self._die(reason, message, None)

    def _run_terminate(self, reason: Any) -> tuple[Any, BaseException] | None:
        """None, or the reason and exception that ``terminate`` itself ended with."""
        try:
            self.terminate(reason, self._state)
        except ProcessExit:
            raise
        except BaseException as error:
            return reports.exit_reason(error), error
        return None

    def _die(self, reason: Any, message: Any, error: BaseException | None) -> None:
        process = self._process
        if not is_quiet(reason):
            try:
                self._report(reason, message, error)
            except Exception:
                log.exception("the end of %s could not be reported", process.pid)
        process.table.exit(process, reason)

    def _report(self, reason: Any, message: Any, error: BaseException | None) -> None:
        events = list(self._sys.log or ()) if self._sys is not None else []
        status = self._shown({"state": self._state, "message": message, "reason": reason, "log": events})
        reports.report_server_terminating(
            self._process,
            readable(status["reason"]),
            readable(status["message"]),
            readable(status["state"]),
            readable(status["log"]),
            type(self).__module__,
            error,
        )
        if error is None:
            error = ErlangExit(reason)
        reports.report_crash(self._process, error, self._initial_call())

    # -- what others ask about it ---------------------------------------------------------------

    def start_arguments(self) -> list[Any] | None:
        """The arguments of its ``init`` until that runs; None afterwards."""
        return [self._state.args] if type(self._state) is _Start else None

    def _initial_call(self) -> tuple[Any, ...]:
        return (Atom(f"{type(self).__module__}.{type(self).__qualname__}"[-255:]), Atom("init"), 1)

    def _shown_state(self) -> Any:
        """The state as ``format_status`` lets people see it."""
        return readable(self._shown({"state": self._state})["state"])

    def _shown(self, status: dict[str, Any]) -> dict[str, Any]:
        """`status` as ``format_status`` changes it; where that raises, only the reason: it may be there to hide it."""
        try:
            return {**status, **self.format_status(dict(status))}
        except Exception:
            log.warning("format_status of %s raised", type(self).__name__, exc_info=True)
            hidden: dict[str, Any] = {"state": b"format_status raised", "message": b"format_status raised", "log": []}
            return {key: hidden.get(key, value) for key, value in status.items()}


def _no_clause(server: GenServer, callback: Callable[..., Any], message: Any) -> ErlangError:
    code = getattr(callback, "__code__", None)
    module = Atom(f"{type(server).__module__}.{type(server).__qualname__}"[-255:])
    name = getattr(callback, "__name__", "callback")
    location = []
    if code is not None:
        location = [(Atom("file"), reports.charlist(code.co_filename)), (Atom("line"), code.co_firstlineno)]
    shown_status = server._shown({"state": server._state, "message": message})
    state, message = shown_status["state"], shown_status["message"]
    is_pair = type(message) is tuple and len(message) == (3 if name == "handle_call" else 2)
    arguments = [message]
    if name == "handle_call":
        arguments = [message[2], message[1]] if is_pair else [message, UNDEFINED]
    elif name in ("handle_cast", "handle_continue") and is_pair:
        arguments = [message[1]]
    shown = [readable(argument) for argument in (*arguments, state)]
    return ErlangError(FUNCTION_CLAUSE, [(module, Atom(name), shown, location)])


def start_server(
    table: ProcessTable,
    server_class: type[GenServer],
    args: Any,
    on_started: Callable[[Any], None],
    *,
    name: Atom | None = None,
    parent: Process | Pid | None = None,
    link: bool = False,
    group_leader: Pid | None = None,
) -> Pid | None:
    """Start a server without waiting for its ``init``.

    Args:
        on_started: called once, with ``(ok, Pid)``, ``(error, Reason)`` or ``ignore``, as ``gen_server:start`` answers.
        name: registered before ``init``; ``{error, {already_started, Pid}}`` if it is taken.
        parent: whose exit ends the server; where `link`, a local process is linked with it from the start.

    Returns:
        The pid, or None where the name was taken or the node has stopped.
    """
    if table.scheduler.closed:
        on_started((ERROR, SHUTDOWN))
        return None
    if name is not None and name in table.names:
        on_started((ERROR, (Atom("already_started"), table.names[name].pid)))
        return None
    table.on_server(server_class)
    instance = server_class()
    parent_process = parent if isinstance(parent, Process) else None
    parent_pid = parent.pid if isinstance(parent, Process) else parent
    if group_leader is None and parent_process is not None:
        group_leader = parent_process.group_leader
    process = table.add_behaviour(
        instance, parent=parent_pid, trap_exit=server_class.trap_exit, group_leader=group_leader
    )
    instance._process = process
    instance._state = _Start(args, on_started)
    instance._sys = None
    instance._timeout_s = None
    instance._timer = None
    instance._timeout_number = 0
    if name is not None:
        table.register(name, process)
    if link and parent_process is not None:
        table.link(parent_process, process.pid)
    # Killed before or in init: the starter must hear of it all the same.
    process.on_exit = lambda reason: on_started((ERROR, reason))
    process.start()
    return process.pid


def wait_started(
    table: ProcessTable, server_class: type[GenServer], args: Any, timeout_s: float | None = None, **options: Any
) -> Any:
    """`start_server`, and wait for the answer.

    Returns:
        ``(ok, Pid)``, ``(error, Reason)`` or ``ignore``. After `timeout_s` the server is killed and the answer is
        ``(error, timeout)``.
    """
    waiter = Waiter(table.scheduler)
    pid = start_server(table, server_class, args, waiter.set, **options)
    try:
        answer = waiter.wait(timeout_s)
    except BaseException:
        _abandon(table, pid)
        raise
    if not waiter.done:
        _abandon(table, pid)
        return (ERROR, TIMEOUT)
    return answer


def _abandon(table: ProcessTable, pid: Pid | None) -> None:
    process = table.find(pid) if pid is not None else None
    if process is not None:
        table.exit(process, Atom("killed"))
