"""Transactions of the resource machine between Python and a BEAM, as Elixir structs."""

from __future__ import annotations

from anoma.nock.noun import noun
from anoma.resource_machine.building import Offer, action, blob, lasting, swap, transfer
from anoma.resource_machine.transaction import Transaction
from erlang_bridge import Atom, GenServer, Node, Pid, Reply
from erlang_bridge.testing.beams import Beam

COIN, HAT = lasting(b"coin", 5, 1), lasting(b"hat", 1, 2)


class Judge(GenServer):
    """Verifies what it is asked about."""

    def init(self, args: object) -> None:
        return None

    def handle_call(self, request: object, caller: object, state: None) -> Reply:
        assert isinstance(request, Transaction)
        request.verify()
        return Reply(request, state)


def test_a_transaction_goes_to_a_beam_and_back(shared_beam: Beam, node: Node) -> None:
    judge: Pid = node.start(Judge, None)
    offers = [Offer(COIN, lasting(b"hat", 1, 3)), Offer(HAT, lasting(b"coin", 5, 4))]
    for transaction in (
        Transaction(),
        swap(offers, [b"a root"]),
        Transaction.of(action([COIN], [lasting(b"coin", 5, 9)], [blob(b"key", noun(1, [2, 3], b"four"))])),
    ):
        assert shared_beam.eval("T", T=transaction) == transaction
        assert shared_beam.eval("gen_server:call(J, T)", J=judge, T=transaction) == transaction


def test_what_a_beam_finds_in_it(shared_beam: Beam) -> None:
    transaction = transfer([COIN], [])
    (action_,) = transaction.actions
    (proof,) = action_.proofs
    found = shared_beam.eval(
        "[begin #{K := V} = maps:with([K], T), V end || K <- ['__struct__', delta]]", T=transaction
    )
    assert found == [Atom("Elixir.Anoma.TransparentResource.Transaction"), {COIN.kind: -5}]
    assert shared_beam.eval("maps:get(self_tag, P)", P=proof) == (Atom("nullified"), COIN.nullifier)
    assert shared_beam.eval("maps:get(logic, R)", R=COIN) == shared_beam.eval("[[1|0], 0|0]")
    assert shared_beam.eval("map_size(R)", R=COIN) == 9
    changed = shared_beam.eval("R#{quantity := 7, ephemeral := true}", R=COIN)
    assert (changed.quantity, changed.ephemeral, changed.kind) == (7, True, COIN.kind)
