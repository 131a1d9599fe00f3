"""OTP's observer looks at a Python node: every tab and window, with mouse and keyboard, as a user goes through them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, Pid
from erlang_bridge.testing.modules import INIT_ANSWER
from tests.gui.observer import Observer, Widget
from tests.python_nodes import PythonNode


@pytest.fixture(scope="module")
def supervisor(observer: Observer, python: PythonNode) -> Pid:
    """A stock supervisor in observer's BEAM, which has two engines on the Python node."""
    observer.beam.load_module(INIT_ANSWER)
    pid: Pid = observer.beam.eval_erlang(
        """
        Spec = fun(Id, Start) -> #{id => Id, start => {erpc, call, [Node, pyanoma, start_link, [counter, Start]]}} end,
        {ok, S} = supervisor:start_link(init_answer, {ok, {#{}, [Spec(first, 41), Spec(second, 0)]}}),
        unlink(S),
        S
        """,
        Node=python.node,
    )
    return pid


@pytest.fixture(autouse=True)
def looking(observer: Observer, python: PythonNode, supervisor: Pid) -> Iterator[None]:
    """Observer shows the Python node, and has nothing to complain of when the test ends."""
    if observer.frame().text != f"Observer - {python.name}":
        observer.show_node(python.name)
    yield
    observer.give_up_dialogs()
    for ref, _, title in observer.windows()[1:]:
        observer.close(Widget(ref, "frame", title, (0, 0, 0, 0), ()))
    observer.check()


@pytest.fixture
def ask(observer: Observer, python: PythonNode) -> Callable[..., Any]:
    """``erpc`` from observer's BEAM to the Python node."""
    return lambda module, function, *arguments: observer.beam.call(
        "erpc", "call", python.node, Atom(module), Atom(function), list(arguments)
    )


def number(text: str) -> int:
    """The first number in it."""
    found = re.search(r"\d+", text)
    assert found, text
    return int(found[0])


def row_of(observer: Observer, table: Widget, text: str, column: int = 1) -> int:
    """The number of the row with this text in a column."""

    def find() -> list[int]:
        return [at + 1 for at, row in enumerate(observer.rows(table)) if row[column] == text]

    return observer.until(find, 10, lambda: f"{text!r} in {observer.rows(table)}")[0] - 1


def process_list(observer: Observer) -> Widget:
    """The list of the tab Processes, once it shows the Ticker that there is now."""
    table = observer.open_tab("Processes").one("listCtrl")
    source = "pid_to_list(erpc:call(observer_wx:get_active_node(), erlang, whereis, [ticker]))"
    ticker = bytes(observer.beam.eval_erlang(f"list_to_binary({source})")).decode()
    observer.until(lambda: [ticker, "ticker"] in [row[:2] for row in observer.rows(table)], 10, lambda: f"{ticker}")
    return table


# -- tabs that show numbers ---------------------------------------------------------------------


def test_system(observer: Observer) -> None:
    page = observer.open_tab("System")
    observer.until(lambda: "pyanoma" in observer.page().whole_text())
    page = observer.page()
    facts = page.labels()
    assert facts["System Version"].startswith("pyanoma ")
    assert facts["ERTS Version"].startswith("CPython 3.")
    assert facts["Emulator Wordsize"] == "8"
    assert number(facts["Schedulers"]) == 1
    assert 10 < number(facts["Total"]) < 400, "MiB of a Python process"
    used = {name: widget for name, widget in facts.items() if "% used" in widget}
    assert "Ports" in used
    assert "Secs" in facts["Up time"] or "Mins" in facts["Up time"]
    observer.picture("system")


def test_load_charts(observer: Observer) -> None:
    page = observer.open_tab("Load Charts")
    _, _, width, height = page.rect
    background = observer.screen.colours(page.rect)
    observer.until(lambda: len(observer.screen.colours(page.rect)) > 3)
    seen = re.sub(r"\s+", " ", observer.screen.read(page.rect))
    assert re.search("Scheduler Utilization|Memory Usage|IO Usage", seen), seen
    # Curves grow with each second: more is drawn in their colours than there was.
    observer.until(lambda: _drawn(observer, page) > 1.02 * _ink(background), 10)
    observer.picture("load_charts")
    assert width > 900
    assert height > 400


