"""docs/supervision.md: every block of it is run, and the rows of its tables about ends and starts are true."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import erlang_bridge
from erlang_bridge import Atom, Node, Pid
from erlang_bridge.kernel.push import pyanoma_sup_source
from erlang_bridge.testing import INIT_ANSWER, Beam, Elixir
from tests.pages import Block, Page
from tests.waiting import until

PAGE = Page("docs/supervision.md")
NODE = "py@127.0.0.1"
BLOCKS = {block.title: block for block in PAGE.blocks if block.title}
OK = Atom("ok")


def text(block: Block, node: str, home: Path | None = None) -> str:
    """A block as it stands on the page, for another node; and for another place than /srv/shop, with our own interpreter."""
    found = block.text.replace(NODE, node)
    return found.replace("/srv/shop/.venv/bin/python", sys.executable).replace("/srv/shop", str(home))


def erlang_modules() -> list[Block]:
    return [block for block in PAGE.blocks_in("erlang") if block.title.endswith(".erl")]


def elixir_modules() -> list[Block]:
    return [block for block in PAGE.blocks_in("elixir") if block.title.endswith(".ex")]


def shop(home: Path) -> Path:
    """A folder with the README's counter.py, as the page's /srv/shop."""
    counter = next(block.text for block in Page("README.md").blocks_in("python") if "class Counter" in block.text)
    (home / "counter.py").write_text(counter)
    return home


def test_every_block_is_known_here() -> None:
    titles = {block.title for block in PAGE.blocks}
    assert titles == {
        "",
        *(f"{name}_sup.erl" for name in ("bank", "patient", "shop")),
        *(f"{name}_supervisor.ex" for name in ("bank", "patient", "shop")),
        "dynamic",
        "simple",
        "simple_start",
        "count",
    }
    assert len(erlang_modules()) == len(elixir_modules()) == 3


@pytest.mark.parametrize("title", ["bank_sup.erl", "patient_sup.erl"])
def test_erlang_supervisors(beam: Beam, compile_erlang: Callable[[str], bytes], node: Node, title: str) -> None:
    beam.load_module(compile_erlang(pyanoma_sup_source()))
    module = beam.load_module(compile_erlang(text(BLOCKS[title], node.name.name)))
    supervisor = beam.eval("{ok, S} = M:start_link(), unlink(S), S", M=module)
    reads = "[{Id, gen_server:call(P, read)} || {Id, P, _, _} <- supervisor:which_children(S)]"
    assert beam.eval(reads, S=supervisor) == [(Atom("checking"), 0), (Atom("savings"), 100)]


@pytest.mark.parametrize("title", ["bank_supervisor.ex", "patient_supervisor.ex"])
def test_elixir_supervisors(elixir: Elixir, node: Node, title: str) -> None:
    node.push_pyanoma_sup(elixir.node)
    module = BLOCKS[title].text.split()[1]
    elixir.eval(text(BLOCKS[title], node.name.name))
    supervisor = elixir.eval(f"{{:ok, s}} = {module}.start_link(nil); Process.unlink(s); s")
    reads = "for {id, p, _, _} <- Supervisor.which_children(s), do: {id, GenServer.call(p, :read)}"
    assert elixir.eval(reads, s=supervisor) == [(Atom("checking"), 0), (Atom("savings"), 100)]


@pytest.mark.fault
def test_erlang_shop(beam: Beam, compile_erlang: Callable[[str], bytes], tmp_path: Path) -> None:
    beam.load_module(compile_erlang(pyanoma_sup_source()))
    source = text(BLOCKS["shop_sup.erl"], "py_shop@127.0.0.1", shop(tmp_path))
    module = beam.load_module(compile_erlang(source))
    supervisor = beam.eval("{ok, S} = M:start_link(), unlink(S), S", M=module, timeout_s=20)
    assert beam.eval("gen_server:call(savings, {add, 5})") is OK
    kill = '{_, P, _, _} = lists:keyfind(python, 1, supervisor:which_children(S)), os:cmd("kill -9 " ++ integer_to_list(pyanoma_sup:os_pid(P)))'
    beam.eval(kill, S=supervisor)
    beam.wait_until("(catch gen_server:call(savings, read)) =:= 100", timeout_s=20)
    assert beam.eval("gen_server:stop(S, shutdown, 20000)", S=supervisor, timeout_s=20) is OK


def test_elixir_shop(elixir: Elixir, node: Node, tmp_path: Path) -> None:
    node.push_pyanoma_sup(elixir.node)
    elixir.eval(text(BLOCKS["shop_supervisor.ex"], "py_elixir_shop@127.0.0.1", shop(tmp_path)))
    supervisor = elixir.eval("{:ok, s} = Shop.Supervisor.start_link(nil); Process.unlink(s); s", timeout_s=20)
    assert elixir.eval("GenServer.call(:savings, :read)") == 100
    assert elixir.eval("Supervisor.count_children(s).active", s=supervisor) == 2
    assert elixir.eval("Supervisor.stop(s)", s=supervisor, timeout_s=20) is OK


def test_python_blocks(beam: Beam, compile_erlang: Callable[[str], bytes], node: Node) -> None:
    beam.load_module(INIT_ANSWER)
    supervisor = beam.eval(
        "{ok, S} = supervisor:start_link({local, bank_sup}, init_answer, {ok, {#{}, []}}), unlink(S), S"
    )
    names: dict[str, Any] = {**{name: getattr(erlang_bridge, name) for name in erlang_bridge.__all__}, "node": node}
    adding, pushing = (block.text.replace("shop@127.0.0.1", beam.name) for block in PAGE.blocks_in("python"))
    exec(adding, names)
    ok, pid = names["answer"]
    assert ok is OK
    assert beam.eval("supervisor:which_children(S)", S=supervisor)[0][:2] == (Atom("savings"), pid)
    assert node.call(pid, Atom("read")) == 100
    if beam.release.compiler:
        exec(pushing, names)
        assert beam.eval("erlang:function_exported(pyanoma_sup, engine_spec, 4)") is True


def test_dynamic_and_counted(elixir: Elixir, node: Node) -> None:
    reads = "for {_, p, _, _} <- DynamicSupervisor.which_children(sup), do: GenServer.call(p, :read)"
    assert elixir.eval(f"{text(BLOCKS['dynamic'], node.name.name)}; Enum.sort({reads})") == [10, 20]
    elixir.eval(text(BLOCKS["bank_supervisor.ex"], node.name.name))
    counted = f"{{:ok, sup}} = Bank.Supervisor.start_link(nil); {BLOCKS['count'].text}"
    assert elixir.eval(counted) == 2


def test_simple_one_for_one(beam: Beam, compile_erlang: Callable[[str], bytes], node: Node) -> None:
    template = "-module(simple).\n-export([init/1]).\n" + text(BLOCKS["simple"], node.name.name)
    beam.load_module(compile_erlang(template))
    beam.load_module(compile_erlang(pyanoma_sup_source()))
    shell = beam.shell()
    shell.eval("{ok, Sup} = supervisor:start_link(simple, [])")
    shell.eval(BLOCKS["simple_start"].text)
    assert shell.eval("[gen_server:call(P, read) || P <- [First, Second]]") == [10, 20]
    [mentioned] = [code for code in PAGE.inline_code() if code.startswith("#{id => account, start => {pyanoma_sup")]
    beam.load_module(INIT_ANSWER)
    spec = mentioned.replace(NODE, node.name.name)
    shell.eval(
        f"{{ok, Keepers}} = supervisor:start_link(init_answer, {{ok, {{#{{strategy => simple_one_for_one}}, [{spec}]}}}})"
    )
    [start] = [code for code in PAGE.inline_code() if code == "supervisor:start_child(Sup, [10, #{}])"]
    shell.eval(f"{{ok, K}} = {start.replace('Sup', 'Keepers')}")
    assert shell.eval("gen_server:call(K, read)") == 10
    shell.end()


STARTS = PAGE.rows_with("the engine's `init`", "the start function gives", "what the supervisor does")
ENDS = PAGE.rows_with("the engine ends by", "reason", "`permanent`", "`transient`", "`temporary`")


@pytest.mark.parametrize(
    ("row", "engine", "args", "answer"),
    [
        (0, "counter", "0", "{ok, _}"),
        (1, "counter", "ignore", "{ok, undefined}"),
        (2, "counter", "stop", "{error, {not_today, _}}"),
        (3, "counter", "raise", "{error, {{{'ValueError', <<_/binary>>}, [_ | _]}, _}}"),
        (4, "no_such", "0", "{error, {{unknown_engine, no_such, _}, _}}"),
        (5, "counter", "0", "{error, {{'EXIT', {{erpc, noconnection}, _}}, _}}"),
    ],
)
def test_starts(shared_beam: Beam, node: Node, row: int, engine: str, args: str, answer: str) -> None:
    assert len(STARTS) == 6
    shared_beam.load_module(INIT_ANSWER)
    target = (
        Atom("nobody_at_all@127.0.0.1") if "node is down" in STARTS[row].cells["the engine's `init`"] else node.name
    )
    spec = f"#{{id => a, start => {{erpc, call, [N, pyanoma, start_link, [{engine}, {args}]]}}}}"
    source = (
        f"{{ok, S}} = supervisor:start_link(init_answer, {{ok, {{#{{}}, []}}}}), unlink(S), A = supervisor:start_child(S, {spec}),"
        f"gen_server:stop(S), case A of {answer} -> true; _ -> A end"
    )
    assert shared_beam.eval(source, N=target) is True


@pytest.mark.parametrize("row", range(6))
def test_ends(shared_beam: Beam, node: Node, row: int) -> None:
    cells = ENDS[row].cells
    end, reason = [
        ("gen_server:stop(P)", "normal"),
        ("gen_server:cast(P, {stop, {shutdown, because}})", "{shutdown, because}"),
        ("gen_server:cast(P, {stop, because})", "because"),
        ("gen_server:cast(P, crash)", "{{'RuntimeError', <<_/binary>>}, [_ | _]}"),
        ("catch gen_server:call(P, unencodable)", "{{'EtfEncodeError', <<_/binary>>}, [_ | _]}"),
        ("exit(P, kill)", "killed"),
    ][row]
    shared_beam.load_module(INIT_ANSWER)
    for restart in ("permanent", "transient", "temporary"):
        spec = f"#{{id => a, start => {{erpc, call, [N, pyanoma, start_link, [counter, 0]]}}, restart => {restart}}}"
        source = (
            f"{{ok, S}} = supervisor:start_link(init_answer, {{ok, {{#{{}}, [{spec}]}}}}), unlink(S),"
            "[{_, P, _, _}] = supervisor:which_children(S), R = monitor(process, P), {S, P, R}"
        )
        shell = shared_beam.shell()
        supervisor, old, _ = shell.eval(f"{{S, P, R}} = begin {source} end", N=node.name)
        shell.eval(end)
        match = f"receive {{'DOWN', R, process, P, {reason}}} -> true after 3000 -> process_info(self(), messages) end"
        assert shell.eval(match) is True
        outcome = cells[f"`{restart}`"]

        def has_come_true(supervisor: Pid = supervisor, old: Pid = old, outcome: str = outcome) -> bool:
            left = shared_beam.eval("[P || {_, P, _, _} <- supervisor:which_children(S), is_pid(P)]", S=supervisor)
            return left == [] if outcome in ("gone", "stays down") else len(left) == 1 and left != [old]

        assert until(has_come_true), (restart, outcome)
        shared_beam.eval("gen_server:stop(S)", S=supervisor)
        shell.end()
