"""What the code of a process can do, as that process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from erlang_bridge.otp import gen
from erlang_bridge.process import Process, Timer, is_down
from erlang_bridge.terms import Pid, Reference


class OwnProcess:
    """The calling process, from inside. A `GenServer` is one; the function given to `Node.spawn` gets one.

    Destinations are a `Pid`, a registered name (`Atom` or `str`), ``(name, node)``, or an alias `Reference`.
    """

    __slots__ = ("_process",)

    _process: Process

    @property
    def pid(self) -> Pid:
        return self._process.pid

    @property
    def node(self) -> Any:
        """The `Node` that this server runs on."""
        return self._process.table.node

    @property
    def process(self) -> Process:
        return self._process

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any:
        """Call another server; see `gen.call`."""
        return gen.call(self._process, destination, request, timeout_s)

    def cast(self, destination: Any, request: Any) -> None:
        gen.cast(self._process, self._process.table, destination, request)

    def send(self, destination: Any, message: Any) -> None:
        process = self._process
        table = process.table
        table.send(process, destination if type(destination) is Pid else gen.resolve(table, destination), message)

    def send_after(self, delay_s: float, message: Any, destination: Any = None) -> Timer:
        """Send `message` to `destination` (default: this server) in `delay_s` seconds."""
        table = self._process.table
        to = self._process.pid if destination is None else gen.resolve(table, destination)
        return table.send_after(delay_s, to, message)

    def monitor(self, target: Any) -> Reference:
        """Have ``(Atom("DOWN"), reference, Atom("process"), target, reason)`` delivered when `target` ends."""
        table = self._process.table
        return table.monitor(self._process, gen.resolve(table, target))

    def demonitor(self, reference: Reference) -> bool:
        """End a monitor; also removes its message where that is in the mailbox already."""
        process = self._process
        ended = process.table.demonitor(reference, process)
        if not ended and process.mailbox:
            down = [message for message in process.mailbox if is_down(message, reference)]
            for message in down:
                process.mailbox.remove(message)
        return ended

    def link(self, pid: Pid) -> None:
        self._process.table.link(self._process, pid)
        self._process.check_alive()

    def unlink(self, pid: Pid) -> None:
        self._process.table.unlink(self._process, pid)

    def exit(self, pid: Pid, reason: Any) -> None:
        """Send an exit signal, ``exit(Pid, Reason)``."""
        self._process.table.send_exit(self._process.pid, pid, reason)
        self._process.check_alive()

    def set_trap_exit(self, trap_exit: bool) -> None:
        """``process_flag(trap_exit, Bool)``."""
        self._process.trap_exit = trap_exit

    def set_label(self, label: Any) -> None:
        """A name for people, shown by tools (``proc_lib:set_label/1``)."""
        self._process.label = label

    @property
    def dictionary(self) -> dict[Any, Any]:
        """The process dictionary: what the process keeps for itself and tools show, ``put/2`` and ``get/1``."""
        process = self._process
        if process.dictionary is None:
            process.dictionary = {}
        return process.dictionary

    def alias(self, *, once: bool = False) -> Reference:
        """A reference that others can send to until `unalias` (or, with `once`, the first message)."""
        return self._process.table.alias(self._process, once=once)

    def unalias(self, reference: Reference) -> bool:
        return self._process.table.unalias(reference)

    def print(self, *values: object, end: str = "\n") -> None:
        """As Python's `print`, to the group leader: the shell of a BEAM, if that has started this process."""
        self.node.print(*values, end=end)

    def put_chars(self, device: Any, text: Any, timeout_s: float | None = None) -> None:
        """``io:put_chars``: write text to a device (None: the group leader) and wait until it is written.

        Raises:
            ErlangError: the device refuses.
            NoProcess, NoConnection: it does not exist, or ended meanwhile. CallTimeout.
        """
        self.node.put_chars(device, text, timeout_s)

    def format(self, device: Any, format_string: Any, arguments: Iterable[Any] = ()) -> None:
        """``io:format``: write a format string, as Erlang has them, with its arguments. Raises as `put_chars`."""
        self.node.format(device, format_string, arguments)

    def get_line(self, prompt: Any = "", device: Any = None, timeout_s: float | None = None) -> str | None:
        """``io:get_line``: a line with its end, None at the end of the file. Raises as `put_chars`."""
        line: str | None = self.node.get_line(prompt, device, timeout_s)
        return line

    def receive(self, match: Callable[[Any], bool] | None = None, timeout_s: float | None = None) -> Any:
        """The first message in the mailbox for which `match` is true; see `Process.receive`."""
        return self._process.receive(match, timeout_s)
