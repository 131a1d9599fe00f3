"""The node's connections and listeners, as ``erlang:ports/0`` and ``observer_backend`` list ports and sockets.

Each is shown as a port and as a socket, as on a BEAM whose distribution uses ``inet_drv``. What a port has as its name
and its owner: ``tcp_inet`` and ``net_kernel``; as its registered name, what it is for: the node at the other end.

Options are read from the socket. What is not counted here (the largest packet, failed reads) is left out.

Source: OTP ``lib/runtime_tools/src/observer_backend.erl``, ``get_port_list/0``, ``get_socket_list/0``;
``erlang:port_info/1``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.net.open_sockets import OpenSocket, open_sockets
from erlang_bridge.otp.reports import charlist
from erlang_bridge.terms import Atom, Pid, Port, Reference

BADARG: Final = Atom("badarg")
UNDEFINED: Final = Atom("undefined")
NET_KERNEL: Final = Atom("net_kernel")
SOCKET: Final = Atom("$socket")
NOT_SUPPORTED: Final = charlist("Not Supported")
NOT_CONNECTED: Final = charlist("Not Connected")
SLOT: Final = 8
"""A port's ``id`` is its number times this."""

# Names that pass through `socket` where gevent has patched it: only constants are used of that module.
_DOMAINS: Final = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_UNIX: "local"}


class Ports:
    """Gives each open socket of one node its number, for as long as it is open."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._numbers: dict[tuple[str, str, int], int] = {}
        self._last = 0

    def all(self) -> list[tuple[Port, OpenSocket]]:
        """Every open socket, with the port that it is shown as."""
        found = []
        numbers: dict[tuple[str, str, int], int] = {}
        for opened in open_sockets(self._node.connections, self._node.registration):
            descriptor = opened.sock.fileno()
            if descriptor < 0:
                continue  # closed a moment ago
            key = (opened.kind, opened.name, descriptor)
            number = numbers.get(key) or self._numbers.get(key) or self._next()
            numbers[key] = number
            found.append((Port(self._node.name, number, self._node.creation), opened))
        self._numbers = numbers
        return found

    def find(self, port: Any) -> OpenSocket | None:
        """The socket that a port stands for. Raises ErlangError ``badarg``: no port of this node."""
        if type(port) is Atom:
            return next((opened for _, opened in self.all() if opened.name == port.name), None)
        if type(port) is not Port or port.node is not self._node.name:
            raise ErlangError(BADARG)
        return next((opened for known, opened in self.all() if known == port), None)

    def number_of(self, opened: OpenSocket) -> int:
        return self._numbers[(opened.kind, opened.name, opened.sock.fileno())]

    def owner(self) -> Pid:
        pid: Pid = self._node.table.whereis(NET_KERNEL) or Pid(self._node.name, 0, 0, self._node.creation)
        return pid

    def _next(self) -> int:
        self._last += 1
        return self._last


# -- ports ------------------------------------------------------------------------------------


def _items(ports: Ports, opened: OpenSocket) -> dict[str, Callable[[], Any]]:
    """Every item of ``erlang:port_info/2``, in OTP's order."""
    counters = opened.counters
    return {
        "registered_name": lambda: Atom(opened.name[:255]),
        "name": lambda: charlist("tcp_inet"),
        "links": list,
        "id": lambda: ports.number_of(opened) * SLOT,
        "connected": ports.owner,
        "input": lambda: counters.get("bytes_in", 0),
        "output": lambda: counters.get("bytes_out", 0),
        "os_pid": lambda: UNDEFINED,
        "monitors": list,
        "monitored_by": list,
        "parallelism": lambda: False,
        "locking": lambda: Atom("port_level"),
        "queue_size": lambda: counters.get("queued_bytes", 0),
        "memory": lambda: sys.getsizeof(opened.sock) + counters.get("queued_bytes", 0),
    }


STANDARD_ITEMS: Final = ("registered_name", "name", "links", "id", "connected", "input", "output", "os_pid")
"""What ``port_info/1`` has."""


