"""N1 and N2 of the specification's properties, over simulations in which everything may go wrong in any order.

N1: two Routers in two worlds, and between them a transport that delays, doubles and loses messages, cuts connections,
and Routers that crash. N2: a topic and arbitrary deliveries of what publishers have signed, and of what they have not.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.crypto import KeyKind, PrivateKey, Secret
from engines.messages import EngineID, Envelope, encode_envelope
from engines.network_registry.adverts import IPAddr, node_text, router_name, signed, topic_name
from engines.network_registry.messages import NodeAdvert, TopicAdvert
from engines.pub_sub_topic.behaviour import BEHAVIOUR as TOPIC
from engines.pub_sub_topic.behaviour import TopicLimits, TopicSettings
from engines.pub_sub_topic.messages import (
    Forward,
    SubReply,
    SubRequest,
    Success,
    TopicMsg,
    TopicMsgContentMsg,
    UnsubReply,
    UnsubRequest,
)
from engines.router.behaviour import BEHAVIOUR as ROUTER
from engines.router.messages import (
    DEFAULT_PREFS,
    Arrived,
    Connected,
    ConnectReply,
    ConnectRequest,
    Disconnected,
    NodeMsg,
    NodeOutMsg,
    Recv,
    Written,
)
from engines.router.messages import Send as RouterSend
from engines.router.state import Deliver, RouterLimits, RouterSettings
from engines.simulation import Simulation
from engines.ticker.messages import CountReply
from engines.transport_connection.messages import Close, Send
from engines.transport_protocol.messages import Connect

KEYS: Final = tuple(PrivateKey(KeyKind.ED25519, bytes([number]) * 32) for number in range(1, 6))
CHALLENGE: Final = bytes(32)


# -- N1 ---------------------------------------------------------------------------------------


@dataclass
class Side:
    """One node: its Router, and what has been given to its engines."""

    index: int
    world: Simulation
    advert: NodeAdvert
    seen: int = 0
    starts: int = 0
    delivered: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    expired: set[int] = field(default_factory=set)


@dataclass
class Line:
    """A connection: the two ends' names, and frames on their way to each side, in order."""

    dialled_by: int
    frames: tuple[list[Any], list[Any]] = field(default_factory=lambda: ([], []))


