"""Match specifications of ``erlang:trace_pattern/3``: what is told of which calls and messages.

Heads, guards and bodies of plain terms; of the actions those that need nothing of a BEAM: ``return_trace``,
``exception_trace``, ``message`` (with ``caller`` and any expression), ``silent``. Sequential tracing, and actions that
switch flags of other processes, are refused in words.

Source: OTP, ERTS User's Guide, "Match Specifications in Erlang".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.process import Process
from erlang_bridge.process.breakpoints import caller_of_traced
from erlang_bridge.process.tracing import Matcher, Outcome, match_everything
from erlang_bridge.terms import Atom, BitString, ImproperList, Map, Pid, Port, Reference
from erlang_bridge.terms.order import compare, exactly_equal

BADARG: Final = Atom("badarg")
_EXIT: Final = Atom("EXIT")
ANYTHING: Final = Atom("_")
ALL: Final = Atom("$_")
VARIABLES: Final = Atom("$$")

_MAX_SIZE: Final = 2000
"""Of a specification, in parts."""
_MAX_DEPTH: Final = 50
"""Of lists and tuples in one another."""


def refused(what: str) -> ErlangError:
    """``badarg``, and why."""
    return ErlangError((BADARG, what.encode()))


@dataclass(slots=True)
class _Scope:
    """One attempt of one clause."""

    process: Process
    arguments: list[Any]
    variables: dict[int, Any] = field(default_factory=dict)
    extra: tuple[Any, ...] = ()
    tell: bool = True
    returns: bool = False
    exceptions: bool = False
    silent: bool | None = None

    def outcome(self) -> Outcome:
        return Outcome(self.extra, self.tell, self.returns, self.exceptions, self.silent)


@dataclass(frozen=True, slots=True)
class _Clause:
    head: Any
    guards: list[Any]
    body: list[Any]


def compile_match_spec(spec: Any) -> Matcher:
    """What does the matching; ``[]`` and ``true`` match everything.

    Raises:
        ErlangError: ``{badarg, Why}``.
    """
    if spec is True or spec == []:
        return match_everything
    if not isinstance(spec, list):
        raise refused("a match specification is a list of {Head, Guards, Body}")
    _measure(spec)
    clauses = []
    for clause in spec:
        match clause:
            case (head, list(guards), list(body)) if head is ANYTHING or isinstance(head, list):
                for guard in guards:
                    _check_expression(guard)
                for action in body:
                    _check_action(action)
                clauses.append(_Clause(head, guards, body))
            case _:
                raise refused("a clause of a match specification is {Head, Guards, Body}, its head '_' or a list")

    def matcher(arguments: list[Any], process: Process) -> Outcome | None:
        for clause in clauses:
            scope = _Scope(process, arguments)
            if _matches(clause.head, arguments, scope) and all(_holds(guard, scope) for guard in clause.guards):
                for action in clause.body:
                    _act(action, scope)
                return scope.outcome()
        return None

    return matcher


def _measure(spec: Any) -> None:
    """Refuse what would take long to look at, at each event, or more stack than there may be where one happens."""
    left = _MAX_SIZE
    waiting = [(spec, 0)]
    while waiting:
        term, depth = waiting.pop()
        parts: list[Any] | tuple[Any, ...] = ()
        if isinstance(term, (list, tuple)):
            parts = term
        elif isinstance(term, (dict, Map)):
            parts = [part for pair in _pairs(term) for part in pair]
        elif isinstance(term, ImproperList):
            parts = [*term.elements, term.tail]
        left -= 1 + len(parts)
        if left < 0:
            raise refused("the match specification is too large")
        if depth > _MAX_DEPTH:
            raise refused("the match specification is nested too deeply")
        waiting += [(part, depth + 1) for part in parts]


# -- heads ----------------------------------------------------------------------------------------


def _variable(term: Any) -> int | None:
    if type(term) is Atom and term.name[:1] == "$" and term.name[1:].isdecimal():
        return int(term.name[1:])
    return None


def _matches(pattern: Any, value: Any, scope: _Scope) -> bool:
    if pattern is ANYTHING:
        return True
    number = _variable(pattern)
    if number is not None:
        if number in scope.variables:
            return _same(scope.variables[number], value)
        scope.variables[number] = value
        return True
    if isinstance(pattern, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and isinstance(value, list) == isinstance(pattern, list)
            and len(value) == len(pattern)
            and all(_matches(one, other, scope) for one, other in zip(pattern, value, strict=True))
        )
    if isinstance(pattern, ImproperList):
        return _matches_beginning(pattern, value, scope)
    if isinstance(pattern, (dict, Map)):
        return isinstance(value, (dict, Map)) and all(
            any(_same(key, other) and _matches(part, found, scope) for other, found in _pairs(value))
            for key, part in _pairs(pattern)
        )
    return _same(pattern, value)


def _matches_beginning(pattern: ImproperList, value: Any, scope: _Scope) -> bool:
    """``[First | Rest]``."""
    count = len(pattern.elements)
    if isinstance(value, ImproperList):
        elements: Any = value.elements
        rest = ImproperList(elements[count:], value.tail) if len(elements) > count else value.tail
    elif isinstance(value, list):
        elements, rest = value, value[count:]
    else:
        return False
    return (
        len(elements) >= count
        and all(_matches(one, other, scope) for one, other in zip(pattern.elements, elements, strict=False))
        and _matches(pattern.tail, rest, scope)
    )


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    pairs: Iterable[tuple[Any, Any]] = value.pairs() if isinstance(value, Map) else value.items()
    return pairs


def _same(left: Any, right: Any) -> bool:
    try:
        return exactly_equal(left, right)
    except TypeError:
        # No term: an object of Python's is never what a BEAM can name.
        return False


# -- guards and bodies ------------------------------------------------------------------------------


class _Failed(Exception):
    """A guard could not be evaluated, which is no match; in a body the value is ``'EXIT'``."""


_FAILURES: Final = (_Failed, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""With what Python says of terms that are not what a function takes."""


