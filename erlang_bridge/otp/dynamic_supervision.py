"""Decisions of supervisors of children without ids: OTP's ``simple_one_for_one``, Elixir's ``DynamicSupervisor``.

As in `supervision`: no process, no clock.

Source: OTP ``lib/stdlib/src/supervisor.erl``; Elixir ``lib/elixir/lib/dynamic_supervisor.ex``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from erlang_bridge.otp.child_specs import DYNAMIC_CHILD_ID, ChildSpec, DynamicSupervisorFlags, SupervisorFlags
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.supervision import (
    ERROR,
    NOT_FOUND,
    OK,
    Child,
    Failed,
    Report,
    Start,
    Started,
    Steps,
    Supervision,
    Terminate,
    counts,
    is_orderly_stop,
    shown_flags,
)
from erlang_bridge.terms import Atom, Pid, exact_key

IGNORE: Final = Atom("ignore")
SIMPLE_ONE_FOR_ONE: Final = Atom("simple_one_for_one")
MAX_CHILDREN: Final = Atom("max_children")


class DynamicSupervision(Supervision):
    """Elixir's ``DynamicSupervisor``: children known by their pids, in no order."""

    def __init__(self, flags: DynamicSupervisorFlags | SupervisorFlags, is_alive: Callable[[Pid], bool]) -> None:
        super().__init__(flags.intensity, flags.period_s, is_alive)
        self.flags = flags
        self.children: dict[Pid, Child] = {}
        """By pid; those that are restarting by the pid that they had."""

    def start_all(self) -> Steps[Any]:
        yield from ()

    def terminate_all(self) -> Steps[None]:
        yield from self._stop([child for child in self.children.values() if child.running])
        self.children.clear()

    # -- requests -------------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec) -> Steps[Any]:
        limit = self.flags.max_children if isinstance(self.flags, DynamicSupervisorFlags) else None
        if limit is not None and len(self.children) >= limit:
            return ERROR, MAX_CHILDREN
        result = yield from self._start(Child(spec))
        if isinstance(result, Failed):
            return ERROR, result.reason
        return IGNORE if result.pid is None else result.reply()

    def terminate_child(self, id: Any) -> Steps[Any]:
        child = self.children.get(id) if type(id) is Pid else None
        if child is None:
            return ERROR, NOT_FOUND
        if child.running:
            yield from self._stop((child,))
        self._forget(child)
        return OK

    def restart_child(self, id: Any) -> Steps[Any]:
        yield from ()
        return ERROR, SIMPLE_ONE_FOR_ONE

    def delete_child(self, id: Any) -> Any:
        return ERROR, SIMPLE_ONE_FOR_ONE

    def child_spec(self, id: Any) -> Any:
        child = self.children.get(id) if type(id) is Pid else None
        return (ERROR, NOT_FOUND) if child is None else (OK, child.spec)

    def which_children(self) -> list[tuple[Any, ...]]:
        return [child.entry(DYNAMIC_CHILD_ID) for child in self.children.values()]

    def which_child(self, id: Any) -> Any:
        child = self.children.get(id) if type(id) is Pid else None
        return (ERROR, NOT_FOUND) if child is None else (OK, child.entry(DYNAMIC_CHILD_ID))

    def count_children(self) -> list[tuple[Atom, int]]:
        # As OTP and Elixir: nobody looks whether each of what may be a million is alive.
        children = self.children.values()
        return counts(len(children), sum(1 for child in children if child.running), [child.spec for child in children])

    # -- steps ----------------------------------------------------------------------------------

    def _start(self, child: Child) -> Steps[Started | Failed]:
        result: Started | Failed = yield Start(child)
        if isinstance(result, Started) and result.pid is not None:
            child.pid = result.pid
            if child.spec.restart == "temporary":
                self._drop_arguments(child)
            self.children[result.pid] = child
        return result

    def _drop_arguments(self, child: Child) -> None:
        child.spec = child.spec.without_arguments()

    def _restart_now(self, child: Child) -> Steps[Child | None]:
        ended = child.pid
        assert ended is not None
        result: Started | Failed = yield Start(child)
        if isinstance(result, Failed):
            yield Report("start_error", result.reason, child)
            child.restarting = True
            return child
        del self.children[ended]
        child.pid, child.restarting = result.pid, False
        if result.pid is not None:
            self.children[result.pid] = child
        return None

    def _ends_with(self, child: Child) -> bool:
        return False

    # -- the table ------------------------------------------------------------------------------

    def _by_pid(self, pid: Pid) -> Child | None:
        child = self.children.get(pid)
        return child if child is not None and child.running else None

    def _holds(self, child: Child) -> bool:
        return child.pid is not None and self.children.get(child.pid) is child

    def _forget(self, child: Child) -> None:
        if child.pid is not None:
            del self.children[child.pid]
        child.pid, child.restarting = None, False

    def __erlang_term__(self) -> dict[Atom, Any]:
        """What ``sys:get_state`` shows."""
        return {**shown_flags(self.flags, self.window), Atom("children"): self.which_children()}


class SimpleSupervision(DynamicSupervision):
    """``simple_one_for_one``: dynamic children that are all made from one template."""

    flags: SupervisorFlags

    def __init__(self, flags: SupervisorFlags, template: ChildSpec, is_alive: Callable[[Pid], bool]) -> None:
        super().__init__(flags, is_alive)
        self.template = template

    def change(self, flags: SupervisorFlags, template: ChildSpec) -> None:
        """Take over what a new version of the supervisor says; it holds for children from their next start on."""
        self.flags = flags
        self.window.intensity, self.window.period_s = flags.intensity, flags.period_s
        self.template = template
        for child in self.children.values():
            child.spec = template

    def start_with(self, extra: Sequence[Any]) -> Steps[Any]:
        """``start_child``: one more child, with these arguments after those of the template."""
        result = yield from self._start(Child(self.template, tuple(extra)))
        return (ERROR, result.reason) if isinstance(result, Failed) else result.reply()

    def terminate_child(self, id: Any) -> Steps[Any]:
        if type(id) is not Pid:
            return ERROR, SIMPLE_ONE_FOR_ONE
        if id not in self.children:
            return (ERROR, NOT_FOUND) if self.is_alive(id) else OK
        return (yield from super().terminate_child(id))

    def child_spec(self, id: Any) -> Any:
        if type(id) is Pid:
            known = id in self.children or not self.is_alive(id)
        else:
            known = exact_key(id) == exact_key(self.template.id)
        return (OK, self.template) if known else (ERROR, NOT_FOUND)

    def which_child(self, id: Any) -> Any:
        return super().which_child(id) if type(id) is Pid else (ERROR, SIMPLE_ONE_FOR_ONE)

    def count_children(self) -> list[tuple[Atom, int]]:
        return [(Atom("specs"), 1), *super().count_children()[1:]]

    def terminate_all(self) -> Steps[None]:
        ends: list[tuple[Child, Any]] = yield Terminate([child for child in self.children.values() if child.running])
        # One report for all that ended of the same reason.
        faults: dict[Any, list[tuple[Child, Any]]] = {}
        for child, reason in ends:
            if not is_orderly_stop(child.spec, reason):
                faults.setdefault(exact_key(readable(reason)), []).append((child, reason))
        for alike in faults.values():
            child, reason = alike[0]
            yield Report("shutdown_error", reason, child, together=len(alike))
        self.children.clear()

    def _drop_arguments(self, child: Child) -> None:
        child.extra = ()

    def _ends_with(self, child: Child) -> bool:
        if not child.spec.significant or self.flags.auto_shutdown == "never":
            return False
        return self.flags.auto_shutdown == "any_significant" or not self.children
