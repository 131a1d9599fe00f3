"""What is in reach at the prompt beside Python: functions to look at the node and to act on it.

They are among the built-ins of the shell's code, so a variable of the same name hides one, and ``del`` brings it back.
"""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from erlang_bridge.kernel import memory as memory_books
from erlang_bridge.otp import gen
from erlang_bridge.process import Process
from erlang_bridge.shell import display, drawings
from erlang_bridge.shell.evaluator import Context
from erlang_bridge.shell.streams import Terminal
from erlang_bridge.terms import Atom, Map, Pid, Reference

_PID: Final = re.compile(r"#?(?:PID)?<(?P<node>[^<>\s]+)\.(?P<id>\d+)\.(?P<serial>\d+)>")


class Helpers:
    """The functions of one shell.

    Wherever a process is asked for, a `Pid`, a registered name, and text such as ``"<0.12.0>"`` will do.
    """

    def __init__(self, node: Any, context: Context) -> None:
        self._node = node
        self._context = context
        self._terminal = context.terminal
        self._traces: list[Any] = []

    # -- looking --------------------------------------------------------------------------------

    def ps(self, pattern: str = "") -> None:
        """The processes of this node; only those whose line has PATTERN in it."""
        self._say(drawings.process_table(self._node, pattern))

    def i(self) -> None:
        """As ps(), the name it has in Erlang's shell."""
        self.ps()

    def tree(self, application: str | Atom | None = None) -> None:
        """The process trees of the applications, or of one."""
        self._say(drawings.application_trees(self._node, None if application is None else str(application)))

    def info(self, process: Any) -> None:
        """All about one process: links, dictionary, what its code is doing, file and line."""
        self._say(drawings.process_text(self._node, self._local(process)))

    def state(self, process: Any, timeout_s: float | None = 5.0) -> Any:
        """The state of a server, as sys:get_state: here the very object, of another node a term."""
        pid = self._resolve(process)
        named = self._node.whereis(pid) if isinstance(pid, Atom) else pid
        local = self._node.table.find(named) if isinstance(named, Pid) else None
        instance = getattr(local, "instance", None)
        if instance is not None and hasattr(instance, "_state"):
            # Behind what has been sent to it before.
            self._ask_system(pid, (Atom("debug"), (Atom("statistics"), Atom("get"))), timeout_s)
            return instance._state
        told = self._ask_system(pid, Atom("get_state"), timeout_s)
        return told[1] if type(told) is tuple and len(told) == 2 and told[0] is Atom("ok") else told

    def whereis(self, name: str | Atom) -> Pid | None:
        """The process registered under NAME, or None."""
        found: Pid | None = self._node.whereis(name)
        return found

    def registered(self) -> list[str]:
        """The registered names."""
        return sorted(name.name for name in self._node.table.names)

    def nodes(self, kind: str = "connected") -> list[str]:
        """The nodes that this one is connected with: 'connected', 'visible' or 'hidden'."""
        found: list[str] = self._node.nodes(kind)
        return found

    def memory(self) -> dict[str, int]:
        """Bytes: what is resident, and what each allocator has given out and holds."""
        resident, of_files = memory_books.resident_bytes()
        told = {"resident": resident, "resident, of files": of_files}
        for allocator in memory_books.Allocators().measure():
            told[f"{allocator.name}, used"] = allocator.used
            told[f"{allocator.name}, held"] = allocator.held
        return told

    # -- acting ---------------------------------------------------------------------------------

    def send(self, destination: Any, message: Any) -> Any:
        """Send MESSAGE to a process, (name, node) or alias, from self(). Returns it."""
        self._node.send(self._resolve(destination), message)
        return message

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any:
        """gen_server:call: ask a server, and its reply."""
        return self._node.call(self._resolve(destination), request, timeout_s)

    def cast(self, destination: Any, request: Any) -> None:
        """gen_server:cast: tell a server something."""
        self._node.cast(self._resolve(destination), request)

    def rpc(
        self,
        node: str | Atom,
        module: str,
        function: str,
        arguments: Iterable[Any] = (),
        timeout_s: float | None = 5.0,
    ) -> Any:
        """erpc:call: run MODULE:FUNCTION(ARGUMENTS) on another node, and its value."""
        return self._node.rpc(node, module, function, arguments, timeout_s)

    def kill(self, process: Any, reason: Any = "kill") -> None:
        """exit(Pid, Reason): send a process an exit signal; by default one that nothing survives."""
        self._node.exit(self._resolve(process), Atom(reason) if isinstance(reason, str) else reason)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> Pid:
        """Start a process that runs FUNCTION(own, *ARGUMENTS), where own is what it can do as a process."""
        pid: Pid = self._node.spawn(function, *arguments)
        return pid

    def l(self, module: Any) -> Any:  # noqa: E743
        """Load a module (its name, or a class of it) again from its file; processes keep their state."""
        return self._node.code.load(module.__module__ if isinstance(module, type) else module)

    def trace(
        self, processes: Any = "all", flags: Iterable[str] = ("send", "receive"), calls: str | Iterable[str] = ()
    ) -> Any:
        """Show what processes send and receive, and the CALLS of functions, "module:function", until untrace()."""
        wanted = [calls] if isinstance(calls, str) else list(calls)
        if isinstance(processes, (list, tuple, set, frozenset)):
            processes = [self._resolve(process) for process in processes]
        elif processes not in ("all", "existing", "new"):
            processes = self._resolve(processes)
        flags = [flags] if isinstance(flags, str) else flags
        trace = self._node.trace.start(processes, flags, self._show_event, calls=wanted)
        self._traces.append(trace)
        return trace

    def untrace(self) -> None:
        """End all that trace() has begun at this prompt."""
        while self._traces:
            self._traces.pop().stop()

    def _show_event(self, event: Any) -> None:
        self._terminal.write(f"{self._node.trace.text(event)}\n")

    # -- as a process ---------------------------------------------------------------------------

    def self(self) -> Pid:
        """The pid of this shell's process: send to it, and see with flush() or receive()."""
        return self._me().pid

    def flush(self) -> None:
        """Show and drop the messages that have come to self()."""
        mailbox = self._me().mailbox
        while mailbox:
            self._terminal.write(
                f"Shell got {display.value_text(mailbox.popleft(), self._node.name, self._context.width())}\n"
            )

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next message to self(); TimeoutError where none comes in time."""
        return self._me().receive(None, timeout_s)

    def pid(self, *parts: Any) -> Pid:
        """A pid of this node from its numbers, 0, 12, 0, or its text, "<0.12.0>"."""
        if len(parts) == 3 and all(isinstance(part, int) for part in parts):
            return Pid(self._node.name, parts[1], parts[2], self._node.creation)
        if len(parts) == 1:
            found = self._from_text(str(parts[0])) if not isinstance(parts[0], Pid) else parts[0]
            if found is not None:
                return found
        raise ValueError(f"expected pid(0, 12, 0) or pid('<0.12.0>'), got {parts!r}")

    def help_pyanoma(self) -> None:
        """This list."""
        lines = [f"In the node {self._node.name}, beside Python itself and `_`, the last value:", ""]
        for name, function in sorted(self.functions().items()):
            told = (inspect.getdoc(function) or "").split("\n")[0]
            shown = f"  {name}{_parameters(function)}"
            lines += [f"{shown:46} {told}"] if len(shown) <= 46 else [shown, f"{'':46} {told}"]
        lines += [
            f"  {'node':44} The node itself, an erlang_bridge.Node.",
            f"  {'Atom, Pid, Reference, Map':44} Terms that Python has no type of its own for.",
            f"  {'exit()':44} End the shell; the node goes on.",
            "",
            "A process is a Pid, a registered name, or text such as '<0.12.0>'. help(name) tells more.",
        ]
        self._say("\n".join(lines))

    # -- inside ---------------------------------------------------------------------------------

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name to function."""
        names = [name for name in vars(type(self)) if not name.startswith("_") and name != "functions"]
        return {name: getattr(self, name) for name in names}

    def _say(self, text: str) -> None:
        self._terminal.write(text + "\n")

    def _me(self) -> Process:
        process: Process | None = self._node.table.current()
        if process is None:
            raise RuntimeError("this is no process: a greenlet that code of the shell has started")
        return process

    def _resolve(self, destination: Any) -> Any:
        if isinstance(destination, str):
            found = self._from_text(destination)
            return found if found is not None else Atom(destination)
        return destination

    def _from_text(self, text: str) -> Pid | None:
        match = _PID.fullmatch(text.strip())
        if match is None:
            return None
        name = match["node"]
        if name == "0" or name == self._node.name.name:
            return Pid(self._node.name, int(match["id"]), int(match["serial"]), self._node.creation)
        raise ValueError(f"{text} names a process of another node: text does not tell in which of its starts")

    def _ask_system(self, destination: Any, request: Any, timeout_s: float | None) -> Any:
        return gen.call(self._me(), destination, request, timeout_s, label=Atom("system"), module="sys")

    def _local(self, named: Any) -> Process:
        found = self._resolve(named)
        if isinstance(found, Atom):
            found = self._node.whereis(found)
        process: Process | None = self._node.table.find(found) if isinstance(found, Pid) else None
        if process is None:
            raise LookupError(f"no process {named} lives on {self._node.name}")
        return process


