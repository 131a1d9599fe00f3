"""A real Erlang node under a test's control.

::

    beam = Beam(release, epmd_port=port, cookie="chocolate", directory=tmp_path)
    beam.start()
    assert beam.eval("X + lists:sum([1, 2])", X=4) == 7
    beam.kill(); beam.restart()                       # the same name, a new creation
    beam.stop()

The line to the node is not Erlang's distribution (see `evaluator`), so the node can be asked about a connection that
is broken, and by a Python process that runs no node. While an answer is awaited other greenlets run.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import gevent

from erlang_bridge import etf
from erlang_bridge.errors import BridgeError, ErlangError, ErlangThrow, exit_for
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.testing import evaluator
from erlang_bridge.testing.evaluator import Evaluator, EvaluatorClosed
from erlang_bridge.testing.programs import Program, clean_environment
from erlang_bridge.testing.releases import BeamRelease

if TYPE_CHECKING:
    from erlang_bridge.testing.evaluator import Answer

_LOG_SHOWN: Final = 4000
"""Characters of the log that a failure shows."""


class BeamFailure(BridgeError):
    """The BEAM did not do what the test needs: it ended, or did not answer in time. The text has the end of its log."""


class BeamDied(BeamFailure):
    """The BEAM has ended, or does not start."""


class EvalTimeout(BeamFailure, TimeoutError):
    """No answer within the time given; the evaluation goes on in the BEAM."""


class MalformedSource(BridgeError, ValueError):
    """The source text is not an expression of its language."""


class ProcessDied(BridgeError):
    """The process that evaluated was ended by an exit signal.

    Attributes:
        reason: the exit reason, a term.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(f"the evaluating process was ended from outside: {reason}")


class Pending:
    """An evaluation under way in the BEAM."""

    def __init__(self, node: Beam, answer: Answer, what: str) -> None:
        self._node = node
        self._answer = answer
        self._what = what

    def ready(self) -> bool:
        """Whether the answer has come, be it a value or a failure."""
        return bool(self._answer.ready())

    def result(self, timeout_s: float = 10.0) -> Any:
        """Wait for the value, as `Beam.eval` does."""
        return self._node._value_of(self._answer, timeout_s, self._what)


class Shell:
    """A process of the BEAM that evaluates one expression after the other: bindings, links and mail stay.

    Made by `Beam.shell`.
    """

    def __init__(self, node: Beam, number: int) -> None:
        self._node = node
        self._number = number

    @property
    def pid(self) -> Pid:
        pid: Pid = self._node.call("erlang", "self", shell=self)
        return pid

    def eval(self, source: str, /, *, timeout_s: float = 10.0, **bindings: Any) -> Any:
        """As `Beam.eval`, in this process; variables bound stay bound."""
        return self.begin(source, **bindings).result(timeout_s)

    def begin(self, source: str, /, **bindings: Any) -> Pending:
        """As `Beam.begin`, in this process."""
        return self._node._begin(self._node.language, source, bindings, self._number)

    def end(self) -> None:
        """End the process (``kill``)."""
        self._node._request(Atom("stop"), self._number, "end of a shell").result()


