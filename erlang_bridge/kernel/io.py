"""Printing to and reading from io devices of any node: the shell of a BEAM, a file opened there, our standard output.

A device is a pid, a registered name, ``(name, node)``, or None for the group leader of the process that asks: for a
process that a BEAM's shell has started, that shell.

Source: "The Erlang I/O Protocol" in the stdlib user's guide; ``io.erl``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.errors import CallTimeout, ErlangError, exit_for
from erlang_bridge.kernel.io_format import characters, format_text
from erlang_bridge.otp import gen
from erlang_bridge.process import Process, is_down
from erlang_bridge.process.exit_rules import NOPROC
from erlang_bridge.terms import Atom, Reference

ERROR: Final = Atom("error")
EOF: Final = Atom("eof")
IO_REQUEST: Final = Atom("io_request")
IO_REPLY: Final = Atom("io_reply")
UNICODE: Final = Atom("unicode")


def request(process: Process, device: Any, asked: Any, timeout_s: float | None = None) -> Any:
    """Send one request of the io protocol and wait for its reply. Other messages of `process` stay where they are.

    Args:
        process: who asks: the running process.
        timeout_s: None waits for ever. A reply that comes later is left in the mailbox.

    Raises:
        ErlangError: the device refuses; the reason is its own (``enotsup``, ``put_chars``, ...).
        NoProcess, NoConnection: there is no such device, or it ended meanwhile. CallTimeout.
    """
    process.check_alive()
    table = process.table
    if device is None:
        device = process.group_leader or table.default_group_leader
    destination = gen.resolve(table, device)
    description = f"io request to {destination}"
    if destination is None:
        raise exit_for(NOPROC, description)
    reference = table.monitor(process, destination)
    try:
        table.send(process, destination, (IO_REQUEST, process.pid, reference, asked))
        answer = process.receive(lambda message: _concerns(message, reference), timeout_s)
    except TimeoutError:
        raise CallTimeout(gen.TIMEOUT, description) from None
    finally:
        _forget(process, reference)
    if is_down(answer):
        raise exit_for(answer[4], description)
    reply = answer[2]
    if type(reply) is tuple and len(reply) == 2 and reply[0] is ERROR:
        raise ErlangError(reply[1])
    return reply


def _concerns(message: Any, reference: Reference) -> bool:
    return type(message) is tuple and (
        (len(message) == 3 and message[0] is IO_REPLY and message[1] == reference) or is_down(message, reference)
    )


def _forget(process: Process, reference: Reference) -> None:
    if not process.table.demonitor(reference, process) and process.mailbox:
        for message in [found for found in process.mailbox if is_down(found, reference)]:
            process.mailbox.remove(message)


def put_chars(process: Process, device: Any, text: Any, timeout_s: float | None = None) -> None:
    """Write text, and wait until it is written.

    Args:
        text: `str`, or what Erlang calls chardata.

    Raises:
        As `request`.
    """
    data = text.encode(errors="replace") if isinstance(text, str) else text
    request(process, device, (Atom("put_chars"), UNICODE, data), timeout_s)


def print_format(
    process: Process, device: Any, format_string: Any, arguments: Any = (), timeout_s: float | None = None
) -> None:
    """``io:format(Device, Format, Arguments)``; see `format_text`. Raises as `request`, and FormatError."""
    put_chars(process, device, format_text(format_string, arguments), timeout_s)


def get_line(process: Process, device: Any, prompt: Any = "", timeout_s: float | None = None) -> str | None:
    """A line with its end; None at the end of the file. Raises as `request`."""
    return _text(request(process, device, (Atom("get_line"), UNICODE, _prompt(prompt)), timeout_s))


def get_chars(process: Process, device: Any, prompt: Any, count: int, timeout_s: float | None = None) -> str | None:
    """`count` characters, or what is left of them; None at the end of the file. Raises as `request`."""
    return _text(request(process, device, (Atom("get_chars"), UNICODE, _prompt(prompt), count), timeout_s))


def columns(process: Process, device: Any = None) -> int:
    """The width of the terminal. Raises as `request`: ``enotsup`` where it is none."""
    width: int = request(process, device, (Atom("get_geometry"), Atom("columns")))
    return width


def _prompt(prompt: Any) -> Any:
    return prompt.encode() if isinstance(prompt, str) else prompt


def _text(reply: Any) -> str | None:
    return None if reply is EOF else characters(reply)
