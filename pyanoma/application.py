"""The application on a node: its supervision tree, started and stopped.

::

    pyanoma_sup                 one_for_one
    ├── pyanoma_engines         one_for_one: the node's own engines
    │   └── ticker
    ├── pyanoma_connector       keeps the connections that the configuration names; only where it names some
    └── pyanoma_reloader        loads modules whose files change; only with ``reload``
"""

from __future__ import annotations

import logging
from typing import Any, Final

import gevent.event

from engines.ticker.server import TICKER, Ticker
from erlang_bridge import Atom, Node, OwnProcess, Pid, __version__
from erlang_bridge.kernel.applications import Application
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.otp.supervisor import Supervisor
from pyanoma.config import NodeConfig, load_engines
from pyanoma.connector import Connector
from pyanoma.reloader import Reloader

log = logging.getLogger("pyanoma")

NAME: Final = "pyanoma"
DESCRIPTION: Final = "Anoma's engines in Python"
ROOT: Final = "pyanoma_sup"
STOP_TIME_S: Final = 30.0
"""For the tree to end; then the node stops all the same. Each child has its own, shorter time."""

_DOWN: Final = Atom("DOWN")


class Running:
    """A node with its application on it.

    Attributes:
        supervisor: the root of the tree.
        ended: set when the tree has ended, be it told to or by itself.
        reason: why, once it has.
    """

    def __init__(self, node: Node, supervisor: Pid) -> None:
        self.node = node
        self.supervisor = supervisor
        self.ended = gevent.event.Event()
        self.reason: Any = None
        node.applications.add(Application(NAME, DESCRIPTION, __version__, root=supervisor))
        self._watcher = node.spawn(self._watch)

    def _watch(self, own: OwnProcess) -> None:
        monitor = own.monitor(self.supervisor)
        self.reason = own.receive(lambda message: _is_down(message, monitor))[4]
        self.node.applications.remove(NAME)
        self.ended.set()

    def stop(self) -> None:
        """Stop the tree, the last started first, then the node. Idempotent."""
        if not self.ended.is_set():
            # As sys:terminate/2 does; nobody needs the reply.
            request = (Atom("system"), (self._watcher, Atom("stop")), (Atom("terminate"), Atom("shutdown")))
            self.node.send(self.supervisor, request)
            if not self.ended.wait(STOP_TIME_S):
                log.error("the supervision tree has not ended within %g s; stopping without it", STOP_TIME_S)
        self.node.stop()


def start(config: NodeConfig) -> Running:
    """Start a node, its tree, and the connections that the configuration names.

    Raises:
        ConfigError: the configuration cannot be used.
        NameTaken, EpmdError, OSError: the node cannot be started.
        HandshakeError, ConnectionLost: a node that it should connect with cannot be reached, or refuses.
        ErlangExit: the tree does not start.
    """
    node = Node(
        config.name,
        cookie=config.cookie,
        hidden=config.hidden,
        options=config.net_options(),
        embedded_epmd=config.embedded_epmd,
        epmd_port_number=config.epmd_port,
        engines=load_engines(config.engines),
        shell=config.shell,
    )
    try:
        running = Running(node, node.start(Supervisor, _tree(config), name=ROOT))
    except BaseException:
        node.stop()
        raise
    try:
        for name in config.connect:
            node.connect(name)
    except BaseException:
        running.stop()
        raise
    return running


def _tree(config: NodeConfig) -> tuple[SupervisorFlags, list[ChildSpec]]:
    # An engine that crashes now and then, because somebody sends it nonsense, must not take the node down.
    engines = (SupervisorFlags(intensity=10, period_s=10), [ChildSpec(TICKER, (Ticker, None, {"name": TICKER}))])
    children = [ChildSpec("pyanoma_engines", (Supervisor, engines, {"name": "pyanoma_engines"}))]
    if config.connect:
        children.append(ChildSpec("pyanoma_connector", (Connector, config.connect, {"name": "pyanoma_connector"})))
    if config.reload:
        children.append(ChildSpec("pyanoma_reloader", (Reloader, None, {"name": "pyanoma_reloader"})))
    return SupervisorFlags(intensity=3, period_s=60), children


def _is_down(message: Any, monitor: Any) -> bool:
    return type(message) is tuple and len(message) == 5 and message[0] is _DOWN and message[1] == monitor
