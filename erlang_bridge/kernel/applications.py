"""The applications of a node: what ``application:which_applications/0`` and the observer's trees show.

Every node has ``kernel``, ``stdlib``, ``sasl`` and ``runtime_tools``, which answer as OTP's of these names do, and one
named as the node itself (``py`` of ``py@host``): the processes of the node that belong to no other application. A
program adds its own::

    node.applications.add(Application("mempool", "Keeps transactions", "1.0", root=supervisor))

Source: OTP ``lib/kernel/src/application.erl``, ``application_controller.erl``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.reports import charlist
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.version import __version__

APPLICATION_CONTROLLER: Final = Atom("application_controller")
APPLICATION: Final = Atom("application")
KERNEL_SUP: Final = Atom("kernel_sup")
UNDEFINED: Final = Atom("undefined")
OK: Final = Atom("ok")
MAX_ANCESTORS: Final = 1000


@dataclass(frozen=True, slots=True)
class Application:
    """One application. `root` is the pid of its topmost supervisor; None for one without processes."""

    name: str
    description: str
    version: str
    root: Pid | None = None


class Applications:
    """The applications of one node, in the order in which they were started."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._by_name: dict[str, Application] = {}
        self._environment: dict[tuple[str, str], Any] = {}
        for name, description in _STANDARD:
            self.add(Application(name, description, __version__))

    def add(self, application: Application) -> None:
        """Make an application known; one of the same name is replaced."""
        self._by_name[application.name] = application

    def remove(self, name: str) -> None:
        """Does nothing where there is no such application."""
        self._by_name.pop(name, None)

    def all(self) -> list[Application]:
        """All of them, with their roots; one whose root has ended is not running, and left out."""
        return [application for application in self._current() if self._runs(application)]

    def find(self, name: str) -> Application | None:
        """The application of that name, if it runs."""
        return next((application for application in self.all() if application.name == name), None)

    def loaded(self) -> list[Application]:
        """As `all`, with those that do not run."""
        return list(self._current())

    @property
    def own(self) -> str:
        """The name of the application of those processes that belong to no other: the node's own, before the ``@``."""
        name = self._node.name.name.partition("@")[0]
        return name if name not in self._by_name else f"{name}_node"

    def application_of(self, process: Process) -> Application | None:
        """The application whose tree a process stands in."""
        roots = {application.root: application for application in self.all() if application.name != self.own}
        table = self._node.table
        found: Process | None = process
        for _ in range(MAX_ANCESTORS):
            if found is None:
                break
            application = roots.get(found.pid)
            if application is not None:
                return application
            found = table.find(found.parent) if found.parent is not None else None
        return self.find(self.own)

    def set_environment(self, application: str, key: str, value: Any) -> None:
        """What ``application:get_env(Application, Key)`` answers; a term, or a function that makes one."""
        self._environment[(application, key)] = value

    def environment(self, application: str) -> dict[str, Any]:
        return {
            key: value() if callable(value) else value
            for (owner, key), value in self._environment.items()
            if owner == application
        }

    def _current(self) -> Iterator[Application]:
        for application in self._by_name.values():
            if application.name == "kernel":
                root = self._node.table.whereis(KERNEL_SUP)
                yield Application(application.name, application.description, application.version, root)
            else:
                yield application
        about = f"Processes of {self._node.name} outside of any other application"
        yield Application(self.own, about, __version__, self._node.table.whereis(APPLICATION_CONTROLLER))

    def _runs(self, application: Application) -> bool:
        root = application.root
        return root is None or root.node is not self._node.name or self._node.table.find(root) is not None


_STANDARD: Final = (
    ("kernel", "What every node has: net_kernel, rex, global, pg, io, logger"),
    ("stdlib", "gen_server, supervisor, sys"),
    ("sasl", "Crash reports and supervisor reports, and rb to look at them"),
    ("runtime_tools", "What observer, etop, dbg and ttb ask"),
)


