"""What an epmd answers, request by request, without a socket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.epmd.messages import (
    Alive2Reply,
    Alive2Request,
    DumpLine,
    DumpRequest,
    KillReply,
    KillRequest,
    NamesReply,
    NamesRequest,
    NodeEntry,
    Port2Reply,
    Port2Request,
    Request,
    StopRequest,
    decode_alive2_reply,
    decode_dump_reply,
    decode_kill_reply,
    decode_names_reply,
    decode_port2_reply,
    encode_request,
)
from erlang_bridge.epmd.registrations import CLOSE, REMEMBERED_NAMES, Answer, Registrations
from erlang_bridge.errors import EpmdError

NOW_S = 1_700_000_000.7


def ask(book: Registrations, request: Request, *, local_peer: bool = True, now_s: float = NOW_S) -> Answer:
    return book.answer(encode_request(request)[2:], local_peer=local_peer, connection=7, now_s=now_s)


def register(book: Registrations, name: str, *, now_s: float = NOW_S, highest: int = 6) -> Alive2Reply:
    entry = NodeEntry(name, 40000, highest_version=highest)
    return decode_alive2_reply(ask(book, Alive2Request(entry), now_s=now_s).reply)


def test_a_node_is_registered_and_found() -> None:
    book = Registrations(4369)
    entry = NodeEntry("py", 40000, node_type=72, extra=b"extra")
    answer = ask(book, Alive2Request(entry))
    assert answer.registered == "py"
    assert decode_alive2_reply(answer.reply) == Alive2Reply(0, 1_700_000_000)
    found = ask(book, Port2Request("py"), local_peer=False)
    assert decode_port2_reply(found.reply) == Port2Reply(entry)
    assert found.registered is None
    assert decode_port2_reply(ask(book, Port2Request("nobody")).reply) == Port2Reply(None)


def test_a_name_in_use_is_refused_until_its_connection_ends() -> None:
    book = Registrations(4369)
    first = register(book, "py")
    refused = ask(book, Alive2Request(NodeEntry("py", 2)))
    assert refused.registered is None
    assert decode_alive2_reply(refused.reply) == Alive2Reply(1, 99)
    book.unregister("py")
    assert register(book, "py").creation > first.creation


def test_creations_of_a_name_grow_whatever_the_time() -> None:
    book = Registrations(4369)
    creations = []
    for now_s in (100.0, 100.0, 50.0, 500.0, 500.9):
        creations.append(register(book, "py", now_s=now_s).creation)
        book.unregister("py")
    assert creations == [100, 101, 102, 500, 501]


def test_creations_are_never_those_of_old_nodes() -> None:
    book = Registrations(4369)
    assert register(book, "a", now_s=0.0).creation == 4
    assert register(book, "b", now_s=2.0**32).creation == 4
    assert register(book, "c", now_s=2.0**32 - 1).creation == 2**32 - 1
    book.unregister("c")
    assert register(book, "c", now_s=0.0).creation == 4


def test_a_node_of_version_5_gets_a_short_creation() -> None:
    reply = register(Registrations(4369), "old", highest=5)
    assert not reply.wide
    assert 1 <= reply.creation <= 3


def test_names_are_told_latest_first() -> None:
    book = Registrations(47000)
    register(book, "a")
    register(book, "b")
    assert decode_names_reply(ask(book, NamesRequest()).reply) == NamesReply(47000, (("b", 40000), ("a", 40000)))
    assert book.names() == {"b": 40000, "a": 40000}


def test_a_dump_tells_ended_nodes_too() -> None:
    book = Registrations(4369)
    register(book, "a")
    register(book, "b")
    book.unregister("a")
    dump = decode_dump_reply(ask(book, DumpRequest()).reply)
    assert dump.active == (DumpLine("b", 40000, 7),)
    assert dump.unused == (DumpLine("a", 40000, 7),)


def test_other_machines_may_only_look() -> None:
    book = Registrations(4369)
    for request in (Alive2Request(NodeEntry("py", 1)), DumpRequest(), KillRequest(), StopRequest("py")):
        assert ask(book, request, local_peer=False) == CLOSE
    assert ask(book, NamesRequest(), local_peer=False).reply
    assert book.names() == {}


def test_an_embedded_epmd_is_neither_killed_nor_made_to_forget() -> None:
    book = Registrations(4369)
    register(book, "py")
    assert decode_kill_reply(ask(book, KillRequest()).reply) == KillReply(False)
    assert ask(book, StopRequest("py")) == CLOSE
    assert book.names() == {"py": 40000}


def test_no_name_can_look_like_another_line() -> None:
    book = Registrations(4369)
    for name in ("a b", "a\nname b at port 1", "a\t", "\x1b[2J"):
        assert register(book, name).result == 1
    assert book.names() == {}


def test_the_number_of_nodes_and_of_remembered_names_is_bounded() -> None:
    book = Registrations(4369, max_nodes=3)
    assert [register(book, f"n{number}").result for number in range(4)] == [0, 0, 0, 1]
    for name in book.names():
        book.unregister(name)
    for number in range(REMEMBERED_NAMES + 10):
        register(book, f"m{number}")
        book.unregister(f"m{number}")
    assert len(decode_dump_reply(ask(book, DumpRequest()).reply).unused) == REMEMBERED_NAMES


def test_unregistering_twice_or_a_stranger_does_nothing() -> None:
    book = Registrations(4369)
    register(book, "py")
    book.unregister("py")
    book.unregister("py")
    book.unregister("nobody")
    assert book.names() == {}


@given(st.lists(st.tuples(st.one_of(st.binary(), st.builds(lambda rest: b"x" + rest, st.binary())), st.booleans())))
def test_any_bytes_are_answered_or_refused(bodies: list[tuple[bytes, bool]]) -> None:
    book = Registrations(4369)
    for body, local_peer in bodies:
        try:
            answer = book.answer(body, local_peer=local_peer, connection=1, now_s=NOW_S)
        except EpmdError:
            continue
        assert answer.registered is None or answer.registered in book.names()
