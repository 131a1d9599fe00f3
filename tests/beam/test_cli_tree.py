"""``pyanoma tree`` and ``pyanoma ps`` of real nodes: who is under whom, what they do; text, JSON and picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from erlang_bridge import Node, Pid
from erlang_bridge.testing.beams import Beam
from pyanoma.inspection.listing import list_processes
from pyanoma.inspection.processes import Reader
from tests.browser import look_at
from tests.command_line import Command
from tests.python_nodes import PythonNode

NAMELESS = "nobody@127.0.0.1"
SVG = "{http://www.w3.org/2000/svg}"


def application(document: Any, name: str) -> dict[str, Any]:
    return next(app for app in document["applications"] if app["name"] == name)


def by_name(app: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {process["name"]: process for process in app["processes"]}


def text_of(beam: Beam, pid: Pid) -> str:
    return "".join(map(chr, beam.eval("pid_to_list(P)", P=pid)))


# -- tree -------------------------------------------------------------------------------------


def test_tree_of_a_beam(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("tree", shared_beam.name, "--json")
    assert done.code == 0
    document = done.json()
    assert document["node"] == shared_beam.name
    kernel = application(document, "kernel")
    assert kernel["version"] == "".join(map(chr, shared_beam.eval("element(2, application:get_key(kernel, vsn))")))
    processes = by_name(kernel)
    top = processes["kernel_sup"]
    expected = {
        (name.name, text_of(shared_beam, pid))
        for name, pid in shared_beam.eval(
            "[{N, P} || {_, P, _, _} <- supervisor:which_children(kernel_sup), is_pid(P),"
            " {registered_name, N} <- [process_info(P, registered_name)]]"
        )
    }
    assert len(expected) > 5
    found = {(name, line["pid"]) for name, line in processes.items() if name and line["parent"] == top["pid"]}
    assert found == expected
    assert (top["kind"], top["initial_call"], top["status"]) == ("supervisor", "supervisor:kernel/1", "waiting")
    assert processes["inet_db"]["kind"] == "gen_server"
    assert processes["erl_signal_server"]["kind"] == "gen_event"
    assert processes["code_server"]["kind"] == "process"
    assert all(line["memory"] > 0 for line in kernel["processes"])


def test_tree_of_a_beam_as_text(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("tree", shared_beam.name, "--app", "kernel")
    assert done.code == 0
    assert re.match(r"kernel [\d.]+  ERTS ", done.out)
    assert re.search(r"^ *└── kernel_sup <0\.\d+\.0> supervisor\b", done.out, re.MULTILINE)
    assert re.search(r"^ +├── inet_db <0\.\d+\.0> gen_server$", done.out, re.MULTILINE)
    assert re.search(rf"^1 application with \d+ processes on {shared_beam.name}", done.out, re.MULTILINE)
    assert "\x1b" not in done.out


SHOP = """
-module(shop).
-behaviour(application).
-export([start/2, stop/1, init/1, start_till/1, start_body/1, handle_call/3, handle_cast/2]).
start(normal, _) -> supervisor:start_link({local, shop_sup}, ?MODULE, top).
stop(_) -> ok.
init(top) -> {ok, {{one_for_one, 1, 5}, [
    {tills, {supervisor, start_link, [{local, tills}, ?MODULE, tills]}, permanent, 100, supervisor, []},
    {body, {?MODULE, start_body, [shop_body]}, permanent, 100, worker, []}
]}};
init(tills) -> {ok, {{one_for_one, 1, 5}, [
    {N, {?MODULE, start_till, [N]}, permanent, 100, worker, []} || N <- [till_a, till_b]
]}};
init(Name) -> put(secret, <<"sesame">>), {ok, #{name => Name, sold => []}}.
start_till(Name) -> gen_server:start_link({local, Name}, ?MODULE, Name, []).
start_body(Name) ->
    Pid = proc_lib:spawn_link(fun() -> link(whereis(till_a)), receive stop -> ok end end),
    register(Name, Pid), [Pid ! {message, N} || N <- [1, 2, 3]], {ok, Pid}.
handle_call(_, _, State) -> {reply, ok, State}.
handle_cast(stick, State) -> receive unstick -> {noreply, State} end;
handle_cast(_, State) -> {noreply, State}.
"""
START_SHOP = """
    ok = application:load({application, shop, [{description, "A shop"}, {vsn, "4.2"}, {modules, [shop]},
        {registered, []}, {applications, [kernel, stdlib]}, {mod, {shop, []}}]}),
    ok = application:start(shop)
"""


@pytest.fixture
def shop(beam: Beam, compile_erlang: Any) -> Beam:
    """A BEAM on which an application runs: two supervisors, two servers, one that is neither, with three messages."""
    beam.load_module(compile_erlang(SHOP))
    beam.eval(START_SHOP)
    return beam


def test_an_application_with_all_sorts_of_processes(pyanoma: Command, shop: Beam):
    document = pyanoma("tree", shop.name, "--app", "shop", "--json").json()
    app = application(document, "shop")
    assert [app["description"], app["version"], app["left_out"]] == ["A shop", "4.2", 0]
    processes = by_name(app)
    parent = {name: line["parent"] for name, line in processes.items()}
    assert parent["tills"] == parent["shop_body"] == processes["shop_sup"]["pid"]
    assert parent["till_a"] == parent["till_b"] == processes["tills"]["pid"]
    assert processes["till_a"]["initial_call"] == "shop:init/1"
    assert (processes["shop_body"]["kind"], processes["shop_body"]["messages"]) == ("process", 3)
    text = pyanoma("tree", shop.name, "--app", "shop").out
    assert re.search(r"shop_body <0\.\d+\.0> process .*3 messages", text)
    if document["source"] == "appmon_info":
        linked = {processes["till_a"]["pid"], processes["shop_body"]["pid"]}
        assert linked in [set(link) for link in app["links"]]
        assert re.search(r"(till_a .* ~ shop_body|shop_body .* ~ till_a)$", text, re.MULTILINE)


def test_without_runtime_tools_the_supervisors_are_asked(pyanoma: Command, shop: Beam):
    shop.eval("code:del_path(runtime_tools), [code:purge(M) orelse code:delete(M) || M <- [appmon_info]]")
    document = pyanoma("tree", shop.name, "--json").json()
    assert document["source"] == "supervisors"
    app = application(document, "shop")
    processes = by_name(app)
    assert processes.keys() == {"shop_sup", "tills", "till_a", "till_b", "shop_body"}
    assert processes["till_b"]["parent"] == processes["tills"]["pid"]
    assert "kernel_sup" in by_name(application(document, "kernel"))
    assert "as its supervisors tell" in pyanoma("tree", shop.name).out


def test_with_a_limit(pyanoma: Command, shop: Beam):
    app = application(pyanoma("tree", shop.name, "--app", "shop", "--limit", "3", "--json").json(), "shop")
    assert len(app["processes"]) == 3
    assert app["left_out"] >= 2
    assert re.search(r"\d more processes left out", pyanoma("tree", shop.name, "--app", "shop", "--limit", "3").out)


def test_a_python_engine_under_a_supervisor_of_a_beam(pyanoma: Command, shop: Beam, python: PythonNode):
    """It is part of the tree, on another node."""
    spec = "#{id => py, start => {erpc, call, [N, pyanoma, start_link, [counter, 0]]}, restart => temporary}"
    engine = shop.eval(f"{{ok, P}} = supervisor:start_child(tills, {spec}), P", N=python.node)
    app = application(pyanoma("tree", shop.name, "--app", "shop", "--json").json(), "shop")
    shown = next(line for line in app["processes"] if line["pid"] == str(engine))
    assert (shown["node"], shown["kind"]) == (python.name, "other node")
    assert shown["parent"] == by_name(app)["tills"]["pid"]


def test_observer_does_not_lose_its_appmon(pyanoma: Command, shared_beam: Beam):
    """The command joins an ``appmon_info`` that runs, and one that it has started stays for those who join."""
    if not shared_beam.eval("code:which(appmon_info) =/= non_existing"):
        return
    source = """
        {ok, Server} = appmon_info:start_link2(self(), self(), []),
        register(watching, self()),
        receive go_on -> ok end,
        {whereis(appmon_info) =:= Server, is_process_alive(Server)}
    """
    observer = shared_beam.begin(source)
    shared_beam.wait_until("whereis(watching) =/= undefined")
    assert pyanoma("tree", shared_beam.name).code == 0
    shared_beam.eval("watching ! go_on")
    assert observer.result() == (True, True)
    shared_beam.wait_until("whereis(appmon_info) =:= undefined")


def test_tree_of_a_python_node(pyanoma: Command, python: PythonNode):
    done = pyanoma("tree", python.name, "--app", "pyanoma", "--json")
    assert done.code == 0
    app = application(done.json(), "pyanoma")
    processes = by_name(app)
    assert processes["ticker"]["parent"] == processes["pyanoma_engines"]["pid"]
    assert processes["pyanoma_engines"]["parent"] == processes["pyanoma_sup"]["pid"]
    assert processes["pyanoma_sup"]["kind"] == "supervisor"
    assert processes["ticker"]["initial_call"] == "engines.ticker.server.Ticker:init/1"
    text = pyanoma("tree", python.name).out
    assert re.search(r"ticker <0\.\d+\.0> gen_server engines\.ticker\.server\.Ticker$", text, re.MULTILINE)


@pytest.mark.parametrize("of", ["beam", "python"])
def test_a_picture(pyanoma: Command, shared_beam: Beam, python: PythonNode, tmp_path: Path, of: str):
    node = shared_beam.name if of == "beam" else python.name
    done = pyanoma("tree", node, "--svg", "tree.svg")
    assert done.code == 0
    assert re.fullmatch(rf"tree\.svg: \d+ applications? with (\d+) processes on {node}\n", done.out)
    text = (tmp_path / "tree.svg").read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    boxes = picture.findall(f".//{SVG}g[@data-pid]")
    assert f"with {len(boxes)} processes" in done.out
    names = {"".join(title.itertext()) for title in picture.iter(f"{SVG}text")}
    assert {"kernel_sup", "inet_db"} <= names if of == "beam" else {"pyanoma_sup", "ticker"} <= names
    measure = """
        const found = {shown: 0, loose: []};
        for (const group of document.querySelectorAll("g[data-pid]")) {
            const body = group.querySelector("rect.body").getBoundingClientRect();
            found.shown += body.width > 0;
            for (const text of group.querySelectorAll("text")) {
                const there = text.getBoundingClientRect();
                if (there.left < body.left || there.right > body.right) found.loose.push(text.textContent);
            }
        }
        return found;
    """
    assert look_at(tmp_path, text, measure) == {"shown": len(boxes), "loose": []}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--app", "nonsense"), 1, r"no application nonsense with processes on .*; it has .*kernel"),
        (("--svg", "no/such/folder/x.svg"), 1, "--svg: cannot write no/such/folder/x.svg: No such file"),
        (("--cookie", "vanilla"), 4, "the cookies differ"),
    ],
)
def test_tree_that_cannot(pyanoma: Command, shared_beam: Beam, arguments: tuple[str, ...], code: int, says: str):
    done = pyanoma("tree", shared_beam.name, *arguments)
    assert done.code == code
    assert re.search(says, done.err)
    assert "Traceback" not in done.err


def test_tree_of_nobody(pyanoma: Command, epmd_port: int):
    assert pyanoma("tree", NAMELESS).code == 3


def test_tree_of_a_frozen_node(pyanoma: Command, beam: Beam):
    beam.freeze()
    done = pyanoma("tree", beam.name, "--timeout", "1")
    beam.thaw()
    assert done.code == 6
    assert done.took_s < 6


# -- ps ---------------------------------------------------------------------------------------


def test_ps_sorted(pyanoma: Command, node: Node, shared_beam: Beam):
    shared_beam.eval("""
        register(full, spawn(fun() -> receive stop -> ok end end)),
        [full ! {message, lists:seq(1, 100)} || _ <- lists:seq(1, 5000)],
        register(busy, spawn(fun() ->
            lists:foreach(fun(N) -> lists:sum(lists:seq(1, N)) end, lists:seq(1, 6000)), receive stop -> ok end
        end))
    """, timeout_s=20)  # fmt: skip
    reader = Reader(node, shared_beam.name, 5)
    found = {order: list_processes(reader, order, 5)[0] for order in ("memory", "messages", "reductions")}
    by_messages = pyanoma("ps", shared_beam.name, "--sort", "messages", "--limit", "5", "--json").json()
    shared_beam.eval("[exit(whereis(N), kill) || N <- [full, busy]]")
    for order, lines in found.items():
        values = [getattr(line, order) for line in lines]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)
        assert lines[0].name == ("busy" if order == "reductions" else "full")
    assert (len(by_messages), by_messages[0]["name"], by_messages[0]["messages"]) == (5, "full", 5000)


def test_ps_by_name(pyanoma: Command, shared_beam: Beam):
    lines = pyanoma("ps", shared_beam.name, "--sort", "name", "--json").json()
    names = [line["name"] for line in lines]
    named = [name for name in names if name]
    assert names[: len(named)] == sorted(named)
    assert len(names) > len(named)


def test_ps_of_a_python_node_has_its_counters(pyanoma: Command, python: PythonNode):
    pyanoma("call", python.name, "ticker", "increment", "--cast")
    done = pyanoma("ps", python.name, "--sort", "name", "--json")
    ticker = {line["name"]: line for line in done.json()}["ticker"]
    assert ticker["kind"] == "gen_server"
    assert ticker["counters"]["messages"] >= 1
    assert 0 < ticker["counters"]["longest_turn_us"] <= ticker["counters"]["run_time_us"]
    assert re.search(r"turns +run time ms +longest turn ms", pyanoma("ps", python.name).out)


def test_ps_says_pids_as_the_node_does(pyanoma: Command, shared_beam: Beam):
    lines = {line["name"]: line["pid"] for line in pyanoma("ps", shared_beam.name, "--json").json()}
    assert lines["kernel_sup"] == text_of(shared_beam, shared_beam.eval("whereis(kernel_sup)"))