class ApplicationController(GenServer):
    """The process ``application_controller``: asked by name by ``application:which_applications`` of other nodes."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
        applications: Applications = self.node.applications
        match request:
            case Atom("which_applications"):
                return Reply([_listed(application) for application in applications.all()], state)
            case (Atom("get_application_env"), Atom(application), Atom(key)):
                return Reply(get_env(applications, Atom(application), Atom(key)), state)
        return Reply((Atom("error"), (Atom("unknown_request"), request)), state)

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)


def _listed(application: Application) -> tuple[Any, ...]:
    return Atom(application.name), charlist(application.description), charlist(application.version)


def get_env(applications: Applications, application: Any, key: Any) -> Any:
    """``application:get_env/2``: ``{ok, Value}`` or ``undefined``."""
    return next(
        ((OK, value) for known, value in _environment_terms(applications, application) if known is key), UNDEFINED
    )


def _environment_terms(applications: Applications, name: Any) -> list[tuple[Atom, Any]]:
    environment = applications.environment(name.name) if type(name) is Atom else {}
    return [(Atom(key), value) for key, value in environment.items()]


def get_all_key(applications: Applications, name: Any) -> Any:
    """``application:get_all_key/1``: ``{ok, [{Key, Value}]}`` in OTP's order, or ``undefined``."""
    loaded = {application.name: application for application in applications.loaded()}
    application = loaded.get(name.name) if type(name) is Atom else None
    if application is None:
        return UNDEFINED
    environment = _environment_terms(applications, name)
    infinity = Atom("infinity")
    keys = {
        "description": charlist(application.description),
        "id": [],
        "vsn": charlist(application.version),
        "modules": [],
        "maxP": infinity,
        "maxT": infinity,
        "registered": [],
        "included_applications": [],
        "optional_applications": [],
        "applications": [],
        "env": environment,
        "mod": [],
        "start_phases": UNDEFINED,
    }
    return OK, [(Atom(key), value) for key, value in keys.items()]


def get_key(applications: Applications, name: Any, key: Any) -> Any:
    """``application:get_key/2``: ``{ok, Value}`` or ``undefined``."""
    answer = get_all_key(applications, name)
    if answer is UNDEFINED:
        return UNDEFINED
    return next(((OK, value) for known, value in answer[1] if known is key), UNDEFINED)


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    applications: Applications = node.applications

    def own_application(call: RemoteCall) -> Any:
        return get_application(call.process.pid)

    def get_application(asked: Any) -> Any:
        if type(asked) is Pid:
            process = node.table.find(asked)
            application = applications.application_of(process) if process is not None else None
            return (OK, Atom(application.name)) if application is not None else UNDEFINED
        if type(asked) is Atom:
            return UNDEFINED
        raise ErlangError(Atom("function_clause"))

    def env_or(application: Any, key: Any, default: Any) -> Any:
        answer = get_env(applications, application, key)
        return default if answer is UNDEFINED else answer[1]

    def get_master(name: Any) -> Any:
        application = applications.find(name.name) if type(name) is Atom else None
        return application.root if application is not None and application.root is not None else UNDEFINED

    def which(_timeout: Any = None) -> list[tuple[Any, ...]]:
        return [_listed(application) for application in applications.all()]

    application, controller = APPLICATION.name, APPLICATION_CONTROLLER.name
    for module in (application, controller):
        node.export(module, "which_applications", which)
        node.export(module, "loaded_applications", lambda: [_listed(entry) for entry in applications.loaded()])
        node.export(module, "get_application", get_application, arity=1)
        node.export(module, "get_env", lambda name, key: get_env(applications, name, key), arity=2)
        node.export(module, "get_key", lambda name, key: get_key(applications, name, key), arity=2)
        node.export(module, "get_all_key", lambda name: get_all_key(applications, name), arity=1)
    node.export(application, "get_application", own_application, with_call=True, arity=0)
    node.export(application, "get_env", lambda _: UNDEFINED, arity=1)
    node.export(application, "get_env", env_or, arity=3)
    node.export(
        application,
        "get_all_env",
        lambda name: _environment_terms(applications, name),
        arity=1,
    )
    node.export(controller, "get_master", get_master)
