"""New code for a running Python node, asked for by a BEAM, by the command line, and by the change of a file."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import engines.ticker.server  # noqa: F401  # a module that is loaded
from erlang_bridge import Atom, Node, Pid
from erlang_bridge.testing.beams import Beam
from tests.code_projects import COUNTER, Project
from tests.command_line import Command
from tests.pages import Page
from tests.python_nodes import PythonNode
from tests.waiting import until

OK = Atom("ok")
MODULE = Atom("module")
ERROR = Atom("error")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.close()


@pytest.fixture
def counter(node: Node, project: Project) -> Pid:
    project.module("counter", COUNTER)
    return node.start(project.get("counter", "Counter"), 10, name="counter")


def ask(beam: Beam, node: Node, function: str, *arguments: Any) -> Any:
    """``erpc:call`` to the Python node."""
    module, _, name = function.rpartition(":")
    return beam.eval("erpc:call(N, M, F, A)", N=node.name, M=Atom(module), F=Atom(name), A=list(arguments))


# -- loading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["code:load_file", "c:l"])
def test_load_file(beam: Beam, node: Node, project: Project, counter: Pid, function: str) -> None:
    name = Atom(project.name("counter"))
    assert beam.eval('gen_server:call(P, <<"said">>)', P=counter) == (b"one", 10)
    project.edit("counter", '"one"', '"two"')
    assert ask(beam, node, "code:modified_modules") == [name]
    assert ask(beam, node, function, name) == (MODULE, name)
    assert beam.eval('gen_server:call(P, <<"said">>)', P=counter) == (b"two", 10)
    assert ask(beam, node, "code:module_status", name) is Atom("loaded")
    assert beam.eval("rpc:call(N, code, is_loaded, [M])", N=node.name, M=name) == (
        Atom("file"),
        list(project.path("counter").encode()),
    )


def test_what_is_refused(beam: Beam, node: Node, project: Project, counter: Pid) -> None:
    name = Atom(project.name("counter"))
    path = project.path("counter").encode()
    assert ask(beam, node, "code:load_file", Atom("nobody_knows")) == (ERROR, Atom("nofile"))
    project.write("unseen", "raise SystemExit")
    assert ask(beam, node, "c:l", Atom(project.name("unseen"))) == (ERROR, Atom("nofile"))
    assert ask(beam, node, "code:load_file", Atom("erlang_bridge.node.node")) == (ERROR, Atom("sticky_directory"))
    project.edit("counter", "STEP = 1", "STEP = = 1")
    assert ask(beam, node, "code:load_file", name) == (
        ERROR,
        (Atom("badfile"), path + b":6: SyntaxError: invalid syntax"),
    )
    project.edit("counter", "STEP = = 1", "STEP = 1 / 0")
    word, text = ask(beam, node, "code:load_file", name)[1]
    assert (word, text) == (Atom("on_load_failure"), path + b":6: ZeroDivisionError: division by zero")
    change = "def code_change(self, old_version, state, extra):\n            raise ValueError('no')\n\n        def handle_call"
    project.edit("counter", "STEP = 1 / 0", "STEP = 1")
    project.edit("counter", "def handle_call", change)
    word, text = ask(beam, node, "code:load_file", name)[1]
    assert word is Atom("code_change")
    assert text.startswith(path + b":20: ValueError: no in ")
    assert beam.eval('gen_server:call(P, <<"said">>)', P=counter) == (b"one", 10)


def test_old_code(beam: Beam, node: Node, project: Project) -> None:
    name = Atom(project.name("loops"))
    loop = project.module("loops", "def loop(own):\n    own.receive()\n").loop
    pid = node.spawn(loop)
    gevent.sleep(0.01)
    assert ask(beam, node, "erlang:check_old_code", name) is False
    assert ask(beam, node, "erlang:check_process_code", pid, name) is False
    assert ask(beam, node, "code:load_file", name) == (MODULE, name)
    assert ask(beam, node, "erlang:check_old_code", name) is True
    assert ask(beam, node, "erlang:check_process_code", pid, name) is True
    assert ask(beam, node, "code:load_file", name) == (ERROR, Atom("not_purged"))
    assert ask(beam, node, "c:l", name) == (ERROR, Atom("not_purged"))
    assert ask(beam, node, "code:soft_purge", name) is False
    assert ask(beam, node, "code:delete", name) is False
    watch = beam.shell()
    watch.eval("erlang:monitor(process, P), ok", P=pid)
    assert ask(beam, node, "code:purge", name) is True
    assert watch.eval("receive {'DOWN', _, _, _, R} -> R after 3000 -> nothing end") is Atom("killed")
    assert ask(beam, node, "code:purge", name) is False
    assert ask(beam, node, "erlang:check_old_code", name) is False
    assert ask(beam, node, "code:soft_purge", name) is True
    assert ask(beam, node, "code:load_file", name) == (MODULE, name)


def test_one_process_is_changed_by_hand(beam: Beam, node: Node, project: Project, counter: Pid) -> None:
    name = Atom(project.name("counter"))
    change = """def code_change(self, old_version, state, extra):
            return replace(state, count=(old_version, extra, state.count))

        def handle_call"""
    project.edit("counter", "def handle_call", change)
    project.edit("counter", '"one"', '"two"')
    assert beam.eval("sys:suspend(P)", P=counter) is OK
    assert ask(beam, node, "code:load_file", name) == (MODULE, name)
    assert ask(beam, node, "erlang:check_process_code", counter, name) is True
    assert beam.eval('sys:change_code(P, M, 7, <<"extra">>)', P=counter, M=name) is OK
    assert ask(beam, node, "erlang:check_process_code", counter, name) is False
    assert beam.eval("sys:resume(P)", P=counter) is OK
    assert beam.eval('gen_server:call(P, <<"said">>)', P=counter) == (b"two", (7, b"extra", 10))


def test_the_versions_are_the_ones_that_module_info_tells(
    beam: Beam, node: Node, project: Project, counter: Pid
) -> None:
    name = project.name("counter")
    md5 = hashlib.md5(Path(project.path("counter")).read_bytes()).digest()
    assert beam.eval("erpc:call(N, M, module_info, [md5])", N=node.name, M=Atom(name)) == md5
    attributes = dict(ask(beam, node, f"{name}:module_info", Atom("attributes")))
    assert attributes == {Atom("vsn"): [int.from_bytes(md5, "big")], Atom("behaviour"): [Atom("gen_server")]}
    change = """def code_change(self, old_version, state, extra):
            return replace(state, count=old_version)

        def handle_call"""
    project.edit("counter", "def handle_call", change)
    ask(beam, node, "code:load_file", Atom(name))
    assert beam.eval('gen_server:call(P, <<"said">>)', P=counter) == (b"one", int.from_bytes(md5, "big"))


# -- under load -------------------------------------------------------------------------------

ORDERED = """
    from erlang_bridge import GenServer, NoReply, Reply

    GENERATION = 0

    class Ordered(GenServer):
        def init(self, args):
            return {"last": 0, "wrong": 0, "generations": {}}

        def handle_cast(self, number, state):
            if number != state["last"] + 1:
                state["wrong"] += 1
            state["last"] = number
            state["generations"][GENERATION] = state["generations"].get(GENERATION, 0) + 1
            return NoReply(state)

        def handle_call(self, request, caller, state):
            return Reply(state, state)

        def code_change(self, old_version, state, extra):
            return {**state, "changes": state.get("changes", 0) + 1}
