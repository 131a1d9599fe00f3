"""What Phoenix LiveDashboard asks a node: the functions of ``Phoenix.LiveDashboard.SystemInfo``.

LiveDashboard loads this module into every node that it looks at, and calls it there. A Python node cannot run it and
has the functions itself. They belong to LiveDashboard's inside and may change; these are those of its versions 0.6 to
0.8. What the node does not have (telemetry, os_mon) is told in the answer to the first question, and LiveDashboard
leaves its pages out.

Source: phoenix_live_dashboard ``lib/phoenix/live_dashboard/system_info.ex``.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.process_info import started_with
from erlang_bridge.kernel.process_trees import ProcessTree, Work, application_tree, finish_in_turns, name_of
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import BehaviourProcess
from erlang_bridge.terms import Atom, Pid, Port, Reference
from erlang_bridge.terms.text import format_term

MODULE: Final = "Elixir.Phoenix.LiveDashboard.SystemInfo"
STEP: Final = 250
"""So many processes are looked at in one turn."""

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
UNDEFINED: Final = Atom("undefined")
BADARG: Final = Atom("badarg")
STRUCT: Final = Atom("__struct__")
PROCESS_DETAILS: Final = Atom(f"{MODULE}.ProcessDetails")
PORT_DETAILS: Final = Atom(f"{MODULE}.PortDetails")

_PROCESS_ITEMS: Final = ("memory", "reductions", "message_queue_len", "current_function")
_DETAIL_ITEMS: Final = (
    "links",
    "monitors",
    "monitored_by",
    "registered_name",
    "current_function",
    "status",
    "message_queue_len",
    "trap_exit",
    "error_handler",
    "priority",
    "group_leader",
    "total_heap_size",
    "heap_size",
    "stack_size",
    "reductions",
    "garbage_collection",
    "suspending",
    "current_stacktrace",
)

Row = list[tuple[Atom, Any]]
"""A keyword list of Elixir."""


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    asked = _Dashboard(node)
    for function in (
        asked.capabilities_callback,
        asked.info_callback,
        asked.usage_callback,
        asked.processes_callback,
        asked.process_info_callback,
        asked.applications_info_callback,
        asked.app_tree_callback,
        asked.ets_callback,
        asked.ets_info_callback,
        asked.ports_callback,
        asked.port_info_callback,
        asked.sockets_callback,
        asked.socket_info_callback,
        asked.memory_allocators_callback,
    ):
        node.export(MODULE, function.__name__, function, with_call=True)


class _Dashboard:
    """The answers of one node. They are made of what the node answers to OTP's own questions."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._table_ids: dict[Atom, Reference] = {}

    def _ask(self, call: RemoteCall, module: str, function: str, *arguments: Any) -> Any:
        return self._node.callables.apply(call, Atom(module), Atom(function), list(arguments))

    def _system(self, call: RemoteCall, item: str) -> Any:
        return self._ask(call, "erlang", "system_info", Atom(item))

    # -- first --------------------------------------------------------------------------------

    def capabilities_callback(self, call: RemoteCall, _requirements: Any) -> Any:
        """Neither telemetry nor os_mon."""
        return _map(system_info=b"", dashboard_running__=False, applications=[], modules=[], processes=[])

    # -- home ---------------------------------------------------------------------------------

    def info_callback(self, call: RemoteCall, keys: Any, _application: Any) -> Any:
        """Versions, limits and use. The environment is not told: it may have secrets in it."""
        if not (keys is None or isinstance(keys, list)):
            raise ErlangError(BADARG)
        none = b"None"
        about = _map(
            banner=self._system(call, "system_version"),
            elixir_version=none,
            phoenix_version=none,
            app_version=none,
            system_architecture=self._system(call, "system_architecture"),
        )
        limits = {"atoms": "atom_limit", "ports": "port_limit", "processes": "process_limit"}
        return _map(
            system_info=about,
            system_limits=_map(**{name: self._system(call, item) for name, item in limits.items()}),
            system_usage=self.usage_callback(call),
            environment=None if keys is None else [(key, None) for key in keys],
        )

    def usage_callback(self, call: RemoteCall) -> Any:
        """How much of everything is in use. Memory in bytes."""

        def statistics(item: str) -> Any:
            return self._ask(call, "erlang", "statistics", Atom(item))

        (_, received), (_, sent) = statistics("io")
        memory = {key.name: size for key, size in self._ask(call, "erlang", "memory")}
        parts = {"process": "processes", "atom": "atom", "binary": "binary", "code": "code", "ets": "ets"}
        shown = {name: memory[key] for name, key in parts.items()}
        other = memory["total"] - sum(shown.values())
        return _map(
            atoms=self._system(call, "atom_count"),
            ports=self._system(call, "port_count"),
            processes=self._system(call, "process_count"),
            io=(received, sent),
            uptime=statistics("wall_clock")[0],
            memory=_map(total=memory["total"], **shown, other=other),
            total_run_queue=statistics("total_run_queue_lengths_all"),
            cpu_run_queue=statistics("total_run_queue_lengths"),
        )

    # -- processes ----------------------------------------------------------------------------

    def processes_callback(
        self, call: RemoteCall, search: Any, sort_by: Any, direction: Any, limit: Any, before: Any
    ) -> Any:
        """``{Rows, HowMany, Reductions}``; `before` are the reductions of the last answer."""
        earlier = _numbers(before)
        order = _Order(sort_by, direction, limit)
        rows: list[tuple[Any, Row]] = []
        reductions: dict[Pid, int] = {}
        for number, pid in enumerate(self._ask(call, "erlang", "processes")):
            if number % STEP == STEP - 1:
                give_way()
            told = self._process(call, pid, _PROCESS_ITEMS)
            if told is None:
                continue
            spent = told["reductions"]
            row = [
                (Atom("pid"), pid),
                (Atom("name_or_initial_call"), self._title(pid)),
                (Atom("reductions_diff"), spent - earlier.get(pid, 0)),
                *((Atom(item), told[item]) for item in _PROCESS_ITEMS),
            ]
            if _matches(search, row[1][1], pid):
                rows.append((order.key(row), row))
                reductions[pid] = spent
        return order.first(rows), len(rows), reductions

    def process_info_callback(self, call: RemoteCall, pid: Any) -> Any:
        """``{ok, Row}``, or ``error`` for one that has ended."""
        told = self._process(call, pid, (*_DETAIL_ITEMS, "dictionary", "label"))
        if told is None:
            return ERROR
        found = (value for key, value in told.pop("dictionary") if key is Atom("$ancestors"))
        told["monitors"] = [target for _, target in told["monitors"]]
        for item in ("links", "monitors", "monitored_by"):
            told[item] = [self._details(each) for each in told[item]]
        told["group_leader"] = self._details(told["group_leader"])
        ancestors = [self._details(each) for each in next(found, [])]
        label = told.pop("label")
        more = [
            (Atom("initial_call"), started_with(self._node.table.find(pid))),
            (Atom("ancestors"), ancestors),
            (Atom("label"), None if label is UNDEFINED else label),
        ]
        return OK, [*more, *((Atom(item), value) for item, value in told.items())]

    def _process(self, call: RemoteCall, pid: Any, items: Iterable[str]) -> dict[str, Any] | None:
        told = self._ask(call, "erlang", "process_info", pid, [Atom(item) for item in items])
        return {item.name: value for item, value in told} if isinstance(told, list) else None

    def _title(self, pid: Pid) -> Any:
        """Name, label or initial call, as text."""
        process = self._node.table.find(pid)
        if process is None:
            return None
        if process.name is not None:
            return _inspected(process.name)
        if process.label is not None:
            return process.label if isinstance(process.label, (str, bytes)) else format_term(process.label, most=100)
        module, function, arity = started_with(process)
        return f"{module}.{function}/{arity}"

    def _details(self, item: Any) -> Any:
        """``%ProcessDetails{}`` or ``%PortDetails{}``; a reference stays what it is."""
        if type(item) is Port:
            return {STRUCT: PORT_DETAILS, Atom("port"): item, Atom("description"): item}
        pid = self._node.whereis(item) if type(item) is Atom else item
        if type(pid) is not Pid:
            return item
        process = self._node.table.find(pid) if pid.node is self._node.name else None
        return {
            STRUCT: PROCESS_DETAILS,
            Atom("pid"): pid,
            Atom("name_or_initial_call"): None if process is None else self._title(pid),
            Atom("initial_call"): None if process is None else started_with(process),
        }

    # -- applications -------------------------------------------------------------------------

    def applications_info_callback(
        self, call: RemoteCall, search: Any, sort_by: Any, direction: Any, limit: Any
    ) -> Any:
        """``{Rows, HowMany}``."""
        rows = []
        for name, description, version in self._ask(call, "application", "which_applications"):
            master = self._ask(call, "application_controller", "get_master", name)
            row = [
                (Atom("name"), name),
                (Atom("description"), _text(description)),
                (Atom("version"), _text(version)),
                (Atom("state"), Atom("started")),
                (Atom("tree?"), type(master) is Pid),
            ]
            if _matches(search, name.name, row[1][1], row[2][1]):
                rows.append(row)
        return _first(rows, sort_by, direction, limit)

    def app_tree_callback(self, call: RemoteCall, name: Any) -> Any:
        """``{{master, Pid, []}, [{{Kind, Pid, Name}, Children}]}``, or ``error``."""
        tree = finish_in_turns(application_tree(self._node, name.name)) if type(name) is Atom else None
        if tree is None:
            return ERROR
        # On a BEAM each application has a process before its root that has started it.
        master = self._node.whereis("application_controller") or tree.root
        return (Atom("master"), master, []), [finish_in_turns(self._branch(tree))]

    def _branch(self, tree: ProcessTree) -> Work[Any]:
        """The tree from its leaves up: a chain of any length does not recurse."""
        made: dict[Pid, Any] = {}
        for number, pid in enumerate(reversed(list(tree.pids()))):
            if number % STEP == STEP - 1:
                yield
            process = self._node.table.find(pid)
            is_supervisor = isinstance(process, BehaviourProcess) and isinstance(process.instance, Supervisor)
            shown = process.name if process is not None and process.name is not None else []
            if process is None or not shown:
                shown = list(name_of(self._node, pid).encode("latin-1", "replace"))
            kind = Atom("supervisor" if is_supervisor else "worker")
            made[pid] = ((kind, pid, shown), [made.pop(child) for child in tree.children.get(pid, ())])
        return made[tree.root]

    # -- tables -------------------------------------------------------------------------------

    def ets_callback(self, call: RemoteCall, search: Any, sort_by: Any, direction: Any, limit: Any) -> Any:
        """``{Rows, HowMany}``; memory in words."""
        names = self._ask(call, "ets", "all")
        self._table_ids = {name: known for name, known in self._table_ids.items() if name in names}
        rows = [self._table(call, name) for name in names]
        return _first([row for row in rows if _matches(search, row[0][1])], sort_by, direction, limit)

    def ets_info_callback(self, call: RemoteCall, reference: Any) -> Any:
        """``{ok, Row}``, or ``error``."""
        name = next((name for name, known in self._table_ids.items() if known == reference), None)
        if name is None or self._ask(call, "ets", "info", name) is UNDEFINED:
            return ERROR
        row = dict(self._table(call, name))
        row[Atom("owner")] = self._details(row[Atom("owner")])
        row[Atom("heir")] = None
        return OK, list(row.items())

    def _table(self, call: RemoteCall, name: Atom) -> Row:
        # LiveDashboard knows tables by reference; ours have names.
        reference = self._table_ids.setdefault(name, self._node.table.make_reference())
        told = self._ask(call, "ets", "info", name)
        others = [entry for entry in told if entry[0] not in (Atom("name"), Atom("id"))]
        return [(Atom("name"), _inspected(name)), (Atom("id"), reference), *others]

    # -- ports and sockets --------------------------------------------------------------------

    def ports_callback(self, call: RemoteCall, _search: Any, _by: Any, _direction: Any, _limit: Any) -> Any:
        """None that is no socket: these have a page of their own."""
        return [], 0

    def port_info_callback(self, call: RemoteCall, _port: Any) -> Any:
        return ERROR

    def sockets_callback(self, call: RemoteCall, search: Any, sort_by: Any, direction: Any, limit: Any) -> Any:
        """``{Rows, HowMany}``: connections and listeners, with the bytes that went through them."""
        rows = [self._socket(told) for told in self._ask(call, "observer_backend", "get_socket_list")]
        shown = [row for row in rows if _matches(search, row[2][1], row[3][1])]
        return _first(shown, sort_by, direction, limit)

    def socket_info_callback(self, call: RemoteCall, socket: Any) -> Any:
        """``{ok, Row}``, or ``error``."""
        for told in self._ask(call, "observer_backend", "get_socket_list"):
            row = dict(self._socket(told))
            if row[Atom("port")] == socket:
                row[Atom("connected")] = self._details(row[Atom("connected")])
                return OK, list(row.items())
        return ERROR

    def _socket(self, socket: dict[Atom, Any]) -> Row:
        told = {key.name: value for key, value in socket.items()}
        counted = {key.name: value for key, value in told["statistics"]}
        is_listening = Atom("listening") in told["rstates"]
        shown = {
            "module": Atom("gevent"),
            "port": f"esock[{told['fd']}]",
            "local_address": _address(told.get("laddress")),
            "foreign_address": _address(told.get("raddress")),
            "state": "LISTENING" if is_listening else "CONNECTED",
            "type": told["type"],
            "connected": told["owner"],
            "send_oct": counted.get("write_byte", 0),
            "recv_oct": counted.get("read_byte", 0),
        }
        return [(Atom(key), value) for key, value in shown.items()]

    # -- memory -------------------------------------------------------------------------------

    def memory_allocators_callback(self, call: RemoteCall, before: Any) -> Any:
        """``{Rows, Largest}``; `before` are the largest of the last answer. Bytes."""
        most = _numbers(before)
        sizes = {one.name: (one.used, one.held) for one in self._node.statistics.allocators()}
        total = (sum(used for used, _ in sizes.values()), sum(held for _, held in sizes.values()))
        rows = []
        for name, (used, held) in {"total": total, **sizes}.items():
            most[Atom(name)] = max(most.get(Atom(name), 0), held)
            rows.append(_map(name=Atom(name), block_size=used, carrier_size=held, max_carrier_size=most[Atom(name)]))
        return rows, most


