"""Group leaders: processes that serve the io requests of others, local and of BEAMs.

`GroupLeader` writes to a text stream, as the process ``user`` of every node does; `StdoutToCaller` sends what is
printed to a C node (``erl_call -fetch_stdout``). Both speak the whole protocol, with and without an encoding in the
requests::

    {io_request, From, ReplyAs, Request}   ->   {io_reply, ReplyAs, Reply}

An output request is carried out at once. One that waits for input, or for another node, is carried out by a process of
its own, so that output goes on meanwhile; these wait for each other.

Source: "The Erlang I/O Protocol" in the stdlib user's guide; ``lib/kernel/src/user.erl``, ``rpc.erl``.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from erlang_bridge.errors import BridgeError, ErlangExit
from erlang_bridge.kernel import rpc
from erlang_bridge.kernel.io_format import FormatError, characters, format_text
from erlang_bridge.kernel.io_pretty import TermText, is_atom
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, start_server
from erlang_bridge.otp.results import NoReply, Stop
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.process.exit_rules import KILLED, NORMAL
from erlang_bridge.terms import Atom, ImproperList, Pid

log = logging.getLogger("erlang_bridge.kernel")

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
EOF: Final = Atom("eof")
STOP: Final = Atom("stop")
IO_REPLY: Final = Atom("io_reply")
LATIN1: Final = Atom("latin1")
UNICODE: Final = Atom("unicode")
UTF8: Final = Atom("utf8")
BINARY: Final = Atom("binary")
LIST: Final = Atom("list")
ENCODING: Final = Atom("encoding")
PUT_CHARS: Final = Atom("put_chars")
ENOTSUP: Final = Atom("enotsup")
REX_STDOUT: Final = Atom("rex_stdout")

REMOTE_TIMEOUT_S: Final = 5.0
"""For functions of the requester's node that a request names: formatting of its own, ``erl_scan:tokens``."""


class Refused(Exception):
    """A request that is answered ``{error, Reason}``."""

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class Streams:
    """What a `GroupLeader` writes to and reads from.

    Attributes:
        output: None stands for whatever ``sys.stdout`` is at the time.
        input: None: every read is at the end of the file.
    """

    output: TextIO | None = None
    input: TextIO | None = None


@dataclass(slots=True)
class _Device:
    """The state of a group leader.

    Attributes:
        binary: reads answer binaries, not lists of characters.
        encoding: ``unicode`` or ``latin1``; the latter writes characters beyond it as ``\\x{..}``.
        unread: input that was read from the stream, and not by anybody yet.
        waiting: requests for the worker: ``(From, ReplyAs, Request)``.
        worker: the process that carries them out, while there are some.
    """

    binary: bool = False
    encoding: Atom = UNICODE
    unread: str = ""
    waiting: deque[tuple[Pid, Any, Any]] = field(default_factory=deque)
    worker: Process | None = None


