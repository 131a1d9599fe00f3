"""The applications of a node and their trees, as ``application`` and ``appmon_info`` tell them to a BEAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from erlang_bridge import Atom, ChildSpec, DynamicSupervisor, Node, OwnProcess, Pid, Supervisor, SupervisorFlags
from erlang_bridge.kernel.applications import Application
from erlang_bridge.otp.supervisor import start_child
from erlang_bridge.testing.beams import Beam, Shell
from tests.servers import Counter, Idle
from tests.waiting import until

OK = Atom("ok")


def words(text: str) -> list[int]:
    return [ord(character) for character in text]


def name(node: Node) -> str:
    return node.name.name.partition("@")[0]


@pytest.fixture
def watch(shared_beam: Beam, node: Node) -> Any:
    """Has a process of the BEAM watch as observer does: ``watch(App)`` returns its trees, each as it is delivered."""
    shell = shared_beam.shell()
    started = shell.eval("erpc:call(N, appmon_info, start_link2, [self(), self(), []])", N=node.name)
    assert started[0] is OK

    class Watch:
        def __init__(self) -> None:
            self.shell: Shell = shell
            self.pid: Pid = started[1]

        def begin(self, kind: str, subject: str) -> None:
            shell.eval(f"gen_server:cast(P, {{self(), {kind}, '{subject}', true, []}})", P=self.pid)

        def next(self, timeout_ms: int = 3000) -> Any:
            return shell.eval(
                "(fun() -> receive {delivery, _, _, _, D} -> D after T -> nothing end end)()", T=timeout_ms
            )

        def tree(self, application: str) -> Any:
            self.begin("app", application)
            return self.next()

    yield Watch()
    shell.end()


def shown(tree: Any) -> tuple[str, dict[str, Pid], set[tuple[str, str]], set[tuple[str, str]]]:
    """A delivery with its names as text; with what observer relies on."""
    root, processes, edges, cross = tree

    def text(codes: list[int]) -> str:
        return "".join(map(chr, codes))

    names = {text(named): pid for pid, named in processes}
    assert len(names) == len(processes)
    pairs = [{(text(one), text(other)) for one, other in links} for links in (edges, cross)]
    if names:
        assert {text(root), *(end for edge in pairs[0] for end in edge)} <= names.keys()
    return text(root), names, pairs[0], pairs[1]


def pid_name(pid: Pid) -> str:
    return f"<0.{pid.id}.{pid.serial}>"


def test_which_applications(shared_beam: Beam, node: Node) -> None:
    told = shared_beam.eval("erpc:call(N, application, which_applications, [])", N=node.name)
    assert [application[0].name for application in told] == ["kernel", "stdlib", "sasl", "runtime_tools", name(node)]
    assert all(len(application) == 3 for application in told)
    assert shared_beam.eval("gen_server:call({application_controller, N}, which_applications)", N=node.name) == told
    assert shared_beam.eval("rpc:call(N, application, loaded_applications, [])", N=node.name) == told


def test_keys_and_environment(shared_beam: Beam, node: Node) -> None:
    def call(function: str, *arguments: Any) -> Any:
        return shared_beam.eval("erpc:call(N, application, F, A)", N=node.name, F=Atom(function), A=list(arguments))

    kernel, stdlib = Atom("kernel"), Atom("stdlib")
    theirs = shared_beam.eval("{ok, Keys} = application:get_all_key(kernel), [Key || {Key, _} <- Keys]")
    answer, keys = call("get_all_key", kernel)
    assert answer is OK
    assert [key for key, _ in keys if key in theirs] == theirs
    assert call("get_key", kernel, Atom("vsn")) == (OK, words("0.1.0"))
    assert call("get_key", kernel, Atom("nonsense")) is Atom("undefined")
    assert call("get_all_key", Atom("nonsense")) is Atom("undefined")
    assert call("get_env", stdlib, Atom("shell_slogan")) is Atom("undefined")
    assert call("get_env", stdlib, Atom("shell_slogan"), b"default") == b"default"
    node.applications.set_environment("stdlib", "shell_slogan", lambda: b"welcome")
    assert call("get_env", stdlib, Atom("shell_slogan"), b"default") == b"welcome"
    assert call("get_env", stdlib, Atom("shell_slogan")) == (OK, b"welcome")
    assert call("get_all_env", stdlib) == [(Atom("shell_slogan"), b"welcome")]


def test_which_application_a_process_belongs_to(shared_beam: Beam, node: Node) -> None:
    source = "erpc:call(N, application, get_application, [P])"
    assert shared_beam.eval(source, N=node.name, P=node.whereis("rex")) == (OK, Atom("kernel"))
    assert shared_beam.eval(source, N=node.name, P=node.start(Idle)) == (OK, Atom(name(node)))
    assert shared_beam.eval(source, N=node.name, P=Atom("lists")) is Atom("undefined")


def test_the_kernel_is_a_tree(watch: Any, node: Node) -> None:
    root, processes, edges, _ = shown(watch.tree("kernel"))
    assert root == "kernel_sup"
    below = {child for parent, child in edges if parent == "kernel_sup"}
    assert {"user", "logger_proxy", "net_kernel", "rex", "application_controller", "global_name_server", "pg"} == below
    assert processes["rex"] == node.whereis("rex")
    assert len([edge for edge in edges if edge[0] == "global_name_server"]) == 2


def test_the_list_of_applications(watch: Any, node: Node) -> None:
    watch.begin("app_ctrl", node.name.name)
    told = watch.next()
    assert {(application.name, root) for root, application, _ in told} == {
        ("kernel", node.whereis("kernel_sup")),
        (name(node), node.whereis("application_controller")),
    }
    root = node.start(Supervisor, (SupervisorFlags(), []), name="own_sup")
    node.applications.add(Application("own", "An application", "3.2", root))
    assert (root, Atom("own"), (Atom("own"), words("An application"), words("3.2"))) in watch.next()
    node.exit(root, Atom("kill"))
    assert Atom("own") not in [application for _, application, _ in watch.next()]


def test_a_tree_is_told_again_when_it_changes(watch: Any, node: Node) -> None:
    children = [ChildSpec("counter", (Counter, 0, {"name": "counter"})), ChildSpec("dynamic", (DynamicSupervisor,))]
    root = node.start(Supervisor, (SupervisorFlags(), children), name="own_sup")
    node.applications.add(Application("own", "An application", "1.0", root))
    _, processes, edges, cross = shown(watch.tree("own"))
    (dynamic,) = processes.keys() - {"own_sup", "counter"}
    assert edges == {("own_sup", "counter"), ("own_sup", dynamic)}
    assert cross == set()
    # Nothing has changed, nothing is told.
    assert watch.next(2300) is Atom("nothing")
    pid = start_child(node, processes[dynamic], ChildSpec("more", (Idle,)))[1]
    node.table.link(node.table.find(pid), processes["counter"])
    _, processes, edges, cross = shown(watch.next())
    assert edges == {("own_sup", "counter"), ("own_sup", dynamic), (dynamic, pid_name(pid))}
    assert cross in ({("counter", pid_name(pid))}, {(pid_name(pid), "counter")})


def test_processes_outside_of_applications(watch: Any, node: Node) -> None:
    def labelled(own: OwnProcess, ready: Callable[[Pid], None]) -> None:
        own.set_label("worker 7")
        ready(own.node.start(Idle))
        own.receive()

    started: list[Pid] = []
    body = node.spawn(labelled, started.append)
    server = node.start(Counter, name="counter")
    assert until(lambda: started)
    root, processes, edges, _ = shown(watch.tree(name(node)))
    label = f"worker 7 {pid_name(body)}"
    assert root == "application_controller"
    assert edges == {
        ("application_controller", "counter"),
        ("application_controller", label),
        (label, pid_name(started[0])),
    }
    assert (processes["counter"], processes[label]) == (server, body)
    node.send(body, "end")


def test_engines_stand_under_their_supervisor_on_the_other_node(watch: Any, node: Node) -> None:
    source = "{ok, E} = erpc:call(N, pyanoma, start_link, [counter, 0]), E"
    engine = watch.shell.eval(source, N=node.name)
    supervisor = watch.shell.pid
    _, processes, edges, _ = shown(watch.tree(name(node)))
    there = f"{supervisor.node.name} <0.{supervisor.id}.{supervisor.serial}>"
    assert edges == {("application_controller", there), (there, "counter")}
    assert (processes[there], processes["counter"]) == (supervisor, engine)


def test_an_application_that_is_none(watch: Any) -> None:
    assert watch.tree("nonsense") == ([], [], [], [])


def test_one_process_tells_all_who_look(watch: Any, shared_beam: Beam, node: Node) -> None:
    other = shared_beam.shell()
    again = other.eval("erpc:call(N, appmon_info, start_link2, [self(), self(), []])", N=node.name)
    assert again == (OK, watch.pid)
    # Who leaves the page says so with an exit signal; the other still looks.
    watch.shell.eval("exit(P, normal)", P=watch.pid)
    other.eval("gen_server:cast(P, {self(), app, kernel, true, []})", P=watch.pid)
    assert other.eval("receive {delivery, _, app, kernel, _} -> ok after 3000 -> nothing end") is OK
    other.eval("process_flag(trap_exit, true), exit(P, normal)", P=watch.pid)
    assert other.eval("receive {'EXIT', P, R} -> R after 3000 -> nothing end") is Atom("normal")
    assert node.whereis("appmon_info") is None


def test_who_asks_without_having_come_in_is_watched_too(watch: Any, shared_beam: Beam, node: Node) -> None:
    other = shared_beam.shell()
    other.eval("gen_server:cast(P, {self(), app, kernel, true, []})", P=watch.pid)
    assert other.eval("receive {delivery, _, app, kernel, _} -> ok after 3000 -> nothing end") is OK
    watch.shell.end()
    other.end()
    assert until(lambda: node.whereis("appmon_info") is None)


def test_nonsense_does_not_end_it(watch: Any, node: Node) -> None:
    watch.shell.eval(
        """
        [gen_server:cast(P, M) || M <- [nonsense, {self(), app, [a], true, []}, {self(), app, #{}, true, []},
            {self(), app_ctrl, {a, [b]}, true, []}, {x, app, kernel, true, []}, {self(), x, kernel, true, []}]],
        [P ! M || M <- [nonsense, {'EXIT', x, y}, {'EXIT', self(), z, z}]]
        """,
        P=watch.pid,
    )
    assert watch.tree("kernel")[0] == words("kernel_sup")
    assert node.whereis("appmon_info") == watch.pid


def test_it_ends_with_who_looks(shared_beam: Beam, node: Node) -> None:
    shell = shared_beam.shell()
    shell.eval("erpc:call(N, appmon_info, start_link2, [self(), self(), []])", N=node.name)
    shell.end()
    assert until(lambda: node.whereis("appmon_info") is None)


def test_a_hidden_node_tells_too(shared_beam: Beam, node_factory: Any) -> None:
    node = node_factory(hidden=True)
    source = """
        {ok, P} = erpc:call(N, appmon_info, start_link2, [self(), self(), []]),
        gen_server:cast(P, {self(), app, kernel, true, []}),
        receive {delivery, P, app, kernel, {Root, _, _, _}} -> Root after 3000 -> nothing end
    """
    assert shared_beam.eval(source, N=node.name) == words("kernel_sup")


def test_the_kernel_comes_back(shared_beam: Beam, node: Node) -> None:
    for _ in range(3):
        old = node.whereis("rex")
        shared_beam.eval("exit(erpc:call(N, erlang, whereis, [kernel_sup]), kill), ok", N=node.name)
        assert until(lambda old=old: node.whereis("rex") not in (None, old))
    assert shared_beam.eval("net_adm:ping(N)", N=node.name) is Atom("pong")
    assert node.table.default_group_leader == node.whereis("user")


def test_kernel_processes_come_back_however_often_they_are_killed(node: Node) -> None:
    for _ in range(50):
        rex = node.whereis("rex")
        node.exit(rex, Atom("kill"))
        assert until(lambda rex=rex: node.whereis("rex") not in (None, rex))
    assert node.is_alive(node.whereis("kernel_sup"))
