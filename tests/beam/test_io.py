"""Io requests between a BEAM and us: its processes print and read here, ours print and read there."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from erlang_bridge import (
    Atom,
    CallTimeout,
    ErlangError,
    ErlangExit,
    GenServer,
    NoConnection,
    Node,
    NoProcess,
    OwnProcess,
    Pid,
    RemoteCall,
    Reply,
)
from erlang_bridge.kernel.group_leader import Streams, start_group_leader
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.elixir import Elixir
from tests.fix_node import NodeFactory
from tests.waiting import until

OK = Atom("ok")
BADARG = Atom("badarg")


class Typed(io.StringIO):
    """A text stream on which lines come when a test types them; reading waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._came = threading.Condition()

    def type(self, line: str) -> None:
        with self._came:
            self._lines.append(line)
            self._came.notify()

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # typeshed has two bases disagree
        with self._came:
            while not self._lines:
                self._came.wait()
            return self._lines.pop(0)


class Talker(GenServer):
    """Prints what it is told to, to its group leader."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case (Atom("print"), bytes(text)):
                self.print(text.decode())
                return Reply(OK, state)
            case (Atom("ask"), bytes(prompt)):
                return Reply(self.get_line(prompt.decode()), state)
            case Atom("leader"):
                return Reply(self.process.group_leader, state)
        return None


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def node(node_factory: NodeFactory, output: io.StringIO, shared_beam: Beam) -> Node:
    """A node whose `user` writes to `output`, connected: towards others a BEAM uses the requests without encoding."""
    node = node_factory(streams=Streams(output), engines={"talker": Talker})
    node.connect(shared_beam.name)
    return node


@pytest.fixture
def user(node: Node) -> Pid:
    pid = node.whereis("user")
    assert pid is not None
    return pid


# -- a BEAM prints here -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "printed"),
    [
        ('io:put_chars(D, "abc")', "abc"),
        ("io:put_chars(D, [<<\"λ\"/utf8>>, 8594, [$x | <<\"y\">>]])", "λ→xy"),
        ("io:nl(D)", "\n"),
        ('io:format(D, "~p and ~s~n", [{a, "b"}, <<"c">>])', '{a,"b"} and c\n'),
        ('io:fwrite(D, "~ts ~w ~5.2.0f", ["é", [1], 3.14159])', "é [1] 03.14"),
        ("io:write(D, {a, \"b\", <<1, 2>>})", "{a,[98],<<1,2>>}"),
        ('file:write(D, <<"caf", 233>>)', "café"),
        ('io:put_chars(D, ["abc", $\\n, <<"def">>])', "abc\ndef"),
        ("io:requests(D, [{put_chars, unicode, \"1\"}, {put_chars, unicode, \"2\"}, {format, \"~w\", [3]}])", "123"),
    ],
)  # fmt: skip
def test_output_of_a_beam(shared_beam: Beam, user: Pid, output: io.StringIO, call: str, printed: str) -> None:
    shared_beam.eval(call, D=user)
    assert output.getvalue() == printed


def test_a_layout_over_lines_is_the_same_as_there(shared_beam: Beam, user: Pid, output: io.StringIO) -> None:
    report = """#{key => lists:seq(1, 60), other => {tagged_tuple, <<"text">>, [atom || _ <- lists:seq(1, 40)]}}"""
    there = shared_beam.eval(
        f'R = {report}, io:format(D, "~p~n", [R]), list_to_binary(io_lib:format("~p~n", [R]))', D=user
    )
    assert output.getvalue() == there.decode()


@pytest.mark.parametrize(
    "call",
    [
        "io:format(D, \"~p ~p~n\", [only_one])",
        "io:format(D, \"~d\", [1])",
        "io:put_chars(D, <<255, 254>>)",
        "io:put_chars(D, [16#D800])",
    ],
)  # fmt: skip
def test_what_cannot_be_printed_is_badarg_there(shared_beam: Beam, user: Pid, output: io.StringIO, call: str) -> None:
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval(call, D=user)
    assert caught.value.reason == BADARG
    shared_beam.eval('io:put_chars(D, "still there")', D=user)
    assert output.getvalue() == "still there"