class Beam:
    """A node of a real BEAM: an operating system process of its own, seen by `eval`, stopped and killed at will.

    Args:
        release: which Erlang/OTP.
        epmd_port: where its epmd listens on 127.0.0.1; something has to answer there before `start`.
        directory: home of the node: log, crash dump.
        name: full node name; by default one that no other node has. A host without a dot makes a short name.
        cookie: None lets the node read (or make) ``.erlang.cookie`` in `directory`.
        hidden: start it with ``-hidden``.
        arguments: more flags of ``erl``.
        environment: more environment variables.

    Attributes:
        pid: of the operating system; 0 before `start`.
        creation: of this start of the node; 0 before `start`.
    """

    language: ClassVar[str] = "erlang"
    name_prefix: ClassVar[str] = "beam"

    def __init__(
        self,
        release: BeamRelease,
        *,
        epmd_port: int,
        directory: Path,
        name: str | None = None,
        cookie: str | None = "chocolate",
        hidden: bool = False,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.release = release
        self.epmd_port = epmd_port
        self.name = name or f"{self.name_prefix}{release.otp}_{secrets.token_hex(3)}@127.0.0.1"
        self.cookie = cookie
        self.hidden = hidden
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.directory = directory / self.name.partition("@")[0]
        self.log_path = self.directory / "beam.log"
        self._crash_dump = self.directory / "erl_crash.dump"
        self.pid = 0
        self.creation = 0
        self._program: Program | None = None
        self._evaluator: Evaluator | None = None
        self._end_seen = True

    # -- life ---------------------------------------------------------------------------------

    @property
    def node(self) -> Atom:
        """Its name as an atom."""
        return Atom(self.name)

    @property
    def running(self) -> bool:
        """Whether its operating system process exists, frozen or not."""
        return self._program is not None and self._program.exit_status() is None

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start the node, and wait until it has booted far enough to evaluate.

        Raises:
            BeamDied: it ended during that time.
            EvalTimeout: it did not come up in `timeout_s`.
        """
        if self.running:
            raise BeamFailure(f"{self.name} is running already")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._crash_dump.unlink(missing_ok=True)
        ours, theirs = socket.socketpair()
        try:
            self._program = Program(
                self._command(),
                self.log_path,
                clean_environment(
                    self.directory,
                    ERL_EPMD_PORT=str(self.epmd_port),
                    ERL_CRASH_DUMP=str(self._crash_dump),
                    **evaluator.environment(theirs),
                    **self.environment,
                ),
                self.directory,
                inherited=[theirs.fileno()],
            )
        finally:
            theirs.close()
        self._end_seen = False
        self._evaluator = Evaluator(ours)
        hello = self._evaluator.hello
        try:
            self.pid, node, self.creation = self._value_of(hello, timeout_s, "its start")
        except BaseException:
            self.kill()
            raise
        if node is not self.node:
            self.kill()
            raise BeamFailure(f"the node came up as {node}, not as {self.name}")
        return self

    def restart(self, timeout_s: float = 20.0) -> Self:
        """`kill` it if it runs, and start it again under the same name: a new incarnation."""
        self.kill()
        return self.start(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> int:
        """Let the node end in order (``init:stop``), or kill it after `timeout_s`; its exit status. Idempotent."""
        if self.running:
            self.thaw()
            try:
                self.call("init", "stop", timeout_s=timeout_s)
            except BeamFailure:
                pass  # it may be too far gone to answer: killed below
            if self._program is not None:
                self._program.wait(timeout_s)
        return self.kill()

    def kill(self) -> int:
        """``kill -9``; frozen or not. Idempotent. Returns the exit status, 0 if it was never started."""
        status = 0
        self._end_seen = True
        if self._program is not None:
            if self._program.exit_status() is None:
                self._program.kill()
            status = self._program.exit_status() or 0
        self._close_line()
        return status

    def wait_exit(self, timeout_s: float = 10.0) -> int:
        """Wait until the BEAM ends by itself; its exit status.

        Raises:
            EvalTimeout: it still runs.
        """
        status = self._program.wait(timeout_s) if self._program else 0
        if status is None:
            raise EvalTimeout(self._explain(f"still runs after {timeout_s:g} s"))
        self._end_seen = True
        self._close_line()
        return status

    def check_not_crashed(self) -> None:
        """Nothing, while the node runs or has been ended by `stop`, `kill`, or `wait_exit`.

        Raises:
            BeamDied: it ended, and the test has not asked for that.
        """
        if not self._end_seen and not self.running:
            raise BeamDied(self._explain("has ended by itself"))

    def freeze(self) -> None:
        """``SIGSTOP``: its sockets stay open and it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal takes its time to reach every thread, and one that still runs may answer.
        deadline = monotonic() + 2.0
        while not _is_stopped(self.pid) and monotonic() < deadline:
            gevent.sleep(0.001)

    def thaw(self) -> None:
        """``SIGCONT``."""
        if self.running:
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.kill()

    # -- questions ----------------------------------------------------------------------------

    def eval(self, source: str, /, *, timeout_s: float = 10.0, **bindings: Any) -> Any:
        """The value of an expression (or of several, the last one's), evaluated in a new process of the BEAM.

        Args:
            source: in the node's `language`; the final dot may be left out.
            bindings: variables and the terms they stand for, such as ``X=3``.

        Raises:
            ErlangError, ErlangThrow, ErlangExit: the evaluation raised that.
            ProcessDied: an exit signal ended the process that evaluated.
            MalformedSource: not an expression.
            EvalTimeout, BeamDied: no answer.
            EtfEncodeError, EtfDecodeError: a binding or the value does not convert.
        """
        return self.begin(source, **bindings).result(timeout_s)

    def begin(self, source: str, /, **bindings: Any) -> Pending:
        """Start an evaluation without waiting for it."""
        return self._begin(self.language, source, bindings)

    def eval_erlang(self, source: str, /, *, timeout_s: float = 10.0, **bindings: Any) -> Any:
        """`eval` of an Erlang expression, whatever the node's own language."""
        return self._begin("erlang", source, bindings).result(timeout_s)

    def call(
        self, module: str, function: str, *arguments: Any, timeout_s: float = 10.0, shell: Shell | None = None
    ) -> Any:
        """``apply(module, function, arguments)`` in a new process: `eval` without the parsing."""
        request = (Atom("call"), Atom(module), Atom(function), list(arguments))
        what = f"{module}:{function}/{len(arguments)}"
        return self._request(request, shell._number if shell else 0, what).result(timeout_s)

    def load_module(self, object_code: bytes) -> Atom:
        """Load a compiled module (see `modules`); its name.

        Raises:
            BeamFailure: the BEAM refuses it.
        """
        load = """
            {ok, {Name, _}} = beam_lib:chunks(Code, []),
            case code:load_binary(Name, "", Code) of {module, Name} -> Name; Refused -> Refused end
        """
        name = self.eval_erlang(load, Code=object_code)
        if not isinstance(name, Atom):
            raise BeamFailure(self._explain(f"does not load the module: {name!r}"))
        return name

    def shell(self) -> Shell:
        """A process that stays, and keeps its bindings, links and mail from one `Shell.eval` to the next."""
        return Shell(self, self._line().new_shell())

    def wait_until(self, source: str, /, *, timeout_s: float = 10.0, every_s: float = 0.01, **bindings: Any) -> Any:
        """Evaluate again and again until the value is neither ``false`` nor ``nil``; that value.

        Raises:
            EvalTimeout: it did not happen within `timeout_s`; the text has the last value.
        """
        deadline = monotonic() + timeout_s
        while True:
            value = self.eval(source, timeout_s=max(deadline - monotonic(), 0.5), **bindings)
            if value is not False and value is not None:
                return value
            if monotonic() > deadline:
                raise EvalTimeout(self._explain(f"still {value!r} after {timeout_s:g} s: {source}"))
            gevent.sleep(every_s)

    # -- what it printed ----------------------------------------------------------------------

    def log_text(self) -> str:
        """Everything the node has printed since its first start: logger, ``io:format``, crash messages."""
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        """Wait until the log has a match of the regular expression `pattern`.

        Raises:
            EvalTimeout: it has none after `timeout_s`.
        """
        deadline = monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.log_text(), re.MULTILINE)
            if found:
                return found
            if monotonic() > deadline:
                raise EvalTimeout(self._explain(f"nothing in the log matches {pattern!r} after {timeout_s:g} s"))
            gevent.sleep(0.01)

    # -- inside -------------------------------------------------------------------------------

    def _command(self) -> list[str]:
        flags = [*self._node_flags(), *self.arguments]
        return [str(self.release.erl), "-noinput", *flags, "-eval", evaluator.START_ERLANG]

    def _node_flags(self) -> list[str]:
        """Flags of ``erl``: the node's name, the loopback interface only, no epmd of its own."""
        host = self.name.partition("@")[2]
        flags = ["-name" if "." in host else "-sname", self.name, "-start_epmd", "false"]
        flags += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        if self.cookie is not None:
            flags += ["-setcookie", self.cookie]
        if self.hidden:
            flags.append("-hidden")
        return flags

    def _line(self) -> Evaluator:
        if self._evaluator is None:
            raise BeamDied(self._explain("is not running"))
        return self._evaluator

    def _close_line(self) -> None:
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None

    def _begin(self, language: str, source: str, bindings: Mapping[str, Any], shell: int = 0) -> Pending:
        text = source.strip()
        if language == "erlang" and not text.endswith("."):
            text += "."
        named = [(Atom(name), value) for name, value in bindings.items()]
        return self._request((Atom(language), text, named), shell, source)

    def _request(self, request: Any, shell: int, what: str) -> Pending:
        try:
            return Pending(self, self._line().request(etf.encode(request), shell, timeout_s=10.0), what)
        except EvaluatorClosed as closed:
            raise BeamDied(self._explain(f"{closed or 'the line to it is closed'}; it was to answer: {what}")) from None

    def _value_of(self, answer: Answer, timeout_s: float, what: str) -> Any:
        try:
            answered = answer.get(timeout=timeout_s)
        except EvaluatorClosed:
            if self._program is not None:
                self._program.wait(2.0)  # the line closes a moment before the process is gone
            raise BeamDied(self._explain(f"ended before it answered: {what}")) from None
        except gevent.Timeout as timeout:
            if timeout.seconds != timeout_s:
                raise  # somebody else's, around this call
            raise EvalTimeout(self._explain(f"no answer within {timeout_s:g} s: {what}")) from None
        assert answered is not None
        kind, data = answered
        value = etf.decode(data)
        if kind == evaluator.OK:
            return value
        if kind == evaluator.DIED:
            raise ProcessDied(value)
        if kind == evaluator.MALFORMED:
            raise MalformedSource(f"{value[1].decode(errors='replace')} (at {value[0]}): {what}")
        category, reason, stacktrace = value
        match category.name:
            case "error":
                raise ErlangError(reason, stacktrace)
            case "throw":
                raise ErlangThrow(reason, stacktrace)
        raise exit_for(reason)

    def _explain(self, what: str) -> str:
        status = self._program.exit_status() if self._program else None
        lines = [f"{self.name}, {self.release}: {what}"]
        if status is not None:
            lines.append(f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}")
        if self._crash_dump.exists():
            with self._crash_dump.open(errors="replace") as text:
                lines += [line.rstrip() for line in text.readlines(4096) if line.startswith("Slogan")]
        log = self.log_text()[-_LOG_SHOWN:].strip()
        return "\n".join([*lines, f"-- end of its log ({self.log_path}):", log or "(nothing)"])


def _is_stopped(pid: int) -> bool:
    """Whether all threads of a process stand still (state ``T`` of ``/proc/PID/task/N/stat``)."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # a thread ended meanwhile
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
