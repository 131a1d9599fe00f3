"""Child specifications and supervisor flags: the Python form, the two forms on the wire, and what makes one invalid.

Values only: no process, no clock.

Source: OTP ``lib/stdlib/src/supervisor.erl``, ``check_childspec/2`` and ``check_flags/1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from erlang_bridge.errors import BridgeError
from erlang_bridge.otp.readable import readable
from erlang_bridge.terms import Atom, exact_key

if TYPE_CHECKING:
    from erlang_bridge.otp.gen_server import GenServer

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
Restart = Literal["permanent", "transient", "temporary"]
ChildType = Literal["worker", "supervisor"]
Shutdown = int | Literal["brutal_kill", "infinity"]

_STRATEGIES: Final = get_args(Strategy)
_AUTO_SHUTDOWNS: Final = get_args(AutoShutdown)
_RESTARTS: Final = get_args(Restart)
_CHILD_TYPES: Final = get_args(ChildType)

UNDEFINED: Final = Atom("undefined")
START_OPTIONS: Final = frozenset({"name", "timeout_s"})
START_LINK: Final = Atom("start_link")
DYNAMIC: Final = Atom("dynamic")
WORKER_SHUTDOWN_MS: Final = 5000
DYNAMIC_CHILD_ID: Final = UNDEFINED
"""The id that a dynamic child is shown with."""


Start = (
    tuple["type[GenServer]"]
    | tuple["type[GenServer]", Any]
    | tuple["type[GenServer]", Any, Mapping[str, Any]]
    | tuple[Atom, Atom, list[Any]]
    | Callable[..., Any]
)
"""What starts a child, and links it with its supervisor:

``(ServerClass, args)``, ``(ServerClass, args, {"name": "counter"})``
    a server of our own. ``(ServerClass,)`` is for a template: the arguments come with ``start_child``. Options:
    ``name`` is registered for it; ``timeout_s`` is how long its ``init`` may take, after which it is killed and has
    failed to start.
``(Atom("pyanoma"), Atom("start_link"), [arguments])``
    what other nodes reach under that name here.
``function``
    called with the supervisor, in its process. Returns the `Pid` of the child, ``(Atom("ok"), pid, info)``,
    `Ignore`, or ``(Atom("error"), reason)``.
"""

_KEYS: Final = {
    "restart": "restart",
    "significant": "significant",
    "type": "type",
    "shutdown": "shutdown_ms",
    "modules": "modules",
}
"""Optional keys of a child's map, and the argument of `ChildSpec` that each gives."""


