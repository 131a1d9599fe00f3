"""Loads modules whose files have changed: for development, ``pyanoma start --reload``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from erlang_bridge import Atom, GenServer, ModuleNotLoaded, NoReply
from erlang_bridge.kernel import code_modules

log = logging.getLogger("pyanoma")

LOOK_EVERY_S: Final = 0.3
LOOK: Final = Atom("look")

Stamp = tuple[int, int]
"""Of a file: modification time in nanoseconds, and size."""


@dataclass(slots=True)
class Watched:
    """What is known of the files.

    Attributes:
        loaded: by module, what its file was when it was loaded.
        seen: by module, what its file was at the last look, where that is not what was loaded.
        refused: what a file was when it was refused; it is tried again when it is something else.
        waiting: refused because a process is in the oldest code; these are tried again as they are.
    """

    loaded: dict[str, Stamp] = field(default_factory=dict)
    seen: dict[str, Stamp] = field(default_factory=dict)
    refused: dict[str, Stamp] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)


class Reloader(GenServer):
    """Looks at the files of the project's modules now and then, and has the node load those that have changed.

    Modules that changed together are loaded together. A file is left alone until it is the same at two looks: an
    editor may be in the middle of writing it. One that is refused is logged once, and tried again at the next change
    of any: it may have needed that one. Modules that are installed (in ``site-packages``) are not looked at.
    """

    def init(self, args: Any) -> Watched:
        watched = Watched()
        self._look(watched)
        self.send_after(LOOK_EVERY_S, LOOK)
        log.info("watching the files of %d modules", len(watched.loaded))
        return watched

    def handle_info(self, message: Any, state: Watched) -> Any:
        if message is not LOOK:
            return super().handle_info(message, state)
        changed = self._look(state)
        if changed:
            others = {name: stamp for name, stamp in state.refused.items() if state.seen.get(name) == stamp}
            if not (others.keys() - changed.keys() and self._load(others | changed, state, is_last=False)):
                self._load(changed, state, is_last=True)
        self.send_after(LOOK_EVERY_S, LOOK)
        return NoReply(state)

    def _look(self, watched: Watched) -> dict[str, Stamp]:
        """The modules that have changed, and have come to rest."""
        changed: dict[str, Stamp] = {}
        for module in code_modules.loaded():
            if not code_modules.is_project(module):
                continue
            name = module.__name__
            stamp = _stamp(code_modules.source_path(module))
            if stamp is None:
                continue
            if name not in watched.loaded:
                # What was imported since the last look; the node may know that its file is newer.
                is_newer = self.node.code.status(name) == "modified"
                watched.loaded[name] = (0, 0) if is_newer else stamp
            if stamp == watched.loaded[name]:
                watched.seen.pop(name, None)
            elif watched.seen.get(name) != stamp:
                watched.seen[name] = stamp
            elif watched.refused.get(name) != stamp or name in watched.waiting:
                changed[name] = stamp
        return changed

    def _load(self, changed: dict[str, Stamp], watched: Watched, *, is_last: bool) -> bool:
        """Whether it went well; only the last attempt says why it did not."""
        try:
            results = self.node.code.load_all(list(changed))
        except ModuleNotLoaded as error:
            if not is_last:
                return False
            is_waiting = error.reason == "not_purged"
            if not (is_waiting and watched.waiting.issuperset(changed)):
                log.error("%s", error)
            watched.refused.update(changed)
            watched.waiting = set(changed) if is_waiting else set()
            return False
        except Exception:
            # The watcher outlives whatever the code of a file does to a load.
            log.exception("%s: not loaded", ", ".join(changed))
            watched.refused.update(changed)
            return False
        watched.loaded.update(changed)
        watched.waiting.clear()
        for result in results:
            watched.refused.pop(result.module, None)
            for line in repr(result).splitlines():
                log.info("loaded %s", line.strip())
        return True


def _stamp(path: str | None) -> Stamp | None:
    try:
        status = Path(path or "").stat()
    except OSError:
        return None  # gone, or being replaced
    return status.st_mtime_ns, status.st_size
