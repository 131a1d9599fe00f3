"""Intents as a command sees them: read from JSON and terms, shown as text and as JSON."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from anoma.resource_machine.building import intent as build_intent
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.resource import Resource
from anoma.resource_machine.transaction import Transaction
from engines.intent_pool.intents import (
    Choice,
    Intent,
    Order,
    Unit,
    choices_of,
    commitments_of,
    intent_from_term,
    nullifiers_of,
)
from erlang_bridge.errors import ConfigError, EtfStructError
from erlang_bridge.etf import default_structs
from erlang_bridge.etf.conversions import STRUCT_KEY, Mismatch
from erlang_bridge.terms import Atom, Map
from erlang_bridge.terms.text import parse_term

T = TypeVar("T")

NONCE_BYTES: Final = 32
_SHOWN_HEX: Final = 16
_TERM: Final = re.compile(r"\s*(#|\{\s*[a-z'])")
"""How a term begins, and JSON does not."""


# -- reading ----------------------------------------------------------------------------------


def read_intents(text: str) -> list[Intent]:
    """The intents that a text stands for: JSON, one intent or a list of them; or one term in Erlang's syntax.

    Raises:
        ConfigError: it stands for none, and where and why. TermSyntaxError: it is no term.
    """
    if _TERM.match(text):
        try:
            return [intent_from_term(_objects(parse_term(text)))]
        except (Mismatch, EtfStructError) as error:
            raise ConfigError("intent", str(error), "a Transaction, a DumbIntent or an order") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        found = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise ConfigError("intent", found, "JSON, or a term that begins with #{ or {order,") from None
    items = value if isinstance(value, list) else [value]
    return [from_json(item, f"intent {number}") for number, item in enumerate(items, 1)]


def from_json(value: Any, where: str = "intent") -> Intent:
    """The intent that a JSON value stands for.

    ``{"value": -3}`` is a DumbIntent, ``{"gives": [..], "wants": [..]}`` a transaction that consumes and creates these
    resources, ``{"choices": [..]}`` an order. A choice has ``lots``, a list of the former, and perhaps ``preference``,
    ``minimum`` and ``maximum``. A resource has a ``label``, and perhaps ``quantity``, ``ephemeral``, ``data`` and
    ``nonce``, a number or 64 digits; without one it has one at random.

    Raises:
        ConfigError: it stands for none, and where and why.
    """
    fields = _fields(value, where, "an object with value, gives and wants, or choices")
    if "choices" not in fields:
        return _unit(fields, where)
    _only(fields, where, "choices")
    choices = tuple(
        _choice(item, f"{where}, choice {number}") for number, item in enumerate(_list(fields, "choices", where), 1)
    )
    return _made(where, lambda: Order(choices))


def _choice(value: Any, where: str) -> Choice:
    fields = _fields(value, where, "an object with lots")
    _only(fields, where, "lots", "preference", "minimum", "maximum")
    lots = tuple(
        _unit(_fields(item, f"{where}, lot {number}", "an object"), f"{where}, lot {number}")
        for number, item in enumerate(_list(fields, "lots", where), 1)
    )
    numbers = {name: _whole(fields[name], f"{where}, {name}") for name in ("preference", "minimum") if name in fields}
    if fields.get("maximum") is not None:
        numbers["maximum"] = _whole(fields["maximum"], f"{where}, maximum")
    return _made(where, lambda: Choice(lots, **numbers))


def _unit(fields: Mapping[str, Any], where: str) -> Unit:
    if "value" in fields:
        _only(fields, where, "value")
        return DumbIntent(_whole(fields["value"], f"{where}, value"))
    _only(fields, where, "gives", "wants")
    gives, wants = (
        [
            _resource(item, f"{where}, {side} {number}")
            for number, item in enumerate(_list(fields, side, where, missing=True), 1)
        ]
        for side in ("gives", "wants")
    )
    if not gives and not wants:
        raise _wrong(where, "value, or gives and wants", ", ".join(fields) or "nothing")
    return build_intent(gives, wants)


def _resource(value: Any, where: str) -> Resource:
    fields = _fields(value, where, "an object with a label")
    _only(fields, where, "label", "quantity", "ephemeral", "data", "nonce")
    label = _text(fields.get("label"), f"{where}, label")
    quantity = _whole(fields.get("quantity", 1), f"{where}, quantity")
    ephemeral = fields.get("ephemeral", False)
    if not isinstance(ephemeral, bool):
        raise _wrong(f"{where}, ephemeral", "true or false", repr(ephemeral))
    data = _text(fields.get("data", ""), f"{where}, data")
    nonce = _nonce(fields.get("nonce"), f"{where}, nonce")
    return _made(where, lambda: Resource(label=label, quantity=quantity, ephemeral=ephemeral, data=data, nonce=nonce))


def _nonce(value: Any, where: str) -> bytes:
    if value is None:
        return secrets.token_bytes(NONCE_BYTES)
    try:
        made = bytes.fromhex(value) if isinstance(value, str) else _whole(value, where).to_bytes(NONCE_BYTES, "big")
    except (ValueError, OverflowError):
        made = b""
    if len(made) != NONCE_BYTES:
        raise _wrong(where, f"a number, or {2 * NONCE_BYTES} hexadecimal digits", repr(value))
    return made


def _fields(value: Any, where: str, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, expected, json.dumps(value))
    return value


def _only(fields: Mapping[str, Any], where: str, *names: str) -> None:
    for name in fields:
        if name not in names:
            raise _wrong(where, f"only {', '.join(names)}", name)


def _list(fields: Mapping[str, Any], name: str, where: str, *, missing: bool = False) -> list[Any]:
    value = fields.get(name, [] if missing else None)
    if not isinstance(value, list):
        raise _wrong(f"{where}, {name}", "a list", json.dumps(value))
    return value


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(where, "a whole number", json.dumps(value))
    return value


def _text(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(where, "a text", json.dumps(value))
    return value.encode()


def _made(where: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise ConfigError(where, str(error), "what makes sense") from None


def _wrong(where: str, expected: str, got: str) -> ConfigError:
    return ConfigError(where, got, expected)


def _objects(term: Any) -> Any:
    """A term with the structs in it as objects, as if it had come from another node."""
    match term:
        case dict() | Map():
            made = {_objects(key): _objects(value) for key, value in term.items()}
            name = made.get(STRUCT_KEY)
            codec = default_structs.get(name) if isinstance(name, Atom) else None
            return made if codec is None else codec.decode(made)
        case list():
            return [_objects(item) for item in term]
        case tuple():
            return tuple(_objects(item) for item in term)
    return term


# -- showing ----------------------------------------------------------------------------------


def to_json(serial: int, intent: Intent) -> dict[str, Any]:
    """An intent of the pool, for scripts."""
    return {
        "serial": serial,
        "type": _type(intent),
        "choices": [
            {
                "delta": {kind.hex(): quantity for kind, quantity in sorted(choice.lots[0].delta.items())},
                "preference": choice.preference,
                "minimum": choice.minimum,
                "maximum": choice.most,
            }
            for choice in choices_of(intent)
        ],
        "nullifiers": sorted(tag.hex() for tag in nullifiers_of(intent)),
        "commitments": sorted(tag.hex() for tag in commitments_of(intent)),
    }


def to_text(intent: Intent) -> str:
    """What an intent gives and wants, in one line."""
    return "; or ".join(_choice_text(choice) for choice in choices_of(intent))


def _type(intent: Intent) -> str:
    if isinstance(intent, Order):
        return "order"
    return "transaction" if isinstance(intent, Transaction) else "dumb"


def _choice_text(choice: Choice) -> str:
    text = _unit_text(choice.lots[0])
    if choice.most > 1:
        text = f"{choice.minimum} to {choice.most} times: {text}"
    return text if choice.preference == 1 else f"{text} (preference {choice.preference})"


def _unit_text(unit: Unit) -> str:
    if isinstance(unit, DumbIntent):
        return f"{unit.value:+d}"
    labels = {resource.kind: resource.label for resource in (*unit.created().values(), *unit.consumed().values())}
    sides = {"gives": -1, "wants": 1}
    shown = []
    for side, sign in sides.items():
        amounts = [
            f"{abs(quantity)} {_label(labels.get(kind, b''), kind)}"
            for kind, quantity in sorted(unit.delta.items())
            if quantity * sign > 0
        ]
        if amounts:
            shown.append(f"{side} {' and '.join(amounts)}")
    return ", ".join(shown) or "balanced"


def _label(label: bytes, kind: bytes) -> str:
    """The label, where it can be printed; else the beginning of the kind."""
    text = label.decode("ascii", errors="replace")
    return text if text and text.isprintable() and "\ufffd" not in text else f"{kind.hex()[:_SHOWN_HEX]}…"


def lines(intents: tuple[tuple[int, Intent], ...]) -> Iterator[tuple[str, str, str]]:
    """Number, type and text of each."""
    for serial, intent in intents:
        yield str(serial), _type(intent), to_text(intent)
