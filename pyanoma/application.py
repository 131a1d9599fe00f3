"""The application on a node: its supervision tree (`node_tree`), started and stopped."""

from __future__ import annotations

import logging
from typing import Any, Final

import gevent.event

from erlang_bridge import Atom, ErlangExit, Node, OwnProcess, Pid, __version__
from erlang_bridge.kernel.applications import Application
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import is_down
from pyanoma.config import NodeConfig, load_engines
from pyanoma.failures import StartFailed
from pyanoma.node_tree import tree

log = logging.getLogger("pyanoma")

NAME: Final = "pyanoma"
DESCRIPTION: Final = "Anoma's engines in Python"
ROOT: Final = "pyanoma_sup"
STOP_TIME_S: Final = 30.0
"""For the tree to end; then the node stops all the same. Each child has its own, shorter time."""


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
        self.reason = own.receive(lambda message: is_down(message, monitor))[4]
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
        StartFailed: an engine, or a supervisor, does not start.
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
        if config.storage.own_folder and config.storage.path is not None:
            config.storage.path.parent.mkdir(parents=True, exist_ok=True)
        running = Running(node, node.start(Supervisor, tree(config), name=ROOT))
    except ErlangExit as error:
        node.stop()
        raise StartFailed(error.reason) from None
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