def raw(beam: Beam, device: Pid, request: str) -> Any:
    """The reply to a request that no function of `io` makes."""
    return beam.eval(
        f"R = make_ref(), D ! {{io_request, self(), R, {request}}}, "
        "receive {io_reply, R, X} -> X after 3000 -> nothing end",
        D=device,
    )


@pytest.mark.parametrize(
    ("request_", "reply", "printed"),
    [
        ('{put_chars, <<"old">>}', OK, "old"),
        ('{put_chars, [233]}', OK, "é"),
        ('{put_chars, io_lib, format, ["~w", [old]]}', OK, "old"),
        ('{put_chars, unicode, lists, reverse, ["cba"]}', OK, "abc"),
        ('{put_chars, unicode, lists, nonsense, []}', (Atom("error"), Atom("nonsense")), ""),
        ('{put_chars, unicode, io_lib, format, ["~w", []]}', (Atom("error"), Atom("format")), ""),
        ('{put_chars, klingon, <<"x">>}', (Atom("error"), Atom("request")), ""),
        ('{put_chars, unicode, {no, text}}', (Atom("error"), Atom("put_chars")), ""),
        ('{get_line, prompt}', Atom("eof"), "prompt"),
        ('{get_chars, "> ", 3}', Atom("eof"), "> "),
        ('{get_chars, unicode, \'\', 0}', [], ""),
        ('{get_line, unicode, {format, "~w? ", [really]}}', Atom("eof"), "really? "),
        ('{get_line, unicode, {format, "~w? ", []}}', Atom("eof"), "???"),
        ('{get_password, unicode}', (Atom("error"), Atom("enotsup")), ""),
        ('{get_geometry, columns}', (Atom("error"), Atom("enotsup")), ""),
        ('{get_geometry, rows}', (Atom("error"), Atom("enotsup")), ""),
        ('{get_geometry, depth}', (Atom("error"), Atom("request")), ""),
        ('getopts', [(Atom("binary"), False), (Atom("encoding"), Atom("unicode"))], ""),
        ('{setopts, [{binary, true}, latin1]}', OK, ""),
        ('{setopts, [{binary, true}, {nonsense, 1}]}', (Atom("error"), Atom("enotsup")), ""),
        ('{requests, [{put_chars, <<"a">>}, nonsense, {put_chars, <<"b">>}]}', (Atom("error"), Atom("request")), "a"),
        ('{requests, [{put_chars, <<"a">>}, {get_line, \'\'}]}', Atom("eof"), "a"),
        ('{requests, []}', OK, ""),
        ('nonsense', (Atom("error"), Atom("request")), ""),
        ('{}', (Atom("error"), Atom("request")), ""),
        ('{put_chars}', (Atom("error"), Atom("request")), ""),
        ('fun() -> 1 end', (Atom("error"), Atom("request")), ""),
    ],
)  # fmt: skip
def test_requests_old_and_new_and_wrong(
    shared_beam: Beam, user: Pid, output: io.StringIO, request_: str, reply: Any, printed: str
) -> None:
    assert raw(shared_beam, user, request_) == reply
    assert output.getvalue() == printed


def test_what_is_no_request_is_ignored(shared_beam: Beam, node: Node, user: Pid, output: io.StringIO) -> None:
    shared_beam.eval("D ! {io_request, nobody, ref, getopts}, D ! {io_request, 1}, D ! junk", D=user)
    shared_beam.eval('io:put_chars(D, "x")', D=user)
    assert output.getvalue() == "x"
    assert node.whereis("user") == user


def test_options_are_kept(shared_beam: Beam, user: Pid, output: io.StringIO) -> None:
    assert shared_beam.eval("io:setopts(D, [binary, {encoding, latin1}]), io:getopts(D)", D=user)[:2] == [
        (Atom("binary"), True),
        (Atom("encoding"), Atom("latin1")),
    ]
    shared_beam.eval("io:put_chars(D, [233, 955])", D=user)
    assert output.getvalue() == "é\\x{3BB}"


def test_a_stream_of_another_encoding_gets_escapes(shared_beam: Beam, node: Node) -> None:
    raw_bytes = io.BytesIO()
    leader = start_group_leader(node.table, Streams(io.TextIOWrapper(raw_bytes, encoding="ascii")))
    shared_beam.eval('io:format(D, "~ts", [[955, $x]])', D=leader)
    assert raw_bytes.getvalue() == b"\\x{3BB}x"


