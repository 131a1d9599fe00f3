"""Finds the best answer to a component, by integer programming: OR-tools' CP-SAT.

It calculates with 64-bit integers throughout, so that "optimal" holds to the last unit; `exact_sums` makes sums fit.
With one thread and a fixed seed the same component has the same answer, unless the time is up before it is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ortools.sat.python import cp_model

from anoma.matching.components import Component
from anoma.matching.exact_sums import digit_sums

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

    Args:
        time_limit_s: at most so many seconds.
        threads: more than one: faster on hard problems, and no longer the same answer each time among equals.

    Raises:
        RuntimeError: the optimiser refuses the problem, and why.
    """
    model, lots = _model(component)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(time_limit_s, 0.001)
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = SEED
    # The linear relaxation of all sums is what closes the gap: markets are close to flows.
    solver.parameters.linearization_level = 2
    status = solver.solve(model)
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"the optimiser refuses a component: {model.validate()}")
    upper = sum(max(variable.preference, 0) * variable.maximum for variable in component.variables)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Found((0,) * len(lots), 0, upper, solver.wall_time)
    values = tuple(solver.value(variable) for variable in lots)
    preference = sum(v.preference * value for v, value in zip(component.variables, values, strict=True))
    # The bound comes as a float; what it is rounded to must not be too small.
    bound = preference if status == cp_model.OPTIMAL else min(upper, _above(solver.best_objective_bound))
    return Found(values, preference, max(bound, preference), solver.wall_time)


def _above(bound: float) -> int:
    return int(bound + abs(bound) * 2.0**-50) + 1


def _model(component: Component) -> tuple[cp_model.CpModel, list[Any]]:
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
    for variable in lots:
        # Nothing at all is an answer: from here on there is a best one so far.
        model.add_hint(variable, 0)
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