def port_info(ports: Ports, port: Any, item: Any = None) -> Any:
    """``erlang:port_info/1,2``; ``undefined`` for a port that is closed.

    Raises:
        ErlangError: ``badarg``: no port of this node, or no item.
    """
    opened = ports.find(port)
    if item is not None and (type(item) is not Atom or item.name not in _ITEM_NAMES):
        raise ErlangError(BADARG)
    if opened is None:
        return UNDEFINED
    items = _items(ports, opened)
    if item is not None:
        return item, items[item.name]()
    return [(Atom(name), items[name]()) for name in STANDARD_ITEMS]


_ITEM_NAMES: Final = frozenset(
    {
        "registered_name",
        "name",
        "links",
        "id",
        "connected",
        "input",
        "output",
        "os_pid",
        "monitors",
        "monitored_by",
        "parallelism",
        "locking",
        "queue_size",
        "memory",
    }
)


def get_port_list(ports: Ports) -> list[list[tuple[Atom, Any]]]:
    """``observer_backend:get_port_list/0``: a property list for each port."""
    shown = []
    for port, opened in ports.all():
        entries: list[tuple[Atom, Any]] = [(Atom("port_id"), port)]
        entries += [(Atom(name), read()) for name, read in _items(ports, opened).items()]
        entries.append((Atom("inet"), _inet(opened)))
        shown.append(entries)
    return shown


def _inet(opened: OpenSocket) -> list[tuple[Atom, Any]]:
    counters = opened.counters
    counted = {
        "recv_oct": counters.get("bytes_in"),
        "recv_cnt": counters.get("packets_in"),
        "recv_avg": _average(counters.get("bytes_in"), counters.get("packets_in")),
        "send_oct": counters.get("bytes_out"),
        "send_cnt": counters.get("packets_out"),
        "send_avg": _average(counters.get("bytes_out"), counters.get("packets_out")),
        "send_pend": counters.get("queued_bytes"),
    }
    statistics = [(Atom(name), count) for name, count in counted.items() if count is not None]
    entries: list[tuple[Atom, Any]] = [(Atom("statistics"), statistics)]
    for side, address in (("remote", _peer(opened.sock)), ("local", _own(opened.sock))):
        if address is not None:
            entries.append((Atom(f"{side}_address"), _ip(opened.sock, address[0])))
            entries.append((Atom(f"{side}_port"), address[1]))
    options = [(Atom(name), value) for name, value in _inet_options(opened.sock)]
    return [*entries, (Atom("options"), options)]


def _average(size: int | None, count: int | None) -> int | None:
    return None if size is None or count is None else size // max(count, 1)


def _own(sock: Any) -> Any:
    try:
        return sock.getsockname()
    except OSError:
        return None


def _peer(sock: Any) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def _ip(sock: Any, address: str) -> tuple[int, ...]:
    """An address as Erlang has it: four bytes, or eight words."""
    packed = socket.inet_pton(sock.family, address.partition("%")[0])
    return tuple(packed) if len(packed) == 4 else struct.unpack("!8H", packed)


# -- options ----------------------------------------------------------------------------------


def _integer(sock: Any, level: int, option: int) -> Any:
    return sock.getsockopt(level, option)


def _boolean(sock: Any, level: int, option: int) -> Any:
    return bool(sock.getsockopt(level, option))


def _linger(sock: Any, level: int, option: int) -> Any:
    on, seconds = struct.unpack("ii", sock.getsockopt(level, option, 8))
    return {Atom("onoff"): bool(on), Atom("linger"): seconds}


def _word(sock: Any, level: int, option: int) -> Any:
    return charlist(sock.getsockopt(level, option, 16).split(b"\0")[0].decode("latin-1")) or charlist("-")


