"""The Network Registry's decisions, and topics over several nodes."""

from __future__ import annotations

from typing import Any

import pytest

from anoma.crypto import KeyKind, PrivateKey, Secret
from engines.messages import EngineID, Message, decode_envelope
from engines.network_registry.adverts import IPAddr, router_name, signed, topic_name
from engines.network_registry.behaviour import BEHAVIOUR, RegistrySettings
from engines.network_registry.messages import (
    AddPeer,
    Drawn,
    GetNodeAdvertReply,
    GetNodeAdvertRequest,
    GetTopicAdvertReply,
    GetTopicAdvertRequest,
    NodeAdvert,
    NotFound,
    PeerAdded,
    TopicAdvert,
    Unused,
)
from engines.network_registry.server import make_topic, submit, topic_advert
from engines.pub_sub_topic.behaviour import BEHAVIOUR as TOPIC
from engines.pub_sub_topic.behaviour import TopicLimits
from engines.pub_sub_topic.messages import MESSAGES, Forward, TopicMsg, TopicMsgAck, TopicMsgContentMsg
from engines.pub_sub_topic.server import publish, subscribe, unsubscribe
from engines.router.behaviour import BEHAVIOUR as ROUTER
from engines.router.messages import Hint, OwnAdvert
from engines.simulation import Simulation
from erlang_bridge import Atom, Node, OwnProcess, Pid
from tests.networks import AnomaNode, anoma_node, new_key
from tests.waiting import until

KEY = PrivateKey(KeyKind.ED25519, bytes(range(32)))
OTHER = PrivateKey(KeyKind.ED25519, bytes(range(1, 33)))
THIRD = PrivateKey(KeyKind.ED25519, bytes(range(2, 34)))
ME = EngineID("x@127.0.0.1", "me")
REMOTE = EngineID(THIRD.public.data.hex(), "network_registry")


class World:
    """A Network Registry, and the engines that it starts."""

    def __init__(self, **options: Any) -> None:
        behaviours = {"network_registry": BEHAVIOUR, "router": ROUTER, "pub_sub_topic": TOPIC}
        self.world = Simulation(behaviours, lambda _engine, op: self._perform(op), ordered=True)
        self.notes: list[str] = []
        self.world.spawn("network_registry", RegistrySettings(KEY, **options), "network_registry")
        self.run()

    def _perform(self, operation: Any) -> Message | None:
        if hasattr(operation, "text"):
            self.notes.append(operation.text)
            return None
        return Drawn(Secret(bytes(32)))

    def run(self) -> None:
        while self.world.choices():
            self.world.happen(self.world.choices()[0])

    def ask(self, message: Message, sender: EngineID = ME) -> Any:
        before = len(self.world.outside)
        self.world.send(EngineID(None, "network_registry"), message, sender=sender)
        self.run()
        return next((one.message for one in self.world.outside[before:] if one.target == sender), None)

    def node(self, key: PrivateKey) -> Any:
        return self.ask(GetNodeAdvertRequest(key.public.data)).result

    def has(self, name: str) -> bool:
        return name in self.world.engines


def advert(key: PrivateKey, version: int = 1, *addrs: IPAddr, by: PrivateKey | None = None) -> NodeAdvert:
    return signed(NodeAdvert(key.public.data, addrs, version, 0), by or key)


# -- the registry -----------------------------------------------------------------------------


def test_n1_older_adverts_are_ignored_and_newer_ones_reach_the_router():
    world = World()
    newest = advert(OTHER, 7)
    world.ask(newest)
    for wrong in (advert(OTHER, 7, IPAddr("127.0.0.1", 1)), advert(OTHER, 6), advert(OTHER, 8, by=THIRD)):
        world.ask(wrong, REMOTE)
        assert world.node(OTHER) == newest
    newer = advert(OTHER, 8, IPAddr("127.0.0.1", 1))
    world.ask(newer, REMOTE)
    assert world.node(OTHER) == newer
    assert world.world.engines[router_name(OTHER.public.data)].environment.state.advert == newer
    assert "not signed" in world.notes[0]


def test_a_nodes_own_advert_is_its_own_business():
    world = World(addrs=(IPAddr("127.0.0.1", 5),))
    own = world.node(KEY)
    assert own.addrs == (IPAddr("127.0.0.1", 5),)
    world.ask(advert(KEY, 10**9))
    assert world.node(KEY) == own


