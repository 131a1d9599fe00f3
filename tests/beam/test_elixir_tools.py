"""A Python node seen from Elixir: what a person types into iex, and what Phoenix LiveDashboard asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import Atom, Node, OwnProcess
from erlang_bridge.testing.elixir import Elixir, ElixirRelease
from erlang_bridge.testing.terminal import Terminal
from tests.fix_node import NodeFactory
from tests.python_nodes import PythonNode
from tests.servers import Counter

INFO = "Phoenix.LiveDashboard.SystemInfo"


@pytest.fixture
def counting(node: Node, elixir: Elixir) -> Node:
    """A node with a server ``counter`` on it, and the Elixir node connected with it."""
    node.start(Counter, 5, name="counter")
    assert elixir.eval("Node.connect(n)", n=node.name) is True
    return node


def test_the_node_is_in_the_lists(counting: Node, elixir: Elixir):
    assert elixir.eval("{Node.list(), Node.list(:connected), Node.ping(n)}", n=counting.name) == (
        [counting.name], [counting.name], Atom("pong"),
    )  # fmt: skip


def test_a_hidden_node_is_among_the_connected(elixir: Elixir, node_factory: NodeFactory):
    hidden = node_factory(hidden=True)
    elixir.eval("Node.connect(n)", n=hidden.name)
    assert elixir.eval("{Node.list(), Node.list(:hidden), Node.list(:connected)}") == ([], [hidden.name], [hidden.name])


def test_process_info_by_rpc(counting: Node, elixir: Elixir):
    source = """
        pid = :rpc.call(n, Process, :whereis, [:counter])
        info = :rpc.call(n, Process, :info, [pid])
        {:dictionary, dictionary} = :erpc.call(n, Process, :info, [pid, :dictionary])
        %{
          pid: pid, name: info[:registered_name], status: info[:status], messages: info[:message_queue_len],
          initial_call: dictionary[:"$initial_call"],
          some: :erpc.call(n, Process, :info, [pid, [:trap_exit, :priority]]),
          nobody: :rpc.call(n, Process, :whereis, [:nobody]),
          unnamed: :rpc.call(n, Process, :info, [hd(:rpc.call(n, Process, :list, [])), :registered_name]),
          alive: :rpc.call(n, Process, :alive?, [pid])
        }
    """
    told = elixir.eval(source, n=counting.name)
    assert told[Atom("pid")] == counting.whereis("counter")
    assert told[Atom("name")] is Atom("counter")
    assert (told[Atom("status")], told[Atom("messages")]) == (Atom("waiting"), 0)
    assert told[Atom("initial_call")] == (Atom("tests.servers.Counter"), Atom("init"), 1)
    assert told[Atom("some")] == [(Atom("trap_exit"), False), (Atom("priority"), Atom("normal"))]
    assert told[Atom("nobody")] is None
    assert told[Atom("unnamed")][0] is Atom("registered_name")
    assert told[Atom("alive")] is True
    pid = told[Atom("pid")]
    counting.exit(pid, Atom("kill"))
    assert elixir.wait_until("is_nil(:rpc.call(n, Process, :info, [pid]))", n=counting.name, pid=pid) is True


def test_supervisors_and_servers(elixir: Elixir, python: PythonNode):
    source = """
        %{
          children: Supervisor.which_children({:pyanoma_engines, n}),
          there: :rpc.call(n, Supervisor, :which_children, [:pyanoma_engines]),
          count: Supervisor.count_children({:pyanoma_engines, n}),
          counted: :erpc.call(n, Supervisor, :count_children, [:pyanoma_engines]),
          cast: GenServer.cast({:ticker, n}, :increment),
          call: GenServer.call({:ticker, n}, :count),
          state: :sys.get_state({:ticker, n}),
          applications: for {name, _, _} <- :rpc.call(n, Application, :started_applications, []) do name end
        }
    """
    told = {key.name: value for key, value in elixir.eval(source, n=python.node).items()}
    ((name, pid, kind, _),) = told["children"]
    assert (name, kind) == (Atom("ticker"), Atom("worker"))
    assert told["there"] == told["children"]
    one = {Atom("specs"): 1, Atom("active"): 1, Atom("supervisors"): 0, Atom("workers"): 1}
    assert (told["count"], told["counted"]) == (one, one)
    assert (told["cast"], told["call"]) == (Atom("ok"), 1)
    assert told["state"][Atom("counter")] == 1
    assert {Atom("kernel"), Atom("pyanoma")} <= set(told["applications"])
    assert pid.node is python.node


def test_typed_into_iex(elixir_release: ElixirRelease, python: PythonNode, tmp_path: Path, request: Any):
    environment = {
        "ERL_EPMD_PORT": str(request.getfixturevalue("epmd_port")),
        "ERL_AFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    }
    iex = str(elixir_release.elixir.with_name("iex"))
    cookie = request.getfixturevalue("beam_cookie")
    with Terminal([iex, "--name", "typed@127.0.0.1", "--cookie", cookie], tmp_path, environment) as terminal:
        terminal.expect(r"^iex\(typed@127\.0\.0\.1\)1>", 20)
        terminal.type(f'n = :"{python.name}"; Node.connect(n)')
        terminal.expect(r"^true$")
        terminal.type("Node.list()")
        terminal.expect(rf'^\[:"{python.name}"\]$')
        terminal.type("pid = :erpc.call(n, Process, :whereis, [:ticker])")
        terminal.expect(r"^#PID<\d+\.\d+\.0>$")
        terminal.type(":rpc.call(n, Process, :info, [pid])[:registered_name]")
        terminal.expect(r"^:ticker$")
        terminal.type("[{_, ^pid, :worker, _}] = Supervisor.which_children({:pyanoma_engines, n}); :same")
        terminal.expect(r"^:same$")


# -- LiveDashboard ----------------------------------------------------------------------------

FIRST = f"""
    requirements = [application: :os_mon, process: Nobody]
    loaded = :erpc.call(n, :code, :is_loaded, [{INFO}])
    replaced = :erpc.call(n, :code, :load_binary, [{INFO}, ~c"info.beam", "no code"])
    capabilities = :erpc.call(n, {INFO}, :capabilities_callback, [requirements])
    {{loaded == false or match?({{:file, _}}, loaded), replaced, capabilities}}