_SOL_SOCKET: Final = (
    ("acceptconn", "SO_ACCEPTCONN", _boolean),
    ("bindtodevice", "SO_BINDTODEVICE", _word),
    ("broadcast", "SO_BROADCAST", _boolean),
    ("busy_poll", "SO_BUSY_POLL", _integer),
    ("debug", "SO_DEBUG", _integer),
    ("dontroute", "SO_DONTROUTE", _boolean),
    ("keepalive", "SO_KEEPALIVE", _boolean),
    ("linger", "SO_LINGER", _linger),
    ("mark", "SO_MARK", _integer),
    ("oobinline", "SO_OOBINLINE", _boolean),
    ("passcred", "SO_PASSCRED", _boolean),
    ("priority", "SO_PRIORITY", _integer),
    ("rcvbuf", "SO_RCVBUF", _integer),
    ("rcvlowat", "SO_RCVLOWAT", _integer),
    ("reuseaddr", "SO_REUSEADDR", _boolean),
    ("reuseport", "SO_REUSEPORT", _boolean),
    ("sndbuf", "SO_SNDBUF", _integer),
    ("sndlowat", "SO_SNDLOWAT", _integer),
    ("timestamp", "SO_TIMESTAMP", _boolean),
)
_IP: Final = (
    ("mtu", "IP_MTU", _integer),
    ("recverr", "IP_RECVERR", _boolean),
    ("recvtos", "IP_RECVTOS", _boolean),
    ("tos", "IP_TOS", _integer),
    ("transparent", "IP_TRANSPARENT", _boolean),
    ("ttl", "IP_TTL", _integer),
)
_IPV6: Final = (
    ("hoplimit", "IPV6_UNICAST_HOPS", _integer),
    ("mtu", "IPV6_MTU", _integer),
    ("tclass", "IPV6_TCLASS", _integer),
    ("v6only", "IPV6_V6ONLY", _boolean),
)
_TCP: Final = (
    ("congestion", "TCP_CONGESTION", _word),
    ("cork", "TCP_CORK", _boolean),
    ("keepcnt", "TCP_KEEPCNT", _integer),
    ("keepidle", "TCP_KEEPIDLE", _integer),
    ("keepintvl", "TCP_KEEPINTVL", _integer),
    ("maxseg", "TCP_MAXSEG", _integer),
    ("nodelay", "TCP_NODELAY", _boolean),
    ("syncnt", "TCP_SYNCNT", _integer),
    ("user_timeout", "TCP_USER_TIMEOUT", _integer),
)
"""Options by the name that ``socket`` of OTP has for each, its constant here, and how it is read."""


def _options(sock: Any) -> Iterator[tuple[tuple[Atom, Atom], Any]]:
    """The options of a socket, by ``{Level, Option}``."""
    is_v6 = sock.family == socket.AF_INET6
    levels = [
        ("socket", socket.SOL_SOCKET, _SOL_SOCKET),
        ("ipv6", socket.IPPROTO_IPV6, _IPV6) if is_v6 else ("ip", socket.IPPROTO_IP, _IP),
        ("tcp", socket.IPPROTO_TCP, _TCP),
    ]
    for level_name, level, options in levels:
        for name, constant, read in options:
            yield (Atom(level_name), Atom(name)), _read(sock, level, constant, read)


_LINUX: Final = {"IP_MTU": 14, "IP_RECVERR": 11, "IPV6_MTU": 24, "SO_BUSY_POLL": 46, "SO_TIMESTAMP": 29}
"""Options that Python's `socket` has no name for. Source: Linux ``asm-generic/socket.h``, ``in.h``, ``in6.h``."""


def _read(sock: Any, level: int, constant: str, read: Callable[[Any, int, int], Any]) -> Any:
    option = getattr(socket, constant, _LINUX.get(constant) if sys.platform == "linux" else None)
    if option is None:
        return NOT_SUPPORTED
    try:
        return read(sock, level, option)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return NOT_CONNECTED
        if error.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EINVAL):
            return NOT_SUPPORTED
        return charlist(f"error:{errno.errorcode.get(error.errno or 0, '?').lower()}")


_INET_OPTIONS: Final = (
    ("broadcast", "socket", "broadcast"),
    ("dontroute", "socket", "dontroute"),
    ("keepalive", "socket", "keepalive"),
    ("linger", "socket", "linger"),
    ("nodelay", "tcp", "nodelay"),
    ("priority", "socket", "priority"),
    ("recbuf", "socket", "rcvbuf"),
    ("reuseaddr", "socket", "reuseaddr"),
    ("sndbuf", "socket", "sndbuf"),
    ("tos", "ip", "tos"),
    ("tclass", "ipv6", "tclass"),
    ("ipv6_v6only", "ipv6", "v6only"),
)
"""Names that ``inet`` has for some of them."""


