"""Who there is: identities with keys of their own, compositions of them, and the two that need no keys.

An external identity is public: it verifies and encrypts. Its name, which fits everywhere the specification has an
``ExternalIdentity``, is the hash of it in 64 hexadecimal digits:

* of two keys: ``blake3(Ed25519 key ++ X25519 key)``;
* of a composition: ``blake3`` of the `signable` bytes of ``{<<"threshold">>, Threshold, [{Hash, Weight}, ...]}``,
  ordered by hash;
* of *all* and *none*: ``blake3`` of the `signable` bytes of ``<<"all">>`` and ``<<"none">>``.

As terms: ``{external_keys, #{verifier => Key, encryptor => Key}}``, ``{threshold, #{threshold => Integer, members =>
[{Weight, Identity}]}}``, ``all``, ``none``.

Source: nspec v0.2.0, "Identity Architecture": identities, composition, special identities. That a member named twice
counts with both of its weights is ours: in the specification the second replaces the first, and ``x && x`` could never
sign.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from anoma.crypto.keys import KEY_SIZE, KeyKind, KeyRefused, PrivateKey, PublicKey, Secret
from anoma.crypto.primitives import derive, digest, seal
from anoma.crypto.signable import signable
from anoma.crypto.terms import binary, elements, expected, fields_of
from erlang_bridge.errors import brief
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Atom

ExternalIdentity = str
"""The name of an identity: its hash, see above. nspec has ``ExternalIdentity`` as a text, too."""

MAX_MEMBERS: Final = 256
"""Identities in a composition, those of its members included."""
MAX_DEPTH: Final = 16
"""Compositions of compositions of ..."""
MAX_WEIGHT: Final = 2**64 - 1

EXTERNAL_KEYS: Final = Atom("external_keys")
VERIFIER: Final = Atom("verifier")
ENCRYPTOR: Final = Atom("encryptor")
THRESHOLD: Final = Atom("threshold")
MEMBERS: Final = Atom("members")
_ALL: Final = Atom("all")
_NONE: Final = Atom("none")


class NotOffered(Exception):
    """Something that the specification names and this implementation does not do; says what there is instead."""


def is_external_identity(text: Any) -> bool:
    """Whether a text has the form of an identity's name."""
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ExternalKeys:
    """The public half of an identity that has keys of its own.

    Attributes:
        verifier: its Ed25519 key.
        encryptor: its X25519 key.
        external_identity: its name.

    Raises:
        KeyRefused: keys of other kinds.
    """

    verifier: PublicKey
    encryptor: PublicKey
    external_identity: ExternalIdentity = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.verifier.kind is not KeyKind.ED25519 or self.encryptor.kind is not KeyKind.CURVE25519:
            got = f"{self.verifier.kind} and {self.encryptor.kind}"
            raise KeyRefused(f"expected a key for ed25519 and one for curve25519, got {got}")
        object.__setattr__(self, "external_identity", digest(self.verifier.data + self.encryptor.data).hex)

    def __repr__(self) -> str:
        return f"<ExternalKeys {self.external_identity[:12]}...>"

    def __erlang_term__(self) -> Any:
        return EXTERNAL_KEYS, {VERIFIER: self.verifier.data, ENCRYPTOR: self.encryptor.data}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_external_keys, to_term, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True)
class InternalKeys:
    """The private half of such an identity: nspec's internal identity.

    Attributes:
        signer: its Ed25519 key.
        decryptor: its X25519 key.
    """

    signer: PrivateKey
    decryptor: PrivateKey

    @classmethod
    def of(cls, randomness: Secret) -> InternalKeys:
        """Keys made of 64 random bytes, which nobody else may know.

        Raises:
            KeyRefused: not that many.
        """
        data = randomness.reveal()
        if len(data) != 2 * KEY_SIZE:
            raise KeyRefused(f"expected {2 * KEY_SIZE} random bytes to make an identity of, got {len(data)}")
        return cls(PrivateKey(KeyKind.ED25519, data[:KEY_SIZE]), PrivateKey(KeyKind.CURVE25519, data[KEY_SIZE:]))

    @property
    def external(self) -> ExternalKeys:
        """The public half."""
        return ExternalKeys(self.signer.public, self.decryptor.public)

    def derive(self, context: str, size: int = KEY_SIZE) -> bytes:
        """More bytes that nobody else knows, others for each context."""
        return derive(self.signer.reveal(), context, size)