def _holds(guard: Any, scope: _Scope) -> bool:
    try:
        return _value(guard, scope) is True
    except _FAILURES:
        return False


def _act(action: Any, scope: _Scope) -> None:
    match action:
        case (Atom("return_trace"),):
            scope.returns = True
        case (Atom("exception_trace"),):
            scope.returns = scope.exceptions = True
        case (Atom("message"), expression):
            try:
                value = _value(expression, scope)
            except _FAILURES:
                value = _EXIT
            scope.tell = value is not False
            scope.extra = () if value is True or value is False else (value,)
        case (Atom("silent"), expression):
            try:
                value = _value(expression, scope)
            except _FAILURES:
                return
            if isinstance(value, bool):
                scope.silent = value


def _check_action(action: Any) -> None:
    match action:
        case (Atom("return_trace"),) | (Atom("exception_trace"),):
            return
        case (Atom("message") | Atom("silent"), expression):
            _check_expression(expression)
        case (Atom() as name, *_) if name.name in _FUNCTIONS or name.name in _CONTROL:
            _check_expression(action)
        case (Atom() as name, *_):
            raise refused(f"the action {name.name} of a match specification is not supported here")
        case _:
            _check_expression(action)


def _check_expression(expression: Any) -> None:
    match expression:
        case (Atom("const"), _):
            return
        case (tuple() as constructed,):
            for part in constructed:
                _check_expression(part)
        case (Atom() as name, *arguments):
            known = _FUNCTIONS.get(name.name)
            if known is None and name.name not in _CONTROL:
                raise refused(f"the function {name.name} of a match specification is not supported here")
            if known is not None and len(arguments) != known[0]:
                raise refused(f"the function {name.name} of a match specification takes {known[0]} arguments")
            for argument in arguments:
                _check_expression(argument)
        case tuple():
            raise refused("a tuple in an expression of a match specification is written {{...}}")
        case list():
            for part in expression:
                _check_expression(part)


