"""Trace events as OTP's trace messages, and as text.

::

    {trace, Pid, 'receive', Message}
    {trace_ts, Pid, call, {Module, Function, Arguments}, {MegaSecs, Secs, MicroSecs}}

Source: OTP, ``erlang:trace/3``, "Trace messages"; ``dbg:dhandler/2`` for the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.errors import ErlangThrow
from erlang_bridge.otp import reports
from erlang_bridge.otp.gen_server import TIMEOUT, GenServer, is_timeout
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.results import UNSET, Ignore, Init, NoReply, Reply, Stop
from erlang_bridge.process import BehaviourProcess, Process
from erlang_bridge.process.tracing import Spawned, TraceEvent
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term

TRACE: Final = Atom("trace")
TRACE_TS: Final = Atom("trace_ts")
_KINDS: Final = {
    kind: Atom(kind)
    for kind in (
        "send",
        "send_to_non_existing_process",
        "receive",
        "call",
        "return_from",
        "exception_from",
        "spawn",
        "spawned",
        "exit",
        "register",
        "unregister",
        "link",
        "unlink",
        "getting_linked",
        "getting_unlinked",
        "in",
        "out",
    )
}


def trace_message(event: TraceEvent, flags: frozenset[str]) -> tuple[Any, ...]:
    """The term that OTP's tracers get; what has no term is shown as `readable` does."""
    message = (event.pid, _KINDS[event.kind], *details(event), *event.extra)
    stamp = _stamp(event, flags)
    return (TRACE, *message) if stamp is None else (TRACE_TS, *message, stamp)


def _stamp(event: TraceEvent, flags: frozenset[str]) -> Any:
    if "strict_monotonic_timestamp" in flags:
        # No two events of one node have the same: the monotonic clock counts nanoseconds.
        return (event.monotonic_ns, 0)
    if "monotonic_timestamp" in flags:
        return event.monotonic_ns
    if "timestamp" in flags:
        seconds, nanoseconds = divmod(event.time_ns, 1_000_000_000)
        return (seconds // 1_000_000, seconds % 1_000_000, nanoseconds // 1000)
    return None


def details(event: TraceEvent) -> tuple[Any, ...]:
    """What stands behind the kind, as terms."""
    match event.kind, event.details:
        case "call", ((module, function, list(arguments)),):
            return ((module, function, [as_term(argument) for argument in arguments]),)
        case "return_from", (mfa, value):
            return (mfa, as_term(value))
        case "exception_from", (mfa, error):
            kind, reason, _ = reports.classify(error)
            if isinstance(error, ErlangThrow):
                kind = "throw"
            return (mfa, (Atom(kind), readable(reason)))
        case (("spawn" | "spawned"), (pid, Spawned() as started)):
            return (pid, _started(started.process))
    return tuple(as_term(part) for part in event.details)


def as_term(value: Any) -> Any:
    """A value that user code has sent or returned, as a term; results of callbacks as ``gen_server`` has them."""
    if is_timeout(value):
        return TIMEOUT
    kind = type(value)
    if kind in _RESULTS:
        return tuple(readable(part) if not isinstance(part, Atom) else part for part in _RESULTS[kind](value))
    if kind is Ignore:
        return Atom("ignore")
    shows_itself: Any = kind.__repr__
    if shows_itself is object.__repr__ and not hasattr(value, "__dict__"):
        return readable({Atom("__class__"): Atom(kind.__qualname__[:255]), **_slots(value)})
    return readable(value)


def _result(name: str, *fields: str) -> Callable[[Any], tuple[Any, ...]]:
    def convert(value: Any) -> tuple[Any, ...]:
        parts = tuple(getattr(value, field) for field in fields)
        timeout_s = getattr(value, "timeout_s", None)
        if timeout_s is not None:
            return (Atom(name), *parts, int(timeout_s * 1000))
        if getattr(value, "continue_with", UNSET) is not UNSET:
            return (Atom(name), *parts, (Atom("continue"), value.continue_with))
        return (Atom(name), *parts)

    return convert


def _stop(value: Any) -> tuple[Any, ...]:
    if value.reply is not UNSET:
        return (Atom("stop"), value.reason, value.reply, value.state)
    return (Atom("stop"), value.reason, value.state)


_RESULTS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    Reply: _result("reply", "value", "state"),
    NoReply: _result("noreply", "state"),
    Init: _result("ok", "state"),
    Stop: _stop,
}


def _slots(value: Any) -> dict[Any, Any]:
    shown = {}
    for owner in type(value).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            part = getattr(value, name, UNSET)
            if isinstance(part, (bool, int, float, str, bytes, Atom, Pid)) or part is None:
                shown[Atom(name[:255])] = part
    return shown


def _started(process: Process) -> tuple[Any, ...]:
    """``{Module, Function, Arguments}`` of a process, or with the number of arguments where they are not known."""
    if isinstance(process, BehaviourProcess) and isinstance(process.instance, GenServer):
        kind = type(process.instance)
        arguments = process.instance.start_arguments()
        shown = 1 if arguments is None else [as_term(argument) for argument in arguments]
        return (Atom(f"{kind.__module__}.{kind.__qualname__}"[-255:]), Atom("init"), shown)
    if process.initial_call is not None:
        module, function, arity = process.initial_call
        return (Atom(module[-255:]), Atom(function[-255:]), arity)
    return (Atom("erlang"), Atom("apply"), 2)


# -- as text --------------------------------------------------------------------------------------

_ARROWS: Final = {"in": "runs", "out": "waits"}


def event_text(event: TraceEvent, name: Callable[[Any], str], most: int = 300) -> str:
    """An event in one line: ``ticker << {'$gen_cast',increment}``.

    Args:
        name: what a pid, or a registered name, is called.
        most: a message or value is cut to about so many characters.
    """
    who = name(event.pid)
    parts = details(event)

    def show(term: Any) -> str:
        return format_term(term, most=most)

    text = ""
    match event.kind, parts:
        case "receive", (message,):
            text = f"{who} << {show(message)}"
        case (("send" | "send_to_non_existing_process"), (message, to)):
            missing = "" if event.kind == "send" else " (no such process)"
            text = f"{who} -> {name(to)}{missing}: {show(message)}"
        case "call", (mfa,):
            text = f"{who} calls {call_text(mfa, most)}"
        case "return_from", (mfa, value):
            text = f"{who} returns from {call_text(mfa, most)} -> {show(value)}"
        case "exception_from", (mfa, (kind, reason)):
            text = f"{who} raises in {call_text(mfa, most)}: {kind}: {show(reason)}"
        case (("spawn" | "spawned"), (pid, mfa)):
            other = f"{event.kind} {name(pid)}" if event.kind == "spawn" else f"spawned by {name(pid)}"
            text = f"{who} {other} as {call_text(mfa, most)}"
        case (("in" | "out"), _):
            text = f"{who} {_ARROWS[event.kind]}"
        case kind, _:
            text = f"{who} {kind} {' '.join(show(part) if not isinstance(part, Pid) else name(part) for part in parts)}"
    return text + "".join(f" ({show(extra)})" for extra in event.extra)


def call_text(mfa: Any, most: int = 300) -> str:
    """``module:function(arguments)`` or ``module:function/arity``."""
    match mfa:
        case (Atom() as module, Atom() as function, list(arguments)):
            return f"{module.name}:{function.name}({', '.join(format_term(one, most=most) for one in arguments)})"
        case (Atom() as module, Atom() as function, arity):
            return f"{module.name}:{function.name}/{arity}"
    return format_term(mfa, most=most)
