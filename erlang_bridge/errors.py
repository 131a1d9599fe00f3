"""Every exception that the bridge raises, in one tree.

::

    BridgeError                     carries its data as attributes; says what was expected and what came
    ├── EtfError
    │   ├── EtfDecodeError          bytes that are not a term
    │   │   └── EtfStructError      a map that says it is a registered struct, and does not fit its class
    │   └── EtfEncodeError          a Python value that has no term
    ├── TermSyntaxError             text that is not a term
    ├── EpmdError
    │   ├── EpmdUnreachable
    │   ├── NameTaken
    │   └── NodeNotRegistered
    ├── ProtocolError
    │   ├── LocalProtocolError      we asked for something illegal
    │   └── RemoteProtocolError     the peer broke the protocol: close that connection
    ├── HandshakeError              a connection could not be set up; `reason` says why
    │   ├── BadCookie  NotAllowed  MissingFlags  LostToSimultaneous  HandshakeTimeout
    ├── ConnectionLost              an established connection ended
    ├── ConfigError                 a configuration key or flag has a wrong value
    ├── ModuleNotPushed             a BEAM did not compile or load an Erlang module sent to it
    ├── ModuleNotLoaded             new code for a module was refused; everything runs the code that it ran before
    └── ErlangException             Erlang's three classes of exception, reason kept as a term
        ├── ErlangError  ErlangThrow
        └── ErlangExit
            ├── NoProcess  CallTimeout  NoConnection  CallingSelf
    ProcessExit (BaseException)     this process has been told to die; engine code must not swallow it
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self


class _Brief(reprlib.Repr):
    """`repr` for a line of text: short, and safe with terms that are deep, large or contain themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = self.maxlong = 60

    def repr_int(self, value: int, level: int) -> str:
        if value.bit_length() > 200:
            return f"<an integer of {value.bit_length()} bits>"
        return repr(value)

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value) if len(value) <= 40 else f"{value[:32]!r}... ({len(value)} bytes)"

    def repr_str(self, value: str, level: int) -> str:
        return repr(value) if len(value) <= 60 else f"{value[:50]!r}... ({len(value)} characters)"

    def repr_ImproperList(self, value: Any, level: int) -> str:  # noqa: N802  # reprlib looks it up by the type's name
        return f"ImproperList({self.repr1(value.elements, level)}, {self.repr1(value.tail, level - 1)})"

    def repr_Map(self, value: Any, level: int) -> str:  # noqa: N802
        return f"Map({self.repr1(list(value.pairs()), level)})"

    def repr_Record(self, value: Any, level: int) -> str:  # noqa: N802
        return f"Record({value.module!r}, {value.name!r}, {self.repr1(value.fields, level)})"


_brief: Final = _Brief()


def brief(value: object, most: int = 200) -> str:
    """`value` as Python would write it, for an error or a log line: cut to `most` characters, and never failing."""
    text = _brief.repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


class BridgeError(Exception):
    """Root of everything the bridge raises on purpose."""


# -- external term format ---------------------------------------------------------------------


class EtfError(BridgeError):
    """Conversion between Python values and the external term format failed."""


class EtfDecodeError(EtfError):
    """Bytes that are not a term of the external term format.

    Attributes:
        offset: position in the given bytes, in bytes, where decoding stopped.
        tag: the tag byte under way, or None where the input ended before one.
    """

    def __init__(self, offset: int, tag: int | None, what: str = "malformed term") -> None:
        self.offset = offset
        self.tag = tag
        self.what = what
        super().__init__(offset, tag, what)

    def __str__(self) -> str:
        tag = "no tag" if self.tag is None else f"tag {self.tag}"
        return f"{self.what} (at byte {self.offset}, {tag})"


class EtfStructError(EtfDecodeError):
    """A map that names a registered struct and does not fit the class that stands for it.

    Attributes:
        struct: name of the struct, such as ``Elixir.Foo``.
        field: the field that is unknown, missing or of a wrong type.
    """

    def __init__(self, struct: str, field: str, what: str, offset: int = 0) -> None:
        self.struct = struct
        self.field = field
        self.problem = what
        super().__init__(offset, None, f"{struct}: field {field!r} {what}")

    def __str__(self) -> str:
        return self.what

    def __reduce__(self) -> tuple[type[EtfStructError], tuple[str, str, str, int]]:
        return EtfStructError, (self.struct, self.field, self.problem, self.offset)


class EtfEncodeError(EtfError):
    """A Python value that has no counterpart among Erlang's terms.

    Attributes:
        path: where the value sits in the term given, such as ``[1]['key'][0]``; empty for the term itself.
        value: the culprit.
    """

    def __init__(self, path: str, value: object, what: str) -> None:
        self.path = path
        self.value = value
        self.what = what
        super().__init__(path, value, what)

    def within(self, prefix: str) -> EtfEncodeError:
        """The same, seen from the part of the term at `prefix`: without what was wrapped around the user's."""
        return EtfEncodeError(self.path.removeprefix(prefix), self.value, self.what)

    def __str__(self) -> str:
        where = f" at term{self.path}" if self.path else ""
        return f"cannot encode {type(self.value).__name__} {brief(self.value, 120)}{where}: {self.what}"


