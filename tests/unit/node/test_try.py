from __future__ import annotations
import functools, time
import gevent, pytest
from erlang_bridge import Atom, Node, NoReply, Reply, GenServer, Supervisor
from erlang_bridge.errors import *
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.etf import opcodes as op
from erlang_bridge.testing.peers import ScriptedPeer, PeerFailure
from tests.servers import Counter, Crasher
from tests.waiting import until

KILL=Atom("kill")

@pytest.fixture
def node():
    with Node("under_test@127.0.0.1", cookie="memory", listen=False) as node:
        yield node

@pytest.fixture
def peer(node):
    with ScriptedPeer(node) as peer:
        yield peer

class Teller(GenServer):
    trap_exit = True
    def terminate(self, reason, state):
        name, told = state
        gevent.sleep(0.05)
        told.append((name, reason))

def tree(told, *names):
    return SupervisorFlags(), [ChildSpec(n, (Teller, (n, told))) for n in names]

def test_order(node):
    told = []
    node.start(Supervisor, tree(told, "a", "b"))
    node.start(Supervisor, tree(told, "c", "d"))
    node.stop()
    assert told == [(n, Atom("shutdown")) for n in "dcba"]

def test_unknown_call_to_rex(node, peer):
    before = node.whereis("rex")
    ref = peer.make_reference()
    peer.send_message("rex", (Atom("$gen_call"), (peer.pid, ref), Atom("nonsense")))
    assert peer.call("net_kernel", (Atom("is_auth"), peer.name)) is Atom("yes")
    gevent.sleep(0.1)
    assert node.whereis("rex") == before

@pytest.mark.parametrize("name", ["rex", "net_kernel"])
def test_kernel_killed(node, peer, name):
    before = node.whereis(name)
    peer.exit(before, KILL)
    assert until(lambda: node.whereis(name) not in (None, before), 1)

def test_callback_raises(node):
    heard = []
    def bad(*a): raise RuntimeError("bad")
    node.monitor_nodes(bad, bad)
    node.monitor_nodes(lambda *a: heard.append("up"), lambda *a: heard.append("down"))
    with ScriptedPeer(node) as peer:
        gevent.sleep(0.05)
        assert node.nodes("connected") == [peer.name.name]
    assert until(lambda: heard == ["up", "down"], 1)

def test_spawn_partial(node):
    heard = []
    node.spawn(functools.partial(lambda x, own: heard.append(x), 1))
    assert until(lambda: heard == [1], 1)

def test_self_exit(node):
    went_on = []
    def run(own):
        node.exit(own.pid, "kill2")
        went_on.append(1)
    node.spawn(run)
    gevent.sleep(0.05)
    assert not went_on

def test_stop_wakes_remote_callers(node):
    with ScriptedPeer(node) as peer:
        failures = []
        def call():
            try:
                node.call(peer.pid, Atom("x"), None)
            except ErlangExit as e:
                failures.append(e)
        def call_rpc():
            try:
                node.rpc(peer.name, "m", "f", [], None)
            except ErlangExit as e:
                failures.append(e)
        gs = [gevent.spawn(call), gevent.spawn(call_rpc)]
        gevent.sleep(0.05)
        node.stop()
        gevent.joinall(gs, timeout=1)
        n = len(failures)
        gevent.killall(gs)
        assert n == 2

def test_call_after_stop():
    node = Node("under_test@127.0.0.1", cookie="memory", listen=False)
    node.stop()
    with pytest.raises(NoConnection):
        with gevent.Timeout(1, RuntimeError("hangs")):
            node.call(("x", "a@b"), 1, None)
    with pytest.raises(NoConnection):
        with gevent.Timeout(1, RuntimeError("hangs")):
            node.rpc("a@b", "m", "f", [], None)
    with pytest.raises(ErlangExit):
        with gevent.Timeout(1, RuntimeError("hangs")):
            node.start(Counter, 0)

def test_stop_from_process(node):
    def run(own):
        node.stop()
    node.spawn(run)
    assert node.wait(2)

def test_stop_from_supervised_process(node):
    class Stopper(GenServer):
        def handle_cast(self, message, state):
            self.node.stop()
            return NoReply(state)
    told = []
    flags, children = tree(told, "a")
    node.start(Supervisor, (flags, [*children, ChildSpec("s", (Stopper, None, {"name": "s"}))]))
    node.cast("s", 1)
    with gevent.Timeout(5, RuntimeError("hangs")):
        assert node.wait(4)
    assert told == [("a", Atom("shutdown"))]

def test_stop_from_hub(node):
    gevent.get_hub().loop.run_callback(node.stop)
    assert node.wait(2)

def test_late_spawn_link_after_timeout(node, peer):
    done = []
    def run(own):
        try:
            node.spawn_remote(peer.name, "m", "f", [], link=True, monitor=True, timeout_s=0.05)
        except CallTimeout:
            done.append("timeout")
        try:
            own.receive(timeout_s=1)
        except TimeoutError:
            done.append("alive")
    node.spawn(run)
    control, _ = peer.expect(op.DOP_SPAWN_REQUEST)
    gevent.sleep(0.2)
    pid = peer.make_pid()
    peer.send_signal((op.DOP_SPAWN_REPLY, control[1], control[2], 3, pid))
    seen = [peer.receive()[0], peer.receive()[0]]
    assert set(seen) == {op.DOP_PAYLOAD_EXIT, op.DOP_DEMONITOR_P}
    peer.send_signal((op.DOP_PAYLOAD_EXIT, pid, control[2]), Atom("boom"))
    assert until(lambda: len(done) == 2, 2), done

def test_killed_while_spawn_request_waits_for_room(node, peer):
    pass

def test_release_not_learnt(node):
    answers = []
    with ScriptedPeer(node, name="old@memory") as peer:
        node.table.release_of(peer.name, answers.append)
        peer.expect(op.DOP_SPAWN_REQUEST)
    assert until(lambda: answers == [None], 2)
    with ScriptedPeer(node, name="old@memory") as peer:
        node.table.release_of(peer.name, answers.append)
        peer.expect(op.DOP_SPAWN_REQUEST, 1)
