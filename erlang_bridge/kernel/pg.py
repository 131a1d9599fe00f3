"""``pg``: named groups of processes, known in the whole cluster.

Each node runs one process for each *scope*, registered under the scope's name (``pg`` is the default one). Each knows
its own members and, from the others, theirs; there is no lock and no agreement, each is the authority for its own node.

=================================================  ====================================================================
message                                            what it does
=================================================  ====================================================================
``{discover, Peer}``                               answer with all our groups (``sync``); monitor a peer that is new,
                                                   and send it ``discover`` in return
``{'$gen_cast', {sync, Peer, [{Group, Pids}]}}``   these are the peer's groups, in place of what it had
``{join, Peer, Group, PidOrPids}``                 members more
``{leave, Peer, PidOrPids, [Group]}``              members less, in each of the groups
a peer's DOWN                                      all its members go
nodeup                                             send ``discover`` to the scope there, if any
=================================================  ====================================================================

A process that has joined twice is a member twice, and has to leave twice. OTP 29 speaks a second dialect (``discover``
with a version, ``local_data``, ``update``) to peers that ask for it: it is understood here and never asked for, because
the ``pg`` of OTP 25 crashes on a ``discover`` with a version.

``pg`` of the BEAM seeks its peers among visible nodes only. A hidden node finds them by itself, again and again where
it has to: nobody would tell it that a scope was started later.

Source: Kernel, ``pg``; OTP ``lib/kernel/src/pg.erl``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from erlang_bridge import etf
from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel.multi_call import calling_process, is_connected
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.containers import exact_key

log = logging.getLogger("erlang_bridge.kernel")

DEFAULT_SCOPE: Final = Atom("pg")
OK: Final = Atom("ok")
NOT_JOINED: Final = Atom("not_joined")
DISCOVER: Final = Atom("discover")
SYNC: Final = Atom("sync")
JOIN: Final = Atom("join")
LEAVE: Final = Atom("leave")

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
"""How often a hidden node looks for the scope of a peer that has none."""


# -- the table --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    name: Any
    local: list[Pid] = field(default_factory=list)
    remote: dict[Pid, list[Pid]] = field(default_factory=dict)
    """Peer (the scope process of another node) to its members."""

    @property
    def members(self) -> list[Pid]:
        return [*self.local, *(pid for pids in self.remote.values() for pid in pids)]


class Groups:
    """The groups of one scope. Pure: no messages, no monitors. None stands for this node where a peer is asked for."""

    def __init__(self) -> None:
        self._groups: dict[Any, _Group] = {}

    def __iter__(self) -> Iterator[_Group]:
        return iter(list(self._groups.values()))

    def find(self, name: Any) -> _Group | None:
        """The group, if it has members."""
        return self._groups.get(exact_key(name))

    def of_peer(self, peer: Pid | None) -> list[tuple[Any, list[Pid]]]:
        """``[{Group, Pids}]`` of one node."""
        return [(group.name, list(pids)) for group in self if (pids := _pids_of(group, peer))]

    def join(self, peer: Pid | None, name: Any, pids: list[Pid]) -> None:
        key = exact_key(name)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(name)
        if peer is None:
            group.local[:0] = pids
        else:
            group.remote.setdefault(peer, [])[:0] = pids

    def leave(self, peer: Pid | None, name: Any, pids: list[Pid]) -> list[Pid]:
        """Take each of `pids` out once; those that were in."""
        key = exact_key(name)
        group = self._groups.get(key)
        if group is None:
            return []
        members = _pids_of(group, peer)
        gone = []
        for pid in pids:
            if pid in members:
                members.remove(pid)
                gone.append(pid)
        if peer is not None and not members:
            group.remote.pop(peer, None)
        if not group.local and not group.remote:
            del self._groups[key]
        return gone


def _pids_of(group: _Group, peer: Pid | None) -> list[Pid]:
    return group.local if peer is None else group.remote.get(peer, [])


# -- the server -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seek:
    """Look for the scope on a node; where nobody answers and we are hidden, again in `retry_s`."""

    node: Atom
    retry_s: float


class Scope(GenServer):
    """The process of one scope. Started with its name and its `Groups`."""

    def init(self, args: tuple[Atom, Groups]) -> None:
        self._scope, self._groups = args
        self._peers: dict[Pid, Reference] = {}
        self._members: dict[Pid, tuple[Reference, int]] = {}
        """Local process to its monitor, and how often it is a member of anything."""
        self._scope_monitors: dict[Reference, Pid] = {}
        self._group_monitors: dict[Reference, tuple[Pid, Any]] = {}
        for name in self.node.nodes("connected" if self.node.hidden else "visible"):
            self._seek(_Seek(Atom(name), FIRST_RETRY_S))

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        groups = {group.name: len(group.members) for group in self._groups}
        return {**status, "state": {"peers": list(self._peers), "groups": list(groups.items())}}

    # -- calls of this node ---------------------------------------------------------------------

    def handle_call(self, request: Any, caller: gen.Caller, state: Any) -> Any:
        match request:
            case (Atom("join_local"), group, pids):
                self._join_local(group, _listed(pids))
                self._tell_peers((JOIN, self.pid, group, pids))
                return Reply(OK, state)
            case (Atom("leave_local"), group, pids):
                gone = self._leave_local(group, _listed(pids))
                if gone:
                    self._tell_peers((LEAVE, self.pid, gone, [group]))
                return Reply(OK if gone else NOT_JOINED, state)
            case Atom("monitor"):
                reference = self.monitor(caller[0])
                self._scope_monitors[reference] = caller[0]
                return Reply((reference, [(group.name, group.members) for group in self._groups]), state)
            case (Atom("monitor"), group):
                reference = self.monitor(caller[0])
                self._group_monitors[reference] = (caller[0], exact_key(group))
                found = self._groups.find(group)
                return Reply((reference, found.members if found is not None else []), state)
            case (Atom("demonitor"), Reference() as reference):
                known = self._drop_monitor(reference)
                self.demonitor(reference)
                return Reply(OK if known else False, state)
        log.warning("pg received an unexpected call from %s: %r", caller[0], request)
        return NoReply(state)

    def _join_local(self, group: Any, pids: list[Pid]) -> None:
        self._groups.join(None, group, pids)
        self._notify(JOIN, group, pids)
        for pid in pids:
            known = self._members.get(pid)
            monitor, times = known if known is not None else (self.monitor(pid), 0)
            self._members[pid] = (monitor, times + 1)

    def _leave_local(self, group: Any, pids: list[Pid]) -> list[Pid]:
        gone = self._groups.leave(None, group, pids)
        for pid in gone:
            monitor, times = self._members[pid]
            if times > 1:
                self._members[pid] = (monitor, times - 1)
            else:
                del self._members[pid]
                self.demonitor(monitor)
        self._notify(LEAVE, group, gone)
        return gone

    # -- messages of peers ----------------------------------------------------------------------

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        match message:
            case (Atom("sync"), Pid() as peer, list(groups)):
                self._replace(peer, [group for group in groups if type(group) is tuple and len(group) == 2])
            case (Atom("local_data"), Pid() as peer, _, groups) if hasattr(groups, "items"):
                self._replace(peer, list(groups.items()))
            case _:
                log.warning("pg received an unexpected cast: %r", message)
        return NoReply(state)

    def handle_info(self, message: Any, state: Any) -> NoReply:
        match message:
            case (Atom("discover"), Pid() as peer) | (Atom("discover"), Pid() as peer, _):
                self._send_peer(peer, (gen.GEN_CAST, (SYNC, self.pid, self._groups.of_peer(None))))
                if peer not in self._peers:
                    self._meet(peer)
                    self._send_peer(peer, (DISCOVER, self.pid))
            case (Atom("join"), Pid() as peer, group, pids):
                self._join_remote(peer, group, _listed(pids))
            case (Atom("leave"), Pid() as peer, pids, list(groups)):
                for group in groups:
                    self._leave_remote(peer, group, _listed(pids))
            case (Atom("update"), Pid() as peer, list(updates)):
                for update in updates:
                    self._update_remote(peer, update)
            case (Atom("DOWN"), Reference() as reference, _, Pid() as pid, reason):
                self._down(reference, pid, reason)
            case _Seek():
                self._seek(message)
            case _:
                log.warning("pg received an unexpected message: %r", message)
        return NoReply(state)

    def _seek(self, seek: _Seek) -> None:
        node = seek.node
        if not self._may_ask(node) or any(peer.node is node for peer in self._peers):
            return
        self.process.table.emit_if_connected(self.process, (self._scope, node), (DISCOVER, self.pid))
        if self.node.hidden:
            self.send_after(seek.retry_s, _Seek(node, min(2 * seek.retry_s, LONGEST_RETRY_S)))

    def _may_ask(self, node: Atom) -> bool:
        # A C node takes a message that it has not asked for as the end of its own conversation.
        channel = self.node.connections.peek(node)
        return channel is not None and channel.peer is not None and channel.peer.published

    def _send_peer(self, peer: Pid, message: Any) -> None:
        if is_connected(self.node, peer.node):
            self.send(peer, message)

    def _tell_peers(self, message: Any) -> None:
        for peer in self._peers:
            self._send_peer(peer, message)

    def _meet(self, peer: Pid) -> None:
        self._peers[peer] = self.monitor(peer)

    def _replace(self, peer: Pid, groups: list[tuple[Any, Any]]) -> None:
        if peer not in self._peers:
            self._meet(peer)
        theirs = {exact_key(name): (name, _listed(pids)) for name, pids in groups}
        for name, pids in self._groups.of_peer(peer):
            _, kept = theirs.get(exact_key(name), (name, []))
            self._leave_remote(peer, name, _without(pids, kept))
        for name, pids in theirs.values():
            found = self._groups.find(name)
            self._join_remote(peer, name, _without(pids, _pids_of(found, peer) if found is not None else []))

    def _join_remote(self, peer: Pid, group: Any, pids: list[Pid]) -> None:
        # From a peer that is none (any more) it is late: its sync will have it.
        if peer in self._peers and pids:
            self._groups.join(peer, group, pids)
            self._notify(JOIN, group, pids)

    def _leave_remote(self, peer: Pid, group: Any, pids: list[Pid]) -> None:
        if peer in self._peers:
            self._notify(LEAVE, group, self._groups.leave(peer, group, pids))

    def _update_remote(self, peer: Pid, update: Any) -> None:
        match update:
            case (group, added, removed):
                self._leave_remote(peer, group, _listed(removed))
                self._join_remote(peer, group, _listed(added))

    def _down(self, reference: Reference, pid: Pid, reason: Any) -> None:
        monitor, _ = self._members.get(pid, (None, 0))
        if monitor == reference:
            del self._members[pid]
            groups = []
            for name, pids in self._groups.of_peer(None):
                gone = self._groups.leave(None, name, [pid] * pids.count(pid))
                self._notify(LEAVE, name, gone)
                groups += [name] * len(gone)
            self._tell_peers((LEAVE, self.pid, pid, groups))
        elif self._peers.get(pid) == reference:
            for name, pids in self._groups.of_peer(pid):
                self._leave_remote(pid, name, pids)
            del self._peers[pid]
            self._seek_again(pid.node)
        else:
            self._drop_monitor(reference)

    def _seek_again(self, node: Atom) -> None:
        # A visible node hears from a scope that is started again; for a hidden one nobody looks.
        if self.node.hidden:
            self.send_after(FIRST_RETRY_S, _Seek(node, FIRST_RETRY_S))

    # -- who wants to hear of changes -----------------------------------------------------------

    def _drop_monitor(self, reference: Reference) -> bool:
        in_scope = self._scope_monitors.pop(reference, None)
        in_group = self._group_monitors.pop(reference, None)
        return in_scope is not None or in_group is not None

    def _notify(self, action: Atom, group: Any, pids: list[Pid]) -> None:
        if not pids or not (self._scope_monitors or self._group_monitors):
            return
        key = exact_key(group)
        listeners = list(self._scope_monitors.items())
        listeners += [(reference, pid) for reference, (pid, name) in self._group_monitors.items() if name == key]
        for reference, pid in listeners:
            self._send_peer(pid, (reference, action, group, pids))


def _listed(pids: Any) -> list[Pid]:
    """A pid or a list of them, as a list."""
    return [pid for pid in (pids if type(pids) is list else [pids]) if type(pid) is Pid]


def _without(pids: list[Pid], others: list[Pid]) -> list[Pid]:
    """``pids -- others``."""
    left = list(pids)
    for pid in others:
        if pid in left:
            left.remove(pid)
    return left


# -- for users of the node --------------------------------------------------------------------


class ProcessGroups:
    """The process groups of one node: ``node.pg``. Functions are named as OTP's.

    A group is any term; a `str` stands for the atom of that name, for scopes too. Members of all nodes are seen; each
    node joins and leaves for its own processes.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._scopes: dict[Atom, Groups] = {}
        self._keep_running: Callable[..., None] | None = None

    def join(self, group: Any, pids: Pid | Iterable[Pid], scope: str | Atom = DEFAULT_SCOPE) -> None:
        """Make processes of this node members; once more each time.

        Raises:
            ValueError: a process of another node.
            NoProcess: the scope has not been started here.
            EtfEncodeError: the group has no term.
        """
        group = _term(group)
        etf.encode(group)
        self._call(scope, (Atom("join_local"), group, self._ours(pids)))

    def leave(self, group: Any, pids: Pid | Iterable[Pid], scope: str | Atom = DEFAULT_SCOPE) -> bool:
        """Take processes of this node out, each of them once. False: none of them was in."""
        return self._call(scope, (Atom("leave_local"), _term(group), self._ours(pids))) is OK

    def get_members(self, group: Any, scope: str | Atom = DEFAULT_SCOPE) -> list[Pid]:
        """Members on all nodes, as far as this one has heard; those of this node come first. Never waits."""
        found = self._groups(scope).find(_term(group))
        return found.members if found is not None else []

    def get_local_members(self, group: Any, scope: str | Atom = DEFAULT_SCOPE) -> list[Pid]:
        found = self._groups(scope).find(_term(group))
        return list(found.local) if found is not None else []

    def which_groups(self, scope: str | Atom = DEFAULT_SCOPE) -> list[Any]:
        """Groups with members."""
        return [group.name for group in self._groups(scope)]

    def which_local_groups(self, scope: str | Atom = DEFAULT_SCOPE) -> list[Any]:
        """Groups with members on this node."""
        return [group.name for group in self._groups(scope) if group.local]

    def monitor(self, group: Any, scope: str | Atom = DEFAULT_SCOPE) -> tuple[Reference, list[Pid]]:
        """Have ``(reference, Atom("join" | "leave"), group, pids)`` sent to the calling process when the group changes.

        Returns:
            The reference, and the members now.
        """
        self._check_in_process()
        reference, members = self._call(scope, (Atom("monitor"), _term(group)))
        return reference, members

    def monitor_scope(self, scope: str | Atom = DEFAULT_SCOPE) -> tuple[Reference, list[tuple[Any, list[Pid]]]]:
        """As `monitor`, for all groups of the scope; returns them as ``(group, members)``."""
        self._check_in_process()
        reference, groups = self._call(scope, Atom("monitor"))
        return reference, groups

    def demonitor(self, reference: Reference, scope: str | Atom = DEFAULT_SCOPE) -> bool:
        """End `monitor` or `monitor_scope`. Messages that have come already stay. False: there is none."""
        return self._call(scope, (Atom("demonitor"), reference)) is OK

    def start_scope(self, scope: str | Atom) -> None:
        """Start another scope on this node. Does nothing where it runs.

        Raises:
            ValueError: a process has that name.
        """
        name = Atom(str(scope))
        if name in self._scopes:
            return
        if self._node.whereis(name) is not None:
            raise ValueError(f"cannot start the scope {name}: a process has that name")
        assert self._keep_running is not None
        self._keep_running(name, Scope, partial(self._fresh, name))

    def scopes(self) -> list[Atom]:
        """The scopes of this node."""
        return list(self._scopes)

    def _fresh(self, scope: Atom) -> tuple[Atom, Groups]:
        groups = self._scopes[scope] = Groups()
        return scope, groups

    def _groups(self, scope: str | Atom) -> Groups:
        return self._scopes.get(Atom(str(scope))) or Groups()

    def _call(self, scope: str | Atom, request: Any) -> Any:
        with calling_process(self._node.table) as process:
            return gen.call(process, Atom(str(scope)), request, None, module="pg")

    def _check_in_process(self) -> None:
        if self._node.table.current() is None:
            raise RuntimeError("only a process can be told of changes: call this in one")

    def _ours(self, pids: Pid | Iterable[Pid]) -> list[Pid]:
        listed = [pids] if isinstance(pids, Pid) else list(pids)
        for pid in listed:
            if not isinstance(pid, Pid) or not self._node.table.is_ours(pid):
                raise ValueError(f"{pid} is not a process of {self._node.name}: each node joins and leaves for its own")
        return listed

    # -- life -----------------------------------------------------------------------------------

    def start(self, keep_running: Callable[..., None]) -> None:
        """Start the default scope, and export this to other nodes. Called once, before the node is connected."""
        self._keep_running = keep_running
        self._node.monitor_nodes(self._on_nodeup, None)
        self._export()
        self.start_scope(DEFAULT_SCOPE)

    def _on_nodeup(self, node: Atom, hidden: bool) -> None:
        # Who is hidden looks for the others if it wants to.
        if hidden and not self._node.hidden:
            return
        for scope in self._scopes:
            server = self._node.table.names.get(scope)
            if server is not None:
                server.deliver(_Seek(node, FIRST_RETRY_S))

    def _export(self) -> None:
        export = partial(self._node.export, DEFAULT_SCOPE.name)

        def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
            def asking(scope: Any, *arguments: Any) -> Any:
                if type(scope) is not Atom:
                    raise ErlangError(Atom("badarg"))
                return function(*arguments, scope=scope)

            return asking

        def check(pids: Any) -> None:
            for pid in pids if type(pids) is list else [pids]:
                if type(pid) is not Pid or pid.node is not self._node.name:
                    raise ErlangError(Atom("function_clause"))

        def join(group: Any, pids: Any, scope: Atom = DEFAULT_SCOPE) -> Atom:
            check(pids)
            self.join(group, pids, scope)
            return OK

        def leave(group: Any, pids: Any, scope: Atom = DEFAULT_SCOPE) -> Atom:
            check(pids)
            return OK if self.leave(group, pids, scope) else NOT_JOINED

        functions: list[tuple[Callable[..., Any], int]] = [
            (self.get_members, 1),
            (self.get_local_members, 1),
            (self.which_groups, 0),
            (self.which_local_groups, 0),
            (join, 2),
            (leave, 2),
        ]
        for function, arity in functions:
            export(function.__name__, function, arity=arity)
            export(function.__name__, scoped(function), arity=arity + 1)


def _term(group: Any) -> Any:
    return Atom(group) if isinstance(group, str) else group