class IoServer(GenServer):
    """The protocol; subclasses say where the text goes and comes from."""

    trap_exit = True

    device: _Device

    # -- the device -----------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Put `text` out. Raises `Refused`: it cannot be."""
        raise NotImplementedError

    def read_line(self) -> str:
        """The next line of input with its end, ``""`` at the end of the file. May block: the worker calls it.

        Raises:
            Refused: there is no input here at all.
        """
        raise Refused(ENOTSUP)

    def options(self) -> list[Any]:
        """The answer to ``getopts``."""
        raise Refused(ENOTSUP)

    def set_options(self, options: list[Any]) -> None:
        """Carry out ``setopts``: all of it or nothing."""
        raise Refused(ENOTSUP)

    def geometry(self, what: str) -> int:
        """``columns`` or ``rows``. Raises `Refused`: it is no terminal."""
        raise Refused(ENOTSUP)

    # -- callbacks ------------------------------------------------------------------------------

    def init(self, args: Any) -> _Device:
        self.device = _Device()
        return self.device

    def handle_call(self, request: Any, caller: Any, state: _Device) -> Any:
        # It is no gen_server on a BEAM, and drops what it does not know.
        return NoReply(state)

    def handle_cast(self, message: Any, state: _Device) -> Any:
        return NoReply(state)

    def handle_info(self, message: Any, state: _Device) -> Any:
        match message:
            case (Atom("io_request"), Pid() as sender, reply_as, request):
                if _is_slow(request):
                    state.waiting.append((sender, reply_as, request))
                    self._start_worker()
                else:
                    self._answer(sender, reply_as, request)
            case (Atom("EXIT"), Pid() as pid, _) if state.worker is not None and state.worker.pid == pid:
                state.worker = None
                self._start_worker()
        return NoReply(state)

    def terminate(self, reason: Any, state: _Device) -> None:
        if state.worker is not None:
            self._process.table.exit(state.worker, KILLED)

    # -- requests -------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        device = self.device
        if device.worker is None and device.waiting:
            table = self._process.table
            device.worker = table.add_body(self._work, parent=self.pid, group_leader=self.pid)
            table.link(self._process, device.worker.pid)

    def _work(self) -> None:
        device = self.device
        while device.waiting:
            self._answer(*device.waiting.popleft())
        device.worker = None

    def _answer(self, sender: Pid, reply_as: Any, request: Any) -> None:
        try:
            reply = self._carry_out(sender, request)
        except Refused as refused:
            reply = (ERROR, refused.reason)
        except Exception:
            log.exception("an io request of %s failed: %r", sender, request)
            reply = (ERROR, Atom("request"))
        self.send(sender, (IO_REPLY, reply_as, reply))

    def _carry_out(self, sender: Pid, request: Any) -> Any:
        match _with_encoding(request):
            case (Atom("put_chars"), encoding, data):
                self.write(_text(data, encoding))
                return OK
            case (Atom("put_chars"), encoding, Atom() as module, Atom() as function, list() as arguments):
                self.write(_text(self._applied(sender, module, function, arguments), encoding))
                return OK
            case (Atom("get_line"), encoding, prompt):
                self._prompt(prompt)
                return _input(self._take_line(), encoding, self.device)
            case (Atom("get_chars"), encoding, prompt, int(count)) if count >= 0:
                self._prompt(prompt)
                return _input(self._take(count), encoding, self.device, at_end=count > 0)
            case (Atom("get_until"), encoding, prompt, Atom() as module, Atom() as function, list() as arguments):
                self._prompt(prompt)
                return self._take_until(sender, encoding, module, function, arguments)
            case (Atom("get_password"), _):
                raise Refused(ENOTSUP)
            case (Atom("get_geometry"), Atom("columns" | "rows") as what):
                return self.geometry(what.name)
            case Atom("getopts"):
                return self.options()
            case (Atom("setopts"), list() as options):
                self.set_options(options)
                return OK
            case (Atom("requests"), list() as requests):
                reply: Any = OK
                for inner in requests:
                    reply = self._carry_out(sender, inner)
                return reply
        raise Refused(Atom("request"))

    def _applied(self, sender: Pid, module: Atom, function: Atom, arguments: list[Any]) -> Any:
        """What a function makes of its arguments: done here where it is known, else on the sender's node."""
        writer = _WRITERS.get((module.name, function.name, len(arguments)))
        try:
            if writer is not None:
                return writer(*arguments)
            return self._remote(sender, module, function, arguments)
        except (BridgeError, TypeError, ValueError, RecursionError) as error:
            log.debug("%s of %s cannot be put out: %s", function, sender, error)
            raise Refused(function) from error

    def _remote(self, sender: Pid, module: Atom, function: Atom, arguments: list[Any]) -> Any:
        table = self._process.table
        process = table.current()
        if sender.node is table.node_name or process is None:
            raise Refused(function)
        return rpc.call(process, sender.node, module.name, function.name, arguments, REMOTE_TIMEOUT_S)

    # -- input ----------------------------------------------------------------------------------

    def _prompt(self, prompt: Any) -> None:
        text = prompt_text(prompt)
        if text:
            self.write(text)

    def _fill(self) -> bool:
        """Read more. False: nothing came, this is the end."""
        line = self.read_line()
        self.device.unread += line
        return bool(line)

    def _take_line(self) -> str:
        device = self.device
        while "\n" not in device.unread and self._fill():
            pass
        line, newline, device.unread = device.unread.partition("\n")
        return line.removesuffix("\r") + newline if newline else line

    def _take(self, count: int) -> str:
        device = self.device
        while len(device.unread) < count and self._fill():
            pass
        text, device.unread = device.unread[:count], device.unread[count:]
        return text

    def _take_until(self, sender: Pid, encoding: Atom, module: Atom, function: Atom, arguments: list[Any]) -> Any:
        """Give input to a function of the sender's node until it has enough: ``io:read`` and ``io:fread``."""
        device = self.device
        continuation: Any = []
        while True:
            if not device.unread:
                self._fill()
            text, device.unread = device.unread, ""
            given: Any = [ord(character) for character in text] if text else EOF
            try:
                answer = self._remote(sender, module, function, [continuation, given, *arguments])
            except BridgeError as error:
                raise Refused(function) from error
            match answer:
                case (Atom("done"), result, rest):
                    device.unread = characters(rest) if isinstance(rest, (list, bytes)) else ""
                    if device.binary and isinstance(result, list):
                        return characters(result).encode("utf-8" if encoding is UNICODE else "latin-1")
                    return result
                case (Atom("more"), continuation):
                    continue
            raise Refused(function)


