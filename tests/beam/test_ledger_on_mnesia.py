"""The engine Ledger with its tables on a BEAM that comes and goes."""

from __future__ import annotations

import gevent
import pytest

from engines.engine import ask
from engines.ledger import server
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.ledger.errors import LedgerError
from engines.ledger.messages import LedgerFailed, PutItems, StatusReply, StatusRequest
from engines.ledger.records import Heights
from engines.ledger.server import Ledger
from erlang_bridge import Atom, Node, Pid
from erlang_bridge.testing.plugin import BeamFactory
from tests.ledgers import done, entry, findings
from tests.waiting import until

pytestmark = pytest.mark.otp_application("mnesia")


def status(node: Node) -> StatusReply:
    reply: StatusReply = ask(node, "ledger", StatusRequest())
    return reply


@pytest.mark.fault
def test_the_beam_comes_late_and_goes_and_comes_back(beam_factory: BeamFactory, node: Node) -> None:
    beam = beam_factory(start=False)
    settings = LedgerSettings(Backend.MNESIA, beam=beam.name, retry_first_s=0.05, retry_most_s=0.2)
    ledger = node.start(Ledger, settings, name="ledger")
    assert until(lambda: status(node).failure is not None)
    early = gevent.spawn(server.persist, node, [entry(1)], [done(1, (b"k", 1))])
    with pytest.raises(LedgerError, match="no ledger is open"):
        server.committed(node, b"k", 1)
    assert isinstance(ask(node, "ledger", PutItems("t", ((1, 2),), retry=False)), LedgerFailed)

    beam.start()
    assert early.get(timeout=20).heights == Heights(2, 1, 2)
    assert status(node).failure is None
    assert server.read(node, b"k", 9) == 1
    assert server.committed(node, b"k", 9) == (1, 1)

    beam.kill()
    late = gevent.spawn(server.persist, node, [entry(2)], [done(2, (b"k", 2))])
    assert until(lambda: status(node).failure is not None)
    assert f"BEAM {beam.name} does not answer" in str(status(node).failure)
    beam.restart()
    assert late.get(timeout=20).heights == Heights(3, 2, 3)
    assert server.read(node, b"k", 9) == 2
    assert node.is_alive(ledger)
    assert findings(server.store_of(node)) == []
    end(node, ledger, "shutdown")


def test_a_ledger_that_was_killed_is_followed_by_another(beam_factory: BeamFactory, node: Node) -> None:
    beam = beam_factory()
    settings = LedgerSettings(Backend.MNESIA, beam=beam.name)
    for number in range(3):
        ledger = node.start(Ledger, settings, name="ledger")
        assert server.heights(node) == Heights(number + 1, number, number + 1)
        server.persist(node, [entry(number + 1)], [done(number + 1, (b"k", number))])
        # The rows, as Erlang's own tools see them there, and as they see them here.
        assert beam.eval("mnesia:table_info(pyanoma_versions, size)") == number + 1
        assert node.tables.find("ledger_blocks").count() == number + 1
        end(node, ledger, "kill")


def end(node: Node, ledger: Pid, reason: str) -> None:
    node.exit(ledger, Atom(reason))
    assert until(lambda: not node.is_alive(ledger))
