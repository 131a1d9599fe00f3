"""Application data: what actions leave in storage, and how long it stays.

A deletion criterion is, as a noun:

============================  =====================================================
``0``                         `Forever`
``1``                         `Now`: it is not stored at all
``["block" n]``               `AfterBlock`
``["time" s]``                `AfterTime`, in seconds since 1970
``["signature" key data]``    `AfterSignature`
``["either" a b]``            `Either`
============================  =====================================================

The Elixir node knows the first two, and stores nothing for the others.

Source: nspec v0.2.0, "Stored data format", "Action"; Anoma's Elixir node, ``backends.ex``: app_data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from anoma.crypto import primitives
from anoma.crypto.keys import KeyKind, KeyRefused, PublicKey, Signature
from anoma.nock.errors import NounError
from anoma.nock.noun import Cell, Noun, atom_bytes, atom_int, format_noun, is_atom, noun_of_term, term_of_noun
from anoma.resource_machine.errors import NotATransaction, WrongDeletionCriterion
from anoma.resource_machine.nouns import atom_of, is_zero, number_of, parts_of, term_key
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Map

_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Moment:
    """What deletion criteria are measured against. Parts that are not known fulfil nothing.

    Attributes:
        block: the height of the last block.
        time_s: seconds since 1970, as the chain knows them.
        signatures: who -> what they have signed, with the signature.
    """

    block: int = 0
    time_s: float = 0.0
    signatures: frozenset[tuple[bytes, bytes, bytes]] = frozenset()


@dataclass(frozen=True, slots=True)
class Forever:
    """Never deleted."""

    def fulfilled(self, _moment: Moment) -> bool:
        return False

    def to_noun(self) -> Noun:
        return 0


@dataclass(frozen=True, slots=True)
class Now:
    """Not stored at all."""

    def fulfilled(self, _moment: Moment) -> bool:
        return True

    def to_noun(self) -> Noun:
        return 1


@dataclass(frozen=True, slots=True)
class AfterBlock:
    """Deleted after the block of this height."""

    block: int

    def fulfilled(self, moment: Moment) -> bool:
        return moment.block > self.block

    def to_noun(self) -> Noun:
        return Cell(b"block", self.block)


@dataclass(frozen=True, slots=True)
class AfterTime:
    """Deleted after this time, in seconds since 1970."""

    time_s: int

    def fulfilled(self, moment: Moment) -> bool:
        return moment.time_s > self.time_s

    def to_noun(self) -> Noun:
        return Cell(b"time", self.time_s)


@dataclass(frozen=True, slots=True)
class AfterSignature:
    """Deleted when somebody has signed something.

    Attributes:
        key: of the signer, for Ed25519; 32 bytes.
        data: what is to be signed.
    """

    key: bytes
    data: bytes

    def fulfilled(self, moment: Moment) -> bool:
        return any(
            key == self.key and data == self.data and _signed(key, data, signature)
            for key, data, signature in moment.signatures
        )

    def to_noun(self) -> Noun:
        return Cell(b"signature", Cell(self.key, self.data))


@dataclass(frozen=True, slots=True)
class Either:
    """Deleted as soon as one of two criteria is fulfilled."""

    first: DeletionCriterion
    second: DeletionCriterion

    def fulfilled(self, moment: Moment) -> bool:
        return self.first.fulfilled(moment) or self.second.fulfilled(moment)

    def to_noun(self) -> Noun:
        return Cell(b"either", Cell(self.first.to_noun(), self.second.to_noun()))


DeletionCriterion = Forever | Now | AfterBlock | AfterTime | AfterSignature | Either
"""How long a blob stays."""


def _signed(key: bytes, data: bytes, signature: bytes) -> bool:
    try:
        return primitives.verify(PublicKey(KeyKind.ED25519, key), data, Signature(signature))
    except KeyRefused:
        return False


def criterion_of(noun: Noun, depth: int = _MAX_DEPTH) -> DeletionCriterion:
    """The criterion of a noun.

    Args:
        depth: so many criteria may be inside one another.

    Raises:
        WrongDeletionCriterion: it is none.
    """
    if is_atom(noun):
        if is_zero(noun):
            return Forever()
        if atom_int(noun) == 1:
            return Now()
    elif isinstance(noun, Cell) and is_atom(noun.head) and depth:
        try:
            match atom_bytes(noun.head):
                case b"block":
                    return AfterBlock(number_of(noun.tail, "the height of a block"))
                case b"time":
                    return AfterTime(number_of(noun.tail, "seconds since 1970"))
                case b"signature":
                    key, data = parts_of(noun.tail, 2, "a signature")
                    return AfterSignature(atom_of(key, "a public key", 32), atom_of(data, "what is signed"))
                case b"either":
                    first, second = parts_of(noun.tail, 2, "two criteria")
                    return Either(criterion_of(first, depth - 1), criterion_of(second, depth - 1))
        except NotATransaction as error:
            raise WrongDeletionCriterion(str(error)) from None
    raise WrongDeletionCriterion(
        "expected the deletion criterion 0 (forever), 1 (now), or a cell that begins with block, time, signature or "
        f"either, got {format_noun(noun, 60)}"
    )


# -- in actions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppDatum:
    """A blob that an action brings.

    Attributes:
        key: what it is stored under.
        value: the blob.
        deletion: the criterion, as a noun.
    """

    key: Noun
    value: Noun
    deletion: Noun = 0

    @property
    def criterion(self) -> DeletionCriterion:
        """How long it stays.

        Raises:
            WrongDeletionCriterion: there is no such criterion.
        """
        return criterion_of(self.deletion)

    def to_noun(self) -> Noun:
        """``[key value deletion]``."""
        return Cell(self.key, Cell(self.value, self.deletion))

    @classmethod
    def from_noun(cls, noun: Noun) -> AppDatum:
        """The blob of such a noun.

        Raises:
            NotATransaction: it is none.
        """
        key, value, deletion = parts_of(noun, 3, "application data")
        return cls(key, value, deletion)


def in_order(data: Iterable[AppDatum]) -> tuple[AppDatum, ...]:
    """Application data in the order of their keys as terms."""
    return tuple(sorted(data, key=lambda datum: term_key(datum.key)))


def _data_of_term(term: Any) -> tuple[AppDatum, ...]:
    if not isinstance(term, (dict, Map)):
        raise Mismatch(f"should be a map from nouns to {{Value, Flag}}, got {term!r:.80}")
    data = []
    for key, entry in term.pairs() if isinstance(term, Map) else term.items():
        if type(entry) is not tuple or len(entry) != 2:
            raise Mismatch(f"should be a map from nouns to {{Value, Flag}}, got {entry!r:.80}")
        value, deletion = entry
        if isinstance(deletion, bool):
            deletion = 0 if deletion else 1
        try:
            data.append(AppDatum(noun_of_term(key), noun_of_term(value), noun_of_term(deletion)))
        except NounError as error:
            raise Mismatch(f"should be a map from nouns to {{Value, Flag}}: {error}") from None
    return in_order(data)


def _term_of_data(data: tuple[AppDatum, ...]) -> Map:
    return Map((term_of_noun(one.key), (term_of_noun(one.value), term_of_noun(one.deletion))) for one in data)


APP_DATA_CONVERSION: Final = Conversion(_data_of_term, _term_of_data)
"""Application data, and the map that they are in Elixir."""


# -- in storage -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in storage.

    Attributes:
        value: the blob.
        criterion: how long it stays.
    """

    value: Noun
    criterion: DeletionCriterion = field(default_factory=Forever)

    def to_term(self) -> tuple[Any, Any]:
        """``{Value, Criterion}``, both as Erlang terms of nouns: what is stored."""
        return (term_of_noun(self.value), term_of_noun(self.criterion.to_noun()))

    @classmethod
    def from_term(cls, term: Any) -> Blob:
        """The blob of such a term.

        Raises:
            ValueError: it is none.
        """
        match term:
            case (value, criterion):
                return cls(noun_of_term(value), criterion_of(noun_of_term(criterion)))
        raise ValueError(f"expected a stored blob {{Value, Criterion}}, got {term!r:.80}")


@dataclass(frozen=True, slots=True)
class BlobStore:
    """Blobs by key, as a value: the specification's data blob storage.

    Attributes:
        blobs: never changed after it is made.
    """

    blobs: Mapping[Noun, Blob] = field(default_factory=dict)

    def put(self, key: Noun, blob: Blob) -> BlobStore:
        """With one more; one whose criterion is `Now` is not stored."""
        if isinstance(blob.criterion, Now):
            return self
        return BlobStore({**self.blobs, key: blob})

    def get(self, key: Noun, moment: Moment) -> Noun | None:
        """A blob that is there and not to be deleted yet; else None."""
        blob = self.blobs.get(key)
        return None if blob is None or blob.criterion.fulfilled(moment) else blob.value

    def collect(self, moment: Moment) -> BlobStore:
        """Without those whose criterion is fulfilled."""
        return BlobStore({key: blob for key, blob in self.blobs.items() if not blob.criterion.fulfilled(moment)})
