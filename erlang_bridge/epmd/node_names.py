"""Node names: ``alive@host`` split in two and checked, and the difference between short and long names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from erlang_bridge.errors import ConfigError
from erlang_bridge.terms.atom import MAX_ATOM_CHARACTERS

_ALIVE: Final = re.compile(r"[0-9A-Za-z_-]+")
_HOST: Final = re.compile(r"[!-?A-\u00ff]+")
_EXPECTED: Final = "a node name such as 'py@127.0.0.1' or 'py@myhost'"


@dataclass(frozen=True, slots=True)
class NodeName:
    """A node's full name in its two parts. ``str()`` joins them.

    Example:
        >>> name = parse_node_name("py@127.0.0.1")
        >>> name.alive, name.host, name.long
        ('py', '127.0.0.1', True)
    """

    alive: str
    """Before the ``@``: what epmd registers."""
    host: str
    """After it: a host name or an IP address, which other nodes look up to find epmd."""

    @property
    def long(self) -> bool:
        """Whether this is a long name (see `is_long_host`)."""
        return is_long_host(self.host)

    def __str__(self) -> str:
        return f"{self.alive}@{self.host}"


def is_long_host(host: str) -> bool:
    """Whether `host` makes a long name: it has a dot, or is an IP address.

    A BEAM started with ``-name`` dials only long names, one started with ``-sname`` only short ones; being dialled
    works across.

    Source: kernel, ``inet_tcp_dist:splitnode/3``.
    """
    return "." in host or ":" in host


def parse_node_name(text: str, *, key: str = "node name") -> NodeName:
    """Split and check the full name that a node of ours is to have.

    Args:
        text: ``alive@host``; `alive` is of letters, digits, ``_`` and ``-``, as for ``erl -sname``.
        key: what the error calls the value, such as the flag it came from.

    Raises:
        ConfigError: not such a name, with what is wrong.

    Source: kernel, ``net_kernel:create_name/3``.
    """
    name = split_node_name(text)
    if name is None:
        raise ConfigError(key, text, f"{_EXPECTED}, with one '@' and something on both sides of it")
    if not _ALIVE.fullmatch(name.alive):
        raise ConfigError(key, text, f"{_EXPECTED}, with only letters, digits, '_' and '-' before the '@'")
    if not _HOST.fullmatch(name.host):
        raise ConfigError(key, text, f"{_EXPECTED}, with a host name or an IP address behind the '@'")
    if len(text) > MAX_ATOM_CHARACTERS:
        raise ConfigError(key, text, f"a node name of at most {MAX_ATOM_CHARACTERS} characters")
    return name


def split_node_name(text: str) -> NodeName | None:
    """Split any node's name where OTP would: one ``@``, both parts not empty. None where it would refuse it.

    Wider than `parse_node_name`: it tells what another node may be called, not what ours should be.

    Source: kernel, ``dist_util:split_node/1``.
    """
    alive, _, host = text.partition("@")
    if not alive or not host or "@" in host:
        return None
    return NodeName(alive, host)


def can_dial(ours: NodeName, theirs: NodeName) -> bool:
    """Whether a BEAM named `ours` would dial `theirs`: both names long, or both short.

    Source: kernel, ``inet_tcp_dist:splitnode/3`` ("System running to use fully qualified hostnames").
    """
    return ours.long == theirs.long
