"""The functions that other nodes may call here: ``{Module, Function, Arity}`` to a Python callable.

Only what is in the table can be called; nothing is reachable by naming a Python module. What is not there is
``undef``, as on a BEAM.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from erlang_bridge.errors import ErlangError
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Pid


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """Who called, for callables that were exported ``with_call=True``: their first argument.

    Attributes:
        node: the `Node` that was called.
        process: the process that runs the function.
        caller: the process that asked for it, on its node.
        group_leader: where output of the call belongs.
    """

    node: Any
    process: Process
    caller: Pid
    group_leader: Pid | None

    @property
    def abandoned(self) -> bool:
        """True when nobody waits for the result any more: the caller's time was up, it died, or its node is gone."""
        process = self.process
        waited_for = process.pid == self.caller or process.monitored_by or process.links
        return not process.alive or not waited_for


@dataclass(frozen=True, slots=True)
class _Exported:
    function: Callable[..., Any]
    with_call: bool
    arities: range


class Callables:
    """The table of one node."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], list[_Exported]] = {}
        self._resolvers: list[Callable[[str, str, int], Callable[..., Any] | None]] = []

    def add_resolver(self, resolve: Callable[[str, str, int], Callable[..., Any] | None]) -> None:
        """Have `resolve` asked, with module, function and arity, for what is not in the table.

        It answers with a function of that many arguments, or None. For families of names that cannot be listed:
        ``module_info`` of every module.
        """
        self._resolvers.append(resolve)

    def export(
        self, module: str, name: str, function: Callable[..., Any], *, with_call: bool = False, arity: int | None = None
    ) -> None:
        """Let other nodes call `function` as ``module:name``.

        Args:
            with_call: it gets a `RemoteCall` before the arguments.
            arity: how many arguments a caller gives; default: every number that the signature allows.

        A later export of the same name and arity takes the place of the earlier.
        """
        arities = range(arity, arity + 1) if arity is not None else _arities(function, 1 if with_call else 0)
        entries = self._functions.setdefault((module, name), [])
        entries.insert(0, _Exported(function, with_call, arities))

    def find(self, module: Any, name: Any, arity: int) -> _Exported | None:
        if type(module) is not Atom or type(name) is not Atom:
            return None
        for entry in self._functions.get((module.name, name.name), ()):
            if arity in entry.arities:
                return entry
        for resolve in self._resolvers:
            function = resolve(module.name, name.name, arity)
            if function is not None:
                return _Exported(function, False, range(arity, arity + 1))
        return None

    def exported(self, module: str) -> Iterator[tuple[str, int]]:
        """Name and arity of what a module exports; of functions with any number of arguments, arities up to 10."""
        seen: set[tuple[str, int]] = set()
        for (owner, name), entries in self._functions.items():
            if owner == module:
                for entry in entries:
                    seen.update((name, arity) for arity in entry.arities if arity <= 10)
        yield from sorted(seen)

    def modules(self) -> list[str]:
        return sorted({module for module, _ in self._functions})

    def apply(self, call: RemoteCall, module: Any, name: Any, arguments: Any) -> Any:
        """Call ``module:name(*arguments)``.

        Raises:
            ErlangError: ``undef``, or ``badarg`` where the arguments are no list.
        """
        if type(arguments) is not list:
            raise ErlangError(Atom("badarg"))
        entry = self.find(module, name, len(arguments))
        if entry is None:
            raise ErlangError(Atom("undef"), [(module, name, arguments, [])])
        if entry.with_call:
            return entry.function(call, *arguments)
        return entry.function(*arguments)


def _arities(function: Callable[..., Any], skipped: int) -> range:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skipped:]
    except (TypeError, ValueError):
        return range(256)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(1 for p in positional if p.default is p.empty)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return range(required, 256)
    return range(required, len(positional) + 1)