def _map(**entries: Any) -> dict[Atom, Any]:
    """A map with atoms for keys; two underscores at the end of a name stand for a question mark."""
    return {Atom(f"{key[:-2]}?" if key.endswith("__") else key): value for key, value in entries.items()}


def _numbers(told: Any) -> dict[Any, int]:
    """What an earlier answer has had in a map of numbers, as it comes back."""
    return {key: value for key, value in told.items() if type(value) is int} if isinstance(told, dict) else {}


class _Order:
    """How rows are to be sorted, and how many are wanted.

    Raises:
        ErlangError: ``badarg``.
    """

    def __init__(self, sort_by: Any, direction: Any, limit: Any) -> None:
        if type(sort_by) is not Atom or type(limit) is not int or limit < 0:
            raise ErlangError(BADARG)
        self._sort_by = sort_by
        self._descending = direction is Atom("desc")
        self._limit = limit

    def key(self, row: Row) -> tuple[int, float, str]:
        """Numbers first, then pids, then what is shown as text."""
        value = next((value for name, value in row if name is self._sort_by), 0)
        if isinstance(value, (int, float)):
            return 0, value, ""
        if type(value) is Pid:
            return 1, value.id, ""
        return 2, 0, "" if value is None else _shown(value)

    def first(self, rows: list[tuple[Any, Row]]) -> list[Row]:
        """Of rows with their keys."""
        in_order = sorted(rows, key=itemgetter(0), reverse=self._descending)
        return [row for _, row in in_order[: self._limit]]


