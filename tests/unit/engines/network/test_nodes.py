"""Nodes that are in no cluster together exchange messages of engines, and what goes wrong costs one connection."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import gevent
import pytest

from engines.effects import Effects
from engines.engine import Engine, Refused
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.messages import EngineID, Envelope, Message, decode_envelope, encode_envelope
from engines.network_registry.adverts import ClusterAddr, IPAddr, TransportProtocol, router_name, signed
from engines.network_registry.messages import GetNodeAdvertRequest, NodeAdvert
from engines.network_registry.server import add_peer, advertise, node_advert, submit
from engines.router import server as router
from engines.router.messages import ConnectionPermanence, Reliability, TransportPrefs
from engines.ticker.messages import MESSAGES as TICKER_MESSAGES
from engines.ticker.messages import CountReply, CountRequest, Increment
from engines.ticker.server import Ticker
from engines.transport_protocol.behaviour import TransportSettings
from erlang_bridge import Atom, CallTimeout, NoProcess, OwnProcess
from tests.networks import TCP, AnomaNode, Authority, anoma_node, authority, new_key
from tests.waiting import until

TICKER: Final = "ticker"
KILL: Final = Atom("kill")


@dataclass(frozen=True, slots=True)
class Note(Message):
    engine: ClassVar[str] = "noter"
    number: int


@dataclass(frozen=True, slots=True)
class Pass(Message):
    """Have the noter send notes to somebody."""

    engine: ClassVar[str] = "noter"
    to: EngineID
    first: int
    last: int


def _note(turn: Turn[Any], _args: None) -> Effects[Any]:
    return Effects((*turn.state, (turn.sender, turn.message.number)))  # type: ignore[union-attr]


def _pass(turn: Turn[Any], _args: None) -> Effects[Any]:
    message: Any = turn.message
    notes = (Note(number) for number in range(message.first, message.last + 1))
    return Effects(turn.state, messages=tuple(turn.send(message.to, note) for note in notes))


class Noter(Engine):
    engine = EngineBehaviour(
        "noter", (Note, Pass), lambda _: (NO_SETTINGS, ()), First(on(Note, _note), on(Pass, _pass))
    )


def notes(node: AnomaNode) -> list[int]:
    return [number for _, number in node.state("noter")]


def pass_notes(one: AnomaNode, other: AnomaNode, first: int, last: int) -> None:
    one.node.cast(
        "noter", encode_envelope(Envelope(None, EngineID(None, "noter"), Pass(other.engine("noter"), first, last)))
    )


def count(one: AnomaNode, other: AnomaNode, **options: Any) -> int:
    reply: CountReply = router.request(one.node, other.engine(TICKER), CountRequest(), **options)
    return reply.counter


def connected(one: AnomaNode, other: AnomaNode) -> bool:
    return (
        one.node.whereis(router_name(other.id)) is not None and router.status(one.node, other.id).status == "connected"
    )


def connections(node: AnomaNode) -> list[str]:
    names = [name.name for name in node.node.table.names]
    return [name for name in names if name.startswith("transport-connection-")]


@pytest.fixture
def make(node_factory):
    def start(**options: Any) -> AnomaNode:
        made = anoma_node(node_factory, **options)
        made.node.start(Ticker, 0, name=TICKER)
        made.node.start(Noter, None, name="noter")
        return made

    return start


@pytest.fixture
def pair(make) -> tuple[AnomaNode, AnomaNode]:
    """The first one knows where the second is."""
    one, other = make(), make()
    one.knows(other)
    return one, other


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), "authority")


# -- messages and replies ---------------------------------------------------------------------


def test_a_request_and_its_reply(pair):
    one, other = pair
    assert count(one, other) == 0
    router.send(one.node, other.engine(TICKER), Increment())
    assert count(one, other) == 1
    assert count(other, one) == 0
    assert (router.status(one.node, other.id).proto_ver, len(connections(one))) == (1, 1)


def test_engines_write_to_engines_of_other_nodes_and_are_answered(pair):
    """The other side knows the sender by its node's id; its answer goes to that address."""
    one, other = pair
    pass_notes(one, other, 1, 300)
    assert until(lambda: len(notes(other)) == 300)
    assert notes(other) == list(range(1, 301))
    assert {sender for sender, _ in other.state("noter")} == {one.engine("noter")}
    pass_notes(other, one, 1, 5)
    assert until(lambda: notes(one) == [1, 2, 3, 4, 5])