class TermSyntaxError(BridgeError):
    """Text that is not a term in Erlang's syntax.

    Attributes:
        text: what was to be read.
        position: index of the character at which reading stopped.
    """

    def __init__(self, text: str, position: int, what: str) -> None:
        self.text = text
        self.position = position
        self.what = what
        super().__init__(text, position, what)

    def __str__(self) -> str:
        near = self.text[self.position : self.position + 20]
        return f"{self.what}, at character {self.position + 1}" + (f" ({near!r})" if near else ", where the text ends")


# -- epmd -------------------------------------------------------------------------------------


class EpmdError(BridgeError):
    """The port mapper could not do what was asked."""


class EpmdUnreachable(EpmdError):
    """No epmd answers.

    Attributes:
        host, port: where it was looked for.
    """

    def __init__(self, host: str, port: int, why: str) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"no epmd answers at {host}:{port} ({why}); start one with `epmd -daemon`, "
            "or let the node run its own (embedded_epmd=True, the default)"
        )


class NameTaken(EpmdError):
    """Another live node has registered this name.

    Attributes:
        name: the part of the node name before ``@``.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        super().__init__(
            f"the node name {name!r} is already registered with the epmd at {host}:{port}; "
            "stop the other node or choose another name"
        )


class NodeNotRegistered(EpmdError):
    """epmd answered, and knows no node of this name.

    Attributes:
        node_name: the full name that was looked for.
    """

    def __init__(self, node_name: str, host: str, port: int) -> None:
        self.node_name = node_name
        super().__init__(
            f"epmd at {host}:{port} knows no node {node_name!r}: it is not running, or registered elsewhere"
        )


# -- distribution -----------------------------------------------------------------------------


class ProtocolError(BridgeError):
    """The distribution protocol was broken, by us or by them: see the two subclasses."""


class LocalProtocolError(ProtocolError):
    """We asked for something that the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow; its connection has to be closed.

    Attributes:
        signals: what had been received before the breach, in the same bytes, and is still to be delivered.
    """

    def __init__(self, what: str, signals: Sequence[Any] = ()) -> None:
        super().__init__(what)
        self.signals = signals


def shown_name(node_name: str) -> str:
    """What somebody said its name is, for a line of the log: it may be anything, line breaks too."""
    if not node_name:
        return "an unnamed node"
    return node_name if node_name.isprintable() else ascii(node_name)


class HandshakeError(BridgeError):
    """A connection could not be set up.

    Attributes:
        node_name: the peer, as far as it is known.
    """

    def __init__(self, node_name: str, why: str) -> None:
        self.node_name = node_name
        self.why = why
        super().__init__(f"cannot connect with {shown_name(node_name)}: {why}")


class BadCookie(HandshakeError):
    """The two nodes do not share the same cookie."""

    def __init__(self, node_name: str) -> None:
        super().__init__(node_name, "the cookies differ; both nodes must be given the same one")


class NotAllowed(HandshakeError):
    """The peer answered ``not_allowed``: a flag it insists on is missing, or its allow list leaves us out."""

    def __init__(self, node_name: str) -> None:
        why = "it answered 'not_allowed': its allow list leaves this node out, or it misses a flag"
        super().__init__(node_name, why)


class MissingFlags(HandshakeError):
    """The peer does not announce capabilities that we cannot do without.

    Attributes:
        flags: names of the missing ``DFLAG_*``.
    """

    def __init__(self, node_name: str, flags: tuple[str, ...]) -> None:
        self.flags = flags
        super().__init__(node_name, f"it lacks {', '.join(flags)}; OTP 25 or later is expected")


class LostToSimultaneous(HandshakeError):
    """Both nodes dialled at once and the peer's attempt wins: its connection is the one to wait for."""

    def __init__(self, node_name: str) -> None:
        super().__init__(node_name, "it is connecting to us at this moment and its attempt wins")


class HandshakeTimeout(HandshakeError):
    """The peer took longer than the set-up time for one step.

    Attributes:
        step: the message that was waited for.
    """

    def __init__(self, node_name: str, step: str, timeout_s: float) -> None:
        self.step = step
        super().__init__(node_name, f"no {step} within {timeout_s:g} s")


class ConnectionLost(BridgeError):
    """An established connection has ended.

    Attributes:
        node_name: the peer.
        reason: why, in OTP's words where there are any (``connection_closed``, ``net_tick_timeout``, ...).
    """

    def __init__(self, node_name: str, reason: str) -> None:
        self.node_name = node_name
        self.reason = reason
        super().__init__(f"lost the connection with {node_name}: {reason}")