def test_a_stream_that_is_closed_is_an_error_and_no_crash(
    shared_beam: Beam, node: Node, user: Pid, output: Any
) -> None:
    output.close()
    assert raw(shared_beam, user, '{put_chars, unicode, <<"x">>}') == (Atom("error"), Atom("terminated"))
    assert node.whereis("user") == user


def test_rpc_from_us_prints_here(shared_beam: Beam, node: Node, output: io.StringIO) -> None:
    node.rpc(shared_beam.name, "io", "format", [b"~ts~n", ["from there"]])
    assert output.getvalue() == "from there\n"


def test_a_process_that_we_start_there_prints_here(shared_beam: Beam, node: Node, output: io.StringIO) -> None:
    node.spawn_remote(shared_beam.name, "io", "put_chars", [b"spawned"])
    assert until(lambda: output.getvalue() == "spawned")


def test_a_dead_leader_is_terminated_there(shared_beam: Beam, node: Node) -> None:
    leader = start_group_leader(node.table, Streams(io.StringIO()))
    node.exit(leader, Atom("kill"))
    until(lambda: not node.is_alive(leader))
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval('io:put_chars(D, "x")', D=leader)
    assert caught.value.reason == Atom("terminated")


def test_user_is_started_again(shared_beam: Beam, node: Node, user: Pid, output: io.StringIO) -> None:
    shared_beam.eval('io:put_chars(D, "")', D=user)
    node.exit(user, Atom("kill"))
    assert until(lambda: node.whereis("user") not in (None, user))
    shared_beam.eval('io:put_chars(D, "again")', D=node.whereis("user"))
    node.print("!")
    assert output.getvalue() == "again!\n"


def test_output_of_elixir(elixir: Elixir, node: Node, user: Pid, output: io.StringIO) -> None:
    node.connect(elixir.name)
    elixir.eval('IO.puts(d, "héllo λ"); IO.write(d, [?a, "b"]); IO.inspect(d, %{a: [1, nil]}, [])', d=user)
    assert output.getvalue() == "héllo λ\nab%{a: [1, nil]}\n"
    assert elixir.eval('IO.gets(d, "? ")', d=user) == Atom("eof")


# -- a BEAM reads here ------------------------------------------------------------------------


@pytest.fixture
def typed() -> Iterator[Typed]:
    typed = Typed()
    yield typed
    typed.type("")  # whoever still reads must not keep a thread


@pytest.fixture
def terminal(node: Node, typed: Typed, output: io.StringIO) -> Pid:
    """A group leader that shows and reads what a test types."""
    return start_group_leader(node.table, Streams(output, typed))


def chars(text: str) -> list[int]:
    return [ord(character) for character in text]


@pytest.mark.parametrize(
    ("call", "lines", "value"),
    [
        ('io:get_line(D, "? ")', ["une ligne é λ\n"], chars("une ligne é λ\n")),
        ('io:get_line(D, "? ")', ["dos\r\n"], chars("dos\n")),
        ('io:get_line(D, "? ")', ["the rest", ""], chars("the rest")),
        ('io:get_line(D, "? ")', [""], Atom("eof")),
        ('io:get_chars(D, "? ", 5)', ["abc\n", "def\n"], chars("abc\nd")),
        ('io:get_chars(D, "? ", 9)', ["abc\n", ""], chars("abc\n")),
        ('io:read(D, "? ")', ["{a,\n", " [1, \"s\"]}. rest\n"], (OK, (Atom("a"), [1, chars("s")]))),
        ('io:read(D, "? ")', [""], Atom("eof")),
        ('element(1, io:read(D, "? "))', ["no term here.\n"], Atom("error")),
        ('io:fread(D, "? ", "~d-~s")', ["12-abc\n"], (OK, [12, chars("abc")])),
        ('io:setopts(D, [binary]), io:get_line(D, "? ")', ["é\n"], "é\n".encode()),
        ('io:setopts(D, [binary]), io:get_chars(D, "? ", 1)', ["é\n"], "é".encode()),
        ('[io:get_line(D, ""), io:get_chars(D, "", 2), io:get_line(D, "? ")]', ["1\n", "2345\n"],
         [chars("1\n"), chars("23"), chars("45\n")]),
    ],
)  # fmt: skip
def test_input(
    shared_beam: Beam, terminal: Pid, typed: Typed, output: io.StringIO, call: str, lines: list[str], value: Any
) -> None:
    for line in lines:
        typed.type(line)
    assert shared_beam.eval(call, D=terminal) == value
    assert output.getvalue() == "? "


