"""A shell of a node, typed at by a test: the group leader is a process of the node that types and looks."""

from __future__ import annotations

import re
from time import monotonic
from typing import Any

import gevent
from gevent.queue import Queue

from erlang_bridge import Atom, Node, Pid, RemoteCall
from erlang_bridge.kernel.group_leader import IoServer, Refused, prompt_text
from erlang_bridge.otp.gen_server import start_server


class _Leader(IoServer):
    """Its argument is the `Typist`."""

    def init(self, args: Any) -> Any:
        self._typist = args
        return super().init(args)

    def write(self, text: str) -> None:
        self._typist.text += text

    def read_line(self) -> str:
        line = self._typist.lines.get()
        if line is KeyboardInterrupt:
            raise Refused(Atom("interrupted"))
        return line  # type: ignore[no-any-return]

    def _prompt(self, prompt: Any) -> None:
        self.write(prompt_text(prompt))

    def geometry(self, what: str) -> int:
        return 100


class Typist:
    """One shell.

    Attributes:
        text: all that has appeared. Typed lines do not.
        pid: the shell.
    """

    def __init__(self, node: Node, name: str = "shell", function: str = "start", *arguments: Any) -> None:
        self.node = node
        self.text = ""
        self.lines: Queue[Any] = Queue()
        self._seen = 0
        leader = start_server(node.table, _Leader, self, lambda answer: None)
        assert leader is not None
        self.leader = leader
        self.pid: Pid = self.apply(name, function, *arguments)

    def apply(self, module: str, function: str, *arguments: Any) -> Any:
        """A function, as a process of another node would call it whose group leader is this terminal."""
        result: Queue[Any] = Queue()

        def run(own: Any) -> None:
            own.process.group_leader = self.leader
            call = RemoteCall(self.node, own.process, self.leader, self.leader)
            result.put(self.node.callables.apply(call, Atom(module), Atom(function), list(arguments)))

        self.node.spawn(run)
        return result.get(timeout=5)

    def expect(self, pattern: str, timeout_s: float = 5.0) -> re.Match[str]:
        """Wait until what came after the last match matches."""
        deadline = monotonic() + timeout_s
        while True:
            found = re.compile(pattern, re.MULTILINE).search(self.text, self._seen)
            if found:
                self._seen = found.end()
                return found
            assert monotonic() < deadline, f"no {pattern!r} in {self.text[self._seen :]!r}"
            gevent.sleep(0.002)

    def prompt(self) -> None:
        """Wait for the prompt."""
        self.expect(r"\(\S+\) >>> \Z")

    def _either(self) -> None:
        self.expect(r"\(\S+\) (>>>|\.\.\.) \Z")

    def type(self, *lines: str) -> str:
        """Type lines, each when there is a prompt, and wait for one. What has appeared, without the prompts."""
        start = self._seen
        self.begin(*lines)
        self._either()
        shown = re.sub(r"\(\S+\) (>>>|\.\.\.) ", "", self.text[start:])
        return shown.partition("ends the shell.\n")[2] if not start else shown

    def begin(self, *lines: str) -> None:
        """As `type`, and do not wait for the prompt after the last one."""
        for number, line in enumerate(lines):
            if number or not self._seen:
                self._either()
            self.lines.put(line + "\n")

    def interrupt(self) -> None:
        """What Ctrl-C does while something runs."""
        self.node.exit(self.pid, Atom("interrupt"))

    @property
    def is_alive(self) -> bool:
        return self.node.is_alive(self.pid)
