"""The ways into the Python shell of a node, and what they say where it is off.

Source: OTP ``lib/kernel/src/group.erl`` and ``user_drv.erl``, ``lib/stdlib/src/edlin_expand.erl``, ``erl_eval.erl``;
Elixir ``lib/iex/lib/iex/cli.ex``.
"""

from __future__ import annotations

import ast
import logging
import sys
from typing import Any, Final

import gevent

from erlang_bridge.errors import BridgeError, ErlangError, ProcessExit
from erlang_bridge.kernel import rpc
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.group_leader import print_to
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process import BodyProcess, Process
from erlang_bridge.process.exit_rules import NORMAL
from erlang_bridge.shell import display
from erlang_bridge.shell.completion import complete, default_names
from erlang_bridge.shell.evaluator import Context
from erlang_bridge.shell.helpers import install_helpers
from erlang_bridge.shell.preemption import user_code
from erlang_bridge.shell.server import Shell
from erlang_bridge.shell.streams import Terminal, redirection
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.shell")

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
YES: Final = Atom("yes")
NO: Final = Atom("no")
BADARG: Final = Atom("badarg")
SHELL_OFF: Final = Atom("shell_off")
BEGIN: Final = Atom("begin")
DONE: Final = Atom("done")
INITIAL_CALL: Final = ("shell", "start", 0)
CLIENT_S: Final = 60.0
"""For the program at the terminal to evaluate what its own command line says, before the prompt comes."""
REMOTE_S: Final = 5.0
COMPLETION_S: Final = 2.0


def refusal(node: Any) -> str:
    """What somebody reads who wants a shell where it is off."""
    return (
        f"the Python shell of {node.name} is off, as it gives whoever has the cookie full power over the node; to "
        "allow it, start the node with --shell (or shell = true in its configuration, or Node(..., shell=True))"
    )