def test_latin1_reader_refuses_what_it_cannot_get(shared_beam: Beam, terminal: Pid, typed: Typed) -> None:
    typed.type("é\n")
    assert shared_beam.eval("file:read_line(D)", D=terminal) == (OK, chars("é\n"))
    typed.type("λ\n")
    assert shared_beam.eval("file:read_line(D)", D=terminal)[0] == Atom("error")


def test_output_goes_on_while_somebody_reads(
    shared_beam: Beam, node: Node, terminal: Pid, typed: Typed, output: io.StringIO
) -> None:
    first = shared_beam.begin('io:get_line(D, "1? ")', D=terminal)
    assert until(lambda: output.getvalue() == "1? ")
    second = shared_beam.begin('io:get_line(D, "2? ")', D=terminal)
    shared_beam.eval('io:put_chars(D, "meanwhile ")', D=terminal)
    gevent.sleep(0.05)
    assert not first.ready()
    assert not second.ready()
    typed.type("one\n")
    assert first.result() == chars("one\n")
    assert until(lambda: output.getvalue() == "1? meanwhile 2? ")
    typed.type("two\n")
    assert second.result() == chars("two\n")


def test_the_end_of_a_leader_ends_its_readers(
    shared_beam: Beam, node: Node, terminal: Pid, output: io.StringIO
) -> None:
    reading = shared_beam.begin('io:get_line(D, "? ")', D=terminal)
    assert until(lambda: output.getvalue() == "? ")
    node.exit(terminal, Atom("kill"))
    assert reading.result() == (Atom("error"), Atom("terminated"))
    assert until(lambda: not [one for one in node.table.processes.values() if one.group_leader == terminal])


# -- we print there ---------------------------------------------------------------------------


def test_print_to_the_beam_that_started_us(shared_beam: Beam, node: Node, output: io.StringIO) -> None:
    leader = shared_beam.eval("erlang:group_leader()")
    talker = shared_beam.eval("{ok, P} = erpc:call(N, pyanoma, start_link, [talker, []]), unlink(P), P", N=node.name)
    assert shared_beam.eval("gen_server:call(P, leader)", P=talker) == leader
    shared_beam.eval('gen_server:call(P, {print, <<"bonjour">>})', P=talker)
    shared_beam.wait_for_log("^bonjour$")
    assert output.getvalue() == ""
    node.exit(talker, Atom("kill"))


def test_a_beam_sets_the_group_leader(shared_beam: Beam, node: Node, output: io.StringIO) -> None:
    talker = node.start(Talker)
    leader = shared_beam.eval("group_leader(G, P), gen_server:call(P, leader)", P=talker, G=node.whereis("rex"))
    assert leader == node.whereis("rex")
    shared_beam.eval("group_leader(whereis(user), P)", P=talker)
    node.call(talker, (Atom("print"), b"to the user there"))
    shared_beam.wait_for_log("^to the user there$")


def test_spawned_and_called_functions_print_there(shared_beam: Beam, node: Node) -> None:
    node.export("greeter", "greet", lambda call, name: node.print("hello", name.decode()), with_call=True)
    shared_beam.eval('erpc:call(N, greeter, greet, [<<"erpc">>])', N=node.name)
    shared_beam.wait_for_log("^hello erpc$")
    shared_beam.eval('spawn(N, greeter, greet, [<<"spawn">>])', N=node.name)
    shared_beam.wait_for_log("^hello spawn$")