def test_a_process_without_a_name_is_answered_under_its_reference(pair):
    one, other = pair
    got: list[Any] = []

    def body(own: OwnProcess) -> None:
        reference = own.alias()
        asked = Envelope(own.pid, other.engine(TICKER), CountRequest(), reference=reference)
        own.send(router_name(other.id), (Atom("$gen_cast"), _send(encode_envelope(asked))))
        answer = decode_envelope(own.receive(timeout_s=3), TICKER_MESSAGES)
        got.append((answer.message, answer.reference == reference, answer.sender))

    one.node.spawn(body)
    assert until(lambda: got)
    assert got == [(CountReply(0), True, other.engine(TICKER))]


def _send(envelope: Any) -> Any:
    fields = {Atom("prefs"): (Atom("transport_prefs"), {}), Atom("expiry"): None, Atom("msg"): envelope}
    return Atom("send"), {Atom("message"): (Atom("node_out_msg"), fields)}


def test_a_node_writes_to_itself(make):
    one = make()
    assert until(lambda: one.node.whereis(router_name(one.id)))
    assert count(one, one) == 0
    pass_notes(one, one, 1, 3)
    assert until(lambda: notes(one) == [1, 2, 3])


def test_nothing_is_known_of_the_node(make):
    one = make()
    with pytest.raises(NoProcess):
        router.request(one.node, EngineID(bytes(32).hex(), TICKER), CountRequest())
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        router.request(one.node, EngineID("nobody", TICKER), CountRequest())


def test_what_is_too_long_or_expired_is_refused(pair):
    one, other = pair
    with pytest.raises(Refused, match="has expired"):
        count(one, other, expiry=time.time() - 1)

    @dataclass(frozen=True, slots=True)
    class Long(Message):
        engine: ClassVar[str] = "noter"
        data: bytes

    with pytest.raises(Refused, match="at most 1048064 are sent"):
        router.request(one.node, other.engine("noter"), Long(bytes(1 << 20)))


# -- who may write to whom --------------------------------------------------------------------


def test_only_engines_that_are_named_hear_from_other_nodes_and_those_that_have_asked(make, caplog):
    one, other = make(), make(limits={"exposed": ("noter",)})
    one.knows(other)
    pass_notes(one, other, 1, 1)
    assert until(lambda: notes(other) == [1])
    with pytest.raises(CallTimeout):
        count(one, other, timeout_s=0.2)
    for _ in range(20):
        router.send(one.node, other.engine(TICKER), Increment())
    with pytest.raises(CallTimeout):
        count(one, other, timeout_s=0.2)
    assert caplog.text.count("no other node may write to ticker") == 1
    assert connected(one, other)
    # The other way round the node is asked, and the answer may come in.
    assert count(other, one) == 0


def test_another_node_cannot_use_this_one_to_write_to_a_third(make):
    one, other, third = make(), make(), make()
    one.knows(other)
    other.knows(third)
    asked = _send(encode_envelope(Envelope(None, third.engine(TICKER), Increment())))
    body = (Atom("router"), *asked)
    term = (Atom("anoma_engine_msg"), None, (None, Atom(router_name(third.id))), 0, body)
    one.node.cast(router_name(other.id), _send(term))
    assert count(one, other) == 0
    gevent.sleep(0.05)
    assert not connected(other, third)
    assert count(third, third) == 0


def test_the_registry_answers_engines_of_its_own_node_only(pair):
    one, other = pair
    assert count(one, other) == 0
    with pytest.raises(CallTimeout):
        router.request(one.node, other.engine("network_registry"), GetNodeAdvertRequest(other.id), timeout_s=0.2)


# -- adverts ----------------------------------------------------------------------------------


def test_nodes_tell_each_other_where_they_are(pair):
    one, other = pair
    advertise(one.node, (one.address(),))
    assert count(one, other) == 0
    assert until(lambda: node_advert(other.node, one.id) is not None)
    assert node_advert(other.node, one.id) == node_advert(one.node, one.id)
    advertise(one.node, (one.address(), IPAddr("127.0.0.1", 1)))
    assert until(lambda: len(node_advert(other.node, one.id).addrs) == 2)


