"""What happens in the demo."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import gevent
from rich.text import Text
from rich.tree import Tree

from erlang_bridge import Atom, ErlangExit, Pid, __version__
from erlang_bridge.terms.text import format_term
from pyanoma.demo.nodes import BEAM_NAME, PYTHON_NAME, Cluster
from pyanoma.demo.screen import DemoFailed, Screen

SUPERVISOR: Final = "python_engines"
RESTART_TIME_S: Final = 5.0
CALLBACK_MODULE: Final = "pyanoma_demo"


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the three: its name, its type as the Python node knows it, its start argument, how to read its value."""

    name: str
    type: str
    start: int
    read: str


ENGINES: Final = (
    Engine("apples", "counter", 10, "read"),
    Engine("pears", "counter", 20, "read"),
    Engine("clicks", "ticker", 0, "count"),
)


class Story:
    """The demo, chapter by chapter.

    Raises:
        DemoFailed: something did not come out as it should.
    """

    def __init__(self, screen: Screen, nodes: Cluster) -> None:
        self.screen = screen
        self.nodes = nodes
        self.beam = nodes.beam

    def tell(self) -> None:
        """All of it."""
        self.meet()
        self.supervise()
        self.talk()
        before = self.engines()
        self.crash()
        self.kill()
        self.tree()
        self.sum_up(before, self.engines())

    # -- chapters -------------------------------------------------------------------------------

    def meet(self) -> None:
        self.screen.chapter("Two nodes of one cluster, and no Erlang code installed for it")
        release = self.beam.release
        python = f"{platform.python_implementation()} {platform.python_version()}"
        self.screen.table(
            [
                (BEAM_NAME, f"Erlang/OTP {release.otp}", f"process {self.beam.pid}", str(release.erl)),
                (PYTHON_NAME, f"pyanoma {__version__}, {python}", f"process {self.nodes.python.pid}", "pyanoma start"),
            ]
        )
        self.screen.note(
            f"epmd: 127.0.0.1:{self.nodes.epmd_port}, inside the Python node; the BEAM registered there, too"
        )
        self.erl(f"net_adm:ping('{PYTHON_NAME}').", expected=Atom("pong"))
        self.erl("nodes().", expected=[Atom(PYTHON_NAME)])

    def supervise(self) -> None:
        self.screen.chapter("A plain OTP supervisor on the BEAM starts three Python engines")
        callback, argument = self.callback()
        start = f"{{supervisor, start_link, [{{local, {SUPERVISOR}}}, {callback}, {argument}]}}"
        self.erl(
            f"supervisor:start_child(kernel_safe_sup, #{{id => {SUPERVISOR}, type => supervisor, restart => temporary, "
            f"start => {start}}}).",
            expected=_is_started,
        )
        for engine in ENGINES:
            arguments = f"[{engine.type}, {engine.start}, #{{name => {engine.name}}}]"
            self.erl(
                f"supervisor:start_child({SUPERVISOR}, #{{id => {engine.name}, "
                f"start => {{erpc, call, ['{PYTHON_NAME}', pyanoma, start_link, {arguments}]}}}}).",
                expected=_is_started,
            )
        names = [name for name, _ in self.children()]
        self.screen.expect(names == [engine.name for engine in ENGINES], "three children")
        places = {pid.node.name for _, pid in self.children()}
        self.screen.expect(places == {PYTHON_NAME}, f"all three run on {PYTHON_NAME}")

    def talk(self) -> None:
        self.screen.chapter("Both sides talk to them")
        self.erl(f"gen_server:call({{apples, '{PYTHON_NAME}'}}, {{add, 5}}).", expected=15)
        self.erl(f"[gen_server:cast({{clicks, '{PYTHON_NAME}'}}, increment) || _ <- [1, 2, 3]].")
        self.erl(f"gen_server:call({{clicks, '{PYTHON_NAME}'}}, count).", expected=3)
        self.py("pears", PYTHON_NAME, (Atom("add"), 2), expected=22)
        self.py("clicks", PYTHON_NAME, Atom("count"), expected=3)
        listed = self.py(SUPERVISOR, BEAM_NAME, Atom("which_children"))
        self.screen.expect(len(listed) == 3, "Python asks the BEAM's supervisor with the call that Erlang uses")

    def crash(self) -> None:
        self.screen.chapter("One crashes: an exception in Python")
        before = self.engines()
        source = f"gen_server:call({{apples, '{PYTHON_NAME}'}}, {{divide, 0}})."
        started = monotonic()
        try:
            value = self.beam.eval(source)
        except ErlangExit as error:
            reason, stack = _exception_of(error.reason)
            self.screen.said("erl", source, f"** exception exit: {{{format_term(reason)}, [...]}}")
        else:
            raise DemoFailed(f"{source} should have crashed the engine, it gave {format_term(value)}")
        self.screen.expect(
            reason[0] is Atom("ZeroDivisionError"), f"the exception is the exit reason, raised at {_place(stack)}"
        )
        crash = self.beam.wait_for_log(
            r"=CRASH REPORT=[\s\S]*?(exception error:[\s\S]*?)\n\s*(in function [^\n]*)\n", RESTART_TIME_S
        )
        self.screen.quote(f"the crash report of the Python process, in the log of {BEAM_NAME}", list(crash.groups()))
        self.restarted("apples", before, "ZeroDivisionError", started)

    def kill(self) -> None:
        before = self.engines()
        self.screen.chapter(f"One is killed: clicks, which is {before['clicks'].shown}")
        started = monotonic()
        self.erl("exit(Clicks, kill).", expected=True, Clicks=before["clicks"].pid)
        self.restarted("clicks", before, "killed", started)

    def tree(self) -> None:
        self.screen.chapter("The supervision tree, as the BEAM sees it")
        source = "[{Id, P, pid_to_list(P), node(P)} || {Id, P, _, _} <- lists:reverse(supervisor:which_children(S))]"
        (root,) = [entry for entry in self.beam.eval(source, S=Atom("kernel_safe_sup")) if entry[0] is Atom(SUPERVISOR)]
        tree = Tree(Text.assemble("kernel_safe_sup", ("  (part of every BEAM)", "dim")), guide_style="dim")
        branch = tree.add(Text.assemble((SUPERVISOR, "bold"), _described(root, "supervisor")))
        types = {engine.name: engine.type for engine in ENGINES}
        entries = self.beam.eval(source, S=Atom(SUPERVISOR))
        for entry in entries:
            branch.add(Text.assemble((entry[0].name, "bold"), _described(entry, f"Python {types[entry[0].name]}")))
        self.screen.show(tree)
        self.screen.expect(len(entries) == len(ENGINES), "three children, all running")

    def sum_up(self, before: dict[str, Seen], after: dict[str, Seen]) -> None:
        self.screen.chapter("Summary")
        happened = {"apples": "ZeroDivisionError", "clicks": "exit(Pid, kill)"}
        rows: list[tuple[str, ...]] = []
        for engine in ENGINES:
            old, new = before[engine.name], after[engine.name]
            ended = engine.name in happened
            self.screen.expect(
                (old.pid != new.pid) is ended, f"{engine.name} has {'a new' if ended else 'the same'} pid", quiet=True
            )
            value = engine.start if ended else old.value
            self.screen.expect(new.value == value, f"{engine.name} holds {value}", quiet=True)
            rows.append(
                (
                    engine.name,
                    happened.get(engine.name, "nothing"),
                    SUPERVISOR if ended else "-",
                    f"{old.shown} → {new.shown}" if ended else f"{new.shown} (the same)",
                    f"{old.value} → {new.value} (as started)" if ended else f"{new.value} (kept)",
                )
            )
        self.screen.table(rows, ("engine", "what happened", "restarted by", "pid", "value"))

    # -- pieces ---------------------------------------------------------------------------------

    def callback(self) -> tuple[str, str]:
        """Module and argument of the supervisor.

        The module is compiled in the BEAM's memory; where that has no compiler, it is a stock one.
        """
        if self.beam.release.compiler:
            forms = [
                f"-module({CALLBACK_MODULE}).",
                "-export([init/1]).",
                "init(Children) -> {ok, Children}.",
            ]
            source = """
                Parse = fun(Source) ->
                    {ok, Tokens, _} = erl_scan:string(Source),
                    {ok, Form} = erl_parse:parse_form(Tokens),
                    Form
                end,
                {ok, Module, Code} = compile:forms(lists:map(Parse, Sources)),
                code:load_binary(Module, "memory", Code)
            """
            self.beam.eval(source, Sources=[[ord(c) for c in form] for form in forms])
            self.screen.note(f"its callback module, compiled in the BEAM's memory: {' '.join(forms)}")
            return CALLBACK_MODULE, "{#{intensity => 100, period => 10}, []}"
        # kernel:init(safe), which every release has, is the specification of an empty one_for_one supervisor.
        self.screen.note("this BEAM has no compiler, so the callback module is a stock one, kernel: 4 restarts an hour")
        return "kernel", "safe"

    def restarted(self, name: str, before: dict[str, Seen], reason: str, since: float) -> None:
        """Wait for the restart of one engine, show who did it, and check the others."""
        with gevent.Timeout(RESTART_TIME_S, DemoFailed(f"{name} was not restarted within {RESTART_TIME_S:g} s")):
            while dict(self.children()).get(name) in (None, before[name].pid):
                gevent.sleep(0.005)
        took_ms = (monotonic() - since) * 1000
        self.screen.quote("what its supervisor says there", self.supervisor_report(name, reason))
        after = self.engines()
        again = f"{before[name].shown} → {after[name].shown}, within {took_ms:.0f} ms"
        self.screen.fact(f"{SUPERVISOR} has restarted {name}: {again}")
        for engine in ENGINES:
            old, new = before[engine.name], after[engine.name]
            if engine.name == name:
                self.screen.expect(new.value == engine.start, f"{name} starts again with {engine.start}", quiet=True)
            else:
                kept = old.pid == new.pid and old.value == new.value
                self.screen.expect(kept, f"{engine.name} goes on: {new.shown}, still {new.value}")

    def supervisor_report(self, name: str, reason: str) -> list[str]:
        """The lines of the BEAM's log in which the supervisor says that `name` has ended."""
        pattern = (
            rf"=SUPERVISOR REPORT=+ .* ===\n"
            rf"(?P<head>\s+supervisor: \{{local,{SUPERVISOR}\}}\n\s+errorContext: child_terminated)\n"
            rf"\s+reason: (?P<reason>(?:(?!offender:)[\s\S])*?{reason}(?:(?!offender:)[\s\S])*?)\n"
            rf"\s+offender: [\s\S]*?\{{id,{name}\}}"
        )
        found = self.beam.wait_for_log(pattern, RESTART_TIME_S)
        head = [line.strip() for line in found["head"].splitlines()]
        return [*head, f"reason: {found['reason']}", f"offender: {name}"]

    def engines(self) -> dict[str, Seen]:
        """The three as the BEAM sees them now."""
        pids = dict(self.children())
        seen = {}
        for engine in ENGINES:
            shown, value = self.beam.eval(
                "{pid_to_list(P), gen_server:call(P, R)}", P=pids[engine.name], R=Atom(engine.read)
            )
            seen[engine.name] = Seen(pids[engine.name], "".join(map(chr, shown)), value)
        return seen

    def children(self) -> list[tuple[str, Pid]]:
        """Of the supervisor: names and pids, in start order; without those that are not running at this moment."""
        listed = self.beam.eval(f"supervisor:which_children({SUPERVISOR})")
        return [(entry[0].name, entry[1]) for entry in reversed(listed) if isinstance(entry[1], Pid)]

    def erl(self, source: str, *, expected: Any = None, **bindings: Any) -> Any:
        """Evaluate on the BEAM, show it, and check the value."""
        expression = source.rstrip(".")
        print_it = (
            f'begin Value = {expression}, {{Value, unicode:characters_to_binary(io_lib:format("~tp", [Value]))}} end'
        )
        value, shown = self.beam.eval(print_it, **bindings)
        self.screen.said("erl", source, shown.decode())
        self.check(source, value, shown.decode(), expected)
        return value

    def py(self, name: str, node: str, request: Any, *, expected: Any = None) -> Any:
        """Call a server from the Python side, show it, and check the reply."""
        value = self.nodes.client.call((name, node), request)
        source = f"node.call(({name!r}, {node!r}), {request!r})"
        self.screen.said("py", source, format_term(value))
        self.check(source, value, format_term(value), expected)
        return value

    def check(self, source: str, value: Any, shown: str, expected: Any) -> None:
        fits = expected(value) if callable(expected) else expected is None or value == expected
        if not fits:
            raise DemoFailed(
                f"{source} gave {shown}" + ("" if callable(expected) else f", not {format_term(expected)}")
            )


@dataclass(frozen=True, slots=True)
class Seen:
    """An engine at one moment: its pid, how the BEAM writes that, and the number it holds."""

    pid: Pid
    shown: str
    value: int


def _is_started(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and value[0] is Atom("ok") and isinstance(value[1], Pid)


def _exception_of(reason: Any) -> tuple[Any, list[Any]]:
    """Exception and stack in the exit reason of a call: ``{{Exception, Stack}, {gen_server, call, Arguments}}``."""
    match reason:
        case (((Atom(), bytes()) as exception, list(stack)), _):
            return exception, stack
    raise DemoFailed(f"expected a Python exception and its stack as exit reason, got {format_term(reason)}")


def _place(stack: list[Any]) -> str:
    """File, line and function of the innermost frame."""
    _, function, _, location = stack[0]
    where = {key.name: value for key, value in location}
    return f"{Path(''.join(map(chr, where['file']))).name}:{where['line']}, in {function}"


def _described(entry: Any, what: str) -> tuple[str, str]:
    _, _, shown, node = entry
    return f"  {''.join(map(chr, shown))}  {what} on {node}", "default"