class InvalidSpec(BridgeError, ValueError):
    """Supervisor flags or a child specification that no supervisor takes.

    Attributes:
        reason: what OTP answers in that case, such as ``{invalid_restart_type, forever}``.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        match self.reason:
            case (Atom(what), value):
                return f"{what.replace('_', ' ')}: {value}"
        return str(self.reason).replace("_", " ")


@dataclass(frozen=True, slots=True)
class SupervisorFlags:
    """How a supervisor treats its children.

    Raises:
        InvalidSpec: a value out of range.
    """

    strategy: Strategy = "one_for_one"
    """Who else is restarted with a child: nobody, all, or those started after it. With ``simple_one_for_one`` all
    children are made from the one specification, and come and go."""
    intensity: int = 1
    """More restarts than this within `period_s`, and the supervisor gives up: it ends with ``shutdown``."""
    period_s: int = 5
    auto_shutdown: AutoShutdown = "never"
    """End when any, or the last, significant child has ended by itself."""

    def __post_init__(self) -> None:
        if self.strategy not in _STRATEGIES:
            raise InvalidSpec((Atom("invalid_strategy"), _shown(self.strategy)))
        if type(self.intensity) is not int or self.intensity < 0:
            raise InvalidSpec((Atom("invalid_intensity"), self.intensity))
        if type(self.period_s) is not int or self.period_s < 1:
            raise InvalidSpec((Atom("invalid_period"), self.period_s))
        if self.auto_shutdown not in _AUTO_SHUTDOWNS:
            raise InvalidSpec((Atom("invalid_auto_shutdown"), _shown(self.auto_shutdown)))


@dataclass(frozen=True, slots=True)
class DynamicSupervisorFlags:
    """How a dynamic supervisor treats its children; the defaults are those of Elixir's ``DynamicSupervisor``.

    Raises:
        InvalidSpec: a value out of range.
    """

    intensity: int = 3
    """As for `SupervisorFlags`."""
    period_s: int = 5
    max_children: int | None = None
    """``start_child`` answers ``{error, max_children}`` while there are so many. None: no limit."""

    def __post_init__(self) -> None:
        SupervisorFlags(intensity=self.intensity, period_s=self.period_s)
        if self.max_children is not None and (type(self.max_children) is not int or self.max_children < 0):
            raise InvalidSpec((Atom("invalid_max_children"), self.max_children))


@dataclass(frozen=True, slots=True, init=False)
class ChildSpec:
    """How to start, restart and stop one child.

    As a term it is the map that OTP and Elixir take, so that a child can be added to a supervisor on a BEAM too.

    Args:
        id: any term, unique in its supervisor; a `str` stands for the atom of that name.
        start: see `Start`.
        restart: ``permanent``: always; ``transient``: after an abnormal end; ``temporary``: never.
        shutdown_ms: how long the child may take to stop when told to; ``brutal_kill`` does not ask. Default: 5000, and
            ``infinity`` for a supervisor.
        type: default: what the class in `start` is, else ``worker``.
        significant: counts for the supervisor's `auto_shutdown`.
        modules: names for OTP's release handling, or ``dynamic``. Default: the module of `start`.

    Raises:
        InvalidSpec: a value that is none of these.
    """

    id: Any
    start: Start
    restart: Restart
    shutdown_ms: Shutdown
    type: ChildType
    significant: bool
    modules: tuple[Atom, ...] | Literal["dynamic"]

    def __init__(
        self,
        id: Any,
        start: Start,
        *,
        restart: Restart = "permanent",
        shutdown_ms: Shutdown | None = None,
        type: ChildType | None = None,  # noqa: A002  # OTP's word
        significant: bool = False,
        modules: Iterable[Atom | str] | Literal["dynamic"] | None = None,
    ) -> None:
        set_once = object.__setattr__
        set_once(self, "id", filed_id(id))
        set_once(self, "start", _checked_start(start))
        set_once(self, "restart", _one_of(restart, _RESTARTS, "invalid_restart_type"))
        if significant is True and restart == "permanent":
            permanent = (Atom("restart"), Atom(restart))
            raise InvalidSpec((Atom("bad_combination"), [permanent, (Atom("significant"), True)]))
        if not isinstance(significant, bool):
            raise InvalidSpec((Atom("invalid_significant"), _shown(significant)))
        set_once(self, "significant", significant)
        if type is None:
            type = "supervisor" if _behaviour(start) == "supervisor" else "worker"  # noqa: A001
        set_once(self, "type", _one_of(type, _CHILD_TYPES, "invalid_child_type"))
        if shutdown_ms is None:
            shutdown_ms = WORKER_SHUTDOWN_MS if type == "worker" else "infinity"
        set_once(self, "shutdown_ms", _checked_shutdown(shutdown_ms))
        set_once(self, "modules", (self.mfargs()[0],) if modules is None else _checked_modules(modules))

    def mfargs(self, extra: Iterable[Any] = ()) -> tuple[Any, Any, Any]:
        """``{Module, Function, Arguments}``, as reports and ``get_childspec`` show what starts this child.

        Args:
            extra: further arguments, of a dynamic child.
        """
        start: Any = self.start
        if not isinstance(start, tuple):
            module = getattr(start, "__module__", None) or type(start).__module__
            name = getattr(start, "__qualname__", None) or type(start).__qualname__
            return Atom(module[-255:]), Atom(name[-255:]), [readable(argument) for argument in extra]
        if isinstance(start[0], type):
            arguments = [readable(argument) for argument in (*start[1:2], *extra)]
            return class_atom(start[0]), START_LINK, arguments
        module, function, arguments = start
        if arguments is UNDEFINED:
            return start
        return module, function, [readable(argument) for argument in (*arguments, *extra)]

    def without_arguments(self) -> ChildSpec:
        """The same without what `start` holds: all that is kept of a child that is never restarted."""
        kept = copy(self)
        module, function, _ = self.mfargs()
        object.__setattr__(kept, "start", (module, function, UNDEFINED))
        return kept

    def shutdown_term(self) -> Any:
        return self.shutdown_ms if isinstance(self.shutdown_ms, int) else Atom(self.shutdown_ms)

    def modules_term(self) -> Any:
        return DYNAMIC if self.modules == "dynamic" else list(self.modules)

    def __erlang_term__(self) -> dict[Atom, Any]:
        return {
            Atom("id"): self.id,
            Atom("start"): self.mfargs(),
            Atom("restart"): Atom(self.restart),
            Atom("significant"): self.significant,
            Atom("shutdown"): self.shutdown_term(),
            Atom("type"): Atom(self.type),
            Atom("modules"): self.modules_term(),
        }


def check_child_spec(spec: Any, auto_shutdown: AutoShutdown = "never") -> ChildSpec:
    """A child specification in any form, for a supervisor with that `auto_shutdown`.

    Args:
        spec: a `ChildSpec`, the map of OTP and Elixir, or the older ``{Id, MFA, Restart, Shutdown, Type, Modules}``.

    Raises:
        InvalidSpec
    """
    if isinstance(spec, ChildSpec):
        if spec.significant:
            _check_significant_allowed(auto_shutdown)
        return spec
    if type(spec) is tuple and len(spec) == 6:
        keys = ("id", "start", "restart", "shutdown", "type", "modules")
        return _from_term(dict(zip(keys, spec, strict=True)), auto_shutdown)
    if isinstance(spec, Mapping):
        return _from_term({key.name: value for key, value in spec.items() if type(key) is Atom}, auto_shutdown)
    raise InvalidSpec((Atom("invalid_child_spec"), readable(spec)))


def check_child_specs(specs: Iterable[Any], auto_shutdown: AutoShutdown = "never") -> list[ChildSpec]:
    """All specifications of a supervisor, in start order.

    Raises:
        InvalidSpec: one is invalid, or two have the same id.
    """
    checked: dict[Any, ChildSpec] = {}
    for spec in specs:
        child = check_child_spec(spec, auto_shutdown)
        if checked.setdefault(exact_key(child.id), child) is not child:
            raise InvalidSpec((Atom("duplicate_child_name"), child.id))
    return list(checked.values())


def check_dynamic_child(child: Any) -> ChildSpec:
    """As `check_child_spec`; also Elixir's form for this, ``{MFA, Restart, Shutdown, Type, Modules}``.

    Raises:
        InvalidSpec
    """
    if type(child) is tuple and len(child) == 5:
        child = (DYNAMIC_CHILD_ID, *child)
    return check_child_spec(child)


def _from_term(fields: dict[str, Any], auto_shutdown: AutoShutdown) -> ChildSpec:
    """A specification that came as a term. Checked in OTP's order, so that of two faults the same one is named."""
    if "id" not in fields:
        raise InvalidSpec(Atom("missing_id"))
    if "start" not in fields:
        raise InvalidSpec(Atom("missing_start"))
    start = fields["start"]
    if not _is_mfa(start):
        raise InvalidSpec((Atom("invalid_mfa"), readable(start)))
    given = {_KEYS[key]: _word(fields[key]) for key in _KEYS if key in fields}
    _one_of(given.get("restart", "permanent"), _RESTARTS, "invalid_restart_type")
    if given.get("significant") is True:
        _check_significant_allowed(auto_shutdown)
    return ChildSpec(fields["id"], start, **given)