class Special(Enum):
    """The identities without keys.

    Everybody signs as *all*, and reads what is encrypted for it; nobody as *none*.
    """

    ALL = "all"
    NONE = "none"

    @property
    def external_identity(self) -> ExternalIdentity:
        """Its name."""
        return digest(signable(self.value.encode())).hex

    def __erlang_term__(self) -> Atom:
        return Atom(self.value)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A composition: signs when members with that much weight have signed.

    Attributes:
        threshold: the weight that is needed; 0 or more.
        members: weight and identity, by the identities' names; each identity once.
        external_identity: its name.
        size: identities in it, at all depths.
        depth: compositions inside each other.

    Raises:
        ValueError: numbers below 0 or above `MAX_WEIGHT`, or more than `MAX_MEMBERS` or `MAX_DEPTH`.
    """

    threshold: int
    members: tuple[tuple[int, Identity], ...]
    external_identity: ExternalIdentity = field(init=False, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        weights: dict[ExternalIdentity, int] = {}
        identities: dict[ExternalIdentity, Identity] = {}
        for weight, identity in self.members:
            name = identity.external_identity
            weights[name] = weights.get(name, 0) + weight
            identities[name] = identity
        for number in (self.threshold, *weights.values()):
            if not 0 <= number <= MAX_WEIGHT:
                raise ValueError(f"expected weights and thresholds from 0 to {MAX_WEIGHT}, got {brief(number, 80)}")
        size = len(identities) + sum(m.size for m in identities.values() if isinstance(m, Threshold))
        depth = 1 + max((m.depth for m in identities.values() if isinstance(m, Threshold)), default=0)
        if size > MAX_MEMBERS or depth > MAX_DEPTH:
            raise ValueError(f"a composition has at most {MAX_MEMBERS} identities in it, and a depth of {MAX_DEPTH}")
        ordered = sorted(weights)
        hashed = (b"threshold", self.threshold, [(name.encode(), weights[name]) for name in ordered])
        object.__setattr__(self, "members", tuple((weights[name], identities[name]) for name in ordered))
        object.__setattr__(self, "external_identity", digest(signable(hashed)).hex)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "depth", depth)

    def __erlang_term__(self) -> Any:
        return THRESHOLD, {THRESHOLD: self.threshold, MEMBERS: [(w, to_term(member)) for w, member in self.members]}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(lambda term: _threshold(term, MAX_DEPTH), to_term, lambda value: isinstance(value, cls))


Identity = ExternalKeys | Threshold | Special
"""An external identity, in full."""


def both(x: Identity, y: Identity) -> Threshold:
    """``x && y``: signs when both have signed."""
    return Threshold(2, ((1, x), (1, y)))


def either(x: Identity, y: Identity) -> Threshold:
    """``x || y``: signs when one of them has signed."""
    return Threshold(1, ((1, x), (1, y)))


def identity_of(term: Any) -> Identity:
    """Read an identity from a term.

    Raises:
        Mismatch: it is none.
    """
    return _identity(term, MAX_DEPTH)


def to_term(identity: Identity) -> Any:
    """The identity as a term."""
    return identity.__erlang_term__()


def encrypt_for(identity: Identity, plaintext: bytes, ephemeral: PrivateKey) -> bytes:
    """What only that identity can read.

    For *all* it is the plaintext itself, for *none* it is nothing.

    Args:
        ephemeral: made of fresh random bytes, and used for this once.

    Raises:
        NotOffered: a composition.
        KeyRefused: a public key that protects nothing.
    """
    match identity:
        case ExternalKeys():
            return seal(identity.encryptor, plaintext, ephemeral)
        case Special.ALL:
            return plaintext
        case Special.NONE:
            return b""
    raise NotOffered(
        "encryption for a composition is not offered: it would have to share a secret among its members; encrypt for "
        "each of them, or submit evidence that an identity with keys reads for the composition"
    )


# -- terms ------------------------------------------------------------------------------------

_KEYS_TERM: Final = "{external_keys, #{verifier => <<32 bytes>>, encryptor => <<32 bytes>>}}"
_THRESHOLD_TERM: Final = "{threshold, #{threshold => Integer, members => [{Weight, Identity}]}}"


def _identity(term: Any, depth: int) -> Identity:
    if isinstance(term, (ExternalKeys, Threshold, Special)):
        return term
    if term is _ALL:
        return Special.ALL
    if term is _NONE:
        return Special.NONE
    tag = term[0] if type(term) is tuple and term else None
    if tag is EXTERNAL_KEYS:
        return _external_keys(term)
    if tag is THRESHOLD:
        return _threshold(term, depth)
    raise expected("an identity: {external_keys, Map}, {threshold, Map}, all or none", term)


def _external_keys(term: Any) -> ExternalKeys:
    if isinstance(term, ExternalKeys):
        return term
    keys = fields_of(term, EXTERNAL_KEYS, VERIFIER, ENCRYPTOR, what=_KEYS_TERM)
    verifier, encryptor = (binary(key, "a public key of 32 bytes", KEY_SIZE) for key in keys)
    return ExternalKeys(PublicKey(KeyKind.ED25519, verifier), PublicKey(KeyKind.CURVE25519, encryptor))


def _threshold(term: Any, depth: int) -> Threshold:
    if isinstance(term, Threshold):
        return term
    threshold, members = fields_of(term, THRESHOLD, THRESHOLD, MEMBERS, what=_THRESHOLD_TERM)
    if depth == 0 or len(elements(members, "a list of members")) > MAX_MEMBERS:
        raise Mismatch(f"should have at most {MAX_MEMBERS} identities in it, and a depth of {MAX_DEPTH}")
    read = []
    for member in members:
        if type(member) is not tuple or len(member) != 2:
            raise expected("a member {Weight, Identity}", member)
        read.append((_number(member[0]), _identity(member[1], depth - 1)))
    try:
        return Threshold(_number(threshold), tuple(read))
    except ValueError as error:
        raise Mismatch(f"is no composition: {error}") from None


def _number(term: Any) -> int:
    if type(term) is not int:
        raise expected("an integer, a weight or threshold", term)
    return term
