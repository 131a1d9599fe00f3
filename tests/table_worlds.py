"""A world of one keeping engine without a node, in which the test plays the ledger."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from engines.effects import Unwatch, Watch
from engines.guards import EngineBehaviour
from engines.keeping.behaviour import KeepingSettings
from engines.keeping.messages import (
    Load,
    LoadAppended,
    Loaded,
    LoadedAppended,
    LoadFailed,
    Write,
    WriteAppended,
    WriteFailed,
    Written,
    WrittenAppended,
)
from engines.messages import EngineID, Message
from engines.simulation import Simulation

ME = EngineID("elsewhere@127.0.0.1", "me")
WITH_LEDGER = KeepingSettings("ledger")


class TableWorld(Simulation):
    """One engine, under the name of its type; what it is sent arrives in order.

    Attributes:
        rows: of its table.
        appended: values of its sequence, with their numbers.
        fate: what becomes of the next operations, from the first on: ``ok``, ``fails``, ``unsure`` (it is not known
            whether it lasts, and it does not) or ``unsure but done``. After the last, all is well.
        operations: what it has asked for.
    """

    def __init__(self, behaviour: EngineBehaviour[Any], settings: Any = None, *, seed: int = 0) -> None:
        super().__init__({behaviour.name: behaviour}, self._perform, ordered=True, time_s=1_000.0)
        self.behaviour = behaviour
        self.settings = settings
        self.rows: dict[Any, Any] = {}
        self.appended: list[tuple[int, Any]] = []
        self.fate: list[str] = []
        self.operations: list[Any] = []
        self.random = random.Random(seed)
        self.numbers = 0
        self.last = 0
        self.passed_on: list[Any] = []
        self.start()

    def start(self) -> None:
        """Start the engine, again where it has ended."""
        self.spawn(self.behaviour.name, self.settings, self.behaviour.name)

    @property
    def state(self) -> Any:
        return self.engines[self.behaviour.name].environment.state

    def ask(self, message: Message, sender: EngineID = ME) -> int:
        """Put a request on its way. Returns the reference of its reply."""
        self.numbers += 1
        self.send(EngineID(None, self.behaviour.name), message, sender=sender, reference=self.numbers)
        return self.numbers

    def settle(self) -> None:
        """Let everything happen that can, in some order."""
        self.run(self.random)

    def deliver(self) -> None:
        """Let everything happen but what the ledger does, and timers."""
        while choices := [event for event in self.choices() if event.kind not in ("operation", "timer")]:
            self.happen(choices[0])

    def perform_next(self) -> None:
        """Let the ledger do the first thing that it is asked for, and the engine hear of it."""
        self.happen(next(event for event in self.choices() if event.kind == "operation"))
        self.deliver()

    def reply(self, number: int) -> Any:
        """The one reply under a reference; None: there is none."""
        replies = [envelope.message for envelope in self.outside if envelope.reference == number]
        assert len(replies) < 2, replies
        return replies[0] if replies else None

    def now(self, message: Message, sender: EngineID = ME) -> Any:
        """Ask, let everything happen, and have the reply."""
        number = self.ask(message, sender)
        self.settle()
        return self.reply(number)

    def news(self, name: str, kind: type[Message]) -> list[Any]:
        """The messages of a type that one outside has got."""
        return [message for message in self.received(name) if isinstance(message, kind)]

    def _watch(self, name: str, watch: Watch | Unwatch) -> None:
        # Those outside live for as long as the world does.
        if isinstance(watch.address, EngineID) and watch.address.name in self._names:
            super()._watch(name, watch)

    def _perform(self, _engine: str, operation: Any) -> Message | None:
        self.operations.append(operation)
        if isinstance(operation, (Load, LoadAppended)):
            self._overtake()
        match operation:
            case Load():
                return self._fated(lambda: Loaded(tuple(self.rows.items())), LoadFailed("no disk"), lambda: None)
            case LoadAppended():
                loaded = LoadedAppended(tuple(self.appended))
                return self._fated(lambda: loaded, LoadFailed("no disk"), lambda: None)
            case Write(_, _, items, deleted):

                def put() -> None:
                    for key in deleted:
                        self.rows.pop(key, None)
                    self.rows.update(items)

                return self._fated(Written, WriteFailed("no disk", certain=True), put)
            case WriteAppended(_, _, values, trim):

                def append() -> None:
                    for value in values:
                        self.last += 1
                        self.appended.append((self.last, value))
                    self.appended = [(number, value) for number, value in self.appended if number > trim]

                done = self.last + len(values)
                return self._fated(lambda: WrittenAppended(done), WriteFailed("no disk", certain=True), append)
        self.passed_on.append(operation)
        return None

    def _overtake(self) -> None:
        """What those before have asked for comes first: reading goes behind all that is on its way to the ledger."""
        incarnation = self.engines[self.behaviour.name].incarnation
        for number, event in list(self.pending.items()):
            if isinstance(event.what, (Write, WriteAppended)) and event.source != incarnation:
                del self.pending[number]
                self._perform(event.engine, event.what)

    def _fated(self, done: Callable[[], Message], failed: Message, change: Callable[[], None]) -> Message:
        fate = self.fate.pop(0) if self.fate else "ok"
        if fate in ("ok", "unsure but done"):
            change()
        if fate == "ok":
            return done()
        if fate == "fails" or isinstance(failed, LoadFailed):
            return failed
        return WriteFailed("no answer", certain=False)