class Wire:
    """The transport between two Routers, played by a random number generator."""

    def __init__(self, chance: random.Random, *, crashes: bool) -> None:
        self.chance = chance
        self.crashes = crashes
        self.numbers = 0
        self.lines: dict[str, Line] = {}
        self.sides = [self._side(0), self._side(1)]
        self.highest: dict[tuple[int, int, str], int] = defaultdict(int)
        for side in self.sides:
            self._start(side)

    def _side(self, index: int) -> Side:
        key = KEYS[index]
        advert = signed(NodeAdvert(key.public.data, (IPAddr("127.0.0.1", 1 + index),), 1, 0), key)
        side = Side(index, Simulation({"router": ROUTER}, lambda _, op: self._perform(index, op), ordered=True), advert)
        side.world.node = f"node{index}@127.0.0.1"
        side.world.keep_trace = False
        return side

    def _start(self, side: Side) -> None:
        other = self.sides[1 - side.index]
        side.starts += 1
        seed = Secret(bytes([side.index, side.starts]) * 16)
        limits = RouterLimits(exposed=("*",), send_s=1e9, idle_s=1e9)
        args = RouterSettings(KEYS[side.index], other.advert.id, seed, side.advert, other.advert, limits=limits)
        side.world.spawn("router", args, self.router(side))

    def router(self, side: Side) -> str:
        return router_name(self.sides[1 - side.index].advert.id) if len(self.sides) > 1 else ""

    def _perform(self, index: int, operation: Any) -> None:
        if isinstance(operation, Deliver):
            _, sender, _, _, (_, _, fields) = operation.term
            assert sender[0].name == node_text(self.sides[1 - index].advert.id)
            self.sides[index].delivered.append(next(iter(fields.values())))

    # -- what an engine does ---------------------------------------------------------------------

    def send(self, side: Side, number: int, expiry: float | None = None) -> None:
        side.sent.append(number)
        if expiry is not None:
            side.expired.add(number)
        envelope = Envelope(EngineID(side.world.node, "engine"), EngineID(None, "engine"), CountReply(number))
        out = NodeOutMsg(DEFAULT_PREFS, expiry, encode_envelope(envelope))
        side.world.send(EngineID(None, self.router(side)), RouterSend(out), sender=envelope.sender)

    # -- what the transport does -----------------------------------------------------------------

    def carry(self) -> None:
        """Take what the Routers have said to the transport."""
        for side in self.sides:
            for number, event in list(side.world.pending.items()):
                # The connections are no engines of the world; `cut` tells of the end of those that are there.
                if event.kind == "ended" and event.what.address.name in self.lines:
                    del side.world.pending[number]
            for envelope in side.world.outside[side.seen :]:
                self._heard(side, envelope)
            side.seen = len(side.world.outside)

    def _heard(self, side: Side, envelope: Envelope) -> None:
        assert isinstance(envelope.target, EngineID)
        name = envelope.target.name
        match envelope.message:
            case Connect(_, attempt):
                self.numbers += 1
                line = f"line{self.numbers}"
                self.lines[line] = Line(side.index)
                self._tell(side, line, Connected(attempt, CHALLENGE))
            case Send(out) if name in self.lines:
                self.lines[name].frames[1 - side.index].append(out.msg)
                if isinstance(out.msg, NodeMsg):
                    self._rises(side, name, out.msg.seq)
                    self._tell(side, name, Written(1))
            case Close() if name in self.lines:
                self.cut(name)

    def _rises(self, side: Side, line: str, seq: int) -> None:
        key = (side.index, side.starts, line)
        assert seq > self.highest[key]
        self.highest[key] = seq

    def _tell(self, side: Side, line: str, message: Any) -> None:
        side.world.send(EngineID(None, self.router(side)), message, sender=EngineID(side.world.node, line))

    def cut(self, name: str) -> None:
        """End a connection; what is on its way is lost."""
        self.lines.pop(name)
        for side in self.sides:
            self._tell(side, name, Disconnected(None, "cut"))

    def pass_on(self, name: str, to: int, *, twice: bool = False) -> None:
        line = self.lines[name]
        frame = line.frames[to].pop(0)
        side = self.sides[to]
        at = EngineID(side.world.node, name)
        for _ in range(1 + twice):
            match frame:
                case ConnectRequest():
                    registry = EngineID(side.world.node, "network_registry")
                    router = EngineID(None, self.router(side))
                    side.world.send(router, Arrived(at, frame), sender=registry)
                case ConnectReply():
                    self._tell(side, name, frame)
                case _:
                    self._tell(side, name, Recv(frame))

    # -- one step --------------------------------------------------------------------------------

    def step(self, *, faults: bool) -> bool:
        """Something that may happen does; False: nothing may."""
        self.carry()
        choices: list[tuple[str, Any]] = [
            ("event", (side, event)) for side in self.sides for event in side.world.choices()
        ]
        choices += [("frame", (name, to)) for name, line in self.lines.items() for to in (0, 1) if line.frames[to]]
        if faults and self.chance.random() < 0.02 and self.lines:
            self.cut(self.chance.choice(list(self.lines)))
            return True
        if faults and self.crashes and self.chance.random() < 0.01:
            side = self.chance.choice(self.sides)
            side.world.crash(self.router(side), lose=True)
            for name in list(self.lines):
                self.cut(name)
            self._start(side)
            return True
        if not choices or (faults and self.chance.random() < 0.03):
            return self.wait()
        kind, what = self.chance.choice(choices)
        if kind == "event":
            side, event = what
            side.world.happen(event)
            # A Router's operations are carried out in order, in its own turn.
            for operation in [other for other in side.world.pending.values() if other.kind == "operation"]:
                side.world.happen(operation)
        else:
            self.pass_on(*what, twice=faults and self.chance.random() < 0.1)
        return True

    def wait(self) -> bool:
        """Let time pass until the next timer, in both worlds; those that end idle connections are never due."""
        actors = [side.world.engines[self.router(side)] for side in self.sides]
        due = [at for actor in actors for at in actor.environment.timers.values() if at < 1e6]
        if not due:
            return False
        for side in self.sides:
            side.world.time_s = max(side.world.time_s, min(due))
            if any(at <= side.world.time_s for at in side.world.engines[self.router(side)].environment.timers.values()):
                side.world.fire()
        return True

    def is_done(self) -> bool:
        return all(
            not len(side.world.engines[self.router(side)].environment.state.outbox) and not side.world.choices()
            for side in self.sides
        )


def run(seed: int, *, crashes: bool) -> Wire:
    chance = random.Random(seed)
    wire = Wire(chance, crashes=crashes)
    for number in range(1, 13):
        wire.send(chance.choice(wire.sides), number, chance.choice((None, None, None, 0.0)))
        for _ in range(chance.randrange(25)):
            wire.step(faults=True)
    for _ in range(6000):
        wire.carry()
        if wire.is_done():
            break
        wire.step(faults=False)
    else:
        raise AssertionError(f"not quiet, seed {seed}")
    return wire


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_n1_everything_comes_once_and_in_order_whatever_is_cut(seed: int):
    wire = run(seed, crashes=False)
    for side, other in (wire.sides, wire.sides[::-1]):
        expected = [number for number in side.sent if number in other.delivered]
        assert other.delivered == expected
        assert len(set(other.delivered)) == len(other.delivered)
        # What had expired when it was sent, and nothing else, is missing.
        assert set(side.sent) - set(other.delivered) == side.expired


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_n1_nothing_comes_twice_also_when_routers_crash(seed: int):
    wire = run(seed, crashes=True)
    for side, other in (wire.sides, wire.sides[::-1]):
        assert len(set(other.delivered)) == len(other.delivered)
        assert set(other.delivered) <= set(side.sent)


