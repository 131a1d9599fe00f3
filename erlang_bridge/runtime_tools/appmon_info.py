"""``appmon_info``: the applications of a node and their trees, told when they change.

::

    start_link2(Starter, Client, Opts)                     -> {ok, Pid}; one process for all who look
    {'$gen_cast', {Client, app_ctrl, Node, true, Opts}}    -> {delivery, Pid, app_ctrl, Node, Applications}
    {'$gen_cast', {Client, app, Name, true, Opts}}         -> {delivery, Pid, app, Name, Tree}

Each is delivered at once and again whenever it differs, until the cast with ``false``. A tree is
``{RootName, [{Pid, Name}], [{ParentName, ChildName}], [{Name, LinkedName}]}``.

Nobody looks, nothing is done. While somebody does, it is looked every 2 s, as on a BEAM, and less often where looking
takes long.

Source: OTP ``lib/runtime_tools/src/appmon_info.erl``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from erlang_bridge.errors import ErlangError, ErlangExit
from erlang_bridge.etf import encode_list
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.process_trees import STEP, ProcessTree, Work, application_tree, name_of
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.reports import charlist
from erlang_bridge.otp.results import NoReply, Reply, Stop
from erlang_bridge.process.exit_rules import NORMAL
from erlang_bridge.terms import Atom, Pid

NAME: Final = Atom("appmon_info")
OK: Final = Atom("ok")
DELIVERY: Final = Atom("delivery")
APP: Final = Atom("app")
APP_CTRL: Final = Atom("app_ctrl")
ATTEMPTS: Final = 3
EMPTY_TREE: Final[tuple[list[Any], ...]] = ([], [], [], [])

INTERVAL_S: Final = 2.0
MOST_BUSY: Final = 0.02
"""The part of one core that looking again and again may take."""


class _Look:
    """A message to itself: see whether something has changed."""


class _Watched:
    """One thing that one client is told of."""

    __slots__ = ("client", "kind", "last", "subject")

    def __init__(self, client: Pid, kind: Atom, subject: Any) -> None:
        self.client = client
        self.kind = kind
        self.subject = subject
        self.last: Any = None


class _State:
    def __init__(self, clients: list[Pid]) -> None:
        self.clients = clients
        self.watched: dict[tuple[Pid, Atom, Any], _Watched] = {}
        self.timer: Any = None


class AppmonInfo(GenServer):
    """Started by whoever looks first; ends with the last one."""

    trap_exit = True

    def init(self, args: Pid) -> _State:
        self.link(args)
        return _State([args])

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        state: _State = status["state"]
        watched = [(watched.client, watched.kind, watched.subject) for watched in state.watched.values()]
        return {**status, "state": {"clients": state.clients, "watched": watched}}

    def handle_call(self, request: Any, caller: Any, state: _State) -> Reply:
        match request:
            case (Atom("register_client"), Pid() as client):
                self._register(client, state)
        return Reply(OK, state)

    def _register(self, client: Pid, state: _State) -> None:
        """Be told of its end, whichever way it has come."""
        if client not in state.clients:
            self.link(client)
            state.clients.append(client)

    def handle_cast(self, message: Any, state: _State) -> NoReply:
        match message:
            case (Pid() as client, Atom() as kind, Atom() as subject, wanted, _) if kind in (APP, APP_CTRL):
                key = (client, kind, subject)
                state.watched.pop(key, None)
                if wanted is True:
                    self._register(client, state)
                    watched = state.watched[key] = _Watched(client, kind, subject)
                    self._look_later(state, self._deliver(watched))
        return NoReply(state)

    def handle_info(self, message: Any, state: _State) -> Any:
        match message:
            case _Look():
                state.timer = None
                self._look_later(state, sum(self._deliver(watched) for watched in list(state.watched.values())))
            case (Atom("EXIT"), Pid() as ended, _):
                # Of the link with a client, or sent by one who has left the page and may come back to it.
                for key in [key for key in state.watched if key[0] == ended]:
                    del state.watched[key]
                if ended in state.clients:
                    state.clients.remove(ended)
                if not state.clients:
                    return Stop(NORMAL, state)
        return NoReply(state)

    def _look_later(self, state: _State, took_s: float) -> None:
        if state.watched and state.timer is None:
            state.timer = self.send_after(max(INTERVAL_S, took_s / MOST_BUSY), _Look())

    def _deliver(self, watched: _Watched) -> float:
        """Send what there is to see to who watches it, if it is not what he has. Returns the CPU seconds it took."""
        work = _applications(self.node) if watched.kind is APP_CTRL else _shown_tree(self.node, watched.subject)
        took_s, started = 0.0, time.thread_time()
        while True:
            try:
                next(work)
            except StopIteration as done:
                seen = done.value
                break
            took_s += time.thread_time() - started
            # The others have their turn.
            give_way()
            started = time.thread_time()
        if seen != watched.last:
            watched.last = seen
            shown = _encoded(seen) if watched.kind is APP and watched.client.node is not self.node.name else seen
            self.send(watched.client, (DELIVERY, self.pid, watched.kind, watched.subject, shown))
        return took_s + time.thread_time() - started


def _applications(node: Any) -> Work[list[Any]]:
    yield
    return [
        (
            application.root,
            Atom(application.name),
            (Atom(application.name), charlist(application.description), charlist(application.version)),
        )
        for application in node.applications.all()
        if application.root is not None
    ]


def _shown_tree(node: Any, subject: Any) -> Work[tuple[Any, ...]]:
    tree: ProcessTree | None = None
    if type(subject) is Atom:
        tree = yield from application_tree(node, subject.name)
    if tree is None:
        return EMPTY_TREE
    names: dict[Pid, list[int]] = {}
    for pid in tree.pids():
        names[pid] = charlist(name_of(node, pid))
        if not len(names) % STEP:
            yield
    edges: list[tuple[Any, Any]] = []
    for parent, below in tree.children.items():
        for child in below:
            edges.append((names[parent], names[child]))
            if not len(edges) % STEP:
                yield
    cross = [(names[one], names[other]) for one, other in tree.cross_links if one in names and other in names]
    return names[tree.root], list(names.items()), edges, cross


def _encoded(tree: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tree with its long lists encoded, in pieces: others have their turn between two of them."""

    def pieces(items: list[Any]) -> Iterator[list[Any]]:
        waiting = iter(items)
        while piece := list(islice(waiting, STEP)):
            yield piece
            if len(piece) == STEP:
                give_way()

    root, *lists = tree
    return (root, *(encode_list(pieces(items)) if len(items) > STEP else items for items in lists))


def start_link2(call: RemoteCall, starter: Any, client: Any, _options: Any) -> Any:
    """``appmon_info:start_link2/3``: ``{ok, Pid}`` of the one process that tells who looks, started if need be."""
    if not (isinstance(starter, Pid) and isinstance(client, Pid)):
        raise ErlangError(Atom("badarg"))
    answer: Any = None
    for _ in range(ATTEMPTS):
        answer = wait_started(call.node.table, AppmonInfo, client, name=NAME)
        match answer:
            case (Atom("error"), (Atom("already_started"), Pid() as pid)):
                try:
                    call.node.call(pid, (Atom("register_client"), client), None)
                except ErlangExit:
                    continue  # it has just ended, with the last who looked
                return OK, pid
        break
    return answer


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    node.export("appmon_info", "start_link2", start_link2, with_call=True)