def test_shell_of_its_own_captures_our_output(shared_beam: Beam, node: Node) -> None:
    """A group leader written in Erlang sees OTP's own messages."""

    def greet(call: RemoteCall) -> Any:
        node.put_chars(None, "to you")
        node.format(call.group_leader, "~p~n", [[Atom("a"), 1.5]])
        return OK

    node.export("greeter", "both", greet, with_call=True)
    seen = shared_beam.eval(
        """
        Me = self(),
        Leader = spawn(fun() ->
            [receive {io_request, From, Ref, Q} -> Me ! {seen, Q}, From ! {io_reply, Ref, ok} end || _ <- [1, 2]]
        end),
        group_leader(Leader, self()),
        ok = erpc:call(N, greeter, both, []),
        [receive {seen, Q} -> Q after 3000 -> nothing end || _ <- [1, 2]]
        """,
        N=node.name,
    )
    put_chars, unicode = Atom("put_chars"), Atom("unicode")
    assert seen == [(put_chars, unicode, b"to you"), (put_chars, unicode, b"[a,1.5]\n")]


def test_read_from_the_beam(beam: Beam, node: Node) -> None:
    """A file opened on the BEAM is an io device."""
    path = beam.directory / "lines.txt"
    path.write_text("first é\nsecond\nlast")
    device = beam.shell().eval("{ok, D} = file:open(F, [read, write, {encoding, utf8}]), D", F=str(path))
    assert node.get_line("", device) == "first é\n"
    assert node.get_line("", device) == "second\n"
    assert node.get_line("", device) == "last"
    assert node.get_line("", device) is None
    node.put_chars(device, "\nours λ\n")
    assert path.read_text().endswith("last\nours λ\n")


def test_errors_of_a_device_are_exceptions(beam: Beam, node: Node) -> None:
    path = beam.directory / "read_only.txt"
    path.write_text("x")
    shell = beam.shell()
    device = shell.eval("{ok, D} = file:open(F, [read]), D", F=str(path))
    with pytest.raises(ErlangError) as caught:
        node.put_chars(device, "x")
    assert caught.value.reason == Atom("ebadf")
    shell.eval("file:close(D)")
    with pytest.raises(NoProcess):
        node.put_chars(device, "x")
    with pytest.raises(NoProcess):
        node.put_chars(("no_such_device", beam.name), "x")
    with pytest.raises(NoProcess):
        node.put_chars("no_such_device", "x")
    with pytest.raises(NoConnection):
        node.put_chars(("user", "nobody@127.0.0.1"), "x")
    silent = beam.eval("spawn(fun() -> receive stop -> ok end end)")
    with pytest.raises(CallTimeout):
        node.put_chars(silent, "x", timeout_s=0.1)


def test_a_device_that_dies_meanwhile(beam: Beam, node: Node) -> None:
    device = beam.eval("spawn(fun() -> receive {io_request, _, _, _} -> exit(boom) end end)")
    with pytest.raises(ErlangExit) as caught:
        node.put_chars(device, "x")
    assert caught.value.reason == Atom("boom")


def test_other_messages_stay_where_they_are(shared_beam: Beam, node: Node) -> None:
    seen: list[Any] = []

    def body(own: OwnProcess) -> None:
        own.send(own.pid, "before")
        own.put_chars(("user", shared_beam.name), "x")
        own.send(own.pid, "after")
        seen.extend((own.receive(timeout_s=1), own.receive(timeout_s=1)))
        with pytest.raises(TimeoutError):
            own.receive(timeout_s=0)
        seen.append("done")

    node.spawn(body)
    assert until(lambda: len(seen) == 3)
    assert seen == ["before", "after", "done"]


# -- among ourselves --------------------------------------------------------------------------


def test_our_own_processes_print_to_user(node: Node, output: io.StringIO) -> None:
    talker = node.start(Talker)
    assert node.call(talker, (Atom("print"), b"hi")) is OK
    assert node.call(talker, (Atom("ask"), b"? ")) is None
    node.print("main", 1, end=".")
    node.print_to(None, "later")
    assert until(lambda: output.getvalue() == "hi\n? main 1.later")


def test_two_nodes_have_a_user_each(node: Node, node_factory: NodeFactory, output: io.StringIO) -> None:
    other_output = io.StringIO()
    other = node_factory(streams=Streams(other_output))
    node.print("one")
    other.print("two")
    node.put_chars(("user", other.name), "from one")
    assert (output.getvalue(), other_output.getvalue()) == ("one\n", "two\nfrom one")
