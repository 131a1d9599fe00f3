"""Identity Management, Commitment and Decryption without a node: I2 of the specification's test properties, and errors."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.crypto import EMPTY_COMMITMENT, PrivateKey, Secret, encrypt_for, verify
from anoma.crypto.keys import KeyKind
from engines.commitment import messages as commitment
from engines.commitment.behaviour import BEHAVIOUR as COMMITMENT
from engines.commitment.behaviour import CommitmentSettings
from engines.decryption import messages as decryption
from engines.decryption.behaviour import BEHAVIOUR as DECRYPTION
from engines.decryption.behaviour import DecryptionSettings
from engines.identity_management.backends import (
    LOCAL_MEMORY,
    Backend,
    Capabilities,
    IDParams,
    LocalConnection,
    RemoteConnection,
)
from engines.identity_management.behaviour import BEHAVIOUR, RANDOM_SIZE
from engines.identity_management.messages import (
    MESSAGES,
    ConnectIdentityReply,
    ConnectIdentityRequest,
    DeleteIdentityReply,
    DeleteIdentityRequest,
    Drawn,
    GenerateIdentityReply,
    GenerateIdentityRequest,
)
from engines.messages import EngineID, MalformedEnvelope, decode_message, encode_message
from engines.simulation import NODE
from erlang_bridge.etf import decode, encode
from erlang_bridge.otp.readable import readable
from erlang_bridge.terms import Atom
from tests.identity_worlds import INTERNAL, PEOPLE, World

MANAGEMENT = "identity_management"
EPHEMERAL = PrivateKey(KeyKind.CURVE25519, b"\x77" * 32)

CAN_COMMIT = {Capabilities.COMMIT, Capabilities.COMMIT_AND_DECRYPT}
CAN_DECRYPT = {Capabilities.DECRYPT, Capabilities.COMMIT_AND_DECRYPT}


def generate(world: World, sender: str = "owner", **fields: Any) -> GenerateIdentityReply:
    reply = world.ask(MANAGEMENT, GenerateIdentityRequest(**fields), sender)
    assert isinstance(reply, GenerateIdentityReply)
    return reply


def children(world: World) -> set[str]:
    return world.engines.keys() - {MANAGEMENT}


def test_a_new_identity_signs_and_decrypts():
    world = World(MANAGEMENT)
    made = generate(world)
    assert made.err is None
    assert made.keys is not None
    assert made.external_identity == made.keys.external_identity
    assert made.commitment_engine is not None
    assert made.decryption_engine is not None
    assert made.commitment_engine.node == NODE
    signed = world.ask(made.commitment_engine, commitment.Request(b"data"))
    assert signed.err is None
    assert verify(made.keys, b"data", signed.commitment)
    box = encrypt_for(made.keys, b"secret", EPHEMERAL)
    assert world.ask(made.decryption_engine, decryption.Request(box)) == decryption.Reply(b"secret")
    failed = decryption.Reply(b"", "Decryption Failed")
    assert world.ask(made.decryption_engine, decryption.Request(box[:-1])) == failed
    assert world.ask(made.decryption_engine, decryption.Request(b"")) == failed


def test_each_identity_is_another_also_for_the_same_requester():
    world = World(MANAGEMENT)
    made = [generate(world) for _ in range(4)]
    assert len({reply.external_identity for reply in made}) == 4
    assert len(children(world)) == 8
    assert len({reply.authority for reply in made}) == 4


THE_LATTICE_OF_CAPABILITIES: Any = list(product(Capabilities, repeat=2))


def test_the_lattice_of_capabilities():
    for available, requested in THE_LATTICE_OF_CAPABILITIES:
        world = World(MANAGEMENT)
        made = generate(world, capabilities=available)
        assert (made.commitment_engine is not None) == (available in CAN_COMMIT)
        assert (made.decryption_engine is not None) == (available in CAN_DECRYPT)
        assert made.external_identity is not None
        shared = world.ask(MANAGEMENT, ConnectIdentityRequest(made.external_identity, capabilities=requested))
        if requested is available or available is Capabilities.COMMIT_AND_DECRYPT:
            assert shared.err is None
            assert shared.keys == made.keys
            assert shared.commitment_engine == (made.commitment_engine if requested in CAN_COMMIT else None)
            assert shared.decryption_engine == (made.decryption_engine if requested in CAN_DECRYPT else None)
        else:
            assert shared == ConnectIdentityReply(err="Capabilities not available")


def test_connecting_to_what_is_not_there_or_is_held_already():
    world = World(MANAGEMENT)
    made = generate(world)
    name = made.external_identity
    assert name is not None
    ask = world.ask
    assert ask(MANAGEMENT, ConnectIdentityRequest("nobody")).err == "External identity not found"
    assert ask(MANAGEMENT, ConnectIdentityRequest(name), "owner").err == "Identity already exists"
    assert ask(MANAGEMENT, ConnectIdentityRequest(name), "friend").err is None
    assert ask(MANAGEMENT, ConnectIdentityRequest(name), "friend").err == "Identity already exists"
    world.send(EngineID(None, MANAGEMENT), ConnectIdentityRequest(name), sender=EngineID(None, "friend"))
    world.run(world.random)
    assert world.received("friend")[-1] == ConnectIdentityReply(err="Identity already exists")


def test_deleting_is_for_holders_and_the_engines_end_with_the_last():
    world = World(MANAGEMENT)
    made = generate(world)
    name = made.external_identity
    assert name is not None

    def delete(sender: str, authority: bytes | None = None) -> str | None:
        err: str | None = world.ask(MANAGEMENT, DeleteIdentityRequest(name, authority=authority), sender).err
        return err

    shared = world.ask(MANAGEMENT, ConnectIdentityRequest(name, capabilities=Capabilities.COMMIT), "friend")
    assert delete("stranger") == "Not authorized: the identity is held by others"
    assert delete("stranger", b"guess") == "Not authorized: the identity is held by others"
    assert len(children(world)) == 2
    assert delete("owner") is None
    assert children(world) == {shared.commitment_engine.name}
    assert delete("owner") == "Not authorized: the identity is held by others"
    assert world.ask(MANAGEMENT, ConnectIdentityRequest(name), "late").err == "External identity not found"
    assert world.ask(shared.commitment_engine, commitment.Request(b"d"), "friend").err is None
    assert delete("friend") is None
    assert children(world) == set()
    assert delete("friend") == "Identity does not exist"


def test_the_authority_deletes_from_any_address():
    world = World(MANAGEMENT)
    made = generate(world)
    assert made.external_identity is not None
    shared = world.ask(MANAGEMENT, ConnectIdentityRequest(made.external_identity), "friend")
    assert shared.authority != made.authority
    for authority in (shared.authority, made.authority):
        request = DeleteIdentityRequest(made.external_identity, authority=authority)
        assert world.ask(MANAGEMENT, request, "another address") == DeleteIdentityReply()
    assert children(world) == set()


OTHER_KEYS_ARE_NOT_OFFERED: Any = [IDParams.SECP256K1, IDParams.BLS]


def test_other_keys_are_not_offered():
    for params in OTHER_KEYS_ARE_NOT_OFFERED:
        reply = generate(World(MANAGEMENT), params=params)
        assert reply == GenerateIdentityReply(err=f"Keys of the kind {params.value} are not offered; there is ed25519")


def test_other_backends_are_not_offered():
    world = World(MANAGEMENT)
    refusal = (
        "The backend local_connection to 'card' is not offered here; there are local_memory, and remote_connection to "
        "the identity_management of another node"
    )
    card = LocalConnection("card")
    assert generate(world, backend=card).err == refusal
    made = generate(world)
    assert made.external_identity is not None
    assert world.ask(MANAGEMENT, ConnectIdentityRequest(made.external_identity, card)).err == refusal
    elsewhere = "The identity is in another backend"
    assert world.ask(MANAGEMENT, DeleteIdentityRequest(made.external_identity, card), "owner").err == elsewhere
    remote = RemoteConnection(EngineID("n@h", MANAGEMENT))
    assert world.ask(MANAGEMENT, ConnectIdentityRequest(made.external_identity, remote)).err == elsewhere


def test_there_is_a_limit():
    world = World(MANAGEMENT, identity_management={Atom("max_identities"): 1})
    assert generate(world).err is None
    assert generate(world).err == "There are 1 identities, and no more are kept"


def test_who_cannot_be_answered_is_not_served():
    world = World(MANAGEMENT)
    world.send(EngineID(None, MANAGEMENT), GenerateIdentityRequest())
    world.run(world.random)
    assert children(world) == set()


def test_an_engine_that_crashes_comes_back_under_its_name():
    world = World(MANAGEMENT)
    made = generate(world)
    assert made.commitment_engine is not None
    assert made.keys is not None
    world.crash(made.commitment_engine.name)
    world.run(world.random)
    reply = world.ask(made.commitment_engine, commitment.Request(b"data"))
    assert verify(made.keys, b"data", reply.commitment)


def test_random_bytes_are_not_taken_from_others():
    world = World(MANAGEMENT)
    world.send(EngineID(None, MANAGEMENT), GenerateIdentityRequest(), sender=EngineID(NODE, "me"))
    for event in [event for event in world.choices() if event.kind != "operation"]:
        world.happen(event)
    known = Secret(bytes(RANDOM_SIZE + 32))
    world.send(EngineID(None, MANAGEMENT), Drawn(1, known), sender=EngineID(NODE, "me"))
    world.run(world.random)
    (reply,) = world.received("me")
    assert isinstance(reply, GenerateIdentityReply)
    assert reply.keys is not None
    assert reply.keys.verifier != PrivateKey(KeyKind.ED25519, bytes(32)).public
    with pytest.raises(MalformedEnvelope, match="not taken from outside"):
        decode_message((Atom(MANAGEMENT), Atom("drawn"), {Atom("number"): 1, Atom("randomness"): bytes(96)}), MESSAGES)


def test_states_do_not_show_private_keys():
    world = World(MANAGEMENT)
    made = generate(world)
    state = world.engines[MANAGEMENT].environment.state
    info = state.identities[made.external_identity]
    secrets = [
        info.internal.signer.reveal(),
        info.internal.decryptor.reveal(),
        info.seed.reveal(),
        *(holding.authority.reveal() for holding in info.holdings),
    ]
    shown = repr(state) + repr(readable(state)) + repr([actor.config for actor in world.engines.values()])
    assert "hidden" in shown
    for secret in secrets:
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


# -- another node -----------------------------------------------------------------------------


class TwoNodes:
    """Two worlds, and what travels between them."""

    def __init__(self) -> None:
        self.here = World(MANAGEMENT, seed=1)
        self.there = World(MANAGEMENT, seed=2)
        self.there.node = "there@127.0.0.1"
        actor = self.there.engines[MANAGEMENT]
        actor.config = replace(actor.config, node=self.there.node)
        self.backend = RemoteConnection(EngineID(self.there.node, MANAGEMENT))

    def run(self) -> None:
        """Let everything happen, but for timers."""
        worlds = {world.node: world for world in (self.here, self.there)}
        going = True
        while going:
            going = False
            for world in worlds.values():
                going |= world.run(world.random, timers=False) > 0
                for envelope in list(world.outside):
                    target = envelope.target
                    if isinstance(target, EngineID) and target.node in worlds and target.name == MANAGEMENT:
                        world.outside.remove(envelope)
                        worlds[target.node]._post(envelope)
                        going = True

    def ask(self, message: Any, sender: str = "owner") -> Any:
        before = len(self.here.received(sender))
        self.here.send(EngineID(None, MANAGEMENT), message, sender=EngineID(NODE, sender))
        self.run()
        (reply,) = self.here.received(sender)[before:]
        return reply


def test_identities_of_another_node():
    nodes = TwoNodes()
    made = nodes.ask(GenerateIdentityRequest(nodes.backend, capabilities=Capabilities.COMMIT))
    assert made.err is None
    assert made.commitment_engine.node == "there@127.0.0.1"
    assert children(nodes.here) == set()
    assert children(nodes.there) == {made.commitment_engine.name}
    name = made.external_identity

    # What is known here is shared here; what is not is asked for there.
    assert nodes.ask(ConnectIdentityRequest(name, nodes.backend), "friend").err == "Capabilities not available"
    commit_only = Capabilities.COMMIT
    assert nodes.ask(ConnectIdentityRequest(name, nodes.backend, commit_only), "friend").err is None
    assert nodes.ask(ConnectIdentityRequest(name, LOCAL_MEMORY, commit_only), "other").err is not None
    assert nodes.ask(ConnectIdentityRequest("none", nodes.backend)).err == "External identity not found"
    theirs = generate(nodes.there, "their own")
    assert theirs.external_identity is not None
    shared = nodes.ask(ConnectIdentityRequest(theirs.external_identity, nodes.backend), "friend")
    assert shared.err is None
    assert shared.decryption_engine == theirs.decryption_engine

    assert nodes.ask(DeleteIdentityRequest(name, LOCAL_MEMORY)).err == "The identity is in another backend"
    assert nodes.ask(DeleteIdentityRequest(name, nodes.backend)).err is None
    assert made.commitment_engine.name in children(nodes.there)
    assert nodes.ask(DeleteIdentityRequest(name, nodes.backend), "friend").err is None
    assert made.commitment_engine.name not in children(nodes.there)
    assert nodes.ask(DeleteIdentityRequest(theirs.external_identity, nodes.backend), "friend").err is None
    assert len(children(nodes.there)) == 2


def test_another_node_that_does_not_answer():
    world = World(MANAGEMENT)
    remote = RemoteConnection(EngineID("there@127.0.0.1", MANAGEMENT))
    err = "The other node's identity_management has not answered in 3000 ms"
    assert world.ask(MANAGEMENT, GenerateIdentityRequest(remote)) == GenerateIdentityReply(err=err)
    assert world.ask(MANAGEMENT, ConnectIdentityRequest("x", remote)) == ConnectIdentityReply(err=err)
    assert world.engines[MANAGEMENT].environment.state.asked == {}
    # An identity that comes after all goes back.
    late = GenerateIdentityReply(None, None, PEOPLE[0].external_identity, PEOPLE[0], b"a")
    world.send(EngineID(None, MANAGEMENT), late, sender=remote.external_identity)
    world.run(world.random)
    assert world.outside[-1].message == DeleteIdentityRequest(PEOPLE[0].external_identity)
    assert world.outside[-1].target == remote.external_identity


@pytest.mark.parametrize("node", [None, NODE])
def test_a_connection_to_itself_is_local(node: str | None):
    world = World(MANAGEMENT)
    made = generate(world, backend=RemoteConnection(EngineID(node, MANAGEMENT)))
    assert made.err is None
    assert made.commitment_engine is not None
    assert made.commitment_engine.node == NODE


# -- any order of anything --------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["generate", "connect", "delete"]),
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.sampled_from(Capabilities),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(steps)
def test_engines_are_there_exactly_for_what_is_held(trace: list[tuple[str, str, int, Capabilities]]):
    world = World(MANAGEMENT)
    made: list[GenerateIdentityReply] = []
    held: dict[str, dict[str, Capabilities]] = {}
    owned: dict[str, str] = {}
    for what, sender, which, capabilities in trace:
        if what == "generate":
            reply = generate(world, sender, capabilities=capabilities)
            assert reply.external_identity is not None
            made.append(reply)
            held[reply.external_identity] = {sender: capabilities}
            owned[reply.external_identity] = sender
            continue
        if not made:
            continue
        identity = made[which % len(made)]
        name = identity.external_identity
        assert name is not None
        holders = held[name]
        if what == "connect":
            err = world.ask(MANAGEMENT, ConnectIdentityRequest(name, capabilities=capabilities), sender).err
            full = holders.get(owned.get(name, ""))
            allowed = (
                name in owned and sender not in holders and full in (capabilities, Capabilities.COMMIT_AND_DECRYPT)
            )
            assert (err is None) == allowed, err
            if allowed:
                holders[sender] = capabilities
        else:
            err = world.ask(MANAGEMENT, DeleteIdentityRequest(name), sender).err
            assert (err is None) == (sender in holders), err
            holders.pop(sender, None)
            if owned.get(name) == sender:
                del owned[name]
    expected = set()
    for identity in made:
        capabilities_held = set(held[identity.external_identity or ""].values())
        if capabilities_held & CAN_COMMIT and identity.commitment_engine is not None:
            expected.add(identity.commitment_engine.name)
        if capabilities_held & CAN_DECRYPT and identity.decryption_engine is not None:
            expected.add(identity.decryption_engine.name)
    assert children(world) == expected


# -- starting them by hand --------------------------------------------------------------------


def test_engines_whose_backend_is_not_offered_say_so():
    world = World()
    backend: Backend = LocalConnection("card")
    world.spawn("commitment", CommitmentSettings(PEOPLE[0], None, backend), "committer")
    world.spawn("decryption", DecryptionSettings(None, backend), "decryptor")
    signed = world.ask("committer", commitment.Request(b"d"))
    assert signed.commitment == EMPTY_COMMITMENT
    assert "'card' is not offered" in signed.err
    opened = world.ask("decryptor", decryption.Request(b"d"))
    assert opened.data == b""
    assert "'card' is not offered" in opened.err


START_ARGUMENTS_THAT_ARE_NONE: Any = [
    (COMMITMENT, None),
    (COMMITMENT, b"\1" * 32),
    (COMMITMENT, CommitmentSettings(PEOPLE[0], INTERNAL[1].signer)),
    (COMMITMENT, CommitmentSettings(PEOPLE[0], INTERNAL[0].decryptor)),
    (DECRYPTION, {}),
    (DECRYPTION, DecryptionSettings(INTERNAL[0].signer)),
    (BEHAVIOUR, 3),
    (BEHAVIOUR, {Atom("remote_timeout_ms"): 0}),
    (BEHAVIOUR, {Atom("remote_timeout"): 1}),
]


def test_start_arguments_that_are_none():
    for behaviour, args in START_ARGUMENTS_THAT_ARE_NONE:
        with pytest.raises(ValueError, match="expected|should") as caught:
            behaviour.start(args)
        assert "\\x01\\x01" not in str(caught.value)


START_ARGUMENTS: Any = [None, [], {}, {Atom("node_id"): b"x"}, {Atom("remote_timeout_ms"): 50}]


def test_start_arguments():
    for args in START_ARGUMENTS:
        settings_made, state = BEHAVIOUR.start(args)
        assert settings_made.remote_timeout_ms in (3000, 50)
        assert not state.identities


MESSAGES_AS_TERMS: Any = [
    GenerateIdentityRequest(),
    GenerateIdentityRequest(LocalConnection("card"), IDParams.BLS, Capabilities.DECRYPT),
    GenerateIdentityRequest(RemoteConnection(EngineID("n@h", "im"))),
    GenerateIdentityReply(EngineID("n@h", "a"), None, PEOPLE[0].external_identity, PEOPLE[0], b"key"),
    ConnectIdentityReply(err="no"),
    DeleteIdentityRequest("x", authority=b"key"),
    DeleteIdentityReply(),
]


def test_messages_as_terms():
    for message in MESSAGES_AS_TERMS:
        assert decode_message(encode_message(message), MESSAGES) == message
        assert decode_message(decode(encode(encode_message(message))), MESSAGES) == message