def _word(value: Any) -> Any:
    """An atom of OTP as the word of `ChildSpec`; None, which there means "not given", as the atom that it came from."""
    if value is None:
        return "nil"
    return value.name if type(value) is Atom else value


def _one_of(value: Any, allowed: tuple[str, ...], fault: str) -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise InvalidSpec((Atom(fault), _shown(value)))
    return value


def _check_significant_allowed(auto_shutdown: AutoShutdown) -> None:
    if auto_shutdown == "never":
        never = (Atom("auto_shutdown"), Atom("never"))
        raise InvalidSpec((Atom("bad_combination"), [never, (Atom("significant"), True)]))


def _checked_start(start: Any) -> Any:
    if type(start) is tuple and start and isinstance(start[0], type):
        options = start[2] if len(start) == 3 else {}
        if len(start) <= 3 and isinstance(options, Mapping) and options.keys() <= START_OPTIONS:
            return start
    elif _is_mfa(start) or (callable(start) and not isinstance(start, type)):
        return start
    raise InvalidSpec((Atom("invalid_mfa"), readable(start)))


def _is_mfa(start: Any) -> bool:
    return (
        type(start) is tuple
        and len(start) == 3
        and type(start[0]) is Atom
        and type(start[1]) is Atom
        and isinstance(start[2], list)
    )


def _behaviour(start: Any) -> str:
    return getattr(start[0], "behaviour", "") if type(start) is tuple else ""


def _checked_shutdown(shutdown: Any) -> Any:
    if shutdown in ("brutal_kill", "infinity") or (type(shutdown) is int and shutdown >= 0):
        return shutdown
    raise InvalidSpec((Atom("invalid_shutdown"), _shown(shutdown)))


def _checked_modules(modules: Any) -> tuple[Atom, ...] | Literal["dynamic"]:
    if isinstance(modules, str) and modules == "dynamic":
        return "dynamic"
    if not isinstance(modules, (list, tuple)):
        raise InvalidSpec((Atom("invalid_modules"), _shown(modules)))
    names = []
    for module in modules:
        if not isinstance(module, (Atom, str)):
            raise InvalidSpec((Atom("invalid_module"), readable(module)))
        names.append(Atom(module) if isinstance(module, str) else module)
    return tuple(names)


def _shown(value: Any) -> Any:
    """A wrong value as a term; a `str` where a word was expected is the atom that it stood for."""
    return Atom(value[:255]) if isinstance(value, str) else readable(value)


def class_atom(cls: type) -> Atom:
    """The name that a class goes by as a module."""
    return Atom(f"{cls.__module__}.{cls.__qualname__}"[-255:])


def filed_id(id: Any) -> Any:
    """An id as children are filed by it: a `str` stands for the atom of that name."""
    return Atom(id) if isinstance(id, str) else id
