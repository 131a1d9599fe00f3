"""Objects in chunks: cut, encrypted, and found again by their digests.

An object's plaintext is cut into equal parts (the last may be shorter), the leaves of a tree. Each part is encrypted
with a key made of its own digest and of a secret: the same part gives the same chunk, for all who know the secret, and
tells nothing to others. An inner node's plaintext has the keys of its children; its chunk names the children by their
ids. The id of a chunk is the digest of all of it, so the id of the root, with the root's key, is the object.

As terms::

    {chunk, #{children => [Id], expiry => Seconds, acl => {acl, _} | nil, content => <<Ciphertext>>}}
    {acl, #{owner => Key, members => [Key], version => Integer, sig => <<64 bytes>>}}

and the plaintexts ``{leaf_node, Bytes}`` and ``{internal_node, [Key]}``.

Source: nspec v0.2.0, "Storage types". The specification cuts the ciphertext of the whole, and has a key for each chunk
in the inner nodes: both is not possible; the keys are what it needs for a part to be read without the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.crypto.keys import DIGEST_SIZE, KEY_SIZE, NONCE_SIZE, KeyKind, PrivateKey, PublicKey, SecretKey, Signature
from anoma.crypto.primitives import TAG_SIZE, decrypt, derive, digest, encrypt, sign, verify
from anoma.crypto.signable import signable
from anoma.crypto.terms import binary, elements, fields_of
from erlang_bridge.errors import EtfDecodeError
from erlang_bridge.etf import decode
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Atom

ChunkID = bytes
"""32 bytes: the digest of a chunk."""

PART_SIZE: Final = 64 << 10
FAN_OUT: Final = 64
MAX_DEPTH: Final = 12
MAX_MEMBERS: Final = 1024
MAX_CHILDREN: Final = 1024
MAX_CONTENT: Final = 1 << 20
EMPTY_SIGNATURE: Final = Signature(b"")

_CONTEXT: Final = "pyanoma, convergent encryption of a chunk, version 1"
_NO_NONCE: Final = bytes(NONCE_SIZE)
"""Each key encrypts one plaintext only."""

_CHUNK: Final = Atom("chunk")
_CHILDREN: Final = Atom("children")
_EXPIRY: Final = Atom("expiry")
_ACL: Final = Atom("acl")
_CONTENT: Final = Atom("content")
_OWNER: Final = Atom("owner")
_MEMBERS: Final = Atom("members")
_VERSION: Final = Atom("version")
_SIG: Final = Atom("sig")
_LEAF_NODE: Final = Atom("leaf_node")
_INTERNAL_NODE: Final = Atom("internal_node")


class ChunkRefused(ValueError):
    """A chunk is not what its id, its key or its place says, or is missing; says which, and why."""


@dataclass(frozen=True, slots=True)
class ACL:
    """Who may read.

    Attributes:
        owner: the key, 32 bytes for Ed25519, that signs it and its later versions, and stands for it.
        members: the keys of the nodes that may.
        version: raised by each change.
        sig: the owner's, over the other fields.

    Raises:
        ValueError: not of these sizes.
    """

    owner: bytes
    members: frozenset[bytes]
    version: int = 1
    sig: Signature = EMPTY_SIGNATURE

    def __post_init__(self) -> None:
        if len(self.owner) != KEY_SIZE or any(len(member) != KEY_SIZE for member in self.members):
            raise ValueError(f"the owner and the members of an access list are keys of {KEY_SIZE} bytes")
        if len(self.members) > MAX_MEMBERS or self.version < 0:
            raise ValueError(f"an access list has at most {MAX_MEMBERS} members, and a version of 0 or more")

    @classmethod
    def signed(cls, key: PrivateKey, members: Iterable[bytes], version: int = 1) -> ACL:
        """One by the owner of `key`."""
        acl = cls(key.public.data, frozenset(members), version)
        return replace(acl, sig=sign(key, acl._statement()))

    def holds(self) -> bool:
        """Whether its owner has signed it."""
        return verify(PublicKey(KeyKind.ED25519, self.owner), self._statement(), self.sig)

    def _statement(self) -> bytes:
        return signable((b"acl", self.owner, sorted(self.members), self.version))

    def __erlang_term__(self) -> Any:
        fields = {_OWNER: self.owner, _MEMBERS: sorted(self.members), _VERSION: self.version, _SIG: self.sig.data}
        return _ACL, fields

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_acl_from, cls.__erlang_term__, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an object as it is stored, and as it travels.

    Attributes:
        children: ids of the chunks below it, in order; none of a leaf.
        expiry: in seconds since 1970-01-01 UTC; from then on nobody has it.
        acl: who may ask for it; None: everybody.
        content: the ciphertext.

    Raises:
        ValueError: not of these sizes, or too much.
    """

    children: tuple[ChunkID, ...]
    expiry: int
    content: bytes
    acl: ACL | None = None

    def __post_init__(self) -> None:
        if len(self.children) > MAX_CHILDREN or any(len(child) != DIGEST_SIZE for child in self.children):
            raise ValueError(f"a chunk has at most {MAX_CHILDREN} children, named by digests of {DIGEST_SIZE} bytes")
        if len(self.content) > MAX_CONTENT:
            raise ValueError(f"a chunk has at most {MAX_CONTENT} bytes, got {len(self.content)}")
        if not 0 <= self.expiry < 2**63:
            raise ValueError(f"expected seconds since 1970 as the expiry of a chunk, got {self.expiry}")

    @property
    def id(self) -> ChunkID:
        """The digest of all of it."""
        return digest(signable(self.__erlang_term__())).data

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        members = 0 if self.acl is None else len(self.acl.members) + 4
        return len(self.content) + DIGEST_SIZE * (len(self.children) + members) + 64

    def __erlang_term__(self) -> Any:
        acl = None if self.acl is None else self.acl.__erlang_term__()
        fields = {_CHILDREN: list(self.children), _EXPIRY: self.expiry, _ACL: acl, _CONTENT: self.content}
        return _CHUNK, fields

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(chunk_from, cls.__erlang_term__, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What it takes to read an object again.

    Attributes:
        id: of the root chunk.
        key: of the root chunk; 32 bytes that only readers should know.
    """

    id: ChunkID
    key: SecretKey


# -- terms ------------------------------------------------------------------------------------


def chunk_from(term: Any) -> Chunk:
    """Read a chunk.

    Raises:
        Mismatch: it is none.
    """
    if isinstance(term, Chunk):
        return term
    what = "{chunk, #{children => [Id], expiry => Seconds, acl => {acl, Map} | nil, content => Binary}}"
    children, expiry, acl, content = fields_of(term, _CHUNK, _CHILDREN, _EXPIRY, _ACL, _CONTENT, what=what)
    if type(expiry) is not int:
        raise Mismatch("should have an integer as expiry")
    ids = tuple(binary(child, "an id of 32 bytes", DIGEST_SIZE) for child in elements(children, "a list of ids"))
    try:
        return Chunk(ids, expiry, binary(content, "a binary"), None if acl is None else _acl_from(acl))
    except ValueError as error:
        raise Mismatch(f"is no chunk: {error}") from None


def _acl_from(term: Any) -> ACL:
    if isinstance(term, ACL):
        return term
    what = "{acl, #{owner => Key, members => [Key], version => Integer, sig => Signature}}"
    owner, members, version, sig = fields_of(term, _ACL, _OWNER, _MEMBERS, _VERSION, _SIG, what=what)
    keys = frozenset(binary(member, "a key of 32 bytes", KEY_SIZE) for member in elements(members, "a list of keys"))
    if type(version) is not int:
        raise Mismatch("should have an integer as version")
    try:
        return ACL(binary(owner, "a key of 32 bytes", KEY_SIZE), keys, version, Signature(binary(sig, "a signature")))
    except ValueError as error:
        raise Mismatch(f"is no access list: {error}") from None


# -- objects ----------------------------------------------------------------------------------


def cut(
    data: bytes,
    secret: bytes,
    expiry: int,
    *,
    acl: ACL | None = None,
    part_size: int = PART_SIZE,
    fan_out: int = FAN_OUT,
) -> tuple[StoredObject, tuple[Chunk, ...]]:
    """Make chunks of an object.

    Args:
        secret: two objects with the same content have the same chunks if their secrets are the same. Empty: they do
            for everybody, who then can find out whether an object is one that they know.
        expiry: of all of the chunks, see there.

    Returns:
        What reads it again, and the chunks, children before parents.

    Raises:
        ValueError: impossible sizes.

    Example:
        >>> stored, chunks = cut(b"some text", b"secret", 2_000_000_000)
        >>> assemble(stored, {chunk.id: chunk for chunk in chunks}.get)
        b'some text'
    """
    if not 1 <= part_size <= MAX_CONTENT - 64 or not 2 <= fan_out <= MAX_CHILDREN:
        raise ValueError(f"expected parts of 1 to {MAX_CONTENT - 64} bytes, and 2 to {MAX_CHILDREN} children")
    chunks: list[Chunk] = []
    seen: set[ChunkID] = set()

    def make(children: tuple[StoredObject, ...], term: Any) -> StoredObject:
        plaintext = signable(term)
        key = SecretKey(derive(secret + digest(plaintext).data, _CONTEXT))
        chunk = Chunk(tuple(child.id for child in children), expiry, encrypt(key, plaintext, _NO_NONCE), acl)
        made = StoredObject(chunk.id, key)
        if made.id not in seen:
            seen.add(made.id)
            chunks.append(chunk)
        return made

    parts = range(0, max(len(data), 1), part_size)
    level = [make((), (_LEAF_NODE, data[start : start + part_size])) for start in parts]
    while len(level) > 1:
        groups = [tuple(level[start : start + fan_out]) for start in range(0, len(level), fan_out)]
        level = [make(group, (_INTERNAL_NODE, [child.key.reveal() for child in group])) for group in groups]
    return level[0], tuple(chunks)


def assemble(stored: StoredObject, fetch: Callable[[ChunkID], Chunk | None], *, max_size: int = 1 << 30) -> bytes:
    """The object's content.

    Args:
        fetch: a chunk by its id; None: it is not to be had.
        max_size: in bytes.

    Raises:
        ChunkRefused: a chunk is missing or changed, or there is more than `max_size`.
    """
    parts: list[bytes] = []
    size = 0
    for part in _leaves(stored, fetch, MAX_DEPTH):
        size += len(part)
        if size > max_size:
            raise ChunkRefused(f"the object has more than {max_size} bytes")
        parts.append(part)
    return b"".join(parts)


def _leaves(stored: StoredObject, fetch: Callable[[ChunkID], Chunk | None], depth: int) -> Iterator[bytes]:
    chunk = fetch(stored.id)
    if chunk is None:
        raise ChunkRefused(f"the chunk {stored.id.hex()} is missing")
    kind, value = open_chunk(chunk, stored)
    if kind is _LEAF_NODE:
        yield value
        return
    if depth == 0:
        raise ChunkRefused(f"the object has more than {MAX_DEPTH} levels")
    for child, key in zip(chunk.children, value, strict=True):
        yield from _leaves(StoredObject(child, key), fetch, depth - 1)


def open_chunk(chunk: Chunk, stored: StoredObject) -> tuple[Atom, Any]:
    """What is in a chunk: ``leaf_node`` and bytes, or ``internal_node`` and the keys of its children.

    Raises:
        ChunkRefused: it is not the one with that id, or has another key.
    """
    if chunk.id != stored.id:
        raise ChunkRefused(f"a chunk has the digest {chunk.id.hex()}, and the one with {stored.id.hex()} was asked for")
    plaintext = decrypt(stored.key, chunk.content, _NO_NONCE) if len(chunk.content) >= TAG_SIZE else None
    if plaintext is None:
        raise ChunkRefused(f"the chunk {stored.id.hex()} is encrypted with another key")
    try:
        term = decode(plaintext, max_inflated=MAX_CONTENT, structs={})
    except EtfDecodeError:
        term = None
    match term:
        case (Atom("leaf_node"), bytes(part)) if not chunk.children:
            return _LEAF_NODE, part
        case (Atom("internal_node"), list(keys)) if len(keys) == len(chunk.children) > 0:
            if all(type(key) is bytes and len(key) == KEY_SIZE for key in keys):
                return _INTERNAL_NODE, [SecretKey(key) for key in keys]
    raise ChunkRefused(f"the chunk {stored.id.hex()} is neither a leaf nor an inner node of its object")