def _value(expression: Any, scope: _Scope) -> Any:
    variable = _variable(expression)
    if variable is not None:
        if variable not in scope.variables:
            raise _Failed
        return scope.variables[variable]
    if expression is ALL:
        return scope.arguments
    if expression is VARIABLES:
        return [scope.variables[number] for number in sorted(scope.variables)]
    match expression:
        case (Atom("const"), value):
            return value
        case (tuple() as constructed,):
            return tuple(_value(part, scope) for part in constructed)
        case (Atom("andalso") | Atom("and"), *conditions):
            return all(_value(condition, scope) is True for condition in conditions)
        case (Atom("orelse") | Atom("or"), *conditions):
            return any(_value(condition, scope) is True for condition in conditions)
        case (Atom("self"),):
            return scope.process.pid
        case (Atom("node"),):
            return scope.process.pid.node
        case (Atom("caller"),):
            caller = caller_of_traced()
            if caller is None:
                return Atom("undefined")
            module, function, arity = caller
            return (Atom(module[-255:]), Atom(function[-255:]), arity)
        case (Atom() as name, *arguments):
            return _FUNCTIONS[name.name][1](*(_value(argument, scope) for argument in arguments))
        case list():
            return [_value(part, scope) for part in expression]
    return expression


_CONTROL: Final = frozenset({"andalso", "and", "orelse", "or", "self", "node", "caller"})


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    if not _is_number(value):
        raise _Failed
    return value


_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "==": (2, lambda one, other: compare(one, other) == 0),
    "/=": (2, lambda one, other: compare(one, other) != 0),
    "=:=": (2, _same),
    "=/=": (2, lambda one, other: not _same(one, other)),
    "<": (2, lambda one, other: compare(one, other) < 0),
    ">": (2, lambda one, other: compare(one, other) > 0),
    "=<": (2, lambda one, other: compare(one, other) <= 0),
    ">=": (2, lambda one, other: compare(one, other) >= 0),
    "not": (1, lambda value: value is False),
    "+": (2, lambda one, other: _number(one) + _number(other)),
    "-": (2, lambda one, other: _number(one) - _number(other)),
    "is_atom": (1, lambda value: type(value) is Atom or isinstance(value, bool) or value is None),
    "is_boolean": (1, lambda value: isinstance(value, bool)),
    "is_integer": (1, _is_integer),
    "is_float": (1, lambda value: isinstance(value, float)),
    "is_number": (1, _is_number),
    "is_list": (1, lambda value: isinstance(value, list)),
    "is_tuple": (1, lambda value: isinstance(value, tuple)),
    "is_binary": (1, lambda value: isinstance(value, (bytes, str)) and not isinstance(value, BitString)),
    "is_map": (1, lambda value: isinstance(value, (dict, Map))),
    "is_pid": (1, lambda value: type(value) is Pid),
    "is_port": (1, lambda value: type(value) is Port),
    "is_reference": (1, lambda value: type(value) is Reference),
    "element": (2, lambda number, value: value[_position(number, value)]),
    "tuple_size": (1, lambda value: len(value) if isinstance(value, tuple) else _fail()),
    "length": (1, lambda value: len(value) if isinstance(value, list) else _fail()),
    "hd": (1, lambda value: value[0] if isinstance(value, list) else _fail()),
    "tl": (1, lambda value: value[1:] if isinstance(value, list) and value else _fail()),
}
"""Name to number of arguments and what it does."""


def _position(number: Any, value: Any) -> int:
    if not isinstance(value, tuple) or not _is_integer(number) or not 1 <= number <= len(value):
        raise _Failed
    return int(number) - 1


def _fail() -> Any:
    raise _Failed