def _parameters(function: Callable[..., Any]) -> str:
    """The parameters as they are written, without their types."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        text = f"*{parameter.name}" if parameter.kind is parameter.VAR_POSITIONAL else parameter.name
        parts.append(text if parameter.default is parameter.empty else f"{text}={parameter.default!r}")
    return f"({', '.join(parts)})"


class _Exit:
    """``exit`` and ``quit``: they end the shell, and not the node."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"{self._name}() ends this shell; the node goes on"

    def __call__(self, code: Any = None) -> NoReturn:
        raise SystemExit(code)


class _TerminalFile:
    """A terminal as the file that `pydoc` writes to and reads from: without a pager."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        self._terminal.flush()

    def readline(self) -> str:
        return self._terminal.read_line()


def install_helpers(node: Any, context: Context) -> Helpers:
    """Put the helpers, and Python's functions that concern the terminal, among the built-ins of a shell."""
    terminal = context.terminal
    helpers = Helpers(node, context)
    file: Any = _TerminalFile(terminal)

    def read_line(prompt: object = "", /) -> str:
        line = terminal.read_line(str(prompt))
        if not line:
            raise EOFError("EOF when reading a line")
        return line.removesuffix("\n")

    context.builtins.update(
        helpers.functions(),
        node=node,
        Atom=Atom,
        Pid=Pid,
        Reference=Reference,
        Map=Map,
        input=read_line,
        help=pydoc.Helper(file, file),
        exit=_Exit("exit"),
        quit=_Exit("quit"),
    )
    return helpers