def test_an_advert_counts_if_it_is_signed_and_newer(make):
    one = make()
    key = new_key()
    advert = signed(NodeAdvert(key.public.data, (IPAddr("127.0.0.1", 1),), 5, 0), key)
    assert submit(one.node, advert)
    assert not submit(one.node, signed(NodeAdvert(key.public.data, (), 4, 0), key))
    assert not submit(one.node, signed(NodeAdvert(key.public.data, (), 6, 0), new_key()))
    assert node_advert(one.node, key.public.data) == advert


def test_an_advert_makes_no_node_dial_another_of_its_cluster(make):
    """Whoever is called there could try to guess the cookie."""
    one = make()
    key = new_key()
    assert submit(one.node, signed(NodeAdvert(key.public.data, (ClusterAddr("evil@127.0.0.1"),), 5, 0), key))
    router.set_permanence(one.node, key.public.data, ConnectionPermanence.PERMANENT)
    assert "no address" in (router.status(one.node, key.public.data).failure or "")


# -- whom to be connected with ----------------------------------------------------------------


def test_whoever_is_at_the_address_has_to_be_that_node(make, caplog):
    one, other = make(), make()
    add_peer(one.node, new_key().public.data, (other.address(),), permanent=True)
    wrong = next(
        name for name in one.node.table.names if name.name.startswith("router-") and one.id.hex() not in name.name
    )
    assert until(lambda: "for another node" in caplog.text or one.state(wrong.name).failure)
    assert one.state(wrong.name).line is None
    assert not connected(other, one)


def test_a_node_that_is_denied(make):
    one, other = make(), make()
    third = make(registry={"denied": frozenset((one.id,))})
    one.knows(third, permanent=True)
    assert until(lambda: "does not want" in (router.status(one.node, third.id).failure or ""))
    other.knows(third)
    assert count(other, third) == 0


def test_strangers_may_be_kept_out_and_are_few(make):
    one, other, third = make(), make(registry={"accept_strangers": False}), make(registry={"max_strangers": 0})
    one.knows(other, permanent=True)
    one.knows(third, permanent=True)
    assert until(lambda: "does not want" in (router.status(one.node, other.id).failure or ""))
    assert until(lambda: "enough connections" in (router.status(one.node, third.id).failure or ""))
    third.knows(one)
    assert until(lambda: connected(one, third))


def test_no_version_of_the_protocol_that_both_speak(make):
    one, other = make(), make(limits={"proto_ver_min": 2, "proto_ver_max": 4})
    one.knows(other, permanent=True)
    assert until(lambda: "no version" in (router.status(one.node, other.id).failure or ""))


def test_the_highest_version_that_both_speak_is_chosen(make):
    one = make(limits={"proto_ver_min": 2, "proto_ver_max": 6})
    other = make(limits={"proto_ver_min": 1, "proto_ver_max": 4})
    one.knows(other)
    assert count(one, other) == 0
    assert router.status(one.node, other.id).proto_ver == router.status(other.node, one.id).proto_ver == 4


def test_both_call_at_once_and_one_connection_is_left(make):
    one, other = make(), make()
    one.knows(other, permanent=True)
    other.knows(one, permanent=True)
    assert until(lambda: connected(one, other) and connected(other, one))
    assert until(lambda: len(connections(one)) == len(connections(other)) == 1)
    assert (count(one, other), count(other, one)) == (0, 0)


# -- what goes wrong --------------------------------------------------------------------------


def end_link(node: AnomaNode) -> None:
    """As if the wire were cut."""
    for name in connections(node):
        link = node.state(name).link
        if link is not None:
            link.end()


@pytest.mark.fault
def test_cut_connections_lose_nothing_and_bring_nothing_twice(make):
    one, other = make(), make()
    one.knows(other)
    other.knows(one)
    for start in range(0, 600, 100):
        pass_notes(one, other, start, start + 99)
        pass_notes(other, one, start, start + 99)
        gevent.sleep(0.01)
        end_link(one if start % 200 else other)
    assert until(lambda: len(notes(other)) >= 600 and len(notes(one)) >= 600, 20)
    assert notes(other) == notes(one) == list(range(600))


