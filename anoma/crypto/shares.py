"""Whether a composition signs for another.

*x* signs for *y* where every member of *x* has no more weight, divided by the threshold, than the members of *y* that
it signs for. A member of *y* that several members of *x* sign for has its weight shared out among them: it counts once,
however many of them sign. (The specification counts it for each: two who both sign for the same member of *y* would
count for two, and a commitment that *y* itself would not accept would pass.) Where no member of *y* is signed for by
two, the rule is the specification's.

Source: nspec v0.2.0, "Identity Architecture", "signsFor Threshold Composition".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from anoma.crypto.identities import ExternalIdentity, ExternalKeys, Special, Threshold

Named = ExternalIdentity | ExternalKeys | Threshold | Special
"""An identity by its name alone, or in full."""


def covers(x: Named, y: Named, member_covers: Callable[[Named, Named], bool]) -> bool:
    """Whether every commitment that *x* accepts proves enough for *y*.

    An identity that is no composition, or not known in full, stands as a composition of itself alone.

    Args:
        member_covers: the same for a member of *x* and one of *y*.
    """
    if needs_nothing(y) or not is_satisfiable(x):
        return True
    if needs_nothing(x):
        return False
    threshold_x, members_x = _as_composition(x)
    threshold_y, members_y = _as_composition(y)
    demands = []
    targets = []
    for weight, member in members_x:
        if weight == 0:
            continue
        signs_for = [index for index, (_, other) in enumerate(members_y) if member_covers(member, other)]
        if weight * threshold_y > threshold_x * sum(members_y[index][0] for index in signs_for):
            return False
        demands.append(weight * threshold_y)
        targets.append(signs_for)
    return _can_be_shared(demands, targets, [weight * threshold_x for weight, _ in members_y])


def needs_nothing(identity: Named) -> bool:
    """Whether everybody can sign as it."""
    if isinstance(identity, Threshold):
        return sum(weight for weight, member in identity.members if needs_nothing(member)) >= identity.threshold
    return identity is Special.ALL


def is_satisfiable(identity: Named) -> bool:
    """Whether anybody at all can sign as it."""
    if isinstance(identity, Threshold):
        return sum(weight for weight, member in identity.members if is_satisfiable(member)) >= identity.threshold
    return identity is not Special.NONE


def _as_composition(identity: Named) -> tuple[int, Sequence[tuple[int, Named]]]:
    if isinstance(identity, Threshold):
        return identity.threshold, identity.members
    return 1, ((1, identity),)


def _can_be_shared(demands: list[int], targets: list[list[int]], weights: list[int]) -> bool:
    """Whether every demand can be met from the weights of its targets, each unit of weight used once.

    A flow from demands to weights that is raised along shortest paths until no path is left.
    """
    given: list[dict[int, int]] = [{} for _ in demands]
    left = list(weights)
    for start, demand in enumerate(demands):
        missing = demand
        while missing:
            path = _path(start, targets, given, left)
            if path is None:
                return False
            amount = min(missing, left[path[-1][1]], *(given[user][target] for user, target in _released(path)))
            for index, (user, target) in enumerate(path):
                given[user][target] = given[user].get(target, 0) + amount
                if index:
                    earlier = path[index - 1][1]
                    given[user][earlier] -= amount
            left[path[-1][1]] -= amount
            missing -= amount
    return True


def _released(path: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Whose share of which target is taken along the path: each user gives up what the one before takes."""
    return [(path[index][0], path[index - 1][1]) for index in range(1, len(path))]


def _path(
    start: int, targets: list[list[int]], given: list[dict[int, int]], left: list[int]
) -> list[tuple[int, int]] | None:
    """The shortest way from a demand to a target with weight left: who takes which target, in order."""
    came: dict[int, tuple[int, int | None]] = {}
    users: deque[tuple[int, int | None]] = deque([(start, None)])
    seen = {start}
    while users:
        user, through = users.popleft()
        for target in targets[user]:
            if target in came:
                continue
            came[target] = (user, through)
            if left[target]:
                path = []
                at: int | None = target
                while at is not None:
                    owner, before = came[at]
                    path.append((owner, at))
                    at = before
                return path[::-1]
            for other, shares in enumerate(given):
                if other not in seen and shares.get(target):
                    seen.add(other)
                    users.append((other, target))
    return None
