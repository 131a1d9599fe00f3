"""``pyanoma info``: all about one process of a real BEAM, and of a Python node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import ConfigError, Node
from erlang_bridge.testing.beams import Beam
from pyanoma.inspection.details import read_details
from pyanoma.inspection.processes import NotFound, Reader
from tests.command_line import Command
from tests.python_nodes import PythonNode

NAMELESS = "nobody@127.0.0.1"


TILL = """
-module(till).
-export([start/0, init/1, handle_call/3, handle_cast/2]).
start() -> gen_server:start({local, till}, ?MODULE, [], []).
init(_) -> put(colour, {red, "text"}), monitor(process, init), {ok, #{sold => [1, 2], owner => self()}}.
handle_call(_, _, State) -> {reply, ok, State}.
handle_cast(stick, State) -> receive unstick -> {noreply, State} end.
"""


def start_till(beam: Beam, compile_erlang: Any) -> None:
    """A server of a BEAM with a state, a dictionary, and a monitor."""
    beam.load_module(compile_erlang(TILL))
    beam.eval("{ok, _} = till:start()")


def labelled(facts: dict[str, Any]) -> dict[str, str]:
    return {entry["label"]: entry["value"] for entry in facts["state"]["data"]}


def test_a_server_of_a_beam(pyanoma: Command, beam: Beam, compile_erlang: Any):
    start_till(beam, compile_erlang)
    pid, initial = ("".join(map(chr, text)) for text in beam.eval("[pid_to_list(whereis(P)) || P <- [till, init]]"))
    done = pyanoma("info", beam.name, "till", "--json")
    assert done.code == 0
    facts = done.json()
    assert (facts["pid"], facts["name"], facts["kind"], facts["status"]) == (pid, "till", "gen_server", "waiting")
    assert (facts["initial_call"], facts["current_function"][:16]) == ("till:init/1", "gen_server:loop/")
    # A monitor by name shows the name, and the node.
    assert facts["monitors"] in ([initial], [f"{{init,'{beam.name}'}}"])
    assert (facts["links"], facts["trap_exit"]) == ([], False)
    assert facts["dictionary"] == [{"key": "colour", "value": '{red,"text"}'}]
    assert (facts["messages"], facts["first_messages"]) == (0, [])
    assert facts["memory"] >= facts["total_heap_size"] >= facts["heap_size"] > 0
    assert facts["counters"] == {}
    assert facts["stack"][0]["function"] == facts["current_function"]
    assert re.fullmatch(r"gen_server\.erl", facts["stack"][0]["file"])
    assert (facts["state"]["system"], facts["state"]["module"]) == ("running", "gen_server")
    assert facts["state"]["header"] == "Status for generic server till"
    assert labelled(facts)["State"] in (f"#{{owner => {pid},sold => [1,2]}}", f"#{{sold => [1,2],owner => {pid}}}")
    assert pyanoma("info", beam.name, pid, "--json").json()["name"] == "till"

    text = pyanoma("info", beam.name, pid).out
    assert text.startswith(f"till {pid} on {beam.name}\n")
    assert re.search(r"^  kind +gen_server$", text, re.MULTILINE)
    assert re.search(r"^  State +#\{(owner|sold) => ", text, re.MULTILINE)
    assert '  colour = {red,"text"}' in text
    assert re.search(r"^  gen_server:loop/\d  gen_server\.erl:\d+$", text, re.MULTILINE)


def test_a_busy_server_of_a_beam_with_messages(pyanoma: Command, beam: Beam, compile_erlang: Any):
    start_till(beam, compile_erlang)
    beam.eval("gen_server:cast(till, stick), [till ! {number, N} || N <- lists:seq(1, 30)]")
    facts = pyanoma("info", beam.name, "till", "--json").json()
    assert facts["state"] is None
    assert facts["no_state"] == "it is busy: no answer within 1 s"
    assert facts["messages"] == 30
    assert facts["first_messages"][:2] == ["{number,1}", "{number,2}"]
    assert len(facts["first_messages"]) == 20
    assert facts["current_function"] == "till:handle_cast/2"
    text = pyanoma("info", beam.name, "till", "--no-state").out
    assert "State  not asked for" in text
    assert re.search(r"^Messages  \d+, the oldest first\n  \{number,1\}$", text, re.MULTILINE)
    assert "10 more" in text or "11 more" in text


def test_more_messages_than_anybody_wants(pyanoma: Command, shared_beam: Beam):
    shared_beam.eval("""
        register(flooded, spawn(fun() -> receive stop -> ok end end)),
        [flooded ! N || N <- lists:seq(1, 20000)]
    """)
    facts = pyanoma("info", shared_beam.name, "flooded", "--json").json()
    text = pyanoma("info", shared_beam.name, "flooded").out
    shared_beam.eval("exit(whereis(flooded), kill)")
    assert (facts["messages"], facts["first_messages"]) == (20_000, None)
    assert (facts["kind"], facts["no_state"]) == ("process", "no behaviour of OTP, so it has no state to tell")
    assert "Messages  20,000: too many to be shown" in text


def test_a_process_that_is_no_server_is_not_asked_for_a_state(pyanoma: Command, shared_beam: Beam):
    shared_beam.eval("register(plain, proc_lib:spawn(fun() -> receive stop -> ok end end))")
    pyanoma("info", shared_beam.name, "plain")
    waiting = shared_beam.eval("process_info(whereis(plain), message_queue_len)")
    shared_beam.eval("plain ! stop")
    assert waiting[1] == 0


def test_a_supervisor_of_a_beam(pyanoma: Command, shared_beam: Beam):
    facts = pyanoma("info", shared_beam.name, "kernel_sup", "--json").json()
    assert facts["kind"] == "supervisor"
    assert "inet_db" in labelled(facts)["State"]
    # Later releases do not tell its module.
    assert labelled(facts).get("Callback", "kernel") == "kernel"


def test_an_engine(pyanoma: Command, python: PythonNode):
    pyanoma("call", python.name, "ticker", "increment", "--cast")
    facts = pyanoma("info", python.name, "ticker", "--json").json()
    assert (facts["name"], facts["kind"], facts["status"]) == ("ticker", "gen_server", "waiting")
    assert facts["initial_call"] == "engines.ticker.server.Ticker:init/1"
    assert len(facts["links"]) == 1
    assert facts["counters"]["messages"] >= 1
    assert facts["counters"]["run_time_us"] >= facts["counters"]["longest_turn_us"] > 0
    assert (facts["state"]["system"], facts["state"]["module"]) == ("running", "gen_server")
    assert "counter => 1" in labelled(facts)["State"]
    text = pyanoma("info", python.name, facts["pid"]).out
    assert re.search(r"^  messages handled  [1-9]$", text, re.MULTILINE)
    assert re.search(r"^  longest turn +\d[\d,]* µs$", text, re.MULTILINE)
    assert re.search(r"^  State +#\{.*counter => 1", text, re.MULTILINE)


def test_where_an_engine_is(pyanoma: Command, shared_beam: Beam, start: Any, tmp_path: Path):
    """The stack trace of one that is busy, as Python has it."""
    (tmp_path / "mine.py").write_text(
        "import time\n"
        "from erlang_bridge import GenServer\n"
        "def ponder():\n"
        "    time.sleep(30)\n"
        "class Thinker(GenServer):\n"
        "    def handle_cast(self, message, state):\n"
        "        ponder()\n"
    )
    program = start("--name", "thinker@127.0.0.1", "--engine", "thinker=mine:Thinker")
    program.stdout.readline()
    shared_beam.eval("""
        {ok, P} = erpc:call('thinker@127.0.0.1', pyanoma, start_link, [thinker, 1]), unlink(P),
        gen_server:cast(P, think)
    """)
    facts = pyanoma("info", "thinker@127.0.0.1", "thinker", "--json", "--no-state").json()
    places = [(frame["function"], Path(frame["file"]).name, frame["line"]) for frame in facts["stack"]]
    assert ("mine:ponder/0", "mine.py", 4) in places
    assert ("mine:Thinker.handle_cast/2", "mine.py", 7) in places


def test_no_such_process(pyanoma: Command, shared_beam: Beam):
    for process, code, says in (
        ("<0.99999.0>", 1, "no process <0.99999.0> is alive on "),
        ("<0.1>", 2, "PROCESS: expected a pid such as '<0.12.0>', or a registered name"),
    ):
        done = pyanoma("info", shared_beam.name, process)
        assert done.code == code
        assert says in done.error_line


@pytest.mark.parametrize(
    ("process", "error", "says"),
    [
        ("nobody", NotFound, "no process is registered as 'nobody' on "),
        ("<0.99999.0>", NotFound, "no process <0.99999.0> is alive on "),
        ("<other@host.1.0>", ConfigError, "PROCESS: expected a process of "),
        ("<0.1>", ConfigError, "PROCESS: expected a pid such as"),
        ("", ConfigError, "PROCESS: expected a pid"),
        ("x" * 256, ConfigError, "PROCESS: expected a pid"),
        ("Zürich ☃", NotFound, "no process is registered as 'Zürich ☃' on "),
    ],
)
def test_what_names_no_process(node: Node, shared_beam: Beam, process: str, error: type[Exception], says: str):
    with pytest.raises(error) as caught:
        read_details(Reader(node, shared_beam.name, 5), process)
    assert says in str(caught.value)


def test_a_name_beyond_latin_1(node: Node, shared_beam: Beam):
    shared_beam.eval("register('Zürich ☃', spawn(fun() -> receive stop -> ok end end))")
    details = read_details(Reader(node, shared_beam.name, 5), "Zürich ☃")
    shared_beam.eval("'Zürich ☃' ! stop")
    assert details.line.title == "Zürich ☃"


def test_no_such_process_of_a_python_node(pyanoma: Command, python: PythonNode):
    by_name, by_pid = pyanoma("info", python.name, "nobody"), pyanoma("info", python.name, "<0.99999.0>")
    assert (by_name.code, by_pid.code) == (1, 1)
    assert by_name.error_line == f"pyanoma info: no process is registered as 'nobody' on {python.name}"
    assert by_pid.error_line == f"pyanoma info: no process <0.99999.0> is alive on {python.name}"


def test_info_of_nobody(pyanoma: Command, epmd_port: int):
    assert pyanoma("info", NAMELESS, "init").code == 3