@pytest.mark.fault
@pytest.mark.parametrize("what", ["transport-protocol-tcp", "connection", "router", "network_registry"])
def test_an_engine_of_the_network_is_killed(pair, what):
    one, other = pair
    assert count(one, other) == 0
    name = {"connection": connections(one)[0], "router": router_name(other.id)}.get(what, what)
    pid = one.node.whereis(name)
    one.node.exit(pid, KILL)
    assert until(lambda: not one.node.is_alive(pid))
    if what == "transport-protocol-tcp":
        one.node.start(
            type(other.node.table.find(other.node.whereis(what)).instance), TransportSettings(TCP), name=what
        )
    if what == "network_registry":
        assert one.node.whereis(router_name(other.id)) is None
        return
    assert until(lambda: one.node.whereis(router_name(other.id)))
    assert until(lambda: count(one, other) == 0)


@pytest.mark.fault
def test_a_permanent_connection_comes_back(make):
    one, other = make(), make()
    one.knows(other, permanent=True)
    assert until(lambda: connected(one, other))
    first = connections(one)
    end_link(other)
    assert until(lambda: connections(one) != first and connected(one, other))
    router.set_permanence(one.node, other.id, ConnectionPermanence.EPHEMERAL)
    end_link(one)
    assert until(lambda: not connected(one, other))
    gevent.sleep(0.1)
    assert not connected(one, other)
    assert count(one, other) == 0


@pytest.mark.fault
def test_the_other_node_is_away_for_a_while_and_its_router_is_another_one(make):
    key = new_key()
    one, other = make(), make(key=key)
    address = other.address()
    add_peer(one.node, other.id, (address,))
    pass_notes(one, other, 1, 10)
    assert until(lambda: notes(other) == list(range(1, 11)))
    other.node.stop()
    assert until(lambda: not connected(one, other))
    pass_notes(one, other, 11, 20)
    assert until(lambda: router.status(one.node, key.public.data).failure)
    again = make(key=key, transports=(TransportSettings(TCP, port=address.port),))
    assert until(lambda: notes(again) == list(range(11, 21)))


def test_what_expires_while_there_is_no_way_is_not_sent(make):
    one, other = make(), make()
    address = other.address()
    add_peer(one.node, other.id, (IPAddr("127.0.0.1", 1),))
    one_router = router_name(other.id)
    router.send(one.node, other.engine(TICKER), Increment(), expiry=time.time() + 0.1)
    router.send(one.node, other.engine(TICKER), Increment())
    unreliable = TransportPrefs(reliability=Reliability.UNRELIABLE)
    router.send(one.node, other.engine(TICKER), Increment(), prefs=unreliable)
    assert until(lambda: "cannot be reached" in (router.status(one.node, other.id).failure or ""))
    assert len(one.state(one_router).outbox) == 3
    gevent.sleep(0.15)
    add_peer(one.node, other.id, (address,))
    assert until(lambda: connected(one, other))
    assert count(one, other) == 2


def test_a_silent_connection_is_given_up_and_a_quiet_one_kept(make):
    one, other = make(limits={"keepalive_s": 0.05}), make(limits={"keepalive_s": 60.0})
    one.knows(other, permanent=True)
    third = make(limits={"keepalive_s": 0.05})
    third.knows(one, permanent=True)
    assert until(lambda: connected(one, other) and connected(third, one))
    first = one.state(router_name(third.id)).line.connection
    silent = one.state(router_name(other.id)).line.connection
    assert until(
        lambda: (
            one.state(router_name(other.id)).line is not None
            and one.state(router_name(other.id)).line.connection != silent
        )
    )
    assert one.state(router_name(third.id)).line.connection == first


def test_a_connection_that_nobody_uses_is_closed_and_a_stranger_forgotten(make):
    limits = {"idle_s": 0.1, "keepalive_s": 0.05}
    one, other = make(limits=limits), make(limits=limits)
    one.knows(other)
    assert count(one, other) == 0
    assert until(lambda: not connected(one, other) and not connections(other))
    assert until(lambda: other.node.whereis(router_name(one.id)) is None)
    assert one.node.whereis(router_name(other.id)) is not None
    assert count(one, other) == 0


