"""Identities without engines: I1, I3 and I6 of the specification's test properties, and who acts for whom."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anoma.crypto import (
    Commitment,
    Composed,
    EvidenceGraph,
    ExternalKeys,
    Identity,
    InternalKeys,
    KeyKind,
    PrivateKey,
    Proof,
    PublicKey,
    ReadsForEvidence,
    Relation,
    Secret,
    Signature,
    Signed,
    SignsForEvidence,
    Special,
    Threshold,
    both,
    commit,
    compose,
    either,
    encrypt_for,
    sign,
    statement,
    unseal,
    verify,
)
from anoma.crypto.shares import covers

INTERNAL = [InternalKeys.of(Secret(bytes([number]) * 64)) for number in range(1, 9)]
PEOPLE = [keys.external for keys in INTERNAL]
NAMES = [person.external_identity for person in PEOPLE]
EPHEMERAL = PrivateKey(KeyKind.CURVE25519, b"\x77" * 32)

people = st.integers(0, len(PEOPLE) - 1)


def signs_for(delegate: int, principal: int) -> SignsForEvidence:
    made = commit(INTERNAL[principal], statement(Relation.SIGNS_FOR, PEOPLE[delegate], PEOPLE[principal]))
    return SignsForEvidence.of(PEOPLE[delegate], PEOPLE[principal], made)


EVIDENCE = {(a, b): signs_for(a, b) for a in range(6) for b in range(6) if a != b}


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place % len(data) if data else 0] ^= 1 << place % 8
    return bytes(changed)


# -- I1 ---------------------------------------------------------------------------------------


@given(people, st.binary(min_size=1, max_size=100), st.integers(0, 10_000))
def test_any_changed_byte_of_data_signature_or_identity_is_noticed(who: int, data: bytes, place: int):
    made = commit(INTERNAL[who], data)
    person = PEOPLE[who]
    assert verify(person, data, made)
    assert verify(person, data, made.signature)
    assert not verify(person, flipped(data, place), made)
    assert not verify(person, data, Signed(made.signer, Signature(flipped(made.signature.data, place))))
    key = PublicKey(KeyKind.ED25519, flipped(person.verifier.data, place))
    other = ExternalKeys(key, person.encryptor)
    assert not verify(other, data, made)
    assert not verify(other, data, Signed(other, made.signature))
    assert not verify(person, data, Signed(other, made.signature))
    assert not verify(PEOPLE[who - 1], data, made)


@given(people, st.binary(max_size=200), st.integers(0, 10_000))
def test_only_the_identity_reads_what_is_encrypted_for_it(who: int, data: bytes, place: int):
    box = encrypt_for(PEOPLE[who], data, EPHEMERAL)
    assert unseal(INTERNAL[who].decryptor, box) == data
    assert unseal(INTERNAL[who - 1].decryptor, box) is None
    assert unseal(INTERNAL[who].decryptor, flipped(box, place)) is None


# -- I6: compositions -------------------------------------------------------------------------

weighted = st.lists(st.tuples(st.integers(0, 4), people), max_size=5)
thresholds = st.builds(
    lambda threshold, members: Threshold(threshold, tuple((weight, PEOPLE[who]) for weight, who in members)),
    st.integers(0, 8),
    weighted,
)
nested: st.SearchStrategy[Identity] = st.recursive(
    st.one_of(people.map(PEOPLE.__getitem__), st.sampled_from(Special)),
    lambda inner: st.builds(
        lambda threshold, members: Threshold(threshold, tuple(members)),
        st.integers(0, 5),
        st.lists(st.tuples(st.integers(0, 3), inner), max_size=4),
    ),
    max_leaves=8,
)


def accepts(identity: Identity, signers: frozenset[int]) -> bool:
    """By definition, with no code of what is tested."""
    if isinstance(identity, ExternalKeys):
        return PEOPLE.index(identity) in signers
    if isinstance(identity, Special):
        return identity is Special.ALL
    return sum(weight for weight, member in identity.members if accepts(member, signers)) >= identity.threshold


@given(thresholds, st.sets(people, max_size=4), st.sets(people, max_size=2))
def test_a_composition_signs_with_the_weight_of_the_threshold(identity: Threshold, honest: set[int], forged: set[int]):
    data = b"data"
    parts: dict[str, Commitment] = {NAMES[who]: commit(INTERNAL[who], b"other data") for who in forged}
    parts.update({NAMES[who]: commit(INTERNAL[who], data) for who in honest})
    weights = {member.external_identity: weight for weight, member in identity.members}
    expected = sum(weights.get(NAMES[who], 0) for who in honest) >= identity.threshold
    assert verify(identity, data, Composed(tuple(parts.items()))) == expected


@given(nested, st.sets(people, max_size=5))
def test_compositions_of_compositions(identity: Identity, signers: set[int]):
    made = compose([commit(INTERNAL[who], b"data") for who in signers])
    assert verify(identity, b"data", made) == accepts(identity, frozenset(signers))
    assert EvidenceGraph().verify(identity, b"data", made) == accepts(identity, frozenset(signers))


def test_and_and_or():
    for first, second in product([False, True], repeat=2):
        made = compose([commit(INTERNAL[who], b"d") for who in range(2) if (first, second)[who]])
        assert verify(both(PEOPLE[0], PEOPLE[1]), b"d", made) == (first and second)
        assert verify(either(PEOPLE[0], PEOPLE[1]), b"d", made) == (first or second)


@settings(max_examples=30)
@given(nested)
def test_all_and_none_in_compositions(x: Identity):
    for signers in ((), (0,), (0, 1, 2), range(8)):
        made = compose([commit(INTERNAL[who], b"d") for who in signers])
        own = verify(x, b"d", made)
        assert verify(both(x, Special.ALL), b"d", made) == (own if x is not Special.ALL else True)
        assert verify(either(x, Special.ALL), b"d", made)
        assert not verify(both(x, Special.NONE), b"d", made)
        assert verify(either(x, Special.NONE), b"d", made) == own


def test_a_member_that_is_named_twice_has_both_of_its_weights():
    alice = PEOPLE[0]
    assert verify(both(alice, alice), b"d", compose([commit(INTERNAL[0], b"d")]))
    assert Threshold(2, ((1, alice), (1, alice))) == Threshold(2, ((2, alice),))


def test_a_part_under_another_name_does_not_count():
    made = commit(INTERNAL[0], b"d")
    identity = either(PEOPLE[0], PEOPLE[1])
    assert verify(identity, b"d", Composed(((NAMES[0], made),)))
    assert not verify(identity, b"d", Composed(((NAMES[1], made),)))
    assert verify(identity, b"d", Composed(((NAMES[0], made.signature),)))
    assert not verify(identity, b"d", Composed(((NAMES[1], made.signature),)))


pairs = st.sets(st.tuples(st.integers(0, 3), st.integers(4, 7)), max_size=8)
of_the_first = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=4)
of_the_last = st.lists(st.tuples(st.integers(0, 4), st.integers(4, 7)), min_size=1, max_size=4)


def composition(threshold: int, members: list[tuple[int, int]]) -> Threshold:
    return Threshold(threshold, tuple((weight, PEOPLE[who]) for weight, who in members))


@settings(max_examples=200)
@given(st.integers(1, 6), of_the_first, st.integers(1, 6), of_the_last, pairs)
def test_comparing_compositions_against_all_subsets(
    threshold_x: int,
    members_x: list[tuple[int, int]],
    threshold_y: int,
    members_y: list[tuple[int, int]],
    relation: set[tuple[int, int]],
):
    x, y = composition(threshold_x, members_x), composition(threshold_y, members_y)

    def member_covers(one: Any, other: Any) -> bool:
        return (PEOPLE.index(one), PEOPLE.index(other)) in relation

    weights = [
        (weight, [index for index, (_, u) in enumerate(y.members) if member_covers(v, u)]) for weight, v in x.members
    ]
    answer = covers(x, y, member_covers)
    # What it says holds for every set of members that can sign as x ...
    safe = True
    for size in range(len(weights) + 1):
        for chosen in combinations(weights, size):
            if sum(weight for weight, _ in chosen) >= threshold_x:
                reached = {index for _, targets in chosen for index in targets}
                safe &= sum(y.members[index][0] for index in reached) >= threshold_y
    assert safe or not answer
    # ... and where no two sign for the same it is the specification's formula.
    formula = all(
        weight * threshold_y <= threshold_x * sum(y.members[index][0] for index in targets)
        for weight, targets in weights
    )
    heavy = [targets for weight, targets in weights if weight]
    disjoint = sum(map(len, heavy)) == len({index for targets in heavy for index in targets})
    if disjoint and sum(weight for weight, _ in weights) >= threshold_x:
        assert answer == formula


def test_two_that_sign_for_the_same_member_do_not_count_twice():
    x, y = both(PEOPLE[0], PEOPLE[1]), both(PEOPLE[4], PEOPLE[5])
    assert not covers(x, y, lambda _one, other: other is PEOPLE[4])
    assert covers(x, y, lambda one, other: (one, other) in ((PEOPLE[0], PEOPLE[4]), (PEOPLE[1], PEOPLE[5])))


@settings(max_examples=60)
@given(nested, nested, nested)
def test_comparison_is_a_partial_order(x: Identity, y: Identity, z: Identity):
    graph: EvidenceGraph[SignsForEvidence] = EvidenceGraph()
    assert graph.relates(x, x)
    assert graph.relates(Special.NONE, x)
    assert graph.relates(x, Special.ALL)
    if graph.relates(x, y) and graph.relates(y, z):
        assert graph.relates(x, z)
    if graph.relates(x, y):
        for signers in ((), (0,), (1, 2), (0, 3, 5), range(8)):
            assert accepts(y, frozenset(signers)) or not accepts(x, frozenset(signers))


# -- I3: delegation ---------------------------------------------------------------------------

graphs = st.sets(st.sampled_from(sorted(EVIDENCE)), max_size=9)


def reachable(edges: set[tuple[int, int]], start: int) -> set[int]:
    found, left = {start}, [start]
    while left:
        here = left.pop()
        for delegate, principal in edges:
            if delegate == here and principal not in found:
                found.add(principal)
                left.append(principal)
    return found


@settings(max_examples=60)
@given(graphs, st.integers(0, 5))
def test_signing_for_others_over_any_number_of_steps(edges: set[tuple[int, int]], signer: int):
    graph = EvidenceGraph(EVIDENCE[edge] for edge in edges)
    made = commit(INTERNAL[signer], b"data")
    targets = reachable(edges, signer)
    for other in range(6):
        assert graph.relates(NAMES[signer], NAMES[other]) == (other in targets)
        assert graph.relates(PEOPLE[signer], PEOPLE[other]) == (other in targets)
        assert graph.verify(NAMES[other], b"data", made) == (other in targets)
        assert graph.verify(PEOPLE[other], b"data", made.signature) == (other in targets)
        assert not graph.verify(NAMES[other], b"other data", made)
        leading = EvidenceGraph(graph.leading_to(NAMES[other]))
        assert leading.verify(NAMES[other], b"data", made) == (other in targets)
        assert graph.about(NAMES[other]) == {EVIDENCE[edge] for edge in edges if other in edge}


@settings(max_examples=60)
@given(graphs, nested, st.sets(st.integers(0, 5), max_size=4))
def test_compositions_whose_members_have_delegates(edges: set[tuple[int, int]], identity: Identity, signers: set[int]):
    graph = EvidenceGraph(EVIDENCE[edge] for edge in edges)
    made = compose([commit(INTERNAL[who], b"data") for who in signers])
    acting = frozenset().union(*(reachable(edges, who) for who in signers), frozenset())
    assert graph.verify(identity, b"data", made) == accepts(identity, acting)
    assert EvidenceGraph(graph.leading_to(identity)).verify(identity, b"data", made) == accepts(identity, acting)


@given(graphs, nested, st.integers(0, 5))
def test_what_relates_is_believed_when_verifying(edges: set[tuple[int, int]], identity: Identity, signer: int):
    graph = EvidenceGraph(EVIDENCE[edge] for edge in edges)
    assert graph.relates(PEOPLE[signer], identity) == graph.verify(identity, b"data", commit(INTERNAL[signer], b"data"))


def test_a_composition_delegates_and_is_delegated_to():
    alice, bob, carol, dave = PEOPLE[:4]
    pair = both(alice, bob)
    said = statement(Relation.SIGNS_FOR, carol, pair)
    half = SignsForEvidence.of(carol, pair, compose([commit(INTERNAL[0], said)]))
    whole = SignsForEvidence.of(carol, pair, compose([commit(INTERNAL[who], said) for who in range(2)]))
    assert not half.is_valid
    assert whole.is_valid
    said = statement(Relation.SIGNS_FOR, pair, dave)
    onward = SignsForEvidence.of(pair, dave, commit(INTERNAL[3], said))
    assert onward.is_valid
    graph = EvidenceGraph([whole, onward])
    assert graph.verify(dave.external_identity, b"d", commit(INTERNAL[2], b"d"))
    assert graph.verify(dave.external_identity, b"d", compose([commit(INTERNAL[who], b"d") for who in range(2)]))
    assert not graph.verify(dave.external_identity, b"d", commit(INTERNAL[0], b"d"))
    assert graph.relates(carol, dave)
    assert graph.relates(pair.external_identity, dave.external_identity)
    assert not graph.relates(alice, dave)
    assert not graph.relates(dave, carol)


def test_evidence_that_is_forged_or_about_somebody_else():
    good = EVIDENCE[0, 1]
    assert good.is_valid
    made = good.proof.commitment
    forged = [
        SignsForEvidence(NAMES[2], NAMES[1], good.proof),
        SignsForEvidence(NAMES[0], NAMES[2], good.proof),
        SignsForEvidence(NAMES[0], NAMES[1], Proof(PEOPLE[1], commit(INTERNAL[0], b"x"))),
        SignsForEvidence(
            NAMES[0], NAMES[1], Proof(PEOPLE[0], commit(INTERNAL[0], statement(Relation.SIGNS_FOR, NAMES[0], NAMES[1])))
        ),
        SignsForEvidence(NAMES[0], NAMES[1], Proof(PEOPLE[1], Signature(b""))),
        SignsForEvidence(NAMES[0], NAMES[1], Proof(PEOPLE[1], made, PEOPLE[2])),
        SignsForEvidence(
            "somebody",
            NAMES[1],
            Proof(PEOPLE[1], commit(INTERNAL[1], statement(Relation.SIGNS_FOR, "somebody", NAMES[1]))),
        ),
    ]
    assert [evidence.is_valid for evidence in forged] == [False] * len(forged)
    assert not ReadsForEvidence(NAMES[0], NAMES[1], good.proof).is_valid


def reads_for(delegate: int, principal: Identity, signers: list[int]) -> ReadsForEvidence:
    said = statement(Relation.READS_FOR, PEOPLE[delegate], principal)
    return ReadsForEvidence.of(PEOPLE[delegate], principal, compose([commit(INTERNAL[who], said) for who in signers]))


def test_for_whom_to_encrypt():
    pair = both(PEOPLE[0], PEOPLE[1])
    graph = EvidenceGraph([reads_for(2, pair, [0, 1]), reads_for(3, PEOPLE[2], [2])])
    assert all(item.is_valid for item in graph)
    assert graph.encryptor(pair) == PEOPLE[2]
    assert graph.encryptor(pair.external_identity) == PEOPLE[2]
    assert graph.encryptor(PEOPLE[2]) == PEOPLE[2]
    assert graph.encryptor(NAMES[2]) == PEOPLE[2]
    assert graph.encryptor(NAMES[0]) is None
    assert EvidenceGraph().encryptor(pair) == pair
    assert EvidenceGraph().encryptor(Special.ALL) is Special.ALL
    assert encrypt_for(Special.ALL, b"open", EPHEMERAL) == b"open"
    assert encrypt_for(Special.NONE, b"gone", EPHEMERAL) == b""


@given(graphs, st.data())
def test_a_graph_is_a_value(edges: set[tuple[int, int]], data: st.DataObject):
    assume(edges)
    order = data.draw(st.permutations(sorted(edges)))
    graph: EvidenceGraph[SignsForEvidence] = EvidenceGraph()
    for index, edge in enumerate(order):
        larger = graph.add(EVIDENCE[edge])
        assert len(graph) == index
        assert EVIDENCE[edge] not in graph
        assert EVIDENCE[edge] in larger
        graph = larger
    assert graph == EvidenceGraph(EVIDENCE[edge] for edge in sorted(edges))
    assert set(graph) == {EVIDENCE[edge] for edge in edges}
    assert graph.add(EVIDENCE[order[0]]) == graph


def test_signatures_of_nobody_prove_nothing():
    assert not verify(PEOPLE[0], b"", Signature(b""))
    assert sign(INTERNAL[0].signer, b"").data
