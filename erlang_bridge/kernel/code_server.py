"""The code of a node: which modules are loaded, and new code for running processes.

::

    node.code.load("engines.ticker.behaviour")

reads the module's file again and moves every process that runs it to the new code, with its state and its mailbox;
see `code_upgrade`. It happens as a whole or not at all.

There are two generations of a module, as in OTP: the current one and, while somebody may be in it, the old one. A
process is in old code when a function of it is on its stack, or when its class is an old one: because it is in the
middle of a callback, is suspended, or because the new code has no such class. Nobody is ended for that: a third
generation is refused while a process is in the oldest (``not_purged``); `CodeServer.purge` ends it, when asked to.

Source: OTP ``lib/kernel/src/code.erl``, ``code_server.erl``; Erlang Reference Manual, "Code Replacement".
"""

from __future__ import annotations

import gc
import linecache
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, Final

import gevent
import greenlet
from gevent.lock import BoundedSemaphore

from erlang_bridge.errors import ModuleNotLoaded
from erlang_bridge.kernel import code_generations, code_modules, code_relink, code_upgrade
from erlang_bridge.kernel.code_functions import CodeFunctions
from erlang_bridge.kernel.code_modules import Generation
from erlang_bridge.kernel.code_upgrade import CALLBACK_GRACE_S, LOOK_EVERY_S, OldCode, Upgrade, in_old_code
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom

log = logging.getLogger("erlang_bridge.kernel")

KILLED: Final = Atom("killed")


@dataclass(frozen=True)
class Loaded:
    """What came of new code for one module.

    Attributes:
        old_version, new_version: ``__vsn__`` or ``VSN`` of the module, or the MD5 of its source as an integer; None
            where it is not known.
        moved: how many servers run the new code now that ran the old: their class, or what its module imports.
        in_old_code: those that do not.
    """

    module: str
    old_version: Any
    new_version: Any
    moved: int
    in_old_code: tuple[OldCode, ...] = field(default=())

    def __repr__(self) -> str:
        versions = f"{shown_version(self.old_version)} -> {shown_version(self.new_version)}"
        moved = f"{self.moved} {'process' if self.moved == 1 else 'processes'} moved"
        return "\n".join(
            [f"{self.module}: {versions}, {moved}", *(f"  in old code: {place}" for place in self.in_old_code)]
        )


def shown_version(version: Any) -> str:
    """A version for people: of an MD5 the first eight digits."""
    if isinstance(version, int) and version.bit_length() > 64:
        return f"{version:032x}"[:8]
    return "unknown" if version is None else str(version)


