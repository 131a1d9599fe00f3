"""Modules that a test writes, imports and edits."""

from __future__ import annotations

import importlib
import os
import secrets
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

COUNTER = """
    from dataclasses import dataclass, replace

    from erlang_bridge import GenServer, NoReply, Reply

    STEP = 1

    @dataclass(frozen=True, slots=True)
    class State:
        count: int

    def said(state):
        return ("one", state.count)

    class Counter(GenServer):
        def init(self, args):
            return State(args)

        def handle_call(self, request, caller, state):
            match request:
                case "state":
                    return Reply(state, state)
                case ("sleep", seconds):
                    import gevent

                    gevent.sleep(seconds)
                    return Reply(said(state), state)
            return Reply(said(state), state)

        def handle_cast(self, message, state):
            return NoReply(replace(state, count=state.count + message * STEP))
"""
"""A server that adds up. ``said`` is what a call is answered with."""


class Project:
    """A package of its own in a folder of the test.

    Attributes:
        package: its name; `{package}` in a source stands for it.
    """

    def __init__(self, directory: Path) -> None:
        self.package = f"project_{secrets.token_hex(4)}"
        self.directory = directory / self.package
        self.directory.mkdir()
        (self.directory / "__init__.py").write_text("")
        sys.path.insert(0, str(directory))
        self._directory = str(directory)
        self._sources: dict[str, str] = {}

    def write(self, name: str, source: str) -> Path:
        self._sources[name] = source
        path = self.directory / f"{name}.py"
        path.write_text(textwrap.dedent(source).replace("{package}", self.package))
        # The cache of compiled modules goes by seconds.
        times = path.stat().st_mtime_ns + 2_000_000_000 * secrets.randbelow(1000)
        os.utime(path, ns=(times, times))
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Write it with `new` for `old`, indented as in what was given to `write`."""
        source = self._sources[name]
        assert old in source
        self.write(name, source.replace(old, new))

    def path(self, name: str) -> str:
        return str(self.directory / f"{name}.py")

    def name(self, name: str) -> str:
        return f"{self.package}.{name}"

    def module(self, name: str, source: str | None = None) -> ModuleType:
        """Import a module, written first where a source is given."""
        if source is not None:
            self.write(name, source)
            importlib.invalidate_caches()
        return importlib.import_module(self.name(name))

    def get(self, name: str, attribute: str) -> Any:
        return getattr(sys.modules[self.name(name)], attribute)

    def close(self) -> None:
        sys.path.remove(self._directory)
        for name in [name for name in sys.modules if name.partition(".")[0] == self.package]:
            del sys.modules[name]
