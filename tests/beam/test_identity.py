"""The identity engines as Erlang calls them."""

from __future__ import annotations

from typing import Any

import pytest

from anoma.crypto import signable
from erlang_bridge import Atom, Node
from tests.identity_worlds import CLASSES, ON_A_NODE


@pytest.fixture
def identities(node_factory: Any) -> Node:
    node: Node = node_factory(engines=CLASSES)
    for name in ON_A_NODE:
        node.start(CLASSES[name], name=name)
    return node


GENERATE = """
    Call = fun(Name, Request) -> gen_server:call({Name, Node}, Request) end,
    Generate = fun() ->
        {generate_identity_reply, #{external_identity := Id, keys := Keys, err := nil,
            commitment_engine := {Node, Committer}, decryption_engine := {Node, Decryptor}}} =
            Call(identity_management, {generate_identity_request, #{}}),
        {Id, Keys, Committer, Decryptor}
    end,
    Commit = fun(Committer, Data) ->
        {reply, #{commitment := C, err := nil}} = Call(Committer, {request, #{data => Data}}),
        C
    end,
    Verify = fun(Data, C, Id, UseSignsFor) ->
        {reply, #{result := Result, err := nil}} = Call(verification, {request, #{data => Data, commitment => C,
            external_identity => Id, use_signs_for => UseSignsFor}}),
        Result
    end,
"""


def test_generate_commit_verify(shared_beam: Any, identities: Node):
    source = (
        GENERATE
        + """
        {Id, Keys, Committer, Decryptor} = Generate(),
        C = Commit(Committer, <<"hello">>),
        {signed, #{signer := Keys, signature := Bare}} = C,
        {reply, #{ciphertext := Box, err := nil}} =
            Call(encryption, {request, #{data => <<"secret">>, external_identity => Keys}}),
        {reply, Opened} = Call(Decryptor, {request, #{data => Box}}),
        {reply, Failed} = Call(Decryptor, {request, #{data => <<Box/binary, 0>>}}),
        [Verify(<<"hello">>, C, Id, false), Verify(<<"hello">>, Bare, Keys, false), Verify(<<"hallo">>, C, Id, false),
         Opened, Failed]
    """
    )
    right, bare, wrong, opened, failed = shared_beam.eval(source, Node=identities.name)
    assert (right, bare, wrong) == (True, True, False)
    assert opened == {Atom("data"): b"secret", Atom("err"): None}
    assert failed == {Atom("data"): b"", Atom("err"): b"Decryption Failed"}


def test_delegation(shared_beam: Any, identities: Node):
    source = (
        GENERATE
        + """
        {A, KeysA, CommitterA, _} = Generate(),
        {B, KeysB, CommitterB, _} = Generate(),
        C = Commit(CommitterA, <<"data">>),
        Before = Verify(<<"data">>, C, B, true),
        Statement = term_to_binary({<<"signs_for">>, A, B}),
        Proof = {proof, #{principal => KeysB, delegate => KeysA, commitment => Commit(CommitterB, Statement)}},
        Evidence = {signs_for_evidence, #{from_identity => A, to_identity => B, proof => Proof}},
        Submit = fun() -> Call(signs_for, {submit_signs_for_evidence_request, #{evidence => Evidence}}) end,
        Submitted = [Submit(), Submit()],
        {query_signs_for_evidence_reply, #{evidence := [Evidence]}} =
            Call(signs_for, {query_signs_for_evidence_request, #{external_identity => A}}),
        {Before, Submitted, Verify(<<"data">>, C, B, true), Verify(<<"data">>, C, B, false),
         Verify(<<"data">>, Commit(CommitterB, <<"data">>), A, true)}
    """
    )
    before, submitted, delegated, unflagged, turned = shared_beam.eval(source, Node=identities.name)
    tag = Atom("submit_signs_for_evidence_reply")
    assert submitted == [(tag, {Atom("err"): None}), (tag, {Atom("err"): b"Evidence already exists."})]
    assert (before, delegated, unflagged, turned) == (False, True, False, False)


def test_private_keys_do_not_leave(shared_beam: Any, identities: Node):
    source = (
        GENERATE
        + """
        {_, _, Committer, Decryptor} = Generate(),
        term_to_binary([sys:get_status({Name, Node}) || Name <- [identity_management, Committer, Decryptor]])
    """
    )
    shown = shared_beam.eval(source, Node=identities.name)
    process = identities.table.find(identities.whereis("identity_management"))
    assert process is not None
    (info,) = process.instance.environment.state.identities.values()  # type: ignore[attr-defined]
    for secret in (info.internal.signer.reveal()[:32], info.internal.decryptor.reveal(), info.seed.reveal()):
        assert secret not in shown
        assert repr(secret)[2:-1].encode() not in shown
    assert b"hidden" in shown


VALUES: Any = [
    ((b"signs_for", b"a", b"b"), '{<<"signs_for">>, <<"a">>, <<"b">>}'),
    (
        {b"b": [1, 2], b"a": {2: 1.5, 1: (), -3: 2**70}},
        '#{<<"b">> => [1, 2], <<"a">> => #{2 => 1.5, 1 => {}, -3 => 1 bsl 70}}',
    ),
    ({Atom("z"): 1, Atom("a"): [300], (): b""}, "#{z => 1, a => [300], {} => <<>>}"),
    ({number: -number for number in reversed(range(40))}, "maps:from_list([{N, -N} || N <- lists:seq(0, 39)])"),
]


def test_the_bytes_to_sign_are_those_of_a_beam(shared_beam: Any):
    sources = ", ".join(source for _, source in VALUES)
    made = shared_beam.eval(f"[term_to_binary(T, [deterministic, {{minor_version, 2}}]) || T <- [{sources}]]")
    assert made == [signable(value) for value, _ in VALUES]
