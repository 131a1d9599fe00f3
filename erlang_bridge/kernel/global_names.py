"""``global``, as a user of the node sees it: names and locks of the whole cluster.

Functions are named as OTP's, and other nodes may call them by rpc under those names. Where OTP is given a fun to
resolve clashes, this takes an `Export`: ``fun global:random_exit_name/3`` and its kin, or a function that the node
exports.

Source: Kernel, ``global``; OTP ``lib/kernel/src/global.erl``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from erlang_bridge import etf
from erlang_bridge.errors import BridgeError, ErlangError, ErlangExit, ProcessExit
from erlang_bridge.kernel import rpc
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.global_locker import GLOBAL_NAME_SERVER, Transaction, pause, try_lock, unlock, within_reach
from erlang_bridge.kernel.global_members import OK, NodeDown, NodeUp
from erlang_bridge.kernel.global_name_server import UNDEFINED, YES, Disconnect, GlobalNameServer
from erlang_bridge.kernel.global_tables import LockId, NotResolved, Tables
from erlang_bridge.kernel.multi_call import calling_process, multi_call
from erlang_bridge.otp import gen, reports
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Export, Fun, Pid

log = logging.getLogger("erlang_bridge.kernel")

ABORTED: Final = Atom("aborted")
"""What `GlobalNames.trans` returns when it did not get the lock."""
NO: Final = Atom("no")
NONE: Final = Atom("none")
KILL: Final = Atom("kill")
EXIT: Final = Atom("EXIT")
RESOLVE_IT: Final = "resolve_it"
GLOBAL_NAME_CONFLICT: Final = Atom("global_name_conflict")

_MODULE: Final = Atom("global")
RANDOM_EXIT_NAME: Final = Export(_MODULE, Atom("random_exit_name"), 3)
"""Of two processes with one name, kill the one on the greater node."""
RANDOM_NOTIFY_NAME: Final = Export(_MODULE, Atom("random_notify_name"), 3)
"""Of two processes with one name, the one on the greater node loses it and gets ``{global_name_conflict, Name}``."""
NOTIFY_ALL_NAME: Final = Export(_MODULE, Atom("notify_all_name"), 3)
"""Both lose the name, and get ``{global_name_conflict, Name, OtherPid}``."""


class GlobalNames:
    """The cluster-wide names and locks of one node: ``node.global_names``.

    A name is any term; a `str` stands for the atom of that name. On a hidden node, which is in nobody's cluster, names
    are known to the node itself only.

    Calls wait as long as it takes: for a lock that another node holds, and for a node that does not answer until its
    connection is given up. Not for use in the hub.
    """

    def __init__(self, node: Any) -> None:
        self.tables = Tables()
        self._node = node

    # -- names ----------------------------------------------------------------------------------

    def register_name(self, name: Any, pid: Pid, method: Export = RANDOM_EXIT_NAME) -> bool:
        """Give a process, on any node, a name that the whole cluster knows. False: it is taken, or the process has one.

        Args:
            method: called with ``(name, pid1, pid2)`` when two partitions meet in which the name stands for different
                processes. Returns the pid that keeps it, or the atom ``none``.

        Raises:
            EtfEncodeError: the name has no term.
        """
        name = _term(name)

        def register(process: Process, nodes: list[Atom]) -> bool:
            if self.whereis_name(name) is not None or self._has_another_name(name, pid):
                return False
            return self._tell_members(process, nodes, (Atom("register"), name, pid, method))

        return bool(self._transaction(register, name, method))

    def re_register_name(self, name: Any, pid: Pid, method: Export = RANDOM_EXIT_NAME) -> None:
        """As `register_name`, also where the name is taken."""
        request = (Atom("register"), _term(name), pid, method)
        self._transaction(lambda process, nodes: self._tell_members(process, nodes, request), request)

    def register_name_external(self, name: Any, pid: Pid, method: Export = RANDOM_EXIT_NAME) -> bool:
        """Register a process of a node that has no ``global`` of its own. The name ends with this node, too."""
        name = _term(name)

        def register(process: Process, nodes: list[Atom]) -> bool:
            if self.whereis_name(name) is not None:
                return False
            return self._tell_members(process, nodes, (Atom("register_ext"), name, pid, method, self._node.name))

        return bool(self._transaction(register, name, method))

    def unregister_name(self, name: Any) -> None:
        """Does nothing where nobody has the name."""
        name = _term(name)
        if self.whereis_name(name) is not None:
            request = (Atom("unregister"), name)
            self._transaction(lambda process, nodes: self._tell_members(process, nodes, request))

    def whereis_name(self, name: Any) -> Pid | None:
        """The process that has the name, as far as this node knows. Never waits."""
        entry = self.tables.names.find(_term(name))
        if entry is None or (entry.pid.node is self._node.name and not self._node.is_alive(entry.pid)):
            return None
        return entry.pid

    def registered_names(self) -> list[Any]:
        return [entry.name for entry in self.tables.names]

    def send(self, name: Any, message: Any) -> Pid:
        """Send to the process that has the name.

        Raises:
            ErlangExit: ``{badarg, {Name, Message}}``: nobody has.
        """
        pid = self.whereis_name(name)
        if pid is None:
            raise ErlangExit((Atom("badarg"), (_term(name), message)))
        self._node.send(pid, message)
        return pid

    def _has_another_name(self, name: Any, pid: Pid) -> bool:
        names = self.tables.names.names_of(pid)
        if names:
            log.error("global: %s registered under several names: %r", pid, [name, *names])
        return bool(names)

    def _tell_members(self, process: Process, nodes: list[Atom], request: Any) -> bool:
        """Have every member change its table."""
        multi_call(process, within_reach(self._node, self.tables, nodes), GLOBAL_NAME_SERVER, request)
        return True

    def _transaction(self, function: Callable[[Process, list[Atom]], Any], *terms: Any) -> Any:
        """Have the registrar call `function` while the whole partition is locked. `terms` are what it will send."""
        etf.encode(terms)
        result = self._call(Transaction(function), None)
        if isinstance(result, Exception):
            raise result
        return result

    def _call(self, request: Any, timeout_s: float | None) -> Any:
        with calling_process(self._node.table) as process:
            return gen.call(process, GLOBAL_NAME_SERVER, request, timeout_s, module="global")

    # -- locks ----------------------------------------------------------------------------------

    def set_lock(
        self,
        resource: Any,
        requester: Any = None,
        nodes: Iterable[str | Atom] | None = None,
        retries: int | None = None,
    ) -> bool:
        """Set the lock ``{resource, requester}``, which ends by `del_lock` or with the calling process.

        Args:
            resource: any term; a `str` stands for the atom.
            requester: any term; whoever names the same one shares the lock. Default: the calling process alone.
            nodes: where; default: here and on all visible nodes.
            retries: how often to try again, after a random pause that grows up to 8 s. None: until it succeeds.

        Returns:
            False: another requester held it all the time.

        Raises:
            RuntimeError: not called in a process, whose lock would it be? See `trans`.
            EtfEncodeError: a part of the lock has no term.
        """
        process = self._node.table.current()
        if process is None:
            raise RuntimeError("only a process can hold a lock: use trans, or call set_lock in a process")
        return self._set_lock(process, _lock_id(process, resource, requester), self._nodes(nodes), retries)

    def del_lock(self, resource: Any, requester: Any = None, nodes: Iterable[str | Atom] | None = None) -> None:
        """Delete a lock that the calling process has set."""
        process = self._node.table.current()
        if process is not None:
            unlock(process, _lock_id(process, resource, requester), self._nodes(nodes))

    def trans(
        self,
        resource: Any,
        function: Callable[[], Any],
        nodes: Iterable[str | Atom] | None = None,
        retries: int | None = None,
        *,
        requester: Any = None,
    ) -> Any:
        """Call `function` while the lock is set; arguments as for `set_lock`.

        Returns:
            What `function` returned, or the atom ``aborted``.
        """
        with calling_process(self._node.table) as process:
            lock_id = _lock_id(process, resource, requester)
            locked = self._nodes(nodes)
            if not self._set_lock(process, lock_id, locked, retries):
                return ABORTED
            try:
                return function()
            finally:
                if process.alive:
                    unlock(process, lock_id, locked)

    def _set_lock(self, process: Process, lock_id: LockId, nodes: list[Atom], retries: int | None) -> bool:
        etf.encode(lock_id)
        times = 0
        while not try_lock(process, self.tables.locks, lock_id, nodes):
            if retries is not None and times >= retries:
                return False
            times += 1
            pause(times)
        return True

    def _nodes(self, nodes: Iterable[str | Atom] | None) -> list[Atom]:
        names = [self._node.name, *self._node.nodes()] if nodes is None else nodes
        return [Atom(str(name)) for name in names]

    # -- the cluster ----------------------------------------------------------------------------

    def sync(self, nodes: Iterable[str | Atom] | None = None, timeout_s: float | None = None) -> None:
        """Wait until the names of all nodes (default: the visible ones) are known here, or the node is gone.

        Raises:
            CallTimeout: a node does not take part: it is visible, and has no ``global``.
        """
        self._call((Atom("sync"), self._nodes(nodes)), timeout_s)

    def disconnect(self) -> list[str]:
        """Leave the cluster: end the connections with all visible nodes. Returns which.

        They do not drop one another for it, as they may when a connection is lost.
        """
        return [node.name for node in self._call(Disconnect(), None)]

    # -- clashes --------------------------------------------------------------------------------

    def resolve_clash(self, method: Any, name: Any, their_pid: Pid, our_pid: Pid) -> Any:
        """Settle a clash of names where our process is: see `global_tables.exchange_names`."""
        process = self._node.table.current()
        call = RemoteCall(self._node, process, process.pid, None)
        if our_pid.node is self._node.name:
            return self.resolve_it(call, method, name, their_pid, our_pid)
        try:
            arguments = [method, name, their_pid, our_pid]
            return rpc.call(process, our_pid.node, _MODULE.name, RESOLVE_IT, arguments, None)
        except BridgeError as error:
            log.info("global: %s when conflicting name %r was found", error, name)
            raise NotResolved from error

    def resolve_it(self, call: RemoteCall, method: Any, name: Any, pid1: Pid, pid2: Pid) -> Any:
        """``global:resolve_it/4``: run a method, here or where its code is. An exception gives ``{'EXIT', Reason}``."""
        try:
            if isinstance(method, Fun):
                arguments = [method, name, pid1, pid2]
                return rpc.call(call.process, _home_of(method), _MODULE.name, RESOLVE_IT, arguments, None)
            module, function, arguments = method.module, method.function, [name, pid1, pid2]
            asking = call.caller.node
            if asking is self._node.name or self._node.callables.find(module, function, 3) is not None:
                return self._node.callables.apply(call, module, function, arguments)
            # Of the two nodes that have met, the one that asks may know it.
            return rpc.call(call.process, asking, module.name, function.name, arguments, None)
        except ProcessExit:
            raise
        except Exception as error:  # noqa: BLE001  # it is the value
            return (EXIT, reports.exit_reason(error))

    def random_exit_name(self, name: Any, pid1: Pid, pid2: Pid) -> Pid:
        smaller, greater = _ordered(pid1, pid2)
        log.info("global: Name conflict terminating %r", (name, greater))
        self._node.exit(greater, KILL)
        return smaller

    def random_notify_name(self, name: Any, pid1: Pid, pid2: Pid) -> Pid:
        smaller, greater = _ordered(pid1, pid2)
        self._node.send(greater, (GLOBAL_NAME_CONFLICT, name))
        return smaller

    def notify_all_name(self, name: Any, pid1: Pid, pid2: Pid) -> Atom:
        self._node.send(pid1, (GLOBAL_NAME_CONFLICT, name, pid2))
        self._node.send(pid2, (GLOBAL_NAME_CONFLICT, name, pid1))
        return NONE

    # -- life -----------------------------------------------------------------------------------

    def start(self, keep_running: Callable[..., None]) -> None:
        """Start the name server, and export this to other nodes. Called once, before the node is connected."""
        self._node.monitor_nodes(self._on_nodeup, self._on_nodedown)
        self._export()
        keep_running(GLOBAL_NAME_SERVER, GlobalNameServer, self._fresh)

    def _fresh(self) -> tuple[Tables, Any]:
        """What a name server starts with. One that had to be started again has forgotten what others rely on."""
        for channel in self._node.connections.channels():
            if not channel.peer.hidden:
                channel.close("disconnect")
        self.tables = Tables()
        return self.tables, self.resolve_clash

    def _on_nodeup(self, node: Atom, hidden: bool) -> None:
        channel = self._node.connections.peek(node)
        if channel is not None:
            self._tell(NodeUp(node, channel.number, hidden or self._node.hidden))

    def _on_nodedown(self, node: Atom, hidden: bool, reason: str) -> None:
        self._tell(NodeDown(node, hidden or self._node.hidden))

    def _tell(self, message: Any) -> None:
        server = self._node.table.names.get(GLOBAL_NAME_SERVER)
        if server is not None:
            server.deliver(message)

    def _export(self) -> None:
        export = partial(self._node.export, _MODULE.name)

        def yes_or_no(function: Callable[..., bool]) -> Callable[..., Atom]:
            return lambda *arguments: YES if function(*arguments) else NO

        def always(answer: Atom, function: Callable[..., object]) -> Callable[..., Atom]:
            def answering(*arguments: Any) -> Atom:
                function(*arguments)
                return answer

            return answering

        def checked(function: Callable[..., Any]) -> Callable[..., Any]:
            def registering(name: Any, pid: Any, *method: Any) -> Any:
                # The global_name_server of a BEAM, and with it the whole node, would not survive what is no pid.
                if type(pid) is not Pid or not all(type(each) in (Export, Fun) for each in method):
                    raise ErlangError(Atom("function_clause"))
                return function(name, pid, *method)

            return registering

        for arity in (2, 3):
            export("register_name", yes_or_no(checked(self.register_name)), arity=arity)
            export("register_name_external", yes_or_no(checked(self.register_name_external)), arity=arity)
            export("re_register_name", always(YES, checked(self.re_register_name)), arity=arity)
        export("unregister_name", always(OK, self.unregister_name), arity=1)
        export("unregister_name_external", always(OK, self.unregister_name), arity=1)
        export("sync", always(OK, self.sync), arity=0)
        export("whereis_name", lambda name: self.whereis_name(name) or UNDEFINED)
        export("registered_names", self.registered_names)
        export("send", self.send)
        export("disconnect", lambda: [Atom(name) for name in self.disconnect()])

        def of_pids(method: Callable[..., Any]) -> Callable[..., Any]:
            def resolving(name: Any, pid1: Any, pid2: Any) -> Any:
                if type(pid1) is not Pid or type(pid2) is not Pid:
                    raise ErlangError(Atom("badarg"))
                return method(name, pid1, pid2)

            return resolving

        for method in (self.random_exit_name, self.random_notify_name, self.notify_all_name):
            export(method.__name__, of_pids(method))
        export(RESOLVE_IT, self.resolve_it, with_call=True)


def _term(name: Any) -> Any:
    return Atom(name) if isinstance(name, str) else name


def _lock_id(process: Process, resource: Any, requester: Any) -> LockId:
    return (_term(resource), process.pid if requester is None else requester)


def _ordered(pid1: Pid, pid2: Pid) -> tuple[Pid, Pid]:
    return (pid1, pid2) if pid1.node.name < pid2.node.name else (pid2, pid1)


_CREATOR_OFFSET: Final = 25
"""In the body of NEW_FUN_EXT: arity, digest, index and number of free variables come before."""


def _home_of(fun: Fun) -> Atom:
    """The node that made a closure."""
    offset = _CREATOR_OFFSET
    for _ in ("module", "old index", "old digest"):
        _, offset = etf.decode_prefix(fun.raw, offset)
    creator, _ = etf.decode_prefix(fun.raw, offset)
    home: Atom = creator.node
    return home