# -- N2 ---------------------------------------------------------------------------------------

TOPIC_KEY: Final = KEYS[0]
TOPIC_ID: Final = TOPIC_KEY.public.data
PUBLISHERS: Final = KEYS[1:4]
STRANGER: Final = KEYS[4]
SUBSCRIBERS: Final = ("ann", "bob", "eve")


def published(data: st.DataObject) -> list[TopicMsg]:
    """A few messages of each publisher, which depend on earlier ones."""
    messages: list[TopicMsg] = []
    last = dict.fromkeys(PUBLISHERS, 0)
    for index in range(data.draw(st.integers(1, 9))):
        key = data.draw(st.sampled_from(PUBLISHERS))
        last[key] += 1
        earlier = [message.id_in(TOPIC_ID) for message in messages]
        deps = data.draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        content = TopicMsgContentMsg(bytes([index]))
        messages.append(signed(TopicMsg(key.public.data, last[key], tuple(deps), (), content), key, TOPIC_ID))
    return messages


def forged(message: TopicMsg, how: str) -> TopicMsg:
    match how:
        case "stranger":
            return signed(replace(message, publisher=STRANGER.public.data), STRANGER, TOPIC_ID)
        case "topic":
            key = next(key for key in PUBLISHERS if key.public.data == message.publisher)
            return signed(message, key, STRANGER.public.data)
        case _:
            return replace(message, content=TopicMsgContentMsg(b"forged"))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_n2_in_order_after_what_they_depend_on_and_once(data: st.DataObject):
    messages = published(data)
    lost = data.draw(st.sets(st.sampled_from(range(len(messages))), max_size=2))
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    publishers = frozenset(key.public.data for key in PUBLISHERS)
    advert = signed(TopicAdvert(TOPIC_ID, (), (), 1, 0, publishers), TOPIC_KEY)
    world = Simulation({"topic": TOPIC}, lambda _name, _operation: None)
    world.spawn("topic", TopicSettings(STRANGER.public.data, advert, TopicLimits(hold_s=10.0)), "topic")
    at = EngineID(None, "topic")
    for name in SUBSCRIBERS:
        world.send(at, SubRequest(TOPIC_ID), sender=EngineID("x@127.0.0.1", name))
    while world.choices():
        event = world.choices()[0]
        if event.kind == "ended":  # the subscribers are there, though they are no engines of this world
            del world.pending[event.number]
        else:
            world.happen(event)
    for index, message in enumerate(messages):
        for _ in range(0 if index in lost else chance.choice((1, 1, 2))):
            world.send(at, Forward(message), sender=EngineID("x@127.0.0.1", "publisher"))
        world.send(at, Forward(forged(message, chance.choice(("stranger", "topic", "content")))), sender=None)
    world.send(at, UnsubRequest(TOPIC_ID), sender=EngineID("x@127.0.0.1", "eve"))
    world.run(chance, timers=False)
    for _ in range(12):
        world.time_s += 6.0
        if world.engines["topic"].environment.due(world.time_s):
            world.fire()
        world.run(chance, timers=False)
    kept = [message for index, message in enumerate(messages) if index not in lost]
    lost_ids = {messages[index].id_in(TOPIC_ID) for index in lost}
    for name in ("ann", "bob"):
        got = [one.message for one in world.received(name) if isinstance(one, Forward)]
        check_order(got, messages)
        assert set(got) <= set(kept)
        if not lost:
            assert len(got) == len(kept)
        # Whatever is neither lost nor depends on what is comes.
        unharmed = [one for one in kept if not depends(one, messages, lost_ids)]
        assert set(unharmed) <= set(got)
    received = world.received("eve")
    ends = [index for index, one in enumerate(received) if isinstance(one, UnsubReply)]
    assert [one.result for one in received if isinstance(one, SubReply)] == [Success()]
    assert len(ends) == 1
    assert not [one for one in received[ends[0] :] if isinstance(one, Forward)]
    assert not len(world.engines["topic"].environment.state.waiting)
    assert not len(world.engines["topic"].environment.state.dependents)


def depends(message: TopicMsg, messages: list[TopicMsg], lost: set[bytes]) -> bool:
    by_id = {one.id_in(TOPIC_ID): one for one in messages}
    return any(dep in lost or depends(by_id[dep], messages, lost) for dep in message.deps)


def check_order(got: list[TopicMsg], messages: list[TopicMsg]) -> None:
    assert len({one.id_in(TOPIC_ID) for one in got}) == len(got)
    for key in PUBLISHERS:
        seqs = [one.seq for one in got if one.publisher == key.public.data]
        assert seqs == sorted(seqs)
    before: set[bytes] = set()
    for one in got:
        assert set(one.deps) <= before
        before.add(one.id_in(TOPIC_ID))


def test_a_topic_has_the_name_that_routers_let_through():
    assert topic_name(TOPIC_ID).startswith("topic-")