def _inet_options(sock: Any) -> Iterator[tuple[str, Any]]:
    known = {(level.name, name.name): value for (level, name), value in _options(sock)}
    for inet_name, level, name in _INET_OPTIONS:
        if (level, name) in known:
            value = known[(level, name)]
            if name == "linger" and isinstance(value, dict):
                value = (value[Atom("onoff")], value[Atom("linger")])
            yield inet_name, value


# -- sockets ----------------------------------------------------------------------------------


def get_socket_list(ports: Ports) -> list[dict[Atom, Any]]:
    """``observer_backend:get_socket_list/0``: a map for each socket."""
    return [_socket(ports, port, opened) for port, opened in ports.all()]


def _socket(ports: Ports, port: Port, opened: OpenSocket) -> dict[Atom, Any]:
    sock, counters = opened.sock, opened.counters
    own, peer = _own(sock), _peer(sock)
    is_listening = opened.kind in ("listener", "epmd_listener")
    counted = {
        "read_byte": counters.get("bytes_in"),
        "read_pkg": counters.get("packets_in"),
        "write_byte": counters.get("bytes_out"),
        "write_pkg": counters.get("packets_out"),
    }
    shown = {
        "id": (SOCKET, Reference(port.node, port.creation, (port.id & 0x3FFFF, 0, 0))),
        "id_str": charlist(f"#Socket<{port.id}> {opened.name}"),
        "kind": Atom("plain"),
        "fd": sock.fileno(),
        "owner": ports.owner(),
        "domain": Atom(_DOMAINS.get(sock.family, "unspec")),
        "type": Atom("stream"),
        "protocol": Atom("tcp"),
        "rstates": [Atom("bound"), Atom("listening")] if is_listening else [],
        "wstates": [] if is_listening else [Atom("connected")],
        "monitored_by": [],
        "statistics": [(Atom(name), count) for name, count in counted.items() if count is not None],
        "options": sorted(_options(sock), key=lambda option: (option[0][0].name, option[0][1].name)),
        **({"laddress": _address(own)} if own else {}),
        **({"raddress": _address(peer)} if peer else {}),
    }
    return {Atom(name): value for name, value in shown.items()}


def _address(address: Any) -> list[int]:
    host, port, *rest = address
    return charlist(" , ".join([f"{host} : {port}", *map(str, rest)]))


def socket_info(ports: Ports) -> list[tuple[Atom, int]]:
    """``observer_backend:socket_info/0``: how many sockets there are, by kind."""
    families = [opened.sock.family for _, opened in ports.all()]
    counts = {
        "iov_max": os.sysconf("SC_IOV_MAX"),
        "num_monitors": 0,
        "num_cnt_bits": 64,
        "num_dinet": families.count(socket.AF_INET),
        "num_dinet6": families.count(socket.AF_INET6),
        "num_dlocal": families.count(socket.AF_UNIX),
        "num_pip": 0,
        "num_psctp": 0,
        "num_ptcp": len(families),
        "num_pudp": 0,
        "num_sockets": len(families),
        "num_tdgrams": 0,
        "num_tseqpkgs": 0,
        "num_tstreams": len(families),
    }
    return [(Atom(name), count) for name, count in counts.items()]


def port_close(_port: Any) -> Any:
    """``erlang:port_close/1``: a connection ends with ``erlang:disconnect_node/1``, a listener with its node.

    Raises:
        ErlangError: ``badarg``, always.
    """
    raise ErlangError(BADARG)


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    ports = Ports(node)
    node.export("erlang", "ports", lambda: [port for port, _ in ports.all()])
    node.export("erlang", "port_info", lambda port: port_info(ports, port), arity=1)
    node.export("erlang", "port_info", lambda port, item: port_info(ports, port, item), arity=2)
    node.export("erlang", "port_close", port_close)
    node.export("observer_backend", "get_port_list", lambda: get_port_list(ports))
    node.export("observer_backend", "get_socket_list", lambda: get_socket_list(ports))
    node.export("observer_backend", "socket_info", lambda: socket_info(ports))