def _ink(colours: dict[tuple[int, int, int], int]) -> int:
    """Pixels that are in a colour: not white, grey, or black."""
    return sum(
        count for (red, green, blue), count in colours.items() if max(red, green, blue) - min(red, green, blue) > 40
    )


def _drawn(observer: Observer, page: Widget) -> int:
    return _ink(observer.screen.colours(page.rect))


def test_memory_allocators(observer: Observer) -> None:
    page = observer.open_tab("Memory Allocators")
    table = page.one("listCtrl")
    observer.until(lambda: len(observer.rows(table)) > 1)
    rows = observer.rows(table)
    assert rows[0][0] == "total"
    assert {"pymalloc", "libc_malloc"} <= {row[0] for row in rows}
    for name, block, carrier, most in rows:
        assert 0 <= int(block) <= int(carrier) <= int(most), name
    observer.until(lambda: _drawn(observer, page) > 500)
    observer.picture("memory_allocators")


# -- applications -------------------------------------------------------------------------------


def show_application(observer: Observer, name: str) -> Widget:
    """Select an application in the list at the left; the drawing area."""
    page = observer.open_tab("Applications")
    box = observer.until(lambda: next((w for w in observer.page().all("listBox") if name in w.text.split("\n")), None))
    x, y, width, _ = box.rect
    observer.screen.click(x + width // 2, y + 10)
    observer.screen.press(*["Up"] * 5, *["Down"] * box.text.split("\n").index(name))
    return page.all("panel")[-1]


PYANOMA = [
    "pyanoma_sup",
    "pyanoma_engines",
    "ticker",
    "pyanoma_hardware",
    "dynamic_configuration",
    "local_key_value_storage",
    "local_time_series_storage",
    "logging",
    "static_configuration",
    "wall_clock",
    "pyanoma_identity",
    "encryption",
    "identity_management",
    "naming",
    "reads_for",
    "signs_for",
    "verification",
    "pyanoma_intents",
    "intent_pool",
    "solver",
    "<pid>",
    "pyanoma_network",
    "network_registry",
    "router-<id>",
    "storage",
    "transport-protocol-cluster",
    "transport-protocol-tcp",
    "pyanoma_ordering",
    "ledger",
    "mempool_worker",
    "pyanoma_shards",
    "shard-0",
    "shard-1",
    "pyanoma_resource_machine",
    "commitment_tree",
]
"""The tree of the application, from the top down, siblings by name; the optimiser's process has none."""


def names(observer: Observer) -> list[str]:
    """Of all in the tree; what differs between runs is left out of them."""
    found = [re.sub("[0-9a-f]{32,}", "<id>", name) for name, _, _, _ in observer.app_tree()]
    return ["<pid>" if name.startswith("<") else name for name in found]


def click_in_tree(observer: Observer, area: Widget, name: str, *, button: int = 1, times: int = 1) -> None:
    x, y, width, height = observer.until(lambda: {n: box for n, _, _, box in observer.app_tree()}.get(name))
    observer.screen.click(area.rect[0] + x + width // 2, area.rect[1] + y + height // 2, button=button, times=times)


def test_applications(observer: Observer, python: PythonNode, supervisor: Pid) -> None:
    area = show_application(observer, "pyanoma")
    observer.until(lambda: names(observer) == PYANOMA, 10, lambda: str(names(observer)))
    seen = 0
    for name, _, _, (x, y, width, height) in observer.app_tree():
        if x + width > area.rect[2] or y + height > area.rect[3]:
            continue  # the tree has more than fits into the window
        drawn = observer.screen.read((area.rect[0] + x + 3, area.rect[1] + y + 3, width - 6, height - 6), one_line=True)
        assert re.sub("[^a-z]", "", drawn) == re.sub("[^a-z]", "", name), f"{name} is drawn as {drawn}"
        seen += 1
    assert seen >= 3
    observer.picture("applications_pyanoma")

    # Engines that a supervisor of a BEAM has here stand under it, in the tree of the node; another one appears by itself.
    show_application(observer, python.name.partition("@")[0])
    observer.until(lambda: supervisor in pids(observer), 10, lambda: str(observer.app_tree()))
    below = {pid: depth for _, pid, depth, _ in observer.app_tree()}
    engines = observer.beam.eval_erlang("[P || {_, P, _, _} <- supervisor:which_children(S)]", S=supervisor)
    assert {below[engine] for engine in engines} == {below[supervisor] + 1}
    observer.picture("applications")
    add = "supervisor:start_child(S, #{id => third, start => {erpc, call, [Node, pyanoma, start_link, [counter, 7]]}})"
    _, third = observer.beam.eval_erlang(add, S=supervisor, Node=python.node)
    observer.until(lambda: third in pids(observer), 10)
    observer.beam.eval_erlang(
        "ok = supervisor:terminate_child(S, third), ok = supervisor:delete_child(S, third)", S=supervisor
    )
    observer.until(lambda: third not in pids(observer), 10)


def pids(observer: Observer) -> list[Pid]:
    return [pid for _, pid, _, _ in observer.app_tree()]


def test_message_and_kill_from_the_tree(observer: Observer, ask: Callable[..., Any]) -> None:
    area = show_application(observer, "pyanoma")
    before = ask("gen_server", "call", Atom("ticker"), Atom("count"))
    observer.choose_in_popup(6, 7, lambda: click_in_tree(observer, area, "ticker", button=3))  # Send Msg
    answer(observer, "{'$gen_cast', increment}")
    observer.until(lambda: ask("gen_server", "call", Atom("ticker"), Atom("count")) == before + 1)

    first = ask("erlang", "whereis", Atom("ticker"))
    observer.choose_in_popup(7, 7, lambda: click_in_tree(observer, area, "ticker", button=3))  # Kill process
    answer(observer, None)
    second = observer.until(lambda: {n: pid for n, pid, _, _ in observer.app_tree() if pid != first}.get("ticker"), 10)
    assert second == ask("erlang", "whereis", Atom("ticker"))


def answer(observer: Observer, text: str | None) -> None:
    """Fill in a dialog that asks for a term, or leave what stands there, and press Return."""
    dialog = observer.window("^Input Text$")
    if text is not None:
        observer.click(dialog.one("text"))
        observer.screen.type(text)
    observer.click(dialog.one("button", "OK"))
    observer.until(lambda: len(observer.windows()) == 1)


# -- processes ----------------------------------------------------------------------------------


def cells_of(observer: Observer, table: Widget, column: int, numeric: bool) -> list[Any]:
    """What a column shows; of names only the registered ones, since others have a sort order of their own."""
    cells = [row[column] for row in observer.rows(table)]
    return list(map(int, cells)) if numeric else [cell for cell in cells if re.fullmatch(r"\w+", cell)]


def test_processes(observer: Observer, ask: Callable[..., Any]) -> None:
    table = process_list(observer)
    titles = observer.column_titles(table)
    assert titles[1] in ("Name or Initial Func", "Description")
    for title in [title for title in titles if title not in ("Pid", "Current Function")]:
        column = titles.index(title)
        observer.click_column(table, title)
        numeric = title in ("Reds", "Memory", "MsgQ")
        cells = lambda: cells_of(observer, table, column, numeric)  # noqa: B023, E731
        observer.until(lambda: cells() in (sorted(cells()), sorted(cells(), reverse=True)), 5, lambda: str(cells()))  # noqa: B023
    names = {row[1] for row in observer.rows(table)}
    assert {"pyanoma_sup", "ticker", "net_kernel", "rex"} <= names
    assert "Number of Processes" in observer.status()
    observer.picture("processes")


def test_kill_collect_and_refresh_in_the_process_list(observer: Observer, ask: Callable[..., Any]) -> None:
    table = process_list(observer)
    menu = lambda: observer.click_row(table, row_of(observer, table, "ticker"), button=3)  # noqa: E731
    first = ask("erlang", "whereis", Atom("ticker"))
    observer.choose_in_popup(5, 5, menu)  # Kill process
    observer.until(lambda: ask("erlang", "whereis", Atom("ticker")) not in (first, Atom("undefined")))
    before = [row[0] for row in observer.rows(table)]
    observer.choose_in_menu_bar("View", "Refresh")
    observer.until(lambda: [row[0] for row in observer.rows(table)] != before)
    if observer.beam.release.otp < 27:  # Later ones, with Debian's wx, open the menu of a list only once.
        observer.choose_in_popup(4, 5, menu)  # Garbage collect processes


def test_dump_to_file(observer: Observer, tmp_path: Path) -> None:
    process_list(observer)
    dump = tmp_path / "dump.txt"
    observer.choose_in_menu_bar("File", "Dump to file")
    observer.until(lambda: "Select a file" in observer.screen.titles())
    observer.screen.put_in_front("Select a file", (100, 90))
    observer.screen.press("ctrl+a")
    observer.screen.type(str(dump))

    def saved() -> str:
        # The dialog looks the folder up before it takes the name.
        if "Select a file" in observer.screen.titles():
            observer.screen.press("Return")
            gevent.sleep(0.2)
        return dump.read_text() if dump.exists() else ""

    observer.until(saved)
    observer.until(lambda: dump.read_text().rstrip().endswith("=" * 20), 10, dump.read_text)  # it is written bit by bit
    text = dump.read_text()
    assert "ticker" in text
    assert "pyanoma_sup" in text


# -- the window of a process --------------------------------------------------------------------


def open_process(observer: Observer, name: str) -> Widget:
    table = process_list(observer)
    observer.click_row(table, row_of(observer, table, name), times=2)
    return observer.window(f"{name} ")


def test_process_window(observer: Observer, ask: Callable[..., Any]) -> None:
    for _ in range(5):
        ask("gen_server", "cast", Atom("ticker"), Atom("increment"))
    count = ask("gen_server", "call", Atom("ticker"), Atom("count"))
    window = open_process(observer, "ticker")
    notebook = window.one("notebook")
    facts = window.labels()
    assert facts["Initial Call"] == "proc_lib:init_p/5"  # as that of every server of a BEAM
    assert facts["Registered Name"] == "ticker"
    assert facts["Status"] == "waiting"
    assert facts["Message Queue Len"] == "0"
    assert int(facts["Reductions"]) >= 5
    observer.picture("process_information", window.rect)

    shown = {}
    for title in ("Messages", "Dictionary", "State"):
        page = observer.open_tab(title, notebook)
        shown[title] = page.one("htmlWindow").text
        observer.picture(f"process_{title.lower()}", window.rect)
    assert shown["Messages"].strip() == "No messages were found"
    assert "$initial_call" in shown["Dictionary"]
    assert str(count) in shown["State"]
    assert "running" in shown["State"]

    stack = observer.open_tab("Stack Trace", notebook).one("listCtrl")
    frames = observer.until(lambda: observer.rows(stack))
    assert any(re.search(r"\.py:\d+$", row[1]) for row in frames), frames
    observer.picture("process_stack_trace", window.rect)

    # A link leads to the supervisor.
    page = observer.open_tab("Process Information", notebook)
    links = next(w for w in page.all("groupBox") if w.text.startswith("Links"))
    link = next(w for w in page.all("staticText") if w.rect[1] >= links.rect[1] and w.text.startswith("<"))
    observer.click(link)
    other = observer.window("pyanoma_engines ")
    assert other.labels()["Registered Name"] == "pyanoma_engines"


def test_an_engine_that_waits_shows_where(observer: Observer, supervisor: Pid) -> None:
    """Inside a call that takes long: the line of Python, and the messages that queue up meanwhile."""
    child = observer.beam.eval_erlang(
        "{_, Pid, _, _} = lists:keyfind(first, 1, supervisor:which_children(S)), Pid", S=supervisor
    )
    observer.beam.eval_erlang(
        "gen_server:cast(P, {add, 1}), spawn(fun() -> catch gen_server:call(P, {sleep, 6.0}) end),"
        "timer:sleep(100), gen_server:cast(P, {add, 2}), gen_server:cast(P, {add, 3})",
        P=child,
    )
    observer.open_tab("Processes")
    observer.beam.eval_erlang("observer ! {open_link, P}", P=child)
    window = observer.window(r"<\d+")
    notebook = window.one("notebook")
    assert window.labels()["Message Queue Len"] == "2"
    stack = observer.open_tab("Stack Trace", notebook).one("listCtrl")
    frames = observer.rows(stack)
    assert any("servers.py:" in row[1] for row in frames), frames
    observer.picture("process_busy_stack_trace", window.rect)
    assert "add" in observer.open_tab("Messages", notebook).one("htmlWindow").text
    observer.picture("process_busy_messages", window.rect)


def test_log_view(observer: Observer, ask: Callable[..., Any]) -> None:
    first = ask("erlang", "whereis", Atom("ticker"))
    ask("gen_server", "cast", Atom("ticker"), Atom("nonsense"))
    observer.until(lambda: ask("erlang", "whereis", Atom("ticker")) not in (first, Atom("undefined")))
    observer.choose_in_menu_bar("Log", "Toggle log view")
    observer.until(lambda: "rb_server started" in observer.status(), 5, observer.status)
    window = open_process(observer, "pyanoma_engines")
    logged = observer.open_tab("Log", window.one("notebook")).one("htmlWindow").text
    assert "ticker" in logged
    assert "nonsense" in logged
    observer.picture("process_log", window.rect)
    observer.close(window)
    observer.choose_in_menu_bar("Log", "Toggle log view")
    observer.until(lambda: "rb_server stopped" in observer.status(), 5, observer.status)


# -- ports, sockets, tables ---------------------------------------------------------------------


def test_ports_and_sockets(observer: Observer) -> None:
    own = str(observer.beam.node)
    table = observer.open_tab("Ports").one("listCtrl")
    row = row_of(observer, table, own, 2)
    observer.picture("ports")
    observer.click_row(table, row, times=2)
    window = observer.window("#Port<")
    facts = window.labels()
    assert own in window.whole_text()
    assert any(re.search(r"\d", value) for name, value in facts.items() if "eceived" in name or "ent" in name), facts
    observer.picture("port", window.rect)
    observer.close(window)

    page = observer.open_tab("Sockets")
    table = page.one("listCtrl")
    observer.until(lambda: len(observer.rows(table)) >= 2)
    observer.picture("sockets")
    observer.click_row(table, 0, times=2)
    window = observer.window("[Ss]ocket")
    observer.picture("socket", window.rect)


def test_table_viewer(observer: Observer, python: PythonNode) -> None:
    table = observer.open_tab("Table Viewer").one("listCtrl")
    row = row_of(observer, table, "registered_names", 0)
    observer.picture("table_viewer")
    observer.click_row(table, row, times=2)
    window = observer.window("^TV Ets: registered_names")
    content = window.one("listCtrl")
    rows = observer.until(lambda: [r for r in observer.rows(content) if r[0]])
    assert "ticker" in [r[0] for r in rows]
    observer.screen.press("ctrl+s")
    observer.until(lambda: observer.tree(window.ref).all("text"))
    observer.screen.type("ticker")
    observer.until(lambda: "Found" in observer.tree(window.ref).one("status_line").text)
    observer.picture("table", window.rect)


# -- tracing ------------------------------------------------------------------------------------


def test_trace_overview(observer: Observer, python: PythonNode, ask: Callable[..., Any]) -> None:
    table = process_list(observer)
    observer.click_row(table, row_of(observer, table, "ticker"))
    observer.choose_in_menu_bar("Trace", "Trace processes")
    dialog = observer.window("Process Options")
    for label in ("Trace send message", "Trace receive message", "Trace function call"):
        observer.click(dialog.one("check", label))
    observer.picture("trace_options", dialog.rect)
    observer.click(dialog.one("button", "OK"))

    page = observer.open_tab("Trace Overview")
    observer.until(lambda: any(python.name in str(observer.rows(w)) for w in observer.page().all("listCtrl")))
    observer.click(page.one("button", "Add Trace Pattern"))
    modules = observer.window("Select Module")
    observer.click(modules.one("text"))
    observer.screen.type("engines.ticker.server")
    observer.until(lambda: observer.tree(modules.ref).one("listBox").text.startswith("engines.ticker.server"))
    x, y, _, _ = modules.one("listBox").rect
    observer.screen.click(x + 30, y + 12)
    observer.click(modules.one("button", "OK"))
    functions = observer.window("Trace Functions")  # none is ticked: all
    observer.click(functions.one("button", "OK"))
    matching = observer.window("Match Spec")
    x, y, _, _ = matching.one("listBox").rect
    observer.screen.click(x + 30, y + 12)  # Return Trace
    observer.click(matching.one("button", "OK"))
    observer.until(lambda: "engines.ticker" in str([observer.rows(w) for w in observer.page().all("listCtrl")]))

    observer.click(next(w for w in page.walk() if w.text == "Start Trace"))
    log = observer.window("Trace Log")
    observer.until(lambda: any(w.text == "Stop Trace" for w in observer.page().walk()))  # all has been set up
    ask("gen_server", "cast", Atom("ticker"), Atom("increment"))
    ask("gen_server", "call", Atom("ticker"), Atom("count"))
    text = observer.until(lambda: _trace_text(observer, log, 3))
    assert "increment" in text
    assert "count" in text
    assert "engines.ticker.server" in text
    observer.click(log.one("text"))
    observer.screen.press("ctrl+Home")
    observer.picture("trace_log", log.rect)
    observer.close(log)
    observer.picture("trace_overview")

    # The charts have gone on all the while.
    for title in ("Load Charts", "Memory Allocators"):
        observer.open_tab(title)
        gevent.sleep(0.5)
        observer.picture(f"{title.lower().replace(' ', '_')}_later")


def _trace_text(observer: Observer, log: Widget, lines: int) -> str:
    text = observer.tree(log.ref).one("text").text
    return text if text.count("\n") >= lines and "call" in text else ""


# -- nodes --------------------------------------------------------------------------------------


def test_own_node_and_back(observer: Observer, python: PythonNode) -> None:
    table = process_list(observer)
    observer.show_node(str(observer.beam.node))
    row_of(observer, table, "wxe_master")
    observer.show_node(python.name)
    row_of(observer, table, "ticker")
    assert "wxe_master" not in [row[1] for row in observer.rows(table)]


@pytest.fixture
def another(epmd_port: int, beam_cookie: str, tmp_path: Path) -> Iterator[Callable[..., PythonNode]]:
    """Starts more Python nodes, which end with the test."""
    started: list[PythonNode] = []

    def start(start: bool = True, **options: Any) -> PythonNode:
        started.append(PythonNode(tmp_path, cookie=beam_cookie, epmd_port=epmd_port, **options))
        return started[-1].start() if start else started[-1]

    yield start
    for node in started:
        node.kill()


def test_a_hidden_node_and_a_node_that_goes_down(
    observer: Observer, python: PythonNode, another: Callable[..., PythonNode]
) -> None:
    hidden = another(arguments=["--hidden"])
    visible = another()
    assert observer.beam.eval_erlang("net_adm:ping(N)", N=visible.node) is Atom("pong")
    table = process_list(observer)
    observer.show_node(hidden.name)
    row_of(observer, table, "ticker")
    observer.check()
    assert hidden.node not in observer.beam.eval_erlang("nodes()")
    observer.open_tab("Applications")
    observer.check()
    observer.open_tab("Processes")

    observer.show_node(visible.name)
    row_of(observer, table, "ticker")
    visible.kill()
    accept_node_down(observer)
    assert observer.frame().text == f"Observer - {observer.beam.node}"


def accept_node_down(observer: Observer) -> None:
    """Wait for the dialog that tells of it, and press its button."""
    observer.until(lambda: "Node down" in observer.screen.titles(), 15)
    observer.screen.put_in_front("Node down", (300, 200))
    observer.screen.press("Return")
    observer.until(lambda: "Node down" not in observer.screen.titles())


@pytest.mark.slow
def test_a_hundred_thousand_processes(observer: Observer, another: Callable[..., PythonNode]) -> None:
    crowd = another(start=False)
    crowd.command = [sys.executable, "-m", "tests.gui.crowd", crowd.name, "100000"]
    crowd.start(60)
    assert observer.beam.eval_erlang("net_adm:ping(N)", N=crowd.node, timeout_s=20) is Atom("pong")
    observer.open_tab("System")
    observer.show_node(crowd.name)
    table = observer.open_tab("Processes").one("listCtrl")
    observer.until(lambda: observer.count(table) > 100_000, 20, lambda: f"{observer.count(table)} processes")
    assert "tests.servers.Idle" in str(observer.rows(table, 50_000, 10))
    observer.picture("processes_100000")
    crowd.kill()
    accept_node_down(observer)