class ConfigError(BridgeError):
    """A configuration value that cannot be used.

    Attributes:
        key: the key or flag.
        value: what came.
        expected: what would have been right, in words.
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        self.key = key
        self.value = value
        self.expected = expected
        super().__init__(f"{key}: expected {expected}, got {value!r}")


class ModuleNotPushed(BridgeError):
    """A BEAM did not compile or load an Erlang module that was sent to it.

    Attributes:
        module: its name.
        node_name: the BEAM.
        problems: what the compiler or the code server said, a line each.
    """

    def __init__(self, module: str, node_name: str, problems: tuple[str, ...]) -> None:
        self.module = module
        self.node_name = node_name
        self.problems = problems
        super().__init__(f"{node_name} does not take the module {module}: {'; '.join(problems)}")


# -- Erlang's exceptions ----------------------------------------------------------------------


class ModuleNotLoaded(BridgeError):
    """New code for a module was not taken: all processes run the code, and have the state, that they had before.

    Attributes:
        module: its name.
        reason: ``nofile``: no such module is loaded, or it has no source. ``sticky_directory``: it must not be changed.
            ``badfile``: it does not compile. ``on_load_failure``: it raised when it was run. ``code_change``: a state
            cannot be converted. ``not_purged``: processes still run the version before the current one.
        path, line: where the fault is, if it has a place.
    """

    def __init__(self, module: str, reason: str, text: str, path: str | None = None, line: int | None = None) -> None:
        self.module = module
        self.reason = reason
        self.text = text
        self.path = path
        self.line = line
        super().__init__(module, reason, text, path, line)

    @property
    def what(self) -> str:
        """The fault, with file and line where it has them."""
        if self.path is None:
            return self.text
        return f"{self.path}:{self.line}: {self.text}" if self.line is not None else f"{self.path}: {self.text}"

    def __str__(self) -> str:
        return f"{self.module} was not loaded ({self.reason}): {self.what}"


class ErlangException(BridgeError):
    """An Erlang exception, raised here or carried over from another process.

    Attributes:
        reason: the term.
        stacktrace: list of ``(module, function, arity_or_args, location)``; empty where there is none.
    """

    def __init__(self, reason: Any, stacktrace: list[Any] | None = None) -> None:
        self.reason = reason
        self.stacktrace = stacktrace or []
        super().__init__(reason)

    def __str__(self) -> str:
        return _shown(self.reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({brief(self.reason, 500)})"


class ErlangError(ErlangException):
    """Class ``error``: what ``erlang:error/1`` raises."""


class ErlangThrow(ErlangException):
    """Class ``throw``."""


class ErlangExit(ErlangException):
    """Class ``exit``: raise it in a process to end it with `reason`; raised by a call that failed.

    A failed call raises the subclass filed under its reason (see `exit_for`), with the call in `call`.

    Attributes:
        call: the call that failed, in words.
        shown: the reason as text in Erlang's syntax, where who raised it has had it at hand.
        term: the exit reason of a process that does not catch it; for a call OTP's ``{Reason, {Module, call,
        Arguments}}``.
    """

    by_reason: ClassVar[dict[str, type[ErlangExit]]] = {}
    reason_name: ClassVar[str] = ""

    def __init__(self, reason: Any, call: str = "", shown: str = "") -> None:
        self.call = call
        self.shown = shown
        self.term = reason
        super().__init__(reason)

    def __init_subclass__(cls, reason_name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if reason_name:
            cls.reason_name = reason_name
            ErlangExit.by_reason[reason_name] = cls

    def __str__(self) -> str:
        explained = self.shown or _shown(self.reason)
        if self.hint:
            explained += f" ({self.hint})"
        return f"{self.call}: {explained}" if self.call else explained

    hint: str = ""
    """What the reason means, in words."""

    def because(self, failure: BaseException | None) -> Self:
        """The same, with what lies behind it as cause and hint; unchanged for None."""
        if failure is not None:
            self.__cause__ = failure
            self.hint = str(failure)
        return self


class NoProcess(ErlangExit, reason_name="noproc"):
    """The process called does not exist, or no process has that name."""

    hint = "no such process"


class CallTimeout(ErlangExit, reason_name="timeout"):
    """No reply came within the time given; one that comes later is dropped."""

    hint = "no reply in time"


class NoConnection(ErlangExit, reason_name="noconnection"):
    """The node called cannot be reached, or the connection was lost during the call.

    Where no connection could be set up, the cause says why: `BadCookie`, `NodeNotRegistered`, `MissingFlags`, ...
    """

    hint = "the node is down or cannot be reached"


class CallingSelf(ErlangExit, reason_name="calling_self"):
    """A process called itself and would have waited for ever."""

    hint = "a process must not call itself"


def _shown(reason: Any) -> str:
    # An atom reads best as its name; anything else is shown as far as a line takes it, however deep it is.
    name = getattr(reason, "name", None)
    return name if isinstance(name, str) else brief(reason, 500)


def exit_for(reason: Any, call: str = "", shown: str = "") -> ErlangExit:
    """The exception for a call that ended with `reason`: the subclass filed under that atom, else `ErlangExit`."""
    name = getattr(reason, "name", "")
    return ErlangExit.by_reason.get(name, ErlangExit)(reason, call, shown)


class ProcessExit(BaseException):
    """Raised inside a process that is already dead, at the point where it was waiting, so that its stack unwinds.

    Not an `Exception`: ``except Exception`` in engine code must not keep a dead process alive.

    Attributes:
        reason: the exit reason that others have been told.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(reason)
