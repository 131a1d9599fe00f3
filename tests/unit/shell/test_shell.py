"""The Python shell: what it runs, shows and survives. No other node; what a terminal of a BEAM does is in tests/beam."""

from __future__ import annotations

import builtins
import io
import linecache
import re
import sys
from time import monotonic

import gevent
import pytest

from erlang_bridge import Atom, ErlangError, Node, OwnProcess
from erlang_bridge.kernel.group_leader import Streams
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.shell import preemption
from erlang_bridge.shell.streams import redirection
from erlang_bridge.testing.plugin import NodeFactory
from tests.servers import Counter
from tests.unit.shell.typist import Typist
from tests.waiting import until


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(listen=False, shell=True, streams=Streams(io.StringIO()))


@pytest.fixture
def shell(node: Node) -> Typist:
    return Typist(node)


# -- statements -------------------------------------------------------------------------------


STATEMENTS: list[tuple[list[str], str]] = [
    (["1 + 1"], "2\n"),
    (["x = 3; x * 2; 'a'"], "6\n'a'\n"),
    (["None"], ""),
    (["", "   ", "# nothing"], ""),
    (["_"], "NameError"),
    (["5", "_ + 1", "_"], "5\n6\n6\n"),
    (["for i in range(3):", "    i", ""], "0\n1\n2\n"),
    (["def f(x):", "    'not shown'", "    return x + 1", "", "f(1)"], "2\n"),
    (["class C:", "    x = 1", "    2", "", "C.x"], "1\n"),
    (["import functools", "@functools.cache", "def g():", "    return 'cached'", "", "g()"], "'cached'\n"),
    (["match (1, 2):", "    case (a, b):", "        print(a + b)", ""], "3\n"),
    (["[1,", " 2]"], "[1, 2]\n"),
    (["'''a", "b'''"], "'a\\nb'\n"),
    (["if True: print('x')", ""], "x\n"),
    (["from __future__ import annotations", "def h(x: no_such): pass", "", "h.__annotations__"], "{'x': 'no_such'}\n"),
    (["ps = 1", "ps", "del ps", "callable(ps)"], "1\nTrue\n"),
    (["print('a', end='')"], "a"),
    (["import sys; sys.stdout.write('out\\n'); print('err', file=sys.stderr)"], "out\n4\nerr\n"),
    (["exit"], "exit() ends this shell; the node goes on\n"),
]  # fmt: skip