"""


def test_under_load_nothing_is_lost_or_reordered(beam: Beam, node: Node, project: Project) -> None:
    project.module("ordered", ORDERED)
    pid = node.start(project.get("ordered", "Ordered"))
    # 100 messages every 10 ms, for 2 s.
    sending = beam.begin(
        """
        Send = fun Send(_, 0) -> ok;
                   Send(At, Left) ->
            [gen_server:cast(P, 20001 - Left + I) || I <- lists:seq(0, 99)],
            timer:sleep(max(0, At + 10 - erlang:monotonic_time(millisecond))),
            Send(At + 10, Left - 100)
        end,
        Send(erlang:monotonic_time(millisecond), 20000)
        """,
        P=pid,
    )
    loads = 0
    while not sending.ready() or not loads:
        project.edit("ordered", f"GENERATION = {loads}", f"GENERATION = {loads + 1}")
        assert node.code.load(project.name("ordered")).moved == 1
        loads += 1
        gevent.sleep(0.15)
    assert sending.result() is OK
    state = node.call(pid, "state")
    assert (state["last"], state["wrong"], state["changes"]) == (20_000, 0, loads)
    assert sum(state["generations"].values()) == 20_000
    # At least once in the middle of them; how often depends on the machine.
    assert len(state["generations"]) > 1


# -- what there is ----------------------------------------------------------------------------


def test_modules_as_a_beam_sees_them(beam: Beam, node: Node, project: Project, counter: Pid) -> None:
    module, cls = project.name("counter"), project.name("counter") + ".Counter"
    every = [name.name for name, _ in ask(beam, node, "code:all_loaded")]
    assert {module, cls, "engines.ticker.server", "engines.ticker.server.Ticker", "rpc", "code"} <= {*every, "rpc"}
    assert every.index("engines.ticker.server") < every.index("erlang_bridge.node.node") < every.index("erlang")
    assert not {"json", "gevent", "gevent.hub"} & set(every)
    assert ask(beam, node, f"{module}:module_info", Atom("module")) is Atom(module)
    functions = ask(beam, node, f"{module}:module_info", Atom("functions"))
    assert {(Atom("said"), 1), (Atom("Counter.handle_call"), 3), (Atom("module_info"), 0)} <= set(functions)
    exports = ask(beam, node, f"{cls}:module_info", Atom("exports"))
    assert {(Atom("init"), 1), (Atom("handle_call"), 3), (Atom("handle_cast"), 2)} <= set(exports)
    assert dict(ask(beam, node, f"{cls}:module_info", Atom("attributes")))[Atom("behaviour")] == [Atom("gen_server")]
    ticker = ask(beam, node, "engines.ticker.server.Ticker:module_info", Atom("exports"))
    assert (Atom("handle_call"), 3) in ticker
    items = [key.name for key, _ in ask(beam, node, f"{module}:module_info")]
    assert items == ["module", "exports", "attributes", "compile", "md5"]
    compiled = dict(ask(beam, node, f"{module}:module_info", Atom("compile")))
    assert compiled[Atom("source")] == list(project.path("counter").encode())
    reason = beam.eval(
        "try erpc:call(N, M, module_info, [what]) catch error:{exception, R, _} -> R end", N=node.name, M=Atom(module)
    )
    assert reason is Atom("badarg")
    missing = beam.eval("try erpc:call(N, nobody, module_info, []) catch error:{exception, R, _} -> R end", N=node.name)
    assert missing is Atom("undef")


def test_erlang_names(beam: Beam, node: Node) -> None:
    assert ask(beam, node, "code:ensure_loaded", Atom("erlang")) == (MODULE, Atom("erlang"))
    assert ask(beam, node, "code:ensure_loaded", Atom("engines.ticker.server")) == (
        MODULE,
        Atom("engines.ticker.server"),
    )
    for name in ("nobody_knows", "json", "engines.nothing", "lists"):
        assert ask(beam, node, "code:ensure_loaded", Atom(name)) == (ERROR, Atom("nofile"))
    assert ask(beam, node, "code:which", Atom("erlang")) is Atom("preloaded")
    assert ask(beam, node, "code:which", Atom("nobody_knows")) is Atom("non_existing")
    assert ask(beam, node, "code:is_loaded", Atom("nobody_knows")) is False
    assert (Atom("node"), 0) in ask(beam, node, "erlang:module_info", Atom("exports"))
    assert ask(beam, node, "erlang:module_info", Atom("attributes")) == []
    assert ask(beam, node, "erlang:function_exported", Atom("erlang"), Atom("node"), 0) is True
    assert ask(beam, node, "erlang:function_exported", Atom("erlang"), Atom("node"), 5) is False
    assert ask(beam, node, "erlang:function_exported", Atom("engines.ticker.server"), Atom("module_info"), 0) is True
    assert ask(beam, node, "erlang:module_loaded", Atom("erlang")) is True
    assert ask(beam, node, "erlang:module_loaded", Atom("nobody_knows")) is False
    assert ask(beam, node, "code:load_binary", Atom("m"), list(b"m.beam"), b"x") == (ERROR, Atom("badfile"))
    assert ask(beam, node, "code:get_object_code", Atom("engines.ticker.server")) is ERROR
    assert ask(beam, node, "code:is_sticky", Atom("erlang")) is True
    assert ask(beam, node, "code:is_sticky", Atom("engines.ticker.server")) is False
    assert isinstance(ask(beam, node, "code:get_path"), list)
    assert isinstance(ask(beam, node, "code:root_dir"), list)
    assert isinstance(ask(beam, node, "code:lib_dir"), list)
    assert ask(beam, node, "code:lib_dir", Atom("nobody")) == (ERROR, Atom("bad_name"))


# -- the command line -------------------------------------------------------------------------


def test_pyanoma_reload(pyanoma: Command, node: Node, project: Project, counter: Pid) -> None:
    done = run_beside(pyanoma, "reload", node.name.name, "engines.ticker.server", project.name("counter"))
    assert done.code == 0, done.err
    assert done.out.splitlines()[1].startswith(f"{project.name('counter')}  ")
    assert done.out.splitlines()[1].endswith("1 process moved")
    loop = node.spawn(project.module("loops", "def loop(own):\n    own.receive()\n").loop)
    gevent.sleep(0.01)
    done = run_beside(pyanoma, "reload", node.name.name, project.name("loops"))
    assert f"runs loop, {project.path('loops')}:2" in done.out
    again = run_beside(pyanoma, "reload", node.name.name, project.name("loops"))
    assert (again.code, "not_purged" in again.error_line) == (1, True)
    node.exit(loop, Atom("kill"))
    project.edit("counter", "STEP = 1", "STEP = = 1")
    wrong = run_beside(pyanoma, "reload", node.name.name, project.name("counter"))
    assert wrong.code == 1
    assert wrong.error_line == (
        f"pyanoma reload: {project.name('counter')} was not loaded (badfile): "
        f"{project.path('counter')}:6: SyntaxError: invalid syntax"
    )


def run_beside(pyanoma: Command, *arguments: str) -> Any:
    """Run a command while the node in this process goes on."""
    return gevent.get_hub().threadpool.apply(pyanoma, arguments)


def test_pyanoma_reload_of_a_beam(shared_beam: Beam, pyanoma: Command) -> None:
    # One that every release has, outside of kernel and stdlib.
    source = "hd([M || M <- [alarm_handler, crypto_ec_curves], element(1, code:ensure_loaded(M)) =:= module])"
    name = shared_beam.eval(source).name
    done = pyanoma("reload", shared_beam.node.name, name, "--json")
    assert done.code == 0, done.err
    (result,) = done.json()
    assert (result["module"], result["moved"]) == (name, None)
    assert result["old_version"] == result["new_version"]
    assert pyanoma("reload", shared_beam.node.name, "nobody_knows").code == 1
    sticky = pyanoma("reload", shared_beam.node.name, "lists")
    assert (sticky.code, "sticky_directory" in sticky.error_line) == (1, True)


def test_start_reload(beam: Beam, pyanoma: Command, tmp_path: Path, beam_cookie: str, epmd_port: int) -> None:
    """A bug is fixed in a running engine, which keeps its state; a save that is broken changes nothing."""
    project = Project(tmp_path)
    project.write("counter", COUNTER)
    engine = f"counter={project.name('counter')}:Counter"
    program = PythonNode(
        tmp_path, cookie=beam_cookie, epmd_port=epmd_port, arguments=["--reload", "--engine", engine]
    ).start()
    try:
        pid = beam.eval("{ok, P} = erpc:call(N, pyanoma, start_link, [counter, 5]), unlink(P), P", N=program.node)
        beam.eval("gen_server:cast(P, 1)", P=pid)

        def said() -> Any:
            return beam.eval('gen_server:call(P, <<"said">>)', P=pid)

        assert said() == (b"one", 6)
        project.edit("counter", "STEP = 1", "STEP = = 1")
        assert until(lambda: f"{project.path('counter')}:6: SyntaxError" in program.text())
        beam.eval("gen_server:cast(P, 1)", P=pid)
        assert said() == (b"one", 7)
        project.edit("counter", "STEP = = 1", "STEP = 10")
        project.edit("counter", '"one"', '"two"')
        assert until(lambda: said() == (b"two", 7))
        beam.eval("gen_server:cast(P, 1)", P=pid)
        assert said() == (b"two", 17)
        assert program.text().count("SyntaxError") == 1
        assert "1 process moved" in program.text(), program.text()
    finally:
        project.close()
        program.stop()


def test_the_page(beam: Beam, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/hot-code.md: the door."""
    blocks = {block.title: block.text for block in Page("docs/hot-code.md").blocks_in("python")}
    path = tmp_path / "door.py"
    path.write_text(blocks["door.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    node.engines["door"] = importlib.import_module("door").Door
    try:
        pid = beam.eval("{ok, P} = erpc:call(N, pyanoma, start_link, [door, 0]), unlink(P), P", N=node.name)
        ask_door = 'gen_server:cast(P, <<"enter">>), gen_server:cast(P, <<"leave">>), gen_server:call(P, count)'
        assert beam.eval(ask_door, P=pid) == 2
        path.write_text(blocks["door.py, edited"])
        assert beam.eval("erpc:call(N, code, load_file, [door])", N=node.name) == (MODULE, Atom("door"))
        assert beam.eval(ask_door, P=pid) == 2
    finally:
        del sys.modules["door"]