"""


def test_what_live_dashboard_asks_first(counting: Node, elixir: Elixir):
    """It looks for its module, sends its own, which is refused, and goes on with what there is."""
    found, replaced, capabilities = elixir.eval(FIRST, n=counting.name)
    assert found is True
    assert replaced == (Atom("error"), Atom("badfile"))
    assert capabilities[Atom("dashboard_running?")] is False
    assert [capabilities[Atom(key)] for key in ("applications", "modules", "processes")] == [[], [], []]


def test_its_home_page(counting: Node, elixir: Elixir):
    source = f"""
        %{{system_info: about, system_limits: limits, system_usage: usage, environment: environment}} =
            :erpc.call(n, {INFO}, :info_callback, [["HOME"], :phoenix_live_dashboard])
        ^usage = Map.merge(:erpc.call(n, {INFO}, :usage_callback, []), usage)
        {{input, output}} = usage.io
        parts = Map.delete(usage.memory, :total) |> Map.values() |> Enum.sum()
        true = parts == usage.memory.total and is_integer(input) and is_integer(output)
        for key <- [:atoms, :ports, :processes] do
            true = is_integer(Map.fetch!(usage, key)) and Map.fetch!(limits, key) > 0
        end
        true = is_integer(usage.uptime) and usage.total_run_queue >= usage.cpu_run_queue
        {{to_string(about.banner), "#{{about.elixir_version}}", environment}}
    """
    banner, version, environment = elixir.eval(source, n=counting.name)
    assert banner.startswith(b"pyanoma ")
    assert version == b"None"
    assert environment == [(b"HOME", None)]


def test_its_processes_by_name_whatever_these_are(counting: Node, elixir: Elixir):
    def labelled(label: Any) -> Any:
        def run(own: OwnProcess) -> None:
            own.set_label(label)
            own.receive()

        return run

    for label in ("text", b"octets", (Atom("a"), 1)):
        counting.spawn(labelled(label))
    source = f"""
        ask = fn arguments -> :erpc.call(n, {INFO}, :processes_callback, arguments) end
        {{all, _, state}} = ask.([nil, :name_or_initial_call, :asc, 1000, %{{self() => :nonsense}}])
        {{by_pid, _, _}} = ask.([nil, :pid, :desc, 2, Map.new(state, fn {{pid, _}} -> {{pid, :nonsense}} end)])
        [first, second] = Enum.map(by_pid, & &1[:pid])
        refused = for bad <- [[5, :pid, :asc, 1, nil], [nil, 5, :asc, 1, nil], [nil, :pid, :asc, -1, nil]] do
            try do ask.(bad) rescue error in ErlangError -> error.original |> elem(1) ; ArgumentError -> :badarg end
        end
        {{Enum.map(all, & &1[:name_or_initial_call]), first > second, refused}}
    """
    names, descending, refused = elixir.eval(source, n=counting.name)
    assert {b"octets", b"text", b"{a,1}"} < set(names)
    assert [name for name in names if name in (b"octets", b"text")] == [b"octets", b"text"]
    assert descending is True
    assert refused == [Atom("badarg")] * 3


def test_its_processes_page(counting: Node, elixir: Elixir):
    source = f"""
        ask = fn search, before ->
            :erpc.call(n, {INFO}, :processes_callback, [search, :memory, :desc, 100, before])
        end
        {{all, count, state}} = ask.(nil, nil)
        {{[counter], 1, _}} = ask.("counter", state)
        memory = Enum.map(all, & &1[:memory])
        {{:ok, info}} = :erpc.call(n, {INFO}, :process_info_callback, [counter[:pid]])
        %{{
          all: count == length(all) and memory == Enum.sort(memory, :desc), counter: Map.new(counter),
          ancestors: info[:ancestors], call: info[:initial_call], name: info[:registered_name],
          leader: Map.from_struct(info[:group_leader]), stack: info[:current_stacktrace] |> hd() |> elem(0),
          dead: :erpc.call(n, {INFO}, :process_info_callback, [dead])
        }}
    """
    dead = counting.start(Counter, 0)
    counting.exit(dead, Atom("kill"))
    told = {key.name: value for key, value in elixir.eval(source, n=counting.name, dead=dead).items()}
    counter = {key.name: value for key, value in told["counter"].items()}
    assert told["all"] is True
    assert counter["pid"] == counting.whereis("counter")
    assert counter["name_or_initial_call"] == b":counter"
    assert counter["reductions_diff"] >= 0
    assert counter["message_queue_len"] == 0
    assert told["call"] == (Atom("tests.servers.Counter"), Atom("init"), 1)
    assert told["name"] is Atom("counter")
    assert told["leader"][Atom("name_or_initial_call")] == b":user"
    assert told["stack"] is Atom("gen_server")
    assert told["dead"] is Atom("error")


def test_its_other_pages(elixir: Elixir, python: PythonNode):
    source = f"""
        table = fn function, by -> :erpc.call(n, {INFO}, function, [nil, by, :asc, 50]) end
        {{applications, _}} = table.(:applications_info_callback, :name)
        application = Enum.find(applications, & &1[:name] == :pyanoma)
        true = application[:tree?] and is_binary(application[:description])
        {{{{:master, master, []}}, [{{{{:supervisor, root, :pyanoma_sup}}, children}}]}} =
            :erpc.call(n, {INFO}, :app_tree_callback, [:pyanoma])
        true = is_pid(master) and is_pid(root)
        {{_, engines}} = Enum.find(children, &match?({{{{:supervisor, _, :pyanoma_engines}}, _}}, &1))
        [{{{{:worker, _, :ticker}}, []}}] = engines
        :error = :erpc.call(n, {INFO}, :app_tree_callback, [:nonsense])
        {{tables, _}} = table.(:ets_callback, :size)
        names = Enum.find(tables, & &1[:name] == ":registered_names")
        true = is_reference(names[:id]) and is_pid(names[:owner]) and is_integer(names[:memory])
        {{:ok, info}} = :erpc.call(n, {INFO}, :ets_info_callback, [names[:id]])
        true = is_map(info[:owner])
        {{sockets, count}} = table.(:sockets_callback, :module)
        true = Enum.any?(sockets, & &1[:state] == "LISTENING") and count == length(sockets)
        true = Enum.all?(sockets, & is_pid(&1[:connected]) and is_integer(&1[:send_oct]))
        {{[], 0}} = table.(:ports_callback, :input)
        {{[%{{name: :total}} = total | _], most}} = :erpc.call(n, {INFO}, :memory_allocators_callback, [nil])
        true = total.block_size <= total.carrier_size and most[:total] >= total.carrier_size
        {{_, _}} = :erpc.call(n, {INFO}, :memory_allocators_callback, [most])
        :fine
    """
    assert elixir.eval(source, n=python.node) is Atom("fine")