class CodeServer:
    """What ``code`` does on a BEAM, for the Python modules of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._lock = BoundedSemaphore(1)
        self._loader: Any = None
        """The greenlet that has the lock."""
        self._hooks: list[tuple[Callable[[list[str]], None], Callable[[list[str]], None]]] = []
        self._noted: set[str] = set()

    # -- new code -----------------------------------------------------------------------------

    def load(self, module: str | ModuleType, *, grace_s: float = CALLBACK_GRACE_S) -> Loaded:
        """New code from disk for a module, and for every process that runs it.

        Args:
            module: its name, also that of one of its classes; it must be loaded.
            grace_s: how long to wait for callbacks that are under way; who is not done then is moved later.

        Raises:
            ModuleNotLoaded: nothing has changed.
            RuntimeError: called in the hub, where nothing may block, or by what a load runs.
        """
        return self.load_all([module], grace_s=grace_s)[0]

    def load_all(self, modules: Sequence[str | ModuleType], *, grace_s: float = CALLBACK_GRACE_S) -> list[Loaded]:
        """As `load`, for several modules at once: all of them or none. ``code:atomic_load/1``."""
        if self._node.table.scheduler.in_hub():
            raise RuntimeError("code cannot be loaded in the hub: start a process for it")
        if self._loader is greenlet.getcurrent():
            raise RuntimeError("a module cannot load code while it is loaded itself")
        with self._lock, ExitStack() as afterwards:
            self._loader = greenlet.getcurrent()
            afterwards.callback(setattr, self, "_loader", None)
            found = list(dict.fromkeys(self._loadable(module) for module in modules))
            names = [module.__name__ for module in found]
            for module in found:
                self._make_room(module)
            self._wait_for_others(names, grace_s)
            for before, after in list(self._hooks):
                before(names)
                afterwards.callback(after, names)
            return self._load(found, grace_s)

    def _wait_for_others(self, names: list[str], grace_s: float) -> None:
        """A ``code_change`` that a load has given up may go on; until it returns its server belongs to that load."""
        deadline = monotonic() + grace_s
        while names and (held := code_upgrade.held()):
            if monotonic() > deadline:
                raise ModuleNotLoaded(names[-1], "not_purged", code_upgrade.still_held(held[0]))
            gevent.sleep(LOOK_EVERY_S)

    def _load(self, modules: list[ModuleType], grace_s: float) -> list[Loaded]:
        # What is frozen the collector does not show; and old code would stay in memory for ever.
        gc.unfreeze()
        change = code_generations.prepare(modules)
        upgrade = Upgrade(change)
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            upgrade.run(grace_s)
        finally:
            if was_enabled:
                gc.enable()
            code_relink.forget_classes()
            code_upgrade.is_foreign.cache_clear()
        # Everybody has waited for long enough.
        gevent.sleep(0)
        results = []
        for generation in change.new:
            if generation.path is not None:
                linecache.checkcache(generation.path)
            old = generation.old
            places = self.in_old_code(generation.name)
            if old is not None and not places:
                generation.old = None
                generation.old_classes = frozenset()
            left_behind = {place.pid for place in places}
            moved = [process for process in code_upgrade.users(generation.name) if process.pid not in left_behind]
            old_version = None if old is None else old.version
            results.append(Loaded(generation.name, old_version, generation.version, len(moved), tuple(places)))
        for result in results:
            log.info("new code: %r", result)
        order = [module.__name__ for module in modules]
        return sorted(results, key=lambda result: order.index(result.module))

    def _loadable(self, module: str | ModuleType) -> ModuleType:
        """The module, if it may be loaded anew."""
        name = module.__name__ if isinstance(module, ModuleType) else module
        found = code_modules.find(name) or code_modules.find_library(name)
        if found is None:
            raise ModuleNotLoaded(name, "nofile", "no module of that name is loaded")
        if code_modules.is_sticky(found[0]):
            text = "it belongs to Python, or to what runs the processes, and is not changed under them"
            raise ModuleNotLoaded(name, "sticky_directory", text)
        return found[0]

    def _make_room(self, module: ModuleType) -> None:
        """Forget the old generation, so that the current one can become that."""
        name = module.__name__
        if not self.soft_purge(name):
            places = "; ".join(map(str, self.in_old_code(name)))
            text = f"processes are in the code before the current one: {places}. End them, or purge it"
            raise ModuleNotLoaded(name, "not_purged", text)

    def on_load(self, before: Callable[[list[str]], None], after: Callable[[list[str]], None]) -> Callable[[], None]:
        """Have functions called around each load, with the modules' names: for what has put itself into their code.

        `after` is called whether the load succeeds or not.

        Returns:
            A function that takes this back.
        """
        hook = (before, after)
        self._hooks.append(hook)

        def take_back() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return take_back

    # -- old code -----------------------------------------------------------------------------

    def in_old_code(self, module: str) -> list[OldCode]:
        """The processes that are in the generation before the current one."""
        generation = self._generation(module)
        if generation is None or generation.old is None:
            return []
        found = [in_old_code(process, generation) for process in code_upgrade.processes()]
        return [place for place in found if place is not None]

    def is_in_old_code(self, process: Process, module: str) -> bool:
        """``erlang:check_process_code/2``."""
        generation = self._generation(module)
        return generation is not None and in_old_code(process, generation) is not None

    def has_old_code(self, module: str) -> bool:
        """``erlang:check_old_code/1``."""
        generation = self._generation(module)
        return generation is not None and generation.old is not None

    def soft_purge(self, module: str) -> bool:
        """Forget the old code of a module. False: a process is in it."""
        generation = self._generation(module)
        if generation is None or generation.old is None:
            return True
        if self.in_old_code(module):
            return False
        self._forget(generation)
        return True

    def purge(self, module: str) -> list[OldCode]:
        """Forget the old code of a module, and end the processes that are in it. Those that were ended."""
        generation = self._generation(module)
        if generation is None or generation.old is None:
            return []
        ended = []
        for process in list(code_upgrade.processes()):
            place = in_old_code(process, generation)
            if place is not None:
                log.warning("purge of %s ends %s", module, place)
                process.table.exit(process, KILLED)
                ended.append(place)
        self._forget(generation)
        return ended

    def _forget(self, generation: Generation) -> None:
        generation.old = None
        generation.old_classes = frozenset()

    def _generation(self, module: str) -> Generation | None:
        found = code_modules.find(module)
        return None if found is None else code_modules.generation(found[0], read=False)

    # -- what there is ------------------------------------------------------------------------

    def note(self, server_class: type) -> None:
        """A server of that class is started: remember what its module, and all others, are made of.

        What a module was loaded from cannot be found out later, when its file has changed.
        """
        if server_class.__module__ not in self._noted:
            self.note_loaded()
            self._noted.add(server_class.__module__)

    def note_loaded(self) -> None:
        """Remember what all loaded modules of the project are made of."""
        for module in code_modules.loaded():
            if not code_modules.is_sticky(module):
                code_modules.generation(module)
                self._noted.add(module.__name__)

    def modified(self) -> list[str]:
        """Names of the modules whose file is not what was loaded."""
        changeable = [module for module in code_modules.loaded() if not code_modules.is_sticky(module)]
        return [module.__name__ for module in changeable if self.status(module.__name__) == "modified"]

    def status(self, module: str) -> str:
        """``code:module_status/1``: ``loaded``, ``modified``, or ``removed`` where its file is gone."""
        generation = self._generation(module)
        if generation is None or generation.path is None:
            return "loaded"
        try:
            source = Path(generation.path).read_bytes()
        except OSError:
            return "removed"
        return "modified" if generation.source is not None and source != generation.source else "loaded"


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    node.code.note_loaded()
    CodeFunctions(node).export()