class Shells:
    """The shells of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._open: list[Shell] = []

    def export(self) -> None:
        """Let other nodes start them."""
        export = self._node.export
        export("shell", "start", self._start, with_call=True, arity=0)
        export("shell", "start", lambda call, _options: self._start(call), with_call=True, arity=1)
        for module in ("iex", "Elixir.IEx"):
            export(module, "start", self._start_iex, with_call=True, arity=2)
        export("pyanoma", "shell", self._run_pyanoma, with_call=True, arity=1)
        export("edlin_expand", "expand", self._expand_strings, with_call=True, arity=1)
        export("edlin_expand", "expand", self._expand_tuples, with_call=True, arity=2)
        for arity in (1, 2):
            export("Elixir.IEx.Autocomplete", "expand", self._expand_iex, with_call=True, arity=arity)
        export("erl_eval", "eval_str", self._eval_str, with_call=True, arity=1)

    # -- shells ---------------------------------------------------------------------------------

    def _start_iex(self, call: RemoteCall, _options: Any, mfa: Any) -> Pid:
        """``iex:start(Opts, {iex, sync_remote, [Parent, Ref]})``, of IEx before 1.16 with IEx.CLI:remote_start."""
        match mfa:
            case (Atom(), Atom(), [Pid() as parent, reference]):
                return self._start(call, (parent, reference))
        return self._start(call)

    def _run_pyanoma(self, call: RemoteCall, options: Any) -> None:
        """``spawn(Node, pyanoma, shell, [#{source => Text}])``: the process is the shell, and its end cannot be missed.

        With a source it runs that and ends, without one it is as one of ``shell:start()``. Where the shell is off it
        ends with ``{shell_off, Text}``.
        """
        source = options.get(Atom("source")) if isinstance(options, dict) else None
        if not (source is None or isinstance(source, bytes)) or not isinstance(call.process, BodyProcess):
            raise ErlangError(BADARG)
        if not self._node.shell_enabled:
            self._warn(call)
            raise ProcessExit((SHELL_OFF, refusal(self._node).encode()))
        self._run(call.process, call, None if source is None else source.decode(errors="replace"))

    def _start(self, call: RemoteCall, client: tuple[Pid, Any] | None = None) -> Pid:
        node = self._node
        leader = call.group_leader
        if leader is None:
            raise ErlangError(BADARG)

        def body() -> None:
            if client is not None:
                self._meet_iex(process, *client)
            if node.shell_enabled:
                self._run(process, call, None)
            else:
                print_to(node.table, leader, f"*** {refusal(node)}\n")

        process: BodyProcess = node.table.add_body(body, parent=call.caller, group_leader=leader)
        if not node.shell_enabled:
            self._warn(call)
        process.initial_call = INITIAL_CALL
        return process.pid

    def _run(self, process: BodyProcess, call: RemoteCall, source: str | None) -> None:
        if call.group_leader is None:
            raise ErlangError(BADARG)
        process.initial_call = INITIAL_CALL
        process.label = f"Python shell for {call.caller.node}"
        shell = Shell(self._node, process, call.group_leader, source)
        self._open.append(shell)
        process.on_exit = lambda reason: self._ended(shell)
        log.info("%s has opened the shell %s", call.caller.node, process.pid)
        shell.run()

    def _warn(self, call: RemoteCall) -> None:
        log.warning("%s has asked for a shell, which is off here", call.caller.node)

    def _ended(self, shell: Shell) -> None:
        self._open.remove(shell)
        shell.close()

    def _meet_iex(self, process: Process, parent: Pid, reference: Any) -> None:
        process.table.send(process, parent, (BEGIN, reference, process.pid))
        try:
            process.receive(lambda message: message == (DONE, reference), CLIENT_S)
        except TimeoutError:
            raise ProcessExit(NORMAL) from None
        if self._node.shell_enabled:
            self._complete_for_iex(process)

    def _complete_for_iex(self, process: Process) -> None:
        """Have TAB ask here: IEx leaves it to the remote side to say so, with a function that only it can make."""
        leader = process.group_leader
        if leader is None:
            return
        try:
            expand = rpc.call(process, leader.node, "Elixir.IEx.Autocomplete", "remsh", [self._node.name], REMOTE_S)
        except BridgeError as error:
            log.debug("no completion for the shell %s: %s", process.pid, error)
            return
        request = (Atom("setopts"), [(Atom("expand_fun"), expand)])
        process.table.send(process, leader, (Atom("io_request"), process.pid, process.table.make_reference(), request))

    # -- completion -----------------------------------------------------------------------------

    def _expand_strings(self, call: RemoteCall, reversed_line: Any) -> Any:
        """``edlin_expand:expand/1`` of OTP up to 25: ``{yes | no, Insert, [Possibility]}``."""
        insert, matches = self._complete(call, reversed_line)
        return (YES if insert or matches else NO), charlist(insert), [charlist(match) for match in matches]

    def _expand_tuples(self, call: RemoteCall, reversed_line: Any, _options: Any) -> Any:
        """``edlin_expand:expand/2`` of OTP 26 and later: a possibility is ``{Text, []}``."""
        found, insert, matches = self._expand_strings(call, reversed_line)
        return found, insert, [(match, []) for match in matches]

    def _expand_iex(self, call: RemoteCall, reversed_line: Any, *_shell: Any) -> Any:
        return self._expand_strings(call, reversed_line)

    def _complete(self, call: RemoteCall, reversed_line: Any) -> tuple[str, list[str]]:
        if not self._node.shell_enabled:
            return "", []
        before = characters(reversed_line)[::-1]
        shell = self._shell_of(call)
        names = shell.context.namespace if shell is not None else {}
        built_in = shell.context.builtins if shell is not None else default_names()
        registered = [name.name for name in self._node.table.names]
        limit = gevent.Timeout(COMPLETION_S)
        try:
            with limit, user_code(call.process, sys._getframe()):
                return complete(before, names, built_in, registered)
        except gevent.Timeout as over:
            if over is not limit:
                raise
            return "", []

    def _shell_of(self, call: RemoteCall) -> Shell | None:
        leaders = (call.caller, call.group_leader)
        return next((shell for shell in reversed(self._open) if shell.leader in leaders), None)

    # -- erl_call -e ----------------------------------------------------------------------------

    def _eval_str(self, call: RemoteCall, text: Any) -> Any:
        """``erl_eval:eval_str/1``: ``{ok, Value}`` of the last expression, or ``{error, Text}``, a string."""
        node = self._node
        if not node.shell_enabled:
            self._warn(call)
            return ERROR, charlist(refusal(node))
        source = text.decode(errors="replace") if isinstance(text, bytes) else characters(text)
        leader = call.process.group_leader
        if leader is None:
            raise ErlangError(BADARG)
        terminal = Terminal(node.table, leader)
        terminal.writer = call.process
        context = Context(terminal)
        install_helpers(node, context)
        redirection.open(terminal)
        redirection.assign(call.process, terminal)
        try:
            with user_code(call.process, sys._getframe()):
                try:
                    return OK, readable(_evaluate(source, context.namespace))
                finally:
                    terminal.flush()
        except (ProcessExit, gevent.Timeout):
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit, too, ends this evaluation only
            return ERROR, charlist(display.error_text(error))
        finally:
            redirection.close(terminal)


def _evaluate(source: str, namespace: dict[str, Any]) -> Any:
    """Run a program; the value of its last statement where that is an expression, else None."""
    name = "<erl_eval>"
    tree = ast.parse(source, name)
    match tree.body:
        case [*others, ast.Expr(value)]:
            tree.body = others
        case _:
            value = ast.Constant(None)
    exec(compile(tree, name, "exec", dont_inherit=True), namespace)  # noqa: S102  # the shell is on
    code = compile(ast.fix_missing_locations(ast.Expression(value)), name, "eval", dont_inherit=True)
    return eval(code, namespace)  # noqa: S307  # the shell is on
