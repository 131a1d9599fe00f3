"""Finds the best answer to a component, by integer programming: OR-tools' CP-SAT.

It calculates with 64-bit integers throughout, so that "optimal" holds to the last unit; `exact_sums` makes sums fit.
With one thread and a fixed seed the same component has the same answer, unless the time is up before it is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anoma.matching.components import Component
from anoma.matching.exact_sums import digit_sums

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Found:
    """The best answer to a component so far.

    Attributes:
        lots: value of each variable.
        bound: no answer has a greater preference.
        took_s: seconds that the optimiser has worked.
    """

    lots: tuple[int, ...]
    preference: int
    bound: int
    took_s: float


def optimise(component: Component, time_limit_s: float, threads: int = 1) -> Found:
    """The best answer that is found in time; nothing is taken where none is found.

    First from above: is there an answer as good as the bound? On a market, which is close to a flow, that is often the
    last question. It gives the best answer or none. Then from below, from one answer to a better one.

    Args:
        time_limit_s: at most so many seconds.
        threads: more than one: faster on hard problems, and no longer the same answer each time among equals.

    Raises:
        RuntimeError: the optimiser refuses the problem, and why.
    """
    # Here, not above: it takes a hundred megabytes, and has threads from its import on.
    from ortools.sat.python import cp_model  # noqa: PLC0415

    model, lots = _model(component)
    upper = sum(max(variable.preference, 0) * variable.maximum for variable in component.variables)
    values = (0,) * len(lots)
    took_s = 0.0
    for share, from_above in ((0.5, True), (1.0, False)):
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(share * (time_limit_s - took_s), 0.001)
        solver.parameters.num_workers = threads
        solver.parameters.random_seed = SEED
        # The linear relaxation of all sums is what gives bounds.
        solver.parameters.linearization_level = 2
        if from_above:
            solver.parameters.use_objective_lb_search = True
            solver.parameters.cp_model_probing_level = 0
        status = solver.solve(model)
        took_s += solver.wall_time
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"the optimiser refuses a component: {model.validate()}")
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            found = tuple(solver.value(variable) for variable in lots)
            if _preference(component, found) > _preference(component, values):
                values = found
        if status == cp_model.OPTIMAL:
            upper = _preference(component, values)
            break
        upper = min(upper, _above(solver.best_objective_bound))
    preference = _preference(component, values)
    return Found(values, preference, max(upper, preference), took_s)


def _preference(component: Component, lots: tuple[int, ...]) -> int:
    return sum(variable.preference * count for variable, count in zip(component.variables, lots, strict=True))


def _above(bound: float) -> int:
    """The bound comes as a float; what it is rounded to must not be too small."""
    return int(bound + abs(bound) * 2.0**-50) + 1


def _model(component: Component) -> tuple[cp_model.CpModel, list[Any]]:
    from ortools.sat.python import cp_model  # noqa: PLC0415

    model = cp_model.CpModel()
    maxima = [variable.maximum for variable in component.variables]
    lots: list[Any] = []
    for variable, maximum in zip(component.variables, maxima, strict=True):
        if maximum == 1:
            lots.append(model.new_bool_var(""))
        elif variable.minimum == 1:
            lots.append(model.new_int_var(0, maximum, ""))
        else:
            domain = cp_model.Domain.from_intervals([[0, 0], [variable.minimum, maximum]])
            lots.append(model.new_int_var_from_domain(domain, ""))
    for total in component.sums:
        carry: Any = 0
        for digit in digit_sums(total, maxima):
            terms = cp_model.LinearExpr.weighted_sum(
                [lots[number] for number in digit.coefficients], list(digit.coefficients.values())
            )
            if digit.base is None:
                model.add(terms + carry == 0)
            else:
                following = model.new_int_var(-digit.carry, digit.carry, "")
                model.add(terms + carry == digit.base * following)
                carry = following
    _add_exclusive(model, component, maxima, lots)
    model.maximize(cp_model.LinearExpr.weighted_sum(lots, [variable.preference for variable in component.variables]))
    return model, lots


def _add_exclusive(model: cp_model.CpModel, component: Component, maxima: list[int], lots: list[Any]) -> None:
    taken: dict[int, Any] = {}
    for numbers in component.exclusive:
        for number in numbers:
            if number in taken:
                continue
            if maxima[number] == 1:
                taken[number] = lots[number]
                continue
            literal = model.new_bool_var("")
            model.add(lots[number] == 0).only_enforce_if(~literal)
            model.add(lots[number] >= component.variables[number].minimum).only_enforce_if(literal)
            taken[number] = literal
        model.add_at_most_one([taken[number] for number in numbers])
