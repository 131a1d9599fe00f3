"""The checks of ``pyanoma doctor``."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

import gevent
from gevent import socket

from erlang_bridge import Atom, BadCookie, BridgeError, ConfigError, EpmdError, EpmdUnreachable, NodeNotRegistered, etf
from erlang_bridge import __version__ as our_version
from erlang_bridge.dist.flags import MANDATORY_26, OFFERED_HIDDEN, flag_names
from erlang_bridge.epmd.messages import NamesRequest, decode_names_reply
from erlang_bridge.epmd.node_names import NodeName, parse_node_name
from erlang_bridge.net.cookies import find_cookie
from erlang_bridge.net.epmd_client import EpmdClient, epmd_port, resolve_node
from pyanoma.client import connected
from pyanoma.commands.ping import ask
from pyanoma.failures import in_words

_RESOLVE_TIME_S: Final = 5.0


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; works all the same."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        found: what is, in words.
        remedy: what to do about it; empty where there is nothing to do.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""


def examine(
    target: str | None, name: str | None, cookie: str | None, environ: Mapping[str, str], timeout_s: float
) -> list[Check]:
    """All checks that make sense.

    Args:
        target: a node to reach; None: none.
        name: for a node of ours; None: none.
        timeout_s: for each step of reaching `target`.
    """
    checks = [_versions(), _codec(), _flags(), _cookie(cookie, environ)]
    try:
        port = epmd_port(environ)
    except ConfigError as error:
        checks.append(Check("epmd", State.PROBLEM, in_words(error), "unset ERL_EPMD_PORT, or set it to a port"))
        return checks
    checks.append(_epmd(port))
    if name is not None:
        checks.extend(_name(name, port))
    if target is not None:
        checks.extend(_reach(target, name, cookie, port, timeout_s))
    return checks


# -- this machine -----------------------------------------------------------------------------


def _versions() -> Check:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Check("versions", State.OK, f"pyanoma {our_version}, {python}, gevent {gevent.__version__}")


def _codec() -> Check:
    return Check("codec", State.OK, f"external term format: {etf.__impl__} implementation")


def _flags() -> Check:
    count, needed = len(flag_names(OFFERED_HIDDEN)), len(flag_names(MANDATORY_26))
    return Check("flags", State.OK, f"{count} offered, among them the {needed} that OTP 26 to 29 insist on")


def _cookie(cookie: str | None, environ: Mapping[str, str]) -> Check:
    try:
        return Check("cookie", State.OK, find_cookie(cookie, environ=environ).source)
    except ConfigError as error:
        if error.value is None:
            remedy = "copy the cluster's cookie into one of these places; `pyanoma start` makes a new file otherwise"
            return Check("cookie", State.NOTE, f"none: {in_words(error)}", remedy)
        return Check("cookie", State.PROBLEM, in_words(error), f"give {error.expected}")


def _epmd(port: int) -> Check:
    where = f"127.0.0.1:{port}"
    try:
        reply = decode_names_reply(EpmdClient("127.0.0.1", port, timeout_s=_RESOLVE_TIME_S).ask(NamesRequest()))
        if reply.epmd_port != port:
            raise EpmdError(f"it says that it listens at port {reply.epmd_port}")
    except EpmdError as error:
        if isinstance(error, EpmdUnreachable) and not _listens(port):
            remedy = "nothing to do: `pyanoma start` runs its own, and so does erl"
            return Check("epmd", State.NOTE, f"none answers at {where}", remedy)
        remedy = "end the program that listens there, or set ERL_EPMD_PORT to another port, for all nodes"
        return Check("epmd", State.PROBLEM, f"what listens at {where} is no epmd: {in_words(error)}", remedy)
    names = ", ".join(sorted(name for name, _ in reply.nodes)) or "no node"
    return Check("epmd", State.OK, f"answers at {where}, knows {names}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_RESOLVE_TIME_S)
        return bool(probe.connect_ex(("127.0.0.1", port)) == 0)


def _name(name: str, port: int) -> Iterator[Check]:
    try:
        parsed = parse_node_name(name, key="--name")
    except ConfigError as error:
        yield Check("name", State.PROBLEM, in_words(error), f"give {error.expected}")
        return
    kind = "long (as of erl -name)" if parsed.long else "short (as of erl -sname)"
    found = f"{name} is {kind}"
    addresses = _addresses(parsed.host)
    if not addresses:
        remedy = "use a host name that the other nodes can look up, or an IP address"
        yield Check("name", State.PROBLEM, f"{found}; the host {parsed.host} is unknown", remedy)
        return
    try:
        taken = EpmdClient("127.0.0.1", port, timeout_s=_RESOLVE_TIME_S).lookup(parsed.alive)
    except EpmdError:
        taken = None
    if taken is not None:
        remedy = f"stop the node {parsed.alive} of this machine, or choose another name"
        yield Check("name", State.PROBLEM, f"{found}; epmd has registered {parsed.alive} already", remedy)
        return
    yield Check("name", State.OK, f"{found}; {parsed.host} is {', '.join(addresses)}; free in epmd")


def _addresses(host: str) -> list[str]:
    try:
        with gevent.Timeout(_RESOLVE_TIME_S):
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, gevent.Timeout):
        return []
    return sorted({str(entry[4][0]) for entry in found})


# -- another node -----------------------------------------------------------------------------


def _reach(target: str, name: str | None, cookie: str | None, port: int, timeout_s: float) -> Iterator[Check]:
    """Step by step, up to the first that fails: what a later one says would only confuse."""
    try:
        parsed = parse_node_name(target, key="NODE")
    except ConfigError as error:
        yield Check("node", State.PROBLEM, in_words(error), f"give {error.expected}")
        return
    if name is not None:
        yield from _kinds(name, parsed)
    if not _addresses(parsed.host):
        remedy = f"check the name; add it to /etc/hosts, or start the node as {parsed.alive}@IP-ADDRESS"
        yield Check("host", State.PROBLEM, f"the host {parsed.host} is unknown", remedy)
        return
    try:
        address, node_port = resolve_node(target, port=port, timeout_s=timeout_s)
    except NodeNotRegistered as error:
        remedy = f"start it; or see what `epmd -names` says on {parsed.host}: both sides need the same ERL_EPMD_PORT"
        yield Check("registered", State.PROBLEM, in_words(error), remedy)
        return
    except EpmdError as error:
        remedy = (
            f"start the node; check that port {port} of {parsed.host} is open, and ERL_EPMD_PORT the same on both sides"
        )
        yield Check("registered", State.PROBLEM, in_words(error), remedy)
        return
    yield Check("registered", State.OK, f"epmd of {parsed.host} says that it listens at {address}:{node_port}")
    yield _connection(target, cookie, timeout_s, f"{address}:{node_port}")


def _kinds(name: str, target: NodeName) -> Iterator[Check]:
    try:
        ours = parse_node_name(name)
    except ConfigError:
        return
    if ours.long != target.long:
        found = f"{name} is a {_kind(ours)} name, {target} a {_kind(target)} one: a BEAM does not dial the other kind"
        remedy = f"give ours a {_kind(target)} name, such as {ours.alive}@{target.host}"
        yield Check("kinds of names", State.PROBLEM, found, remedy)


def _kind(name: NodeName) -> str:
    return "long" if name.long else "short"


def _connection(target: str, cookie: str | None, timeout_s: float, where: str) -> Check:
    started = monotonic()
    try:
        with connected(target, cookie, timeout_s) as client:
            ask(client, target, timeout_s)
            took_ms = (monotonic() - started) * 1000
            channel = client.connections.peek(Atom(target))
            missing = _missing(channel.peer.flags) if channel is not None and channel.peer is not None else ""
            try:
                charlist = client.rpc(target, "erlang", "system_info", [Atom("otp_release")], timeout_s=timeout_s)
                release = "Erlang/OTP " + "".join(map(chr, charlist))
            except (BridgeError, TypeError, ValueError):
                release = "no Erlang/OTP, or one that does not tell its release"
    except BadCookie as error:
        remedy = "use the same cookie: `erlang:get_cookie().` there; --cookie, PYANOMA_COOKIE or ~/.erlang.cookie here"
        return Check("connection", State.PROBLEM, in_words(error), remedy)
    except BridgeError as error:
        remedy = f"check that {where} is open, and that the node is not frozen and allows this host"
        return Check("connection", State.PROBLEM, in_words(error), remedy)
    return Check("connection", State.OK, f"{release}, answered in {took_ms:.0f} ms{missing}")


def _missing(flags: int) -> str:
    """Which of the flags that we offer the connection does without."""
    names = flag_names(OFFERED_HIDDEN & ~flags)
    return f"; it lacks {', '.join(names)}" if names else ""
