"""docs/failures.md: the tests that its rows name are there; and those rows that no other file of tests shows."""

from __future__ import annotations

import ast
import logging
from functools import cache
from typing import Any

import pytest

from erlang_bridge import Atom, BadCookie, ErlangExit, GenServer, NoConnection, Node, Stop
from erlang_bridge.testing.beams import Beam
from tests.fix_node import NodeFactory
from tests.pages import ROOT, Page, Row
from tests.servers import Idle
from tests.waiting import until

PAGE = Page("docs/failures.md")
TWO_MESSAGES = """
    (fun Take(0) -> []; Take(N) -> receive M -> [M | Take(N - 1)] after 3000 -> [] end end)(2)
"""


# -- the page ---------------------------------------------------------------------------------


@cache
def names_of_tests() -> set[str]:
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for definition in ast.walk(ast.parse(file.read_text())):
            if isinstance(definition, ast.FunctionDef):
                found.add(f"{file.stem}::{definition.name}")
    return found


@pytest.mark.parametrize("row", PAGE.rows, ids=lambda row: row.place)
def test_each_row_names_tests_that_are_there(row: Row) -> None:
    named = row.codes("tests")
    assert named
    assert set(named) <= names_of_tests()


def test_nothing_is_named_in_passing() -> None:
    assert len(PAGE.rows) > 40
    assert not [row.place for row in PAGE.rows if row.cells["tests"].replace("`", "").split() != row.codes("tests")]


# -- ends -------------------------------------------------------------------------------------


class Odd(GenServer):
    """Ends with reasons that have no term."""

    def handle_cast(self, message: Any, state: Any) -> Any:
        match message:
            case Atom("stop"):
                return Stop(object(), state)
            case Atom("exit"):
                raise ErlangExit((Atom("tags"), {1, 2}))
        return None


@pytest.mark.parametrize(
    ("how", "culprit"), [("stop", "object"), ("exit", "at term[1]: a set has no term of its own")], ids=["stop", "exit"]
)
def test_a_reason_without_a_term(
    beam: Beam, node: Node, how: str, culprit: str, caplog: pytest.LogCaptureFixture
) -> None:
    shell = beam.shell()
    pid = node.start(Odd, [])
    down = shell.eval(
        "R = monitor(process, P), gen_server:cast(P, How), receive {'DOWN', R, _, _, Why} -> Why after 3000 -> no end",
        P=pid,
        How=Atom(how),
    )
    assert down[0] is Atom("EtfEncodeError")
    assert culprit in down[1].decode()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["erlang_bridge.process"]


def test_a_node_that_stops(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    pid = node.start(Idle, [])
    shell.eval("process_flag(trap_exit, true), link(P), monitor(process, P), sys:get_state(P)", P=pid)
    node.stop()
    heard = {message[0].name: message for message in shell.eval(TWO_MESSAGES)}
    assert heard["EXIT"] == (Atom("EXIT"), pid, Atom("shutdown"))
    assert heard["DOWN"][2:] == (Atom("process"), pid, Atom("shutdown"))


# -- connecting -------------------------------------------------------------------------------


def test_a_wrong_cookie(beam: Beam, node_factory: NodeFactory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "erlang_bridge.net")
    node = node_factory(cookie="another")
    with pytest.raises(BadCookie):
        node.connect(beam.name)
    with pytest.raises(NoConnection) as failed:
        node.call(("any", beam.name), Atom("read"))
    assert failed.value.term[0] == (Atom("nodedown"), beam.node)
    assert node.ping(beam.name) == "pang"
    assert {(record.levelname, record.getMessage()) for record in caplog.records} == {
        ("INFO", f"cannot connect with {beam.name}: the cookies differ; both nodes must be given the same one")
    }
    beam.wait_for_log("Invalid challenge reply")

    caplog.clear()
    node.send(("any", beam.name), Atom("lost"))
    assert until(lambda: len(caplog.records) == 1)

    caplog.clear()
    assert beam.eval("net_adm:ping(N)", N=node.name) is Atom("pang")
    assert beam.eval("catch gen_server:call({any, N}, read)", N=node.name)[1][0] == (Atom("nodedown"), node.name)
    levels = {record.levelname for record in caplog.records}
    assert levels == {"WARNING"}
    assert all("rejected" in record.getMessage() for record in caplog.records)
