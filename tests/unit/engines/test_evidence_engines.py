"""Signs For, Reads For, Verification, Encryption and Naming without a node: I1 and I3 to I5, and their errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.crypto import (
    DotName,
    IdentityNameEvidence,
    LocalName,
    Proof,
    ReadsForEvidence,
    Relation,
    SignsForEvidence,
    Special,
    Threshold,
    both,
    commit,
    compose,
    either,
    name_statement,
    statement,
    unseal,
)
from engines.encryption import messages as encryption
from engines.encryption.behaviour import BEHAVIOUR as ENCRYPTION
from engines.encryption.behaviour import EncryptionSettings
from engines.messages import EngineID, decode_message, encode_message
from engines.naming import messages as naming
from engines.reads_for import messages as reads_for
from engines.signs_for import messages as signs_for
from engines.simulation import NODE
from engines.verification import messages as verification
from engines.verification.behaviour import BEHAVIOUR as VERIFICATION
from engines.verification.behaviour import VerificationSettings
from erlang_bridge.etf import decode, encode
from erlang_bridge.terms import Atom
from tests.identity_worlds import INTERNAL, NAMES, PEOPLE, World

ALICE, BOB, CAROL, DAVE = range(4)


def sign_evidence(delegate: int, principal: int, *, signer: int | None = None) -> SignsForEvidence:
    said = statement(Relation.SIGNS_FOR, PEOPLE[delegate], PEOPLE[principal])
    made = commit(INTERNAL[principal if signer is None else signer], said)
    return SignsForEvidence.of(PEOPLE[delegate], PEOPLE[principal], made)


def read_evidence(delegate: int, principal: int) -> ReadsForEvidence:
    said = statement(Relation.READS_FOR, PEOPLE[delegate], PEOPLE[principal])
    return ReadsForEvidence.of(PEOPLE[delegate], PEOPLE[principal], commit(INTERNAL[principal], said))


# -- Signs For and Reads For ------------------------------------------------------------------

KINDS = [
    (
        "signs_for",
        sign_evidence,
        signs_for.SignsForRequest,
        signs_for.SignsForReply,
        signs_for.SubmitSignsForEvidenceRequest,
        signs_for.SubmitSignsForEvidenceReply,
        signs_for.QuerySignsForEvidenceRequest,
        signs_for.QuerySignsForEvidenceReply,
    ),
    (
        "reads_for",
        read_evidence,
        reads_for.Request,
        reads_for.Reply,
        reads_for.SubmitReadsForEvidenceRequest,
        reads_for.SubmitReadsForEvidenceReply,
        reads_for.QueryReadsForEvidenceRequest,
        reads_for.QueryReadsForEvidenceReply,
    ),
]
kinds = pytest.mark.parametrize(
    ("engine", "evidence", "asked", "answer", "submit", "submitted", "query", "found"), KINDS, ids=["signs", "reads"]
)

steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=12)


@kinds
@settings(max_examples=40)
@given(trace=steps)
def test_what_is_accepted_stays_and_is_what_is_told(
    engine: str,
    evidence: Any,
    asked: Any,
    answer: Any,
    submit: Any,
    submitted: Any,
    query: Any,
    found: Any,
    trace: list[tuple[int, int, bool]],
):
    world = World(engine)
    accepted = set()
    for delegate, principal, honest in trace:
        made = evidence(delegate, principal)
        if not honest:
            made = type(made)(made.from_identity, made.to_identity, Proof(PEOPLE[5], made.proof.commitment))
        reply = world.ask(engine, submit(made))
        if not honest:
            assert reply == submitted("Invalid evidence provided.")
        elif made in accepted:
            assert reply == submitted("Evidence already exists.")
        else:
            assert reply == submitted()
            accepted.add(made)
        for name in NAMES[:4]:
            about = {item for item in accepted if name in (item.from_identity, item.to_identity)}
            assert world.ask(engine, query(name)) == found(name, frozenset(about))
    for a in range(4):
        for b in range(4):
            expected, left = {a}, [a]
            while left:
                here = left.pop()
                for item in accepted:
                    principal = NAMES.index(item.to_identity)
                    if item.from_identity == NAMES[here] and principal not in expected:
                        expected.add(principal)
                        left.append(principal)
            assert world.ask(engine, asked(NAMES[a], NAMES[b])) == answer(b in expected)


def test_compositions_are_compared():
    world = World("signs_for")
    world.ask("signs_for", signs_for.SubmitSignsForEvidenceRequest(sign_evidence(CAROL, ALICE)))
    pair = both(PEOPLE[ALICE], PEOPLE[BOB])
    ask = lambda a, b: world.ask("signs_for", signs_for.SignsForRequest(a, b)).signs_for  # noqa: E731
    assert ask(both(PEOPLE[CAROL], PEOPLE[BOB]), pair)
    assert not ask(both(PEOPLE[ALICE], PEOPLE[BOB]), both(PEOPLE[CAROL], PEOPLE[BOB]))
    assert ask(PEOPLE[CAROL], either(PEOPLE[ALICE], PEOPLE[BOB]))
    assert ask(NAMES[CAROL], either(PEOPLE[ALICE], PEOPLE[BOB]))
    assert not ask(PEOPLE[CAROL], pair)
    assert ask(Special.NONE, pair)
    assert ask(pair, Special.ALL)
    assert not ask(Special.ALL, pair)


# -- Verification -----------------------------------------------------------------------------


def request(who: int | Any, signer: int, *, flagged: bool, data: bytes = b"data") -> verification.Request:
    identity = NAMES[who] if isinstance(who, int) else who
    return verification.Request(data, commit(INTERNAL[signer], b"data"), identity, flagged)


def test_delegation():
    world = World("signs_for", "verification")
    ask = lambda message: world.ask("verification", message)  # noqa: E731
    yes, no = verification.Reply(True), verification.Reply(False)
    assert ask(request(BOB, ALICE, flagged=True)) == no
    world.ask("signs_for", signs_for.SubmitSignsForEvidenceRequest(sign_evidence(ALICE, BOB)))
    world.ask("signs_for", signs_for.SubmitSignsForEvidenceRequest(sign_evidence(BOB, CAROL)))
    world.ask("signs_for", signs_for.SubmitSignsForEvidenceRequest(sign_evidence(DAVE, CAROL, signer=DAVE)))
    assert ask(request(BOB, ALICE, flagged=True)) == yes
    assert ask(request(BOB, ALICE, flagged=False)) == no
    assert ask(request(ALICE, BOB, flagged=True)) == no
    assert ask(request(CAROL, ALICE, flagged=True)) == yes
    assert ask(request(CAROL, DAVE, flagged=True)) == no
    assert ask(request(CAROL, ALICE, flagged=True, data=b"datum")) == no
    assert ask(request(ALICE, ALICE, flagged=True)) == yes
    assert ask(request(both(PEOPLE[BOB], PEOPLE[CAROL]), ALICE, flagged=True)) == yes
    assert ask(request(both(PEOPLE[BOB], PEOPLE[DAVE]), ALICE, flagged=True)) == no
    signed_by_two = compose([commit(INTERNAL[who], b"data") for who in (ALICE, DAVE)])
    pair = both(PEOPLE[BOB], PEOPLE[DAVE])
    assert ask(verification.Request(b"data", signed_by_two, pair, use_signs_for=True)) == yes
    assert ask(verification.Request(b"data", signed_by_two, pair)) == no


def test_a_signature_without_keys():
    bare = commit(INTERNAL[ALICE], b"data").signature
    world = World("signs_for", "verification")
    assert world.ask("verification", verification.Request(b"data", bare, PEOPLE[ALICE])).result
    unknown = world.ask("verification", verification.Request(b"data", bare, NAMES[ALICE]))
    assert not unknown.result
    assert unknown.err is not None
    assert unknown.err.startswith("Unknown identity")
    world.ask("signs_for", signs_for.SubmitSignsForEvidenceRequest(sign_evidence(ALICE, BOB)))
    flagged = verification.Request(b"data", bare, NAMES[BOB], use_signs_for=True)
    assert world.ask("verification", flagged) == verification.Reply(True)
    configured = VerificationSettings(identities=(PEOPLE[ALICE],))
    world = World("verification", verification=configured)
    assert world.ask("verification", verification.Request(b"data", bare, NAMES[ALICE])) == verification.Reply(True)


@pytest.mark.parametrize("timely", [True, False])
def test_requests_for_one_identity_wait_together(timely: bool):
    world = World("verification")
    signers = [ALICE, BOB, CAROL, ALICE, BOB]
    for index, signer in enumerate(signers):
        message = request(BOB, signer, flagged=True)
        world.send(EngineID(None, "verification"), message, sender=EngineID(NODE, f"me{index}"))
        world.run(world.random, timers=False)
    world.ask("verification", request(CAROL, CAROL, flagged=False), timers=False)
    queries = [one.message for one in world.outside if isinstance(one.message, signs_for.QuerySignsForEvidenceRequest)]
    assert queries == [signs_for.QuerySignsForEvidenceRequest(NAMES[BOB], transitive=True)]

    found = signs_for.QuerySignsForEvidenceReply(NAMES[BOB], frozenset({sign_evidence(ALICE, BOB)}))
    world.send(EngineID(None, "verification"), found, sender=EngineID(NODE, "somebody"))
    world.send(EngineID(None, "verification"), found, sender=EngineID("other@127.0.0.1", "signs_for"))
    world.run(world.random, timers=False)
    assert len(world.outside) == 2
    if timely:
        world.send(EngineID(None, "verification"), found, sender=EngineID(NODE, "signs_for"))
        world.run(world.random, timers=False)
        assert not world.engines["verification"].environment.timers
    world.run(world.random)
    replies = [(one.target.name, one.message) for one in world.outside[2:]]  # type: ignore[union-attr]
    names = [f"me{index}" for index in range(5)]
    if timely:
        assert replies == [
            (name, verification.Reply(signer != CAROL)) for name, signer in zip(names, signers, strict=True)
        ]
    else:
        late = verification.Reply(False, "signs_for has not answered in 3000 ms")
        assert replies == [(name, late) for name in names]
    state = world.engines["verification"].environment
    assert not state.state.pending_requests
    assert not state.timers
    world.send(EngineID(None, "verification"), found, sender=EngineID(NODE, "signs_for"))
    world.run(world.random)
    assert len(world.outside) == 7


def test_evidence_is_not_believed_for_its_sender():
    world = World("verification")
    world.send(EngineID(None, "verification"), request(BOB, ALICE, flagged=True), sender=EngineID(NODE, "me"))
    world.run(world.random, timers=False)
    forged = sign_evidence(ALICE, BOB, signer=ALICE)
    found = signs_for.QuerySignsForEvidenceReply(NAMES[BOB], frozenset({forged}))
    world.send(EngineID(None, "verification"), found, sender=EngineID(NODE, "signs_for"))
    world.run(world.random)
    assert world.received("me") == [verification.Reply(False)]


@pytest.mark.parametrize("address", [EngineID(None, "deputy"), EngineID(NODE, "deputy")])
def test_an_error_of_signs_for_is_passed_on(address: EngineID):
    world = World("verification", verification={Atom("signs_for"): (None, Atom("deputy"))})
    for name in ("me", "you"):
        world.send(EngineID(None, "verification"), request(BOB, BOB, flagged=True), sender=EngineID(NODE, name))
    world.run(world.random, timers=False)
    failed = signs_for.QuerySignsForEvidenceReply(NAMES[BOB], frozenset(), "disk full")
    world.send(EngineID(None, "verification"), failed, sender=address)
    world.run(world.random)
    expected = verification.Reply(False, "deputy has no evidence about the identity: disk full")
    assert world.received("me") == world.received("you") == [expected]


# -- Encryption -------------------------------------------------------------------------------


def opened(reply: encryption.Reply, who: int) -> bytes | None:
    assert reply.err is None
    return unseal(INTERNAL[who].decryptor, reply.ciphertext)


def test_encryption_for_an_identity():
    world = World("encryption")
    first, second = (world.ask("encryption", encryption.Request(b"secret", PEOPLE[BOB])) for _ in range(2))
    assert opened(first, BOB) == opened(second, BOB) == b"secret"
    assert opened(first, ALICE) is None
    assert first != second
    assert world.ask("encryption", encryption.Request(b"open", Special.ALL)) == encryption.Reply(b"open")
    assert world.ask("encryption", encryption.Request(b"gone", Special.NONE)) == encryption.Reply(b"")
    unknown = world.ask("encryption", encryption.Request(b"secret", NAMES[BOB]))
    assert unknown.ciphertext == b""
    assert unknown.err.startswith("Unknown identity")
    composed = world.ask("encryption", encryption.Request(b"secret", both(PEOPLE[ALICE], PEOPLE[BOB])))
    assert composed.ciphertext == b""
    assert composed.err.startswith("encryption for a composition is not offered")
    known = World("encryption", encryption=EncryptionSettings(identities=(PEOPLE[BOB],)))
    assert opened(known.ask("encryption", encryption.Request(b"secret", NAMES[BOB])), BOB) == b"secret"


def test_encryption_for_one_that_reads_for_it():
    world = World("encryption", "reads_for")
    world.ask("reads_for", reads_for.SubmitReadsForEvidenceRequest(read_evidence(ALICE, BOB)))
    ask = lambda identity: world.ask("encryption", encryption.Request(b"secret", identity, use_reads_for=True))  # noqa: E731
    assert opened(ask(NAMES[BOB]), BOB) == b"secret"
    assert opened(ask(PEOPLE[BOB]), BOB) == b"secret"
    assert opened(ask(NAMES[ALICE]), ALICE) == b"secret"
    assert ask(NAMES[CAROL]).err.startswith("Unknown identity")
    pair = Threshold(2, ((1, PEOPLE[ALICE]), (1, PEOPLE[BOB])))
    assert ask(pair).err.startswith("encryption for a composition is not offered")
    said = statement(Relation.READS_FOR, PEOPLE[DAVE], pair)
    made = ReadsForEvidence.of(PEOPLE[DAVE], pair, compose([commit(INTERNAL[who], said) for who in (ALICE, BOB)]))
    assert world.ask("reads_for", reads_for.SubmitReadsForEvidenceRequest(made)).err is None
    assert opened(ask(pair), DAVE) == b"secret"
    assert opened(ask(pair.external_identity), DAVE) == b"secret"


@pytest.mark.parametrize("outcome", ["evidence", "error", "nothing"])
def test_encryption_waits_together_and_answers_in_order(outcome: str):
    world = World("encryption")
    for index in range(5):
        message = encryption.Request(b"%d" % index, NAMES[BOB], use_reads_for=True)
        world.send(EngineID(None, "encryption"), message, sender=EngineID(NODE, f"me{index}"))
        for event in world.choices():
            if event.kind != "operation":
                world.happen(event)
    world.run(world.random, timers=False)
    queries = [one.message for one in world.outside]
    assert queries == [reads_for.QueryReadsForEvidenceRequest(NAMES[BOB], transitive=True)]
    evidence, err = frozenset({read_evidence(ALICE, BOB)}), "disk full" if outcome == "error" else None
    found = reads_for.QueryReadsForEvidenceReply(NAMES[BOB], evidence, err)
    world.send(EngineID(None, "encryption"), found, sender=EngineID(NODE, "impostor"))
    if outcome != "nothing":
        world.send(EngineID(None, "encryption"), found, sender=EngineID(NODE, "reads_for"))
        world.run(world.random, timers=False)
        assert not world.engines["encryption"].environment.timers
    world.run(world.random)
    replies = world.outside[1:]
    assert [one.target.name for one in replies] == [f"me{index}" for index in range(5)]  # type: ignore[union-attr]
    messages: list[Any] = [one.message for one in replies]
    if outcome == "evidence":
        assert [opened(message, BOB) for message in messages] == [b"%d" % index for index in range(5)]
    else:
        what = "has no evidence about the identity: disk full" if err else "has not answered in 3000 ms"
        assert messages == [encryption.Reply(b"", f"reads_for {what}")] * 5
    state = world.engines["encryption"].environment
    assert not state.state.pending_requests
    assert not state.state.undrawn
    assert not state.timers


@pytest.mark.parametrize("behaviour", [VERIFICATION, ENCRYPTION], ids=["verification", "encryption"])
def test_start_arguments(behaviour: Any):
    assert behaviour.start(None) == behaviour.start({Atom("node_id"): b"x"})
    configured, _ = behaviour.start({Atom("evidence_timeout_ms"): 5, Atom("identities"): [Atom("all")]})
    assert configured.evidence_timeout_ms == 5
    assert configured.identities == (Special.ALL,)
    for args in (1, {Atom("evidence_timeout_ms"): 0}, {Atom("timeout"): 1}, {Atom("evidence_timeout_ms"): b"x"}):
        with pytest.raises(ValueError, match="expected|should"):
            behaviour.start(args)


# -- Naming -----------------------------------------------------------------------------------


def name_evidence(parent: int, child: str, who: int, *, signer: int | None = None) -> IdentityNameEvidence:
    made = commit(INTERNAL[parent if signer is None else signer], name_statement(child, PEOPLE[who]))
    return IdentityNameEvidence.of(PEOPLE[parent], child, PEOPLE[who], made)


def test_names():
    world = World("naming")
    submit = lambda evidence, sender="me": world.ask("naming", naming.SubmitNameEvidenceRequest(evidence), sender).err  # noqa: E731
    resolve = lambda name: world.ask("naming", naming.ResolveNameRequest(name)).external_identities  # noqa: E731
    foo = DotName(NAMES[ALICE], "foo")
    assert resolve(foo) == frozenset()
    assert submit(name_evidence(ALICE, "foo", BOB)) is None
    assert submit(name_evidence(ALICE, "foo", BOB)) == "Evidence already exists"
    assert submit(name_evidence(ALICE, "foo", CAROL)) is None
    assert submit(name_evidence(BOB, "bar", DAVE)) is None
    assert resolve(foo) == {NAMES[BOB], NAMES[CAROL]}
    assert resolve(DotName(NAMES[BOB], "bar")) == {NAMES[DAVE]}
    assert resolve(DotName(NAMES[ALICE], "bar")) == frozenset()
    found = world.ask("naming", naming.QueryNameEvidenceRequest(NAMES[BOB]))
    assert found == naming.QueryNameEvidenceReply(NAMES[BOB], frozenset({name_evidence(ALICE, "foo", BOB)}))

    good = name_evidence(ALICE, "foo", DAVE)
    assert good.proof is not None
    for forged in (
        name_evidence(ALICE, "foo", DAVE, signer=DAVE),
        IdentityNameEvidence(DotName(NAMES[BOB], "foo"), NAMES[DAVE], good.proof),
        IdentityNameEvidence(DotName(NAMES[ALICE], "fool"), NAMES[DAVE], good.proof),
        IdentityNameEvidence(foo, NAMES[BOB], good.proof),
        IdentityNameEvidence(foo, NAMES[DAVE], None),
        IdentityNameEvidence(LocalName("foo"), NAMES[DAVE], good.proof),
        IdentityNameEvidence(LocalName("foo"), "nobody"),
    ):
        assert submit(forged) == "Invalid evidence"
    assert resolve(foo) == {NAMES[BOB], NAMES[CAROL]}


def test_a_composition_calls_others_names():
    pair = both(PEOPLE[ALICE], PEOPLE[BOB])
    said = name_statement("clerk", NAMES[CAROL])
    for signers, err in (([ALICE], "Invalid evidence"), ([ALICE, BOB], None)):
        made = compose([commit(INTERNAL[who], said) for who in signers])
        evidence = IdentityNameEvidence.of(pair, "clerk", NAMES[CAROL], made)
        assert World("naming").ask("naming", naming.SubmitNameEvidenceRequest(evidence)).err == err


def test_local_names_are_given_on_the_own_node():
    world = World("naming")
    evidence = IdentityNameEvidence(LocalName("printer"), NAMES[ALICE])
    elsewhere = EngineID("other@127.0.0.1", "them")
    world.send(EngineID(None, "naming"), naming.SubmitNameEvidenceRequest(evidence), sender=elsewhere)
    world.run(world.random)
    assert world.received("them") == [naming.SubmitNameEvidenceReply("Invalid evidence")]
    assert world.ask("naming", naming.SubmitNameEvidenceRequest(evidence)).err is None
    resolved = world.ask("naming", naming.ResolveNameRequest(LocalName("printer")))
    assert resolved == naming.ResolveNameReply(frozenset({NAMES[ALICE]}))


# -- as terms ---------------------------------------------------------------------------------

PAIR = both(PEOPLE[ALICE], either(PEOPLE[BOB], Special.NONE))


MESSAGES_AS_TERMS: Any = [
    (verification, verification.Request(b"d", commit(INTERNAL[0], b"d"), NAMES[0], use_signs_for=True)),
    (verification, verification.Request(b"d", commit(INTERNAL[0], b"d").signature, PEOPLE[0])),
    (verification, verification.Request(b"d", compose([commit(INTERNAL[who], b"d") for who in (0, 1)]), PAIR)),
    (verification, verification.Reply(False, "no")),
    (encryption, encryption.Request(b"d", Special.ALL)),
    (signs_for, signs_for.SignsForRequest(PAIR, NAMES[1])),
    (signs_for, signs_for.SubmitSignsForEvidenceRequest(sign_evidence(0, 1))),
    (signs_for, signs_for.QuerySignsForEvidenceReply(PAIR, frozenset({sign_evidence(0, 1), sign_evidence(2, 1)}))),
    (reads_for, reads_for.SubmitReadsForEvidenceRequest(read_evidence(0, 1))),
    (naming, naming.SubmitNameEvidenceRequest(name_evidence(0, "foo", 1))),
    (naming, naming.SubmitNameEvidenceRequest(IdentityNameEvidence(LocalName("foo"), NAMES[0]))),
    (naming, naming.ResolveNameReply(frozenset(NAMES))),
]


def test_messages_as_terms():
    for module, message in MESSAGES_AS_TERMS:
        assert decode_message(encode_message(message), module.MESSAGES) == message
        assert decode_message(decode(encode(encode_message(message))), module.MESSAGES) == message
