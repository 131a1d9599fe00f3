"""Calls, casts and replies: the message protocol of ``gen_server`` and its kin.

::

    call    {'$gen_call', {CallerPid, [alias|Ref]}, Request}     with a monitor of the same Ref on the server
    cast    {'$gen_cast', Request}
    reply   {Tag, Reply}, sent to the alias where the tag has one, else to CallerPid

Source: OTP ``lib/stdlib/src/gen.erl``, ``do_call/4`` and ``reply/2``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.errors import ErlangExit, EtfEncodeError, exit_for
from erlang_bridge.process import PENDING, Process, ProcessTable, Waiter
from erlang_bridge.process.exit_rules import NOCONNECTION, NOPROC
from erlang_bridge.terms import Atom, ImproperList, Pid, Reference
from erlang_bridge.terms.text import format_term

GEN_CALL: Final = Atom("$gen_call")
GEN_CAST: Final = Atom("$gen_cast")
SYSTEM: Final = Atom("system")
ALIAS: Final = Atom("alias")
TIMEOUT: Final = Atom("timeout")
NODEDOWN: Final = Atom("nodedown")

Caller = tuple[Pid, Any]
"""Who called, and the tag that the reply must carry. Opaque: give it back to `reply`."""


class _Down:
    __slots__ = ("reason",)

    def __init__(self, reason: Any) -> None:
        self.reason = reason


class PendingCall(Waiter):
    """A call under way: the target of its alias, and the watcher of its monitor."""

    __slots__ = ("process", "reference")

    def __init__(self, process: Process) -> None:
        super().__init__(process.table.scheduler)
        self.process = process
        self.reference: Reference = process.table.make_reference()

    def on_reply(self, message: Any) -> None:
        """A message through the alias: ``{Tag, Reply}``, or anything at all from a caller who knows no better."""
        self.set((message[1],) if type(message) is tuple and len(message) == 2 else (message,))

    def on_down(self, reason: Any) -> None:
        self.set(_Down(reason))

    def start(self, destination: Any, label: Atom, request: Any) -> None:
        """Set the monitor and send the request.

        Raises:
            EtfEncodeError, TypeError: nothing was sent.
        """
        process = self.process
        table = process.table
        reference = self.reference
        table.aliases[reference.words] = self
        process.pending_calls += 1
        try:
            table.monitor(process, destination, watcher=self, reference=reference)
            if self.result is PENDING:
                table.send(process, destination, (label, (process.pid, ImproperList((ALIAS,), reference)), request))
        except BaseException:
            self.finish()
            raise

    def finish(self) -> None:
        """Take back alias and monitor: a reply that comes from now on is dropped."""
        table = self.process.table
        if table.aliases.pop(self.reference.words, None) is not None:
            self.process.pending_calls -= 1
        table.demonitor(self.reference, self.process)

    @property
    def failure(self) -> Any:
        """Why there is no reply: the exit reason; `PENDING` if there is one."""
        result = self.result
        if result is PENDING:
            return TIMEOUT
        return result.reason if type(result) is _Down else PENDING


def resolve(table: ProcessTable, destination: Any) -> Any:
    """A destination as `ProcessTable` takes it; `str` stands for the atom of that name."""
    if isinstance(destination, str):
        return Atom(destination)
    if type(destination) is tuple and len(destination) == 2:
        name, node = destination
        name = Atom(name) if isinstance(name, str) else name
        node = Atom(node) if isinstance(node, str) else node
        if node is table.node_name:
            return name
        return (name, node)
    return destination


def call(
    process: Process,
    destination: Any,
    request: Any,
    timeout_s: float | None = 5.0,
    *,
    label: Atom = GEN_CALL,
    module: str = "gen_server",
) -> Any:
    """Send `request` to a server and wait for its reply.

    Args:
        process: the caller.
        destination: a pid, a registered name, or ``(name, node)``.
        timeout_s: None waits for ever.
        label: ``'$gen_call'``, or ``system`` for the messages of `sys`.

    Raises:
        NoProcess: the server does not exist. NoConnection: its node is down. CallTimeout. CallingSelf.
        ErlangExit: it ended during the call, with this reason.
        EtfEncodeError: the request has no term; nothing was sent.
    """
    process.check_alive()
    table = process.table
    destination = resolve(table, destination)
    target = destination
    if type(destination) is Atom:
        server = table.names.get(destination)
        if server is None:
            raise _failed(NOPROC, module, destination, request, timeout_s, table)
        target = server.pid
    if target == process.pid:
        raise _failed(Atom("calling_self"), module, destination, request, timeout_s, table)
    pending = PendingCall(process)
    try:
        pending.start(target, label, request)
    except EtfEncodeError as error:
        raise error.within("[2]") from None
    try:
        pending.wait(timeout_s)
    finally:
        pending.finish()
    failure = pending.failure
    if failure is not PENDING:
        raise _failed(failure, module, destination, request, timeout_s, table)
    return pending.result[0]


def _failed(
    reason: Any,
    module: str,
    destination: Any,
    request: Any,
    timeout_s: float | None,
    table: ProcessTable,
) -> ErlangExit:
    call = f"{module}:call({format_term(destination, most=80)}, {format_term(request, most=80)})"
    error = exit_for(reason, call, format_term(reason, most=500))
    term = reason
    if reason is NOCONNECTION:
        node = destination[1] if type(destination) is tuple else getattr(destination, "node", None)
        term = (NODEDOWN, node)
        error.because(table.connect_failures.get(node) if node is not None else None)
    error.term = (term, _mfa(module, destination, request, timeout_s))
    return error


def _mfa(module: str, destination: Any, request: Any, timeout_s: float | None) -> tuple[Any, ...]:
    timeout = Atom("infinity") if timeout_s is None else int(timeout_s * 1000)
    return (Atom(module), Atom("call"), [destination, request, timeout])


def cast(process: Process | None, table: ProcessTable, destination: Any, request: Any) -> None:
    """Send `request` without waiting; a server that does not exist drops it silently."""
    try:
        table.send(process, resolve(table, destination), (GEN_CAST, request))
    except EtfEncodeError as error:
        raise error.within("[1]") from None


def reply_destination(caller: Caller) -> Any:
    """Where a reply goes: the alias in the tag, else the caller's pid."""
    pid, tag = caller
    if type(tag) is ImproperList:
        head = tag.elements[0]
        if head is ALIAS and type(tag.tail) is Reference:
            return tag.tail
        # gen_server:multi_call of OTP 26 and later: [[alias|Alias]|Monitor]
        if type(head) is ImproperList and head.elements[0] is ALIAS and type(head.tail) is Reference:
            return head.tail
    return pid


def reply(process: Process | None, table: ProcessTable, caller: Caller, value: Any) -> None:
    """Answer a call.

    Raises:
        EtfEncodeError: the value has no term; the caller got nothing.
    """
    try:
        table.send(process, reply_destination(caller), (caller[1], value))
    except EtfEncodeError as error:
        raise error.within("[1]") from None


def is_caller(term: Any) -> bool:
    """Whether a term can be the ``From`` of a call."""
    return type(term) is tuple and len(term) == 2 and type(term[0]) is Pid
