"""The applications of a node: what ``application:which_applications/0`` and the observer's trees show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from erlang_bridge.terms import Pid


@dataclass(frozen=True, slots=True)
class Application:
    """One application. `root` is the pid of its topmost supervisor; None for one without processes."""

    name: str
    description: str
    version: str
    root: Pid | None = None


class Applications:
    """The applications of one node, in the order in which they were started."""

    def __init__(self) -> None:
        self._by_name: dict[str, Application] = {}

    def add(self, application: Application) -> None:
        """Make an application known; one of the same name is replaced."""
        self._by_name[application.name] = application

    def remove(self, name: str) -> None:
        self._by_name.pop(name, None)

    def all(self) -> list[Application]:
        return list(self._by_name.values())


def export(node: Any) -> None:
    """Export what is here to other nodes."""
