"""Resources: what transactions create and consume.

The specification's resource and the Elixir node's are one here. What the specification has as a reference, a hash, is
the value itself in a transparent machine:

==========================  ==================  ==============================================================
specification               field               in this machine
==========================  ==================  ==============================================================
``logicRef``                ``logic``           the logic itself, a Nock core
``labelRef``                ``label``           the label itself
``valueRef``                ``data``            the value itself
``quantity``                ``quantity``
``isEphemeral``             ``ephemeral``
``nonce``                   ``nonce``           32 bytes
``nullifierKeyCommitment``  ``nullifier_key``   in the nullifier, but no secret: see below
``randSeed``                ``rseed``           not used
``commitment()``            `commitment`        ``CM_`` and the resource itself, jammed: no hash
``nullifier(nk)``           `nullifier`         ``NF_`` and the resource itself, jammed: no key
``kind()``                  `kind`              SHA-256 of the jammed pair of label and logic
``delta(extra)``            `delta`             the quantity under the kind: no extra input
==========================  ==================  ==============================================================

So everybody who knows a resource can write its nullifier, and who may consume it is for its logic to say.

Source: nspec v0.2.0, "Resource" and its computable components; Anoma's Elixir node, ``resource.ex``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from anoma.nock.jam import jam
from anoma.nock.noun import Cell, Noun
from anoma.resource_machine.delta import Delta
from anoma.resource_machine.errors import NotATransaction, tag_text
from anoma.resource_machine.nouns import (
    NounField,
    atom_of,
    flag,
    flag_of,
    number_of,
    parts_of,
    term_key,
)
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.etf.structs import struct
from erlang_bridge.terms import Atom
from erlang_bridge.terms.immutable import set_once

COMMITMENT_PREFIX: Final = b"CM_"
NULLIFIER_PREFIX: Final = b"NF_"
TRIVIAL_LOGIC: Final[Noun] = Cell(Cell(1, 0), Cell(0, 0))
"""A logic that says yes to everything: a core whose arm is the constant 0."""

_ZEROS: Final = bytes(32)
_FIELDS: Final = 8


class _Computed:
    """What is worked out once for a resource."""

    __slots__ = ("_jammed", "_kind")

    _jammed: bytes
    _kind: bytes


@struct("Elixir.Anoma.TransparentResource.Resource")
@dataclass(frozen=True, slots=True)
class Resource(_Computed):
    """A resource.

    Attributes:
        label: tells apart resources of one logic; together they are the kind.
        logic: a Nock core whose arm at axis 2 says with 0 that a resource may be created or consumed.
        ephemeral: need not have been created before it is consumed.
        quantity: how much of the kind it is; 0 or more.
        data: whatever belongs to it and is not part of its kind.
        nullifier_key: 32 bytes, as a rule the public key of who may consume it.
        nonce: 32 bytes; makes it another one than others with the same values.
        rseed: not used in a transparent machine.

    Raises:
        ValueError: a field has a wrong type, or the quantity is negative.
    """

    label: bytes = b""
    logic: NounField = TRIVIAL_LOGIC
    ephemeral: bool = False
    quantity: int = 1
    data: bytes = b""
    nullifier_key: bytes = _ZEROS
    nonce: bytes = _ZEROS
    rseed: bytes = b""

    def __post_init__(self) -> None:
        for name in ("label", "data", "nullifier_key", "nonce", "rseed"):
            if type(getattr(self, name)) is not bytes:
                raise ValueError(f"{name} of a resource should be bytes, got {getattr(self, name)!r:.80}")
        if type(self.quantity) is not int or self.quantity < 0:
            raise ValueError(f"quantity of a resource should be 0 or more, got {self.quantity!r:.80}")
        if type(self.ephemeral) is not bool:
            raise ValueError(f"ephemeral of a resource should be a boolean, got {self.ephemeral!r:.80}")

    # -- computable components ----------------------------------------------------------------

    @property
    def kind(self) -> bytes:
        """SHA-256 of the jammed ``[label logic]``: resources of one kind can replace each other."""
        try:
            return self._kind
        except AttributeError:
            set_once(self, "_kind", sha256(jam(Cell(self.label, self.logic))).digest())
            return self._kind

    @property
    def delta(self) -> Delta:
        """The quantity under the kind; of a quantity of 0, nothing."""
        return Delta({self.kind: self.quantity} if self.quantity else {})

    @property
    def commitment(self) -> bytes:
        """Says that it was created."""
        return COMMITMENT_PREFIX + self.jammed

    @property
    def nullifier(self) -> bytes:
        """Says that it was consumed."""
        return NULLIFIER_PREFIX + self.jammed

    @property
    def jammed(self) -> bytes:
        """The resource as bytes."""
        try:
            return self._jammed
        except AttributeError:
            set_once(self, "_jammed", jam(self.to_noun()))
            return self._jammed

    def tag(self, is_consumed: bool) -> Tag:
        """What it is known by in an action: the nullifier where it is consumed, else the commitment."""
        return Tag(is_consumed, self.nullifier if is_consumed else self.commitment)

    # -- as a noun ----------------------------------------------------------------------------

    def to_noun(self) -> Noun:
        """``[label logic ephemeral quantity data nullifier_key nonce rseed]``; the flag is 0 for yes."""
        noun: Noun = Cell(self.nonce, self.rseed)
        for part in (self.nullifier_key, self.data, self.quantity, flag(self.ephemeral), self.logic, self.label):
            noun = Cell(part, noun)
        return noun

    @classmethod
    def from_noun(cls, noun: Noun) -> Resource:
        """The resource of such a noun. Keys and nonces get back the zeros that `jam` took from their ends.

        Raises:
            NotATransaction: it is none.
        """
        label, logic, ephemeral, quantity, data, nullifier_key, nonce, rseed = parts_of(noun, _FIELDS, "a resource")
        return cls(
            label=atom_of(label, "the label of a resource"),
            logic=logic,
            ephemeral=flag_of(ephemeral, "the ephemeral flag of a resource"),
            quantity=number_of(quantity, "the quantity of a resource"),
            data=atom_of(data, "the data of a resource"),
            nullifier_key=atom_of(nullifier_key, "the nullifier key of a resource", 32),
            nonce=atom_of(nonce, "the nonce of a resource", 32),
            rseed=atom_of(rseed, "the seed of a resource"),
        )

    def order_key(self) -> tuple[object, ...]:
        """For `sorted`: the order of the Elixir structs as terms."""
        return (
            self.data,
            self.ephemeral,
            self.label,
            term_key(self.logic),
            self.nonce,
            self.nullifier_key,
            self.quantity,
            self.rseed,
        )


# -- tags -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """What a resource is known by in an action.

    Attributes:
        is_consumed: the action consumes it; else it creates it.
        value: its nullifier, or its commitment.
    """

    is_consumed: bool
    value: bytes

    def __str__(self) -> str:
        return tag_text(self.value)

    @classmethod
    def from_noun(cls, noun: Noun) -> Tag:
        """The tag of a nullifier or commitment: their first three bytes say which.

        Raises:
            NotATransaction: it begins like neither.
        """
        value = atom_of(noun, "a commitment or nullifier")
        if value.startswith(NULLIFIER_PREFIX):
            return cls(True, value)
        if value.startswith(COMMITMENT_PREFIX):
            return cls(False, value)
        raise NotATransaction(f"a commitment begins with CM_, a nullifier with NF_, got {value[:40]!r}")


_NULLIFIED: Final = Atom("nullified")
_COMMITTED: Final = Atom("committed")


def _tag_of_term(term: object) -> Tag:
    match term:
        case (kind, bytes(value)) if kind is _NULLIFIED or kind is _COMMITTED:
            return Tag(kind is _NULLIFIED, value)
        case Tag():
            return term
    raise Mismatch(f"should be {{nullified, Binary}} or {{committed, Binary}}, got {term!r:.80}")


def _term_of_tag(tag: Tag) -> tuple[Atom, bytes]:
    return (_NULLIFIED if tag.is_consumed else _COMMITTED, tag.value)


TAG_CONVERSION: Final = Conversion(_tag_of_term, _term_of_tag, lambda value: isinstance(value, Tag))
"""A tag, and ``{nullified | committed, Binary}``."""


def commitment_of(nullifier: bytes) -> bytes:
    """The commitment of the resource whose nullifier this is.

    Example:
        >>> commitment_of(b"NF_1234")
        b'CM_1234'
    """
    return COMMITMENT_PREFIX + nullifier[len(NULLIFIER_PREFIX) :]
