"""Settings of a node's connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from erlang_bridge.dist.connection import ReceiveLimits
from erlang_bridge.errors import ConfigError

_POSITIVE: Final = (
    "backlog",
    "setup_time_s",
    "net_ticktime_s",
    "net_tickintensity",
    "max_pending_handshakes",
    "max_handshake_packet_size",
    "high_water",
    "read_size",
)


@dataclass(frozen=True, slots=True)
class NetOptions:
    """How a node listens, dials, ticks, and what it lets a peer do. Sizes in bytes, times in seconds.

    Raises:
        ConfigError: a value that cannot work.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port_range: tuple[int, int] | None = None
    """First and last port to try (kernel's ``inet_dist_listen_min``, ``_max``); None lets the system choose."""
    backlog: int = 128
    setup_time_s: float = 7.0
    """For each step of setting a connection up (kernel's ``net_setuptime``)."""
    net_ticktime_s: float = 60.0
    """A peer from which no complete packet has come for so long is taken for dead. Has to be the same on all nodes."""
    net_tickintensity: int = 4
    """Ticks in one `net_ticktime_s`."""
    max_pending_handshakes: int = 64
    """Incoming connections that have not authenticated; one more pushes out the oldest."""
    max_handshake_packet_size: int = 4096
    limits: ReceiveLimits = field(default_factory=ReceiveLimits)
    """What an authenticated peer may make us hold."""
    high_water: int = 1 << 20
    """Queued output at which a sender that may wait does so (erts ``+zdbbl``); it goes on at half of it."""
    read_size: int = 256 << 10
    """Read at most so much at a time."""
    allowed_nodes: frozenset[str] | None = None
    """Names, or hosts without ``@``, of the nodes that may connect; None is everyone who knows the cookie."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(name, value, "a number greater than 0")
        if self.port_range is not None:
            first, last = self.port_range
            if not 0 < first <= last < 65536:
                raise ConfigError("port_range", self.port_range, "two ports, the first not greater than the second")

    @property
    def tick_interval_s(self) -> float:
        """Time between two checks of whether to tick."""
        return self.net_ticktime_s / self.net_tickintensity

    def allows(self, node_name: str) -> bool:
        """Whether the allow list has this node, or its host."""
        return self.allowed_nodes is None or not self.allowed_nodes.isdisjoint((node_name, node_name.partition("@")[2]))
