"""What an engine has that changes: its state, its mailboxes, those it knows, its timers.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Engine environment" (``EngineEnv``, ``Mailbox``, ``Timer``). That a mailbox can be closed is
ours: the specification has mailboxes and no use for them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from engines.effects import UNCHANGED, CancelTimer, Effects, SetMailbox, SetTimer
from engines.messages import DEFAULT_MAILBOX, Envelope

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox.

    Attributes:
        state: the mailbox's own; whatever the engine keeps there.
        open: whether messages are taken out of it.
        messages: those that wait, oldest first. None wait in an open one for longer than a turn.
    """

    state: Any = None
    open: bool = True
    messages: tuple[Envelope, ...] = ()


NO_TIMERS: Final[Mapping[Hashable, float]] = {}
DEFAULT_MAILBOXES: Final[Mapping[int, Mailbox]] = {DEFAULT_MAILBOX: Mailbox()}


@dataclass(frozen=True, slots=True)
class Environment(Generic[State]):
    """Everything of an engine that its turns change.

    Attributes:
        mailboxes: by number; `DEFAULT_MAILBOX` is always there.
        acquaintances: names of engines that it knows; its own is not among them.
        timers: handle to the time it is due, in seconds since 1970-01-01 UTC.
    """

    state: State
    mailboxes: Mapping[int, Mailbox] = field(default_factory=lambda: DEFAULT_MAILBOXES)
    acquaintances: frozenset[str] = frozenset()
    timers: Mapping[Hashable, float] = field(default_factory=lambda: NO_TIMERS)

    def after(self, effects: Effects[State], time_s: float) -> Environment[State]:
        """The environment once a turn that began at `time_s` has had these effects."""
        return Environment(
            effects.state,
            _changed_mailboxes(self.mailboxes, effects.mailboxes) if effects.mailboxes else self.mailboxes,
            self.acquaintances if effects.acquaintances is None else effects.acquaintances,
            _changed_timers(self.timers, effects.timers, time_s) if effects.timers else self.timers,
        )

    def hold(self, envelope: Envelope) -> Environment[State]:
        """With `envelope` at the end of its mailbox."""
        mailbox = self.mailboxes[mailbox_of(envelope)]
        kept = replace(mailbox, messages=(*mailbox.messages, envelope))
        return replace(self, mailboxes={**self.mailboxes, mailbox_of(envelope): kept})

    def take(self) -> tuple[Envelope, Environment[State]] | None:
        """The first message that waits in an open mailbox, and the environment without it. Lower mailboxes first."""
        for number in sorted(self.mailboxes):
            mailbox = self.mailboxes[number]
            if mailbox.open and mailbox.messages:
                rest = replace(mailbox, messages=mailbox.messages[1:])
                mailboxes = {**self.mailboxes, number: rest}
                return mailbox.messages[0], replace(self, mailboxes=mailboxes)
        return None

    def due(self, time_s: float) -> tuple[Hashable, ...]:
        """Handles of the timers that are due at a time, in due order."""
        return tuple(
            sorted((handle for handle, at in self.timers.items() if at <= time_s), key=self.timers.__getitem__)
        )

    def without_timers(self, handles: tuple[Hashable, ...]) -> Environment[State]:
        """With those timers gone."""
        rest = {handle: at for handle, at in self.timers.items() if handle not in handles}
        return replace(self, timers=rest)


def mailbox_of(envelope: Envelope) -> int:
    """The number of the mailbox that an envelope is for."""
    return DEFAULT_MAILBOX if envelope.mailbox is None else envelope.mailbox


def _changed_mailboxes(mailboxes: Mapping[int, Mailbox], changes: tuple[SetMailbox, ...]) -> Mapping[int, Mailbox]:
    changed = dict(mailboxes)
    for change in changes:
        mailbox = changed.get(change.mailbox, Mailbox())
        state = mailbox.state if change.state is UNCHANGED else change.state
        changed[change.mailbox] = Mailbox(state, mailbox.open if change.open is None else change.open, mailbox.messages)
    return changed


def _changed_timers(
    timers: Mapping[Hashable, float], changes: tuple[SetTimer | CancelTimer, ...], time_s: float
) -> Mapping[Hashable, float]:
    changed = dict(timers)
    for change in changes:
        if isinstance(change, SetTimer):
            changed[change.handle] = time_s + change.delay_s
        else:
            changed.pop(change.handle, None)
    return changed
