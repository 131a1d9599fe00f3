"""The log of reports, as observer's log view reads it: the questions of the Log menu, then ``rb``."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ChildSpec, GenServer, Node, Pid, Supervisor, SupervisorFlags
from erlang_bridge.testing.beams import Beam
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
UNDEFINED = Atom("undefined")


@pytest.fixture
def block_call(shared_beam: Beam, node: Node) -> Any:
    """``rpc:block_call``, as the Log menu does it."""

    def call(module: str, function: str, *arguments: Any) -> Any:
        return shared_beam.eval(
            "rpc:block_call(N, M, F, A)", N=node.name, M=Atom(module), F=Atom(function), A=list(arguments)
        )

    return call


VIEW = """
    (fun() ->
        Me = self(),
        Fd = spawn_link(fun Loop() ->
            receive
                {io_request, From, As, {put_chars, unicode, Chars}} ->
                    Me ! {text, unicode:characters_to_binary(Chars)}, From ! {io_reply, As, ok}, Loop();
                {io_request, From, As, _} -> From ! {io_reply, As, {error, request}}, Loop()
            end
        end),
        ok = erpc:call(N, rb, rescan, [[{start_log, Fd}]]),
        Answer = erpc:call(N, rb, F, A),
        unlink(Fd), exit(Fd, kill),
        Read = fun Read() -> receive {text, T} -> [T | Read()] after 0 -> [] end end,
        {Answer, iolist_to_binary(Read())}
    end)()