def test_nobody_from_elsewhere_asks_it_or_adds_nodes():
    world = World()
    assert world.ask(GetNodeAdvertRequest(KEY.public.data), REMOTE) is None
    assert world.ask(GetTopicAdvertRequest(KEY.public.data), REMOTE) is None
    assert world.ask(AddPeer(OTHER.public.data, ()), REMOTE) is None
    assert not world.has(router_name(OTHER.public.data))
    world.ask(make_topic(OTHER), REMOTE)
    assert not world.has(topic_name(OTHER.public.data))


def test_there_is_room_for_so_many():
    world = World(max_peers=2, max_strangers=1, max_topics=1)
    world.ask(advert(OTHER), REMOTE)
    world.ask(advert(THIRD), REMOTE)
    assert world.node(THIRD) == NotFound()
    assert world.ask(AddPeer(THIRD.public.data, ())) == PeerAdded(THIRD.public.data, False)
    world.ask(Unused(OTHER.public.data), EngineID(world.world.node, router_name(OTHER.public.data)))
    assert not world.has(router_name(OTHER.public.data))
    assert world.ask(AddPeer(THIRD.public.data, ())) == PeerAdded(THIRD.public.data, True)
    world.ask(Unused(THIRD.public.data))
    assert world.has(router_name(THIRD.public.data))
    world.ask(make_topic(OTHER))
    world.ask(make_topic(THIRD))
    assert world.has(topic_name(OTHER.public.data))
    assert not world.has(topic_name(THIRD.public.data))


def test_topics_by_newer_adverts():
    world = World()
    topic = OTHER.public.data
    assert world.ask(GetTopicAdvertRequest(topic)) == GetTopicAdvertReply(topic, NotFound())
    world.ask(make_topic(OTHER))
    newer = make_topic(OTHER, tags=("news",), version=2)
    world.ask(newer, REMOTE)
    world.ask(make_topic(OTHER), REMOTE)
    world.ask(signed(TopicAdvert(topic, (), (), 3, 0), THIRD), REMOTE)
    assert world.ask(GetTopicAdvertRequest(topic)).result == newer
    assert world.world.engines[topic_name(topic)].environment.state.advert == newer


def test_engines_that_end_are_started_anew():
    world = World()
    world.ask(AddPeer(OTHER.public.data, (IPAddr("127.0.0.1", 1),), True))
    world.ask(make_topic(THIRD))
    for name in (router_name(OTHER.public.data), topic_name(THIRD.public.data)):
        world.world.crash(name)
        world.run()
        assert not world.has(name)
        while not world.has(name):
            assert world.world.fire()
            world.run()
    state = world.world.engines[router_name(OTHER.public.data)].environment.state
    assert (state.hints, state.permanence) == ((IPAddr("127.0.0.1", 1),), "permanent")


def test_a_key_that_cannot_sign_is_no_node():
    with pytest.raises(ValueError, match="expected a key for ed25519"):
        RegistrySettings(PrivateKey(KeyKind.CURVE25519, bytes(32)))
    with pytest.raises(ValueError, match="key"):
        BEHAVIOUR.start({})


def test_values_are_checked():
    with pytest.raises(ValueError, match="32 bytes"):
        NodeAdvert(b"short", (), 1, 0)
    with pytest.raises(ValueError, match="at most 16 addresses"):
        advert(OTHER, 1, *(IPAddr("127.0.0.1", port) for port in range(1, 20)))
    with pytest.raises(ValueError, match="at most 32 tags"):
        make_topic(OTHER, tags=("x",) * 40)
    with pytest.raises(ValueError, match="at least 1"):
        TopicMsg(bytes(32), 0, (), (), TopicMsgContentMsg(b""))
    assert GetNodeAdvertReply(bytes(32), NotFound()).result == NotFound()
    assert Hint(()) != OwnAdvert(advert(OTHER))


# -- topics over nodes -------------------------------------------------------------------------


