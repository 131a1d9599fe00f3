"""Carries out the steps of `Supervision` in a world without processes, and writes down what it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from erlang_bridge.otp.supervision import (
    Child,
    Failed,
    Report,
    Start,
    Started,
    Steps,
    Terminate,
    TryAgain,
)
from erlang_bridge.terms import Atom, Pid

NODE = Atom("py@127.0.0.1")
T = TypeVar("T")


class World:
    """Processes that are numbers, and children that start as they are told.

    Attributes:
        asked: what the supervision asked for: ``("start", id)``, ``("stop", id)``, ``("report", context, id)``.
        again: children whose restart is to be tried again.
        answers: id of a child to what its next starts answer; without an entry it starts.
        stop_reasons: id of a child to the reason it ends with when it is stopped; without an entry ``shutdown``.
    """

    def __init__(self) -> None:
        self.living: dict[Pid, Any] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.offenders: list[Any] = []
        self.again: list[Child] = []
        self.answers: dict[Any, list[Started | Failed]] = {}
        self.stop_reasons: dict[Any, Any] = {}
        self._last = 0

    def is_alive(self, pid: Pid) -> bool:
        return pid in self.living

    def carry_out(self, steps: Steps[T]) -> T:
        answer: Any = None
        while True:
            try:
                command = steps.send(answer)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            answer = None
            match command:
                case Start(child):
                    answer = self._start(child)
                case Terminate(children):
                    answer = [(child, self._stop(child)) for child in children]
                case Report(context, _, child):
                    self.asked.append(("report", context, _plain(child.spec.id)))
                    self.offenders.append(command.offender()[0])
                case TryAgain(child):
                    self.again.append(child)

    def _start(self, child: Child) -> Started | Failed:
        id = _plain(child.spec.id)
        self.asked.append(("start", id))
        prepared = self.answers.get(id)
        if prepared:
            return prepared.pop(0)
        self._last += 1
        pid = Pid(NODE, self._last, 0, 1)
        self.living[pid] = id
        return Started(pid)

    def _stop(self, child: Child) -> Any:
        id = _plain(child.spec.id)
        assert child.pid in self.living, f"{id} was stopped and did not run"
        self.asked.append(("stop", id))
        del self.living[child.pid]
        return self.stop_reasons.get(id, Atom("shutdown"))

    def end(self, pid: Pid) -> Pid:
        """A process ends by itself."""
        del self.living[pid]
        return pid

    def since(self, do: Callable[[], T]) -> tuple[T, list[tuple[Any, ...]]]:
        """What `do` returns, and what was asked for meanwhile."""
        self.asked = []
        result = do()
        return result, self.asked


def _plain(id: Any) -> Any:
    return id.name if isinstance(id, Atom) else id
