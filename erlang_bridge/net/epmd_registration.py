"""Keeping a node of ours registered for as long as it runs, whatever happens to the epmd."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Final

import gevent
import gevent.event
from gevent import socket

from erlang_bridge.epmd.messages import (
    EPMD_DEFAULT_PORT,
    NODE_TYPE_HIDDEN,
    NODE_TYPE_NORMAL,
    NodeEntry,
)
from erlang_bridge.errors import EpmdError, EpmdUnreachable
from erlang_bridge.net.epmd_client import EpmdClient, Registration
from erlang_bridge.net.epmd_server import EmbeddedEpmd

log: Final = logging.getLogger("erlang_bridge.net")

_RACE_PAUSE_S: Final = 0.05


class EpmdRegistration:
    """One node's place in epmd, from `start` to `stop`.

    Who answers at the port is asked, or becomes ours:

    * An epmd answers: register there.
    * None does (connection refused) and `embedded` is set: run one here and register with it. If another one takes the
      port in that moment, be its client after all.
    * What listens there does not answer as an epmd does: that is an error, not a reason to run our own.

    When the registration is lost, because epmd has died, the same is tried again every `retry_s`, as OTP does. The
    node keeps its first creation, whatever the new epmd says: its pids are out in the world. A name that somebody else
    has taken in the meantime is waited for, with a warning.

    Args:
        alive_name: the part of the node's name before ``@``.
        listen_port: where the node listens.
        hidden: register as a hidden node.
        epmd_host: where epmd is. It registers only from its own machine, so an address of this one.
        epmd_port: its port, such as ``epmd_port(os.environ)``.
        embedded: whether an epmd of our own may be run, see `EmbeddedEpmd`; never if `epmd_host` is not loopback.
        embedded_addresses: where that listens besides loopback, such as ``epmd_addresses(os.environ)``.
        timeout_s: for one attempt.
        retry_s: pause between attempts after a loss.

    Attributes:
        creation: of this node; 0 before `start`.
        embedded_epmd: ours, while it runs.
    """

    def __init__(
        self,
        alive_name: str,
        listen_port: int,
        *,
        hidden: bool = False,
        epmd_host: str = "127.0.0.1",
        epmd_port: int = EPMD_DEFAULT_PORT,
        embedded: bool = True,
        embedded_addresses: Sequence[str] = (),
        timeout_s: float = 10.0,
        retry_s: float = 2.0,
    ) -> None:
        self.entry = NodeEntry(
            name=alive_name, port=listen_port, node_type=NODE_TYPE_HIDDEN if hidden else NODE_TYPE_NORMAL
        )
        self.client = EpmdClient(epmd_host, epmd_port, timeout_s=timeout_s)
        self.embedded = embedded and _is_loopback(epmd_host)
        self.embedded_addresses = tuple(embedded_addresses)
        self.retry_s = retry_s
        self.creation = 0
        self.embedded_epmd: EmbeddedEpmd | None = None
        self._registration: Registration | None = None
        self._is_registered = gevent.event.Event()
        self._keeper: gevent.Greenlet[..., None] | None = None
        self._last_complaint = ""

    @property
    def registered(self) -> bool:
        """Whether epmd knows this node at this moment."""
        return self._is_registered.is_set()

    @property
    def connection(self) -> socket.socket | None:
        """The socket that keeps the registration, while there is one; to look at."""
        return self._registration.connection if self._registration is not None else None

    def wait_registered(self, timeout_s: float) -> bool:
        """Wait until it does; False: it did not within `timeout_s`."""
        return bool(self._is_registered.wait(timeout_s))

    def start(self) -> int:
        """Register; returns the node's creation. From here on the registration is kept until `stop`.

        Raises:
            NameTaken: a live node has that name.
            EpmdUnreachable: no epmd answers, and none may be run here or the port cannot be had.
            EpmdError: what answers is no epmd, or refuses to talk.
        """
        if self._keeper is not None:
            return self.creation
        self.creation = 0
        try:
            self._register()
        except BaseException:
            self._stop_embedded()
            raise
        self._keeper = gevent.spawn(self._keep)
        return self.creation

    def stop(self) -> None:
        """End the registration, and the embedded epmd if it is ours. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.kill()
        self._forget_registration()
        self._stop_embedded()

    # -- registering --------------------------------------------------------------------------

    def _register(self) -> None:
        deadline = monotonic() + self.client.timeout_s
        while True:
            try:
                registration = self.client.register(self.entry)
                break
            except EpmdUnreachable as unreachable:
                refused = isinstance(unreachable.__cause__, ConnectionRefusedError)
                if not (refused and self.embedded) or monotonic() > deadline:
                    raise
                if not self._run_embedded():
                    gevent.sleep(_RACE_PAUSE_S)  # somebody has the port, who may not be listening yet
        self._registration = registration
        self.creation = self.creation or registration.creation
        self._last_complaint = ""
        self._is_registered.set()

    def _run_embedded(self) -> bool:
        # False: the port is taken.
        self._stop_embedded()
        epmd = EmbeddedEpmd(self.client.port, addresses=self.embedded_addresses)
        try:
            epmd.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise EpmdUnreachable(
                self.client.host, self.client.port, f"and none can be run here: {error.strerror or error}"
            ) from error
        self.embedded_epmd = epmd
        log.info("no epmd answers at port %d: running one in this process", epmd.port)
        return True

    def _stop_embedded(self) -> None:
        if self.embedded_epmd is not None:
            self.embedded_epmd.stop()
            self.embedded_epmd = None

    def _forget_registration(self) -> None:
        self._is_registered.clear()
        if self._registration is not None:
            self._registration.close()
            self._registration = None

    # -- keeping it ---------------------------------------------------------------------------

    def _keep(self) -> None:
        while True:
            try:
                if self._registration is None:
                    self._register()
                    log.info("node %r is registered with epmd again", self.entry.name)
                    continue
                why = self._registration.wait_lost()
                self._forget_registration()
                self._complain(f"{why}; registering again")
            except Exception as error:  # noqa: BLE001  # told in the log; whatever it is, trying goes on
                self._forget_registration()
                self._complain(str(error), None if isinstance(error, EpmdError) else error)
            gevent.sleep(self.retry_s)

    def _complain(self, what: str, unforeseen: Exception | None = None) -> None:
        # Every 2 s the same line would bury the rest of the log.
        if what != self._last_complaint:
            self._last_complaint = what
            log.warning("node %r is not registered with epmd: %s", self.entry.name, what, exc_info=unforeseen)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