class Subscriber:
    """A process that keeps what is published."""

    def __init__(self, node: Node) -> None:
        self.got: list[TopicMsg] = []
        self.pid: Pid = node.spawn(self._run)

    def _run(self, own: OwnProcess) -> None:
        while True:
            message = decode_envelope(own.receive(), MESSAGES).message
            assert isinstance(message, Forward)
            self.got.append(message.message)

    @property
    def seqs(self) -> list[int]:
        return [message.seq for message in self.got]


@pytest.fixture
def nodes(node_factory) -> list[AnomaNode]:
    """A relay, and two nodes that know it."""
    made = [anoma_node(node_factory, registry={"topic": TopicLimits(hold_s=0.1, lease_s=1.0)}) for _ in range(3)]
    for one in made[1:]:
        one.knows(made[0])
    return made


def test_what_is_published_on_one_node_reaches_subscribers_on_all(nodes):
    creator, publisher, stranger = new_key(), new_key(), new_key()
    topic = creator.public.data
    relay, one, other = nodes
    made = make_topic(creator, relays=(relay.id,), publishers=frozenset((publisher.public.data,)))
    assert all(submit(node.node, made) for node in nodes)
    assert topic_advert(one.node, topic) == made
    subscribers = [Subscriber(node.node) for node in (relay, one, other, other)]
    for node, subscriber in zip((relay, one, other, other), subscribers, strict=True):
        assert subscribe(node.node, topic, subscriber.pid)
    relayed = lambda: len(relay.state(topic_name(topic)).subscribers) == 3  # noqa: E731
    assert until(relayed)
    first = publish(one.node, topic, publisher, 1, TopicMsgContentMsg(b"one"))
    publish(other.node, topic, publisher, 3, TopicMsgContentMsg(b"three"), deps=(first,))
    publish(other.node, topic, stranger, 1, TopicMsgContentMsg(b"nothing to say"))
    publish(relay.node, topic, publisher, 2, TopicMsgAck(first, 100), seen=(first,))
    assert until(lambda: all(one.seqs == [1, 2, 3] for one in subscribers))
    # Subscriptions of nodes are renewed in time.
    ends = min(relay.state(topic_name(topic)).subscribers.values())
    assert until(lambda: min(relay.state(topic_name(topic)).subscribers.values()) > ends)
    publish(relay.node, topic, publisher, 4, TopicMsgContentMsg(b"four"))
    assert until(lambda: all(one.seqs == [1, 2, 3, 4] for one in subscribers))
    assert unsubscribe(one.node, topic, subscribers[1].pid)
    assert not unsubscribe(one.node, topic, subscribers[1].pid)
    assert until(lambda: len(relay.state(topic_name(topic)).subscribers) == 2)
    publish(other.node, topic, publisher, 5, TopicMsgContentMsg(b"five"))
    assert until(lambda: all(subscribers[index].seqs == [1, 2, 3, 4, 5] for index in (0, 2, 3)))
    assert subscribers[1].seqs == [1, 2, 3, 4]


def test_subscribers_that_end_and_nodes_that_do_not_come_back_are_forgotten(nodes):
    creator = new_key()
    topic = creator.public.data
    relay, one, _ = nodes
    made = make_topic(creator, relays=(relay.id,))
    for node in (relay, one):
        submit(node.node, made)
    subscriber = Subscriber(one.node)
    assert subscribe(one.node, topic, subscriber.pid)
    here = Subscriber(relay.node)
    assert subscribe(relay.node, topic, here.pid)
    assert until(lambda: len(relay.state(topic_name(topic)).subscribers) == 2)
    relay.node.exit(here.pid, Atom("kill"))
    assert until(lambda: len(relay.state(topic_name(topic)).subscribers) == 1)
    one.node.stop()
    assert until(lambda: len(relay.state(topic_name(topic)).subscribers) == 0)


def test_nodes_that_may_not_read_are_denied(node_factory, caplog):
    relay = anoma_node(node_factory, registry={"topic": TopicLimits(readers=frozenset())})
    one = anoma_node(node_factory)
    one.knows(relay)
    creator = new_key()
    topic = creator.public.data
    made = make_topic(creator, relays=(relay.id,))
    for node in (relay, one):
        submit(node.node, made)
    subscriber = Subscriber(one.node)
    assert subscribe(one.node, topic, subscriber.pid)
    assert until(lambda: "does not let this node have topic" in caplog.text)
    assert not len(relay.state(topic_name(topic)).subscribers)