def test_a_node_that_does_not_read_is_waited_for_and_nobody_else(make):
    """Back pressure: what it does not take waits with the sender, up to a bound, and then is refused."""
    one, other = make(limits={"max_waiting": 500}), make()
    one.knows(other)
    assert count(one, other) == 0
    hold = other.node.table.find(other.node.whereis(router_name(one.id))).instance
    original = hold.engine
    hold.__dict__["engine"] = EngineBehaviour("router", original.messages, original.start, First())
    pass_notes(one, other, 1, 700)
    assert until(lambda: len(one.state(router_name(other.id)).outbox) == 500)
    third = make()
    one.knows(third)
    assert count(one, third) == 0
    assert other.state(connections(other)[0]).unhandled >= 64
    del hold.__dict__["engine"]


# -- TLS --------------------------------------------------------------------------------------


def tls(node_files: dict[str, Any], **options: Any) -> TransportSettings:
    from engines.transport_connection.behaviour import TLSFiles

    return TransportSettings(TransportProtocol.TLS, tls=TLSFiles(**node_files), **options)


def test_over_tls_with_certificates_of_both(make, certificates):
    files = []
    for name in ("one", "other"):
        certificate, key = certificates.issue(name)
        files.append({"certificate": certificate, "key": key, "authorities": str(certificates.certificate)})
    one = make(transports=(tls(files[0]),))
    other = make(transports=(tls({**files[1], "callers_need": True}),))
    one.knows(other, TransportProtocol.TLS)
    assert count(one, other) == 0
    from engines.transport_protocol.server import fingerprint

    pinned = other.address(TransportProtocol.TLS, fingerprint(certificates.certificate))
    third = make(transports=(tls(files[0], listen=False),))
    add_peer(third.node, other.id, (pinned,))
    assert count(third, other) == 0


BAD_CERTIFICATES = [
    ("authority", "certificate of 127.0.0.1 is not good"),
    ("host", "IP address mismatch"),
    ("issuer", "is not among the authorities"),
    ("none", "no authorities are configured"),
    ("caller", "broken|closed|not answer"),
]


def test_certificates_that_will_not_do(make, certificates, tmp_path):
    strangers = authority(tmp_path, "strangers")
    for wrong, said in BAD_CERTIFICATES:
        issuer = strangers if wrong == "authority" else certificates
        certificate, key = issuer.issue(f"other-{wrong}", "127.0.0.9" if wrong == "host" else "127.0.0.1")
        files = {"certificate": certificate, "key": key, "authorities": str(certificates.certificate)}
        other = make(transports=(tls({**files, "callers_need": wrong == "caller"}),))
        trusted = {} if wrong == "none" else {"authorities": str(certificates.certificate)}
        one = make(transports=(tls(trusted, listen=False),))
        address = other.address(TransportProtocol.TLS, "ab" * 32 if wrong == "issuer" else "")
        add_peer(one.node, other.id, (address,), permanent=True)
        failure = lambda one=one, other=other: router.status(one.node, other.id).failure or ""  # noqa: E731
        assert until(lambda failure=failure, said=said: re.search(said, failure()))
        assert not connected(one, other)


# -- in a cluster -----------------------------------------------------------------------------


@pytest.fixture
def cluster(make, unused_epmd_port):
    """Two nodes that are in one cluster, and talk as Anoma nodes over it."""
    transports = (TransportSettings(TransportProtocol.CLUSTER),)
    options = {"listen": True, "epmd_port_number": unused_epmd_port, "embedded_epmd": True, "transports": transports}
    one, other = make(**options), make(**options)
    one.knows(other, TransportProtocol.CLUSTER)
    return one, other


def test_over_the_distribution(cluster):
    one, other = cluster
    assert count(one, other) == 0
    pass_notes(one, other, 1, 300)
    assert until(lambda: notes(other) == list(range(1, 301)))
    assert router.status(other.node, one.id).status == "connected"


@pytest.mark.fault
def test_the_cluster_is_cut(cluster):
    one, other = cluster
    pass_notes(one, other, 1, 50)
    gevent.sleep(0.02)
    one.node.disconnect(other.node.name)
    pass_notes(one, other, 51, 100)
    assert until(lambda: notes(other) == list(range(1, 101)))


def test_a_node_of_the_cluster_that_is_not_there(cluster):
    one, _ = cluster
    nobody = new_key().public.data
    add_peer(one.node, nobody, (ClusterAddr("nobody@127.0.0.1"),), permanent=True)
    assert until(lambda: "cannot be reached" in (router.status(one.node, nobody).failure or ""))
