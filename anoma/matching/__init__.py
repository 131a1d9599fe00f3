"""Matching: which intents leave nothing over together.

`problem` is the problem and its answer as values; `components` takes it apart, `optimiser` finds the best answer to
each part (with `exact_sums` for numbers of any size), `splitting` cuts it into small matches, `solving` does all of it.
`exhaustive` tries everything: the reference for small problems.
"""

from __future__ import annotations

from anoma.matching.problem import Match, Offer, Outcome, WrongMatch, check

__all__ = ["Match", "Offer", "Outcome", "WrongMatch", "check"]
