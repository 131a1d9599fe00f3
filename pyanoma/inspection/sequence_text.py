"""A sequence of messages as lines of text, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from pyanoma.inspection.processes import on_screen
from pyanoma.inspection.sequences import CALL, CAST, MESSAGE, REPLY, SIGNAL, Event, Message, Sequence, Who

MOST_SHOWN: Final = 160
"""Characters of a message in a line."""
_MOST_NAME: Final = 32
_ARROWS: Final = {CALL: "──▶", REPLY: "◀──", CAST: "──▷", MESSAGE: "──▷", SIGNAL: "─✕▷"}


class Named(Protocol):
    """Tells what somebody is called."""

    def title(self, who: Who) -> str: ...
    def subtitle(self, who: Who) -> str: ...


def lines_of(sequence: Sequence, names: Named) -> Iterator[str]:
    """One line for each message: time since the first, who, what sort of message, to whom, and what it says.

    A reply stands under its call, with the arrow pointing back.
    """
    if not sequence.entries:
        return
    began = sequence.entries[0].at_s
    titles = {who: _cut(on_screen(names.title(who)), _MOST_NAME) for who in sequence.everybody()}
    width = max(map(len, titles.values()))
    for entry in sequence.entries:
        at = f"{entry.at_s - began:9.4f}"
        if isinstance(entry, Event):
            what = f"starts: {entry.text}" if entry.kind == "start" else f"ends: {entry.text}"
            yield f"{at}  {titles[entry.who]:>{width}}  {_cut(on_screen(what), MOST_SHOWN)}"
            continue
        left, right = entry.sender, entry.receiver
        if entry.kind == REPLY:
            left, right = right, left
        lost = " (no such process)" if entry.is_lost else ""
        text = _cut(entry.text, MOST_SHOWN)
        ends = f"{titles[left]:>{width}} {_ARROWS[entry.kind]} {titles[right]:<{width}}"
        yield f"{at}  {ends}  {entry.kind:<7}  {text}{lost}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def as_json(sequence: Sequence, names: Named, node: str) -> dict[str, Any]:
    """All of it. Times are seconds since the first entry; processes go by their place in ``processes``."""
    everybody = sequence.everybody()
    places = {who: place for place, who in enumerate(everybody)}
    began = sequence.entries[0].at_s if sequence.entries else 0.0

    def since(at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s - began, 6)

    def shown(entry: Message | Event) -> dict[str, Any]:
        if isinstance(entry, Event):
            return {"kind": entry.kind, "at_s": since(entry.at_s), "who": places[entry.who], "text": entry.text}
        return {
            "kind": entry.kind,
            "sent_s": since(entry.sent_s),
            "received_s": since(entry.received_s),
            "from": places[entry.sender],
            "to": places[entry.receiver],
            "text": entry.text,
            "message": entry.term,
            "lost": entry.is_lost,
        }

    return {
        "node": node,
        "began": began,
        "seconds": round(sequence.seconds, 6),
        "left_out": sequence.left_out,
        "processes": [{"name": names.title(who), "pid": names.subtitle(who)} for who in everybody],
        "entries": [shown(entry) for entry in sequence.entries],
    }