class GroupLeader(IoServer):
    """A group leader on text streams; its argument is a `Streams`."""

    _streams: Streams

    def init(self, args: Any) -> _Device:
        self._streams = args
        # As `user` of a BEAM, it is its own: what it logs must not wait for itself elsewhere.
        self._process.group_leader = self.pid
        return super().init(args)

    def write(self, text: str) -> None:
        stream = self._output()
        if self.device.encoding is LATIN1:
            text = _escaped(text, "latin-1")
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(_escaped(text, getattr(stream, "encoding", None) or "ascii"))
            stream.flush()
        except OSError as error:
            raise Refused(_posix_name(error)) from error
        except ValueError as error:
            raise Refused(Atom("terminated")) from error

    def read_line(self) -> str:
        stream = self._streams.input
        if stream is None:
            return ""
        # In a thread: reading from a terminal or a pipe would stop the whole node.
        pool = self._process.table.scheduler.hub.threadpool
        try:
            line: str = pool.apply(stream.readline)
        except OSError as error:
            raise Refused(_posix_name(error)) from error
        except ValueError as error:
            raise Refused(Atom("collect_line")) from error
        return line

    def options(self) -> list[Any]:
        return [(BINARY, self.device.binary), (ENCODING, self.device.encoding)]

    def set_options(self, options: list[Any]) -> None:
        device = self.device
        binary, encoding = device.binary, device.encoding
        for option in options:
            match option:
                case Atom("binary" | "list") as form:
                    binary = form is BINARY
                case (Atom("binary"), bool(on)):
                    binary = on
                case (Atom("list"), bool(on)):
                    binary = not on
                case Atom("unicode" | "utf8" | "latin1") as name:
                    encoding = LATIN1 if name is LATIN1 else UNICODE
                case (Atom("encoding"), Atom("unicode" | "utf8" | "latin1") as name):
                    encoding = LATIN1 if name is LATIN1 else UNICODE
                case _:
                    raise Refused(ENOTSUP)
        device.binary, device.encoding = binary, encoding

    def geometry(self, what: str) -> int:
        try:
            size = os.get_terminal_size(self._output().fileno())
        except (OSError, ValueError) as error:
            raise Refused(ENOTSUP) from error
        return size.columns if what == "columns" else size.lines

    def _output(self) -> TextIO:
        stream = self._streams.output or sys.stdout
        if stream is None:
            raise Refused(Atom("terminated"))
        return stream


class User(GroupLeader):
    """The process ``user``: the group leader of every process that was not started for another one."""

    def init(self, args: Any) -> _Device:
        self._process.table.default_group_leader = self.pid
        return super().init(args)


class StdoutToCaller(IoServer):
    """Sends what is printed to a C node, as ``{rex_stdout, Binary}``; its argument is ``(client, process)``.

    Ends with `process`, for which it was started, or when it is told to by `finish`.
    """

    _client: Pid

    def init(self, args: Any) -> _Device:
        self._client, process = args
        self.monitor(process)
        return super().init(args)

    def write(self, text: str) -> None:
        self.send(self._client, (REX_STDOUT, text.encode()))

    def handle_call(self, request: Any, caller: gen.Caller, state: _Device) -> Any:
        return Stop(NORMAL, state, reply=OK) if request is STOP else NoReply(state)

    def handle_info(self, message: Any, state: _Device) -> Any:
        match message:
            case (Atom("DOWN"), _, _, _, _):
                return Stop(NORMAL, state)
        return super().handle_info(message, state)


def start_group_leader(table: ProcessTable, streams: Streams, *, name: Atom | None = None) -> Pid:
    """Start a `GroupLeader`. Raises ValueError: the name is taken."""
    pid = start_server(table, GroupLeader, streams, lambda answer: None, name=name)
    if pid is None:
        raise ValueError(f"cannot start a group leader as {name}: the name is taken")
    return pid


def start_stdout_to_caller(process: Process, client: Pid) -> Pid:
    """Start a `StdoutToCaller` that ends with `process`."""
    pid = start_server(process.table, StdoutToCaller, (client, process.pid), lambda answer: None)
    assert pid is not None
    return pid


def finish(process: Process, leader: Pid) -> None:
    """End a `StdoutToCaller`, after everything that `process` has printed there before is sent on."""
    try:
        gen.call(process, leader, STOP, None)
    except ErlangExit as gone:
        log.warning("the group leader %s of a call has ended before it: %s", leader, gone)


def print_to(table: ProcessTable, leader: Pid | None, text: str) -> None:
    """Put `text` out at a group leader without waiting: nobody hears whether that worked. May be called in the hub."""
    if leader is None:
        leader = table.default_group_leader
    if leader is not None:
        # The reply goes to a pid that no process has.
        nobody = Pid(table.node_name, 0, 0, table.creation)
        request = (PUT_CHARS, UNICODE, text.encode(errors="replace"))
        table.send(None, leader, (Atom("io_request"), nobody, table.make_reference(), request))