"""


@pytest.fixture
def view(shared_beam: Beam, node: Node) -> Any:
    """What ``rb:Function(...)`` answers, and what it has written to the process window before that."""

    def ask(function: str, *arguments: Any) -> tuple[Any, str]:
        answer, text = shared_beam.eval(VIEW, N=node.name, F=Atom(function), A=list(arguments))
        return answer, text.decode()

    shared_beam.eval("erpc:call(N, rb, start, [])", N=node.name)
    return ask


@pytest.fixture
def crashed(node: Node) -> Pid:
    pid = node.start(Counter, 42, name="counted")
    node.cast(pid, Atom("crash"))
    assert until(lambda: not node.is_alive(pid))
    return pid


def words(text: str) -> list[int]:
    return [ord(character) for character in text]


def test_what_the_log_menu_asks(block_call: Any, node: Node) -> None:
    assert Atom("sasl") in [application for application, _, _ in block_call("application", "which_applications")]
    assert Atom("log_mf_h") in block_call("gen_event", "which_handlers", Atom("error_logger"))
    assert block_call("code", "ensure_loaded", Atom("rb")) == (Atom("module"), Atom("rb"))
    assert block_call("erlang", "function_exported", Atom("rb"), Atom("log_list"), 0) is True
    assert block_call("erlang", "whereis", Atom("rb_server")) is UNDEFINED
    answer, pid = block_call("rb", "start")
    assert answer is OK
    assert block_call("erlang", "whereis", Atom("rb_server")) == pid
    assert block_call("rb", "start") == (Atom("error"), (Atom("already_started"), pid))
    assert block_call("rb", "stop") is OK
    assert block_call("erlang", "whereis", Atom("rb_server")) is UNDEFINED
    assert block_call("rb", "stop") == (Atom("error"), Atom("not_found"))


def test_the_reports_of_one_process(view: Any, crashed: Pid, node: Node) -> None:
    other = node.start(Counter)
    node.cast(other, Atom("crash"))
    assert until(lambda: not node.is_alive(other))
    number = f"<0.{crashed.id}.{crashed.serial}>"
    answer, text = view("grep", words(number))
    assert answer is OK
    assert text.count("CRASH REPORT") == 1
    assert f"CRASH REPORT  {number} (counted)" in text
    assert "RuntimeError" in text
    assert "servers.py, line" in text
    assert "ERROR REPORT" in text
    assert "{add" not in text
    assert f"<0.{other.id}.{other.serial}>" not in text
    assert str(node.name) not in text.replace(f"on {node.name}", "")


def test_list_and_show(view: Any, crashed: Pid, node: Node) -> None:
    answer, text = view("log_list")
    assert answer is OK
    lines = text.splitlines()
    assert lines[0].split() == ["No", "Type", "Process", "Date", "Time"]
    assert [line.split()[1:3] for line in lines[2:]] == [["crash_report", "counted"], ["error", "counted"]]
    assert "crash_report" in view("log_list", Atom("crash_report"))[1]
    assert "crash_report" not in view("log_list", Atom("error"))[1]
    assert view("show", 1)[1].count("ERROR REPORT") == 1
    assert view("show", 99) == (OK, "")
    assert view("show", Atom("crash_report"))[1].count("REPORT") == 1
    shown = view("show")[1]
    assert shown.index("CRASH REPORT") < shown.index("ERROR REPORT")


def test_supervisor_reports_and_warnings(view: Any, node: Node) -> None:
    class Silent(GenServer):
        pass

    flags = SupervisorFlags(intensity=5)
    node.start(Supervisor, (flags, [ChildSpec("child", (Counter, 0, {"name": "child"}))]), name="watcher")
    node.send("child", Atom("unexpected"))
    node.cast("child", Atom("crash"))
    assert until(lambda: any(report.type == "supervisor_report" for report in node.reports))
    text = view("grep", words("watcher"))[1]
    assert "SUPERVISOR REPORT" in text
    assert "child_terminated" in text
    assert "WARNING REPORT" in view("show", Atom("warning_msg"))[1]


@pytest.mark.parametrize("pattern", ["(a+)+b", "[", "a*b*", ".*.*x", "=?=?" + "=" * 66, "x" * 300])
def test_a_pattern_that_is_none_or_could_hold_us_up(view: Any, crashed: Pid, pattern: str) -> None:
    assert view("grep", words(pattern)) == ((Atom("error"), Atom("badarg")), "")
    for pattern_that_is_good in ("C.*H REPORT", "C.*?H", r"R\??E"):
        assert "CRASH" in view("grep", words(pattern_that_is_good))[1]


def test_files_are_not_written(shared_beam: Beam, node: Node, view: Any, tmp_path: Any) -> None:
    path = tmp_path / "log"
    source = "erpc:call(N, rb, start_log, [F])"
    refused = (Atom("error"), Atom("eacces"))
    assert shared_beam.eval(source, N=node.name, F=words(str(path))) == refused
    assert shared_beam.eval("erpc:call(N, rb, rescan, [[{start_log, F}]])", N=node.name, F=words(str(path))) == refused
    assert not path.exists()


def test_a_device_that_is_gone(shared_beam: Beam, node: Node, view: Any, crashed: Pid) -> None:
    source = "erpc:call(N, rb, rescan, [[{start_log, spawn(fun() -> ok end)}]]), erpc:call(N, rb, show, [])"
    answer, _ = shared_beam.eval(source, N=node.name)
    assert answer is Atom("error")
    assert view("show", 1)[0] is OK


def test_the_list_goes_to_who_asks(shared_beam: Beam, node: Node, view: Any, crashed: Pid) -> None:
    source = """
        (fun() ->
            Me = self(),
            Leader = spawn_link(fun() ->
                receive {io_request, From, As, {put_chars, _, C}} -> From ! {io_reply, As, ok}, Me ! {text, C} end
            end),
            Old = group_leader(),
            group_leader(Leader, self()),
            erpc:call(N, rb, list, []),
            group_leader(Old, self()),
            receive {text, T} -> unicode:characters_to_binary(T) after 1000 -> nothing end
        end)()
    """
    assert b"crash_report" in shared_beam.eval(source, N=node.name)


def test_the_log_is_bounded(node: Node, view: Any) -> None:
    class Big(Counter):
        def init(self, args: Any) -> Any:
            return b"x" * 1_000_000

    pid = node.start(Big)
    node.cast(pid, Atom("crash"))
    assert until(lambda: not node.is_alive(pid))
    assert len(node.reports) == 2
    assert node.reports.size < 200_000
    for _ in range(600):
        node.cast(node.start(Counter), Atom("crash"))
    assert until(lambda: node.reports._last == 1202)
    assert len(node.reports) == 1000
    assert view("show", 1) == (OK, "")
