"""Cuts what was chosen into matches that are as small as can be found quickly.

Everything that is chosen leaves nothing over together; but a match that fails takes all of its intents down, so small
ones are better. The offers are put into a row in which each makes up for what those before it have left over. Wherever
the running total is one that it has been before, the offers in between leave nothing over: they are a match.

To find the smallest matches is a hard problem of its own; these are not always the smallest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from anoma.matching.problem import Match, Offer

_MODULUS: Final = (1 << 61) - 1
_FACTOR: Final = 0x1E3779B97F4A7C15


def split(offers: Sequence[Offer], lots: Sequence[tuple[int, int]]) -> list[Match]:
    """The chosen offers as matches.

    Args:
        lots: position in `offers` and number of lots of each that was chosen; they leave nothing over.
    """
    amounts = {
        position: {kind: quantity * count for kind, quantity in offers[position].delta.items() if quantity}
        for position, count in lots
    }
    count_of = dict(lots)
    row = _Row(amounts)
    return [Match(tuple((position, count_of[position]) for position in sorted(members))) for members in row.matches()]


class _Row:
    """The offers that are not in a match yet, and those in the row."""

    def __init__(self, amounts: dict[int, dict[Any, int]]) -> None:
        self.amounts = amounts
        self.left: dict[int, None] = dict.fromkeys(sorted(amounts))
        self.exact: dict[tuple[Any, int], deque[int]] = {}
        """Kind and amount -> offers, oldest first."""
        self.signed: dict[tuple[Any, bool], deque[int]] = {}
        """Kind and whether it is created -> offers, oldest first."""
        for position in self.left:
            for kind, amount in amounts[position].items():
                self.exact.setdefault((kind, amount), deque()).append(position)
                self.signed.setdefault((kind, amount > 0), deque()).append(position)
        self.weights: dict[Any, int] = {}
        self.open: dict[Any, int] = {}
        """The running total: kind -> what is left over. The kind that was touched last is the last one."""

    def matches(self) -> list[list[int]]:
        found: list[list[int]] = []
        row: list[int] = []
        totals = [0]
        depth_of = {0: 0}
        while self.left:
            position = self._next()
            self._append(position)
            row.append(position)
            total = (totals[-1] + self._fingerprint(position)) % _MODULUS
            before = depth_of.get(total)
            if before is not None and not _sum(self.amounts, row[before:]):
                found.append(row[before:])
                for forgotten in totals[before + 1 :]:
                    del depth_of[forgotten]
                del row[before:]
                del totals[before + 1 :]
                continue
            totals.append(total)
            depth_of[total] = len(row)
        if row:
            # Only where two different totals had the same fingerprint.
            found.append(row)
        return found

    def _next(self) -> int:
        """Who makes up for what was left over last: exactly, if somebody does; else the oldest; else a new row."""
        for kind in reversed(self.open):
            amount = self.open[kind]
            for waiting in (self.exact.get((kind, -amount)), self.signed.get((kind, amount < 0))):
                while waiting:
                    if waiting[0] in self.left:
                        return waiting[0]
                    waiting.popleft()
        return next(iter(self.left))

    def _append(self, position: int) -> None:
        del self.left[position]
        for kind, amount in self.amounts[position].items():
            total = self.open.pop(kind, 0) + amount
            if total:
                self.open[kind] = total

    def _fingerprint(self, position: int) -> int:
        """Additive: equal totals have equal sums of these."""
        return sum(self._weight(kind) * amount for kind, amount in self.amounts[position].items()) % _MODULUS

    def _weight(self, kind: Any) -> int:
        if kind not in self.weights:
            self.weights[kind] = pow(_FACTOR, len(self.weights) + 1, _MODULUS)
        return self.weights[kind]


def _sum(amounts: dict[int, dict[Any, int]], members: Sequence[int]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for position in members:
        for kind, amount in amounts[position].items():
            total[kind] = total.get(kind, 0) + amount
    return {kind: amount for kind, amount in total.items() if amount}