def prompt_text(prompt: Any) -> str:
    """A prompt as text: chardata, an atom, ``{format, Format, Arguments}``, or any term."""
    try:
        match prompt:
            case (Atom("format"), format_string, arguments):
                return format_text(format_string, arguments)
            case list() | bytes() | str() | ImproperList() as data:
                return format_text("~ts", [data])
            case atom if is_atom(atom):
                return format_text("~ts", [atom])
        return format_text("~tp", [prompt])
    except FormatError:
        return "???"


# -- requests in their parts ----------------------------------------------------------------------

_OLD_SIZES: Final = {"put_chars": (2, 4), "get_line": (2,), "get_chars": (3,), "get_until": (5,)}
"""Sizes of the requests that have no encoding: sent to and by nodes without the flag UNICODE_IO."""


def _with_encoding(request: Any) -> Any:
    if type(request) is tuple and request and type(request[0]) is Atom:
        sizes = _OLD_SIZES.get(request[0].name, ())
        if len(request) in sizes:
            return (request[0], LATIN1, *request[1:])
    return request


def _is_slow(request: Any) -> bool:
    """Whether a request may have to wait: for input, or for another node."""
    match _with_encoding(request):
        case (Atom("get_line" | "get_chars" | "get_until"), *_):
            return True
        case (Atom("put_chars"), _, Atom(module), Atom(function), list() as arguments):
            return (module, function, len(arguments)) not in _WRITERS
        case (Atom("requests"), list() as requests):
            return any(_is_slow(inner) for inner in requests)
    return False


def _text(data: Any, encoding: Any) -> str:
    """Chardata as text, strictly: a binary that is not valid, or a character that is none, is refused.

    A character of UTF-8 may be spread over several binaries.
    """
    if encoding is not UNICODE and encoding is not LATIN1:
        raise Refused(Atom("request"))
    highest = 0x10FFFF if encoding is UNICODE else 255
    out = bytearray()
    stack = [data]
    try:
        while stack:
            item = stack.pop()
            if type(item) is int:
                if not 0 <= item <= highest:
                    raise Refused(PUT_CHARS)
                out += chr(item).encode()
            elif isinstance(item, bytes):
                out += item if encoding is UNICODE else item.decode("latin-1").encode()
            elif isinstance(item, str):
                out += item.encode()
            elif isinstance(item, list):
                stack.extend(reversed(item))
            elif type(item) is ImproperList:
                stack.append(item.tail)
                stack.extend(reversed(item.elements))
            else:
                raise Refused(PUT_CHARS)
        return out.decode()
    except UnicodeError as error:
        raise Refused(PUT_CHARS) from error


def _input(text: str, encoding: Any, device: _Device, *, at_end: bool = True) -> Any:
    """Text that was read as the answer to who reads it."""
    if not text and at_end:
        return EOF
    if encoding is not UNICODE and any(character > "\xff" for character in text):
        raise Refused((Atom("no_translation"), UNICODE, LATIN1))
    if device.binary:
        return text.encode("utf-8" if encoding is UNICODE else "latin-1")
    return [ord(character) for character in text]


def _escaped(text: str, encoding: str) -> str:
    """`text` with what `encoding` lacks as ``\\x{..}``."""
    pieces = []
    for character in text:
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            pieces.append(f"\\x{{{ord(character):X}}}")
        else:
            pieces.append(character)
    return "".join(pieces)


def _posix_name(error: OSError) -> Atom:
    return Atom(errno.errorcode.get(error.errno or errno.EIO, "EIO").lower())


def _write(term: Any, options: Any = None) -> str:
    depth, unicode = -1, False
    for option in options if isinstance(options, list) else [(Atom("depth"), options)] if options is not None else []:
        match option:
            case (Atom("depth"), int(given)):
                depth = given
            case (Atom("encoding"), Atom("unicode" | "utf8")):
                unicode = True
    return TermText(unicode=unicode).write(term, depth)


def _print(term: Any, column: int = 1, line_length: int = 80, depth: int = -1) -> str:
    return TermText(unicode=False).print(term, column=column, line_length=line_length, depth=depth)


def _format(format_string: Any, arguments: Any, options: Any = None) -> str:  # noqa: ARG001  # chars_limit: no limit here
    return format_text(format_string, arguments)


_WRITERS: Final[dict[tuple[str, str, int], Callable[..., Any]]] = {
    **{("io_lib", name, arity): _format for name in ("format", "fwrite", "bformat", "bfwrite") for arity in (2, 3)},
    ("io_lib", "write", 1): _write,
    ("io_lib", "write", 2): _write,
    ("io_lib", "print", 1): _print,
    ("io_lib", "print", 4): _print,
    ("io_lib", "nl", 0): lambda: "\n",
}
"""The functions that BEAMs name in ``put_chars``, which leaves the formatting to the device."""