def _first(rows: list[Row], sort_by: Any, direction: Any, limit: Any) -> tuple[list[Row], int]:
    """The first rows in order, and how many there are."""
    order = _Order(sort_by, direction, limit)
    return order.first([(order.key(row), row) for row in rows]), len(rows)


def _matches(search: Any, *texts: Any) -> bool:
    """Whether what is looked for (a binary in lower case, or nil) is in one of `texts`.

    Raises:
        ErlangError: ``badarg``.
    """
    if search is None:
        return True
    if not isinstance(search, bytes):
        raise ErlangError(BADARG)
    wanted = search.decode(errors="replace")
    return any(wanted in _shown(text).lower() for text in texts)


def _shown(value: Any) -> str:
    if type(value) is Pid:
        return f"<0.{value.id}.{value.serial}>"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _inspected(name: Atom) -> str:
    """An atom as Elixir's ``inspect`` shows it."""
    if name.name.startswith("Elixir."):
        return name.name.removeprefix("Elixir.")
    text = format_term(name)
    return f':"{text[1:-1]}"' if text.startswith("'") else f":{text}"


def _text(value: Any) -> Any:
    return "".join(map(chr, value)) if isinstance(value, list) else value


def _address(charlist: Any) -> str:
    return "*:*" if not charlist else "".join(map(chr, charlist)).replace(" : ", ":")