def test_statements(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever else has shown a value in this interpreter, a doctest for one, has left it there.
    monkeypatch.delattr(builtins, "_", raising=False)
    for lines, shown in STATEMENTS:
        shell = Typist(node)
        seen = shell.type(*lines)
        assert seen == shown or (shown.endswith("Error") and shown in seen), lines
        node.exit(shell.leader, Atom("kill"))


def test_pids_are_shown_as_in_erlang(shell: Typist, node: Node) -> None:
    rex = node.whereis("rex")
    assert rex is not None
    assert shell.type("whereis('rex')", "[self()]").startswith(f"<0.{rex.id}.0>\n[<0.")
    assert shell.type("{Atom('a'): [pid(0, 1, 0), Pid(Atom('b@h'), 1, 2, 3)]}") == "{Atom('a'): [<0.1.0>, <b@h.1.2>]}\n"


def test_a_traceback_has_the_frames_of_the_user_only(shell: Typist) -> None:
    seen = shell.type("def f(x):", "    return 1 / x", "", "f(0)")
    assert seen.startswith('Traceback (most recent call last):\n  File "<shell ')
    assert "line 2, in f\n    return 1 / x\n" in seen
    assert seen.endswith("ZeroDivisionError: division by zero\n")
    assert "erlang_bridge" not in seen
    seen = shell.type("import gevent", "with gevent.Timeout(0.01): gevent.sleep(5)", "")
    assert seen.count("File ") == 1


def test_an_error_of_a_helper_is_that_of_who_called_it(shell: Typist) -> None:
    seen = shell.type("call('nobody', 1)")
    assert seen.count("File ") == 1
    assert seen.endswith("erlang_bridge.errors.NoProcess: gen_server:call(nobody, 1): noproc (no such process)\n")


def test_what_is_no_python(shell: Typist) -> None:
    for line in ("1 +* 2", "'never closed", "x = = 1", "\0"):
        assert "Error" in shell.type(line)
        assert shell.type("1") == "1\n"


def test_an_error_whose_text_cannot_be_made(shell: Typist) -> None:
    shell.type("class Bad(Exception):", "    def __str__(self): raise ValueError", "")
    assert "Bad" in shell.type("raise Bad()")
    shell.type("class Shy:", "    def __repr__(self): raise ValueError('shy')", "")
    assert shell.type("Shy()").endswith("ValueError: shy\n")
    assert "RecursionError" in shell.type("def f(): f()", "", "f()")


def test_large_values_are_cut(shell: Typist) -> None:
    assert "999,800 more" in shell.type("list(range(1_000_000))")
    assert "more characters" in shell.type("'x' * 10_000_000")
    assert "9,800 more" in shell.type("{i: i for i in range(10_000)}")
    assert len(shell.text) < 100_000


def test_input_reads_from_the_terminal(shell: Typist) -> None:
    shell.begin("input('name? ')")
    shell.expect(r"name\? \Z")
    assert shell.type("bob") == "'bob'\n"
    shell.begin("import sys; sys.stdin.readline()")
    gevent.sleep(0.05)
    assert shell.type("line") == "'line\\n'\n"


def test_input_is_interrupted(shell: Typist) -> None:
    shell.begin("input('name? ')")
    shell.expect(r"name\? \Z")
    shell.lines.put(KeyboardInterrupt)
    shell.expect("^KeyboardInterrupt")
    shell.prompt()
    shell.begin("input()")
    gevent.sleep(0.05)
    shell.lines.put("")
    shell.expect("^EOFError")


def test_bytes_go_to_the_terminal(shell: Typist) -> None:
    assert shell.type("import sys", "n = sys.stdout.buffer.write('é\\n'.encode())") == "é\n"


def test_help_needs_no_pager(shell: Typist) -> None:
    assert "Help on built-in function len" in shell.type("help(len)")
    assert "gen_server:call" in shell.type("help(call)")


# -- its end ----------------------------------------------------------------------------------


def test_exit_ends_the_shell_only(node: Node) -> None:
    for line in ("exit()", "quit()", "import sys; sys.exit()", "raise SystemExit(3)"):
        shell = Typist(node)
        shell.begin(line)
        assert until(lambda shell=shell: not shell.is_alive)  # type: ignore[misc]
    assert node.whereis("rex") is not None
    assert not node.stopped


def test_the_end_of_the_input_ends_it(shell: Typist) -> None:
    shell.prompt()
    shell.lines.put("")
    assert until(lambda: not shell.is_alive)


@pytest.mark.parametrize("how", ["kill", "die", "leader"])
def test_whatever_ends_it_nothing_is_left(node: Node, how: str) -> None:
    streams = (sys.stdin, sys.stdout, sys.stderr)
    processes = set(node.table.processes)
    for typed in (
        [],
        ["import gevent; gevent.sleep(1000)"],
        ["while True: pass", ""],
        ["while True:", "    try:", "        while True: sum(range(9))", "    except BaseException: pass", ""],
    ):
        shell = Typist(node)
        shell.type("def f(): pass", "")
        shell.begin(*typed)
        gevent.sleep(0.05)
        assert sys.stdout is not streams[1]
        node.exit(shell.leader if how == "leader" else shell.pid, Atom("kill" if how == "leader" else how))
        assert until(lambda shell=shell: not shell.is_alive), typed  # type: ignore[misc]
        node.exit(shell.leader, Atom("kill"))
        assert until(lambda: set(node.table.processes) == processes)
        assert until(lambda: not preemption.is_active())
        assert (sys.stdin, sys.stdout, sys.stderr) == streams
        assert not [name for name in linecache.cache if name.startswith("<shell ")]


def test_the_end_of_its_process_does_not_end_it(shell: Typist) -> None:
    assert "has ended: killed; the names are kept" in shell.type("x = 1", "kill(self())")
    assert shell.type("x") == "1\n"
    seen = shell.type("node.spawn(lambda own: 1 / 0, link=True); receive()")
    assert "ZeroDivisionError" in seen
    assert shell.type("x") == "1\n"


# -- interrupts, and others beside it ---------------------------------------------------------


LOOPS: list[list[str]] = [
    ["import gevent; gevent.sleep(1000)"],
    ["receive()"],
    ["call(whereis('sleeper'), 'hello', None)"],
    ["while True: pass", ""],
    ["while True: print('x')", ""],
    ["while True: whereis('rex')", ""],
    ["def f2():", "    while 1: sum(range(10))", "", "def f():", "    return f2()", "", "f()"],
    ["list(map(lambda _: sum(range(100)), range(100_000_000)))"],
    ["class R:", "    def __repr__(self):", "        while True: pass", "", "R()"],
    ["class E(Exception):", "    def __str__(self):", "        while True: pass", "", "raise E"],
]


def test_interrupt(shell: Typist, node: Node) -> None:
    node.register("sleeper", node.spawn(lambda own: own.receive(lambda message: False)))
    shell.type("x = 1")
    for lines in LOOPS:
        shell.begin(*lines)
        assert until(preemption.is_active), lines
        gevent.sleep(0.05)
        shell.interrupt()
        shell.expect("KeyboardInterrupt|str\\(\\) failed")
        shell.prompt()
        assert shell.type("x") == "1\n"
        assert not preemption.is_active()


def test_an_interrupt_can_be_caught(shell: Typist) -> None:
    shell.begin("try:", "    while True: sum(range(10))", "except KeyboardInterrupt: 'caught'", "")
    gevent.sleep(0.05)
    shell.interrupt()
    shell.expect("'caught'")
    shell.prompt()


def test_an_interrupt_at_the_prompt(shell: Typist) -> None:
    shell.begin("def f():", "    x")
    gevent.sleep(0.05)
    shell.lines.put(KeyboardInterrupt)
    shell.expect("KeyboardInterrupt")
    shell.prompt()
    assert shell.type("1") == "1\n"
    shell.interrupt()  # nothing runs
    assert shell.type("2") == "2\n"


def test_the_node_goes_on_beside_a_busy_loop(shell: Typist, node: Node) -> None:
    late: list[float] = []
    counter = node.start(Counter)

    def sleeper() -> None:
        while True:
            started = monotonic()
            gevent.sleep(0.001)
            late.append(monotonic() - started)

    other = Typist(node)
    sleeping = gevent.spawn(sleeper)
    shell.begin("while True: pass", "")
    other.begin("while True: pass", "")
    gevent.sleep(0.2)
    before = len(late)
    gevent.sleep(0.5)
    sleeping.kill()
    # In half a second: with nothing that makes the loops give way there would not be one.
    assert len(late) - before > 5
    assert node.call(counter, Atom("read")) == 0
    shell.interrupt()
    other.interrupt()
    shell.prompt()
    other.prompt()
    assert not preemption.is_active()


def test_others_are_not_made_to_give_way(shell: Typist, node: Node) -> None:
    """While a shell runs code, another process that does not wait is not left in the middle of what it does."""
    order: list[str] = []

    def busy(own: OwnProcess) -> None:
        order.append("begin")
        until_ = monotonic() + 0.1
        while monotonic() < until_:
            pass
        order.append("end")

    shell.begin("while True: pass", "")
    gevent.sleep(0.05)
    node.spawn(busy)
    node.spawn(lambda own: order.append("other"))
    assert until(lambda: len(order) == 3)
    assert order == ["begin", "end", "other"]
    shell.interrupt()
    shell.prompt()


# -- several, and the node's own output -------------------------------------------------------


def test_two_shells_do_not_mix(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = Typist(node), Typist(node)
    one.type("x = 'one'")
    assert "NameError" in two.type("x")
    one.begin("import gevent", "for i in range(5): gevent.sleep(0.01); print('first', i)", "")
    two.begin("import gevent", "for i in range(5): gevent.sleep(0.01); print('second', i)", "")
    gevent.sleep(0.03)
    print("the node's own")  # noqa: T201
    for shell, other in ((one, "second"), (two, "first")):
        shell.expect("^(first|second) 4$")
        shell.prompt()
        assert other not in shell.text
        assert "own" not in shell.text
    assert capsys.readouterr().out == "the node's own\n"
    one.begin("exit()")
    assert until(lambda: not one.is_alive)
    assert two.type("print('still there')") == "still there\n"


def test_a_called_function_prints_where_it_was_called(shell: Typist, node: Node) -> None:
    assert shell.type("import pprint; pprint.pp({'a': 1})") == "{'a': 1}\n"
    assert shell.type("import gevent; gevent.spawn(print, 'in a greenlet').join()") == "in a greenlet\n"
    assert shell.type("import logging; logging.getLogger('x').handlers") == "[]\n"


def test_output_of_a_node_without_a_shell_is_not_touched(node: Node) -> None:
    assert redirection.pick() is None
    assert type(sys.stdout).__module__ != "erlang_bridge.shell.streams"


# -- helpers ----------------------------------------------------------------------------------


def test_helpers(shell: Typist, node: Node) -> None:
    node.start(Counter, name="counter")
    text = node.whereis("counter")
    assert text is not None
    named = f"'<0.{text.id}.{text.serial}>'"
    assert shell.type("call('counter', Atom('read'))", f"cast({named}, (Atom('add'), 1))") == "0\n"
    assert shell.type("state('counter')", "state(whereis('counter'))", f"state({named})") == "1\n1\n1\n"
    assert "counter" in shell.type("ps('counter')")
    assert "1 processes" not in shell.type("i()")
    assert "kernel_sup" in shell.type("tree()")
    assert "rex" in shell.type("tree('kernel')")
    assert "no application nope" in shell.type("tree('nope')")
    assert "tests.servers.Counter:init/1" in shell.type(f"info({named})")
    assert "no process nobody lives" in shell.type("info('nobody')")
    assert shell.type("send(self(), [1]); send(self(), 2); flush()") == "[1]\n2\nShell got [1]\nShell got 2\n"
    assert shell.type("node.name.name.split('@')[1], nodes()") == "('127.0.0.1', [])\n"
    assert "resident" in shell.type("memory()")
    assert "TimeoutError" in shell.type("receive(0)")
    assert shell.type("me = self()", "spawn(lambda own: own.send(me, 'x')); receive()").endswith("'x'\n")
    listed = shell.type("help_pyanoma()")
    for name in (
        "ps",
        "tree",
        "info",
        "whereis",
        "state",
        "send",
        "call",
        "cast",
        "trace",
        "untrace",
        "l",
        "rpc",
        "pid",
    ):
        assert f"  {name}(" in listed


def test_trace_at_the_prompt(shell: Typist, node: Node) -> None:
    node.start(Counter, name="counter")
    shell.type("t = trace('counter')")
    shell.type("cast('counter', (Atom('add'), 1))")
    assert until(lambda: re.search("counter << .*add", shell.text))
    shell.type("untrace()")
    end = len(shell.text)
    shell.type("cast('counter', (Atom('add'), 1))", "call('counter', Atom('read'))")
    assert "<<" not in shell.text[end:]


def test_load_at_the_prompt(shell: Typist) -> None:
    assert "json.decoder" not in shell.type("1")
    assert "ModuleNotLoaded" in shell.type("l('no_such_module')")


# -- off --------------------------------------------------------------------------------------


@pytest.fixture
def closed(node_factory: NodeFactory) -> Node:
    return node_factory(listen=False, streams=Streams(io.StringIO()))


def test_off_it_says_so_and_ends(closed: Node) -> None:
    shell = Typist(closed)
    shell.expect(r"the Python shell of \S+ is off.*--shell")
    assert until(lambda: not shell.is_alive)
    assert not shell.text.endswith(">>> ")


def test_off_no_code_runs_by_any_road(closed: Node) -> None:
    shell = Typist(closed)
    reversed_line = [ord(character) for character in "a.b"[::-1]]
    for arguments in ([reversed_line], [reversed_line, []]):
        assert shell.apply("edlin_expand", "expand", *arguments) == (Atom("no"), [], [])
    assert shell.apply("Elixir.IEx.Autocomplete", "expand", reversed_line) == (Atom("no"), [], [])
    told = shell.apply("erl_eval", "eval_str", b"open('/tmp/should-not-exist', 'w')")
    assert told[0] == Atom("error")
    assert "is off" in characters(told[1])
    pid = closed.spawn(lambda own: None)
    for start in ("iex", "Elixir.IEx"):
        shell.apply(start, "start", [], (Atom("m"), Atom("f"), [pid, closed.table.make_reference()]))


def test_bad_arguments(node: Node) -> None:
    shell = Typist(node)
    answers = []

    def run(own: OwnProcess) -> None:
        from erlang_bridge import RemoteCall

        call = RemoteCall(node, own.process, own.pid, None)
        for module, name, arguments in (
            ("shell", "start", []),
            ("pyanoma", "shell", [1]),
            ("pyanoma", "shell", [{Atom("source"): 1}]),
        ):
            try:
                node.callables.apply(call, Atom(module), Atom(name), arguments)
            except ErlangError as error:
                answers.append(error.reason)

    node.spawn(run)
    assert until(lambda: len(answers) == 3)
    assert answers == [Atom("badarg")] * 3
    assert shell.type("1") == "1\n"


# -- erl_eval ---------------------------------------------------------------------------------


def test_eval_str(shell: Typist) -> None:
    for text, value in (
        (b"1 + 1", 2),
        (b"x = 2\nx * 3", 6),
        (b"x = 2", None),
        (b"", None),
        (b"whereis('nobody'), [Atom('a')]", (None, [Atom("a")])),
        ([ord("7")], 7),
    ):
        assert shell.apply("erl_eval", "eval_str", text) == (Atom("ok"), value)
    for text, says in ((b"1 / 0", "ZeroDivisionError"), (b"1 +", "SyntaxError"), (b"exit()", "SystemExit")):
        kind, told = shell.apply("erl_eval", "eval_str", text)
        assert kind == Atom("error")
        assert says in characters(told)


def test_eval_str_prints(shell: Typist) -> None:
    shell.type("1")
    shell.apply("erl_eval", "eval_str", b"print('hello')")
    shell.expect("hello")
