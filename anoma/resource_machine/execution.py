"""What a transaction reads, and writes if the state allows it.

Every nullifier, commitment, root and blob has a key of its own, so that transactions that have none of them in common
never wait for each other:

===========================================  =======================================  ==========================
key                                          value                                    written by
===========================================  =======================================  ==========================
``{"anoma", "nullifiers", Nullifier}``       fingerprint of who consumed it           transactions
``{"anoma", "commitments", Commitment}``     fingerprint of who created it            transactions
``{"anoma", "blob", Key}``                   ``{Value, Criterion}``, see `blobs`      transactions
``{"anoma", "positions", Commitment}``       place in the commitment tree             steps of the tree (`roots`)
``{"anoma", "roots", Root}``                 leaves of the tree that has this root    steps of the tree
``{"anoma", "commitment_tree"}``             ``{Size, [Hash]}``, its frontier         steps of the tree
===========================================  =======================================  ==========================

Whether a consumed resource exists: a transaction that names roots is held to them, so its resources must be in the
tree with the largest of these roots; one that names none is held to the state as it is at its turn. Ephemeral resources
need not exist.

Source: nspec v0.2.0, "Execution flow"; Anoma's Elixir node, ``backends.ex``, which has one key for all nullifiers, one
for all commitments, and looks for roots under a key that it never writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from anoma.keys import Key
from anoma.nock.jam import jam
from anoma.nock.noun import Noun, atom_bytes, is_atom
from anoma.programs.runnable import ABSENT
from anoma.resource_machine.blobs import Blob, Now
from anoma.resource_machine.errors import CommitmentExists, NullifierExists, ResourceMissing, UnknownRoot
from anoma.resource_machine.resource import commitment_of
from anoma.resource_machine.transaction import Transaction

SPACE: Final = b"anoma"
TREE_KEY: Final[Key] = (SPACE, b"commitment_tree")
_COMMITMENTS: Final = b"commitments"


def is_reserved(key: Key) -> bool:
    """Whether only transactions of the resource machine may write a key: what they believe stands there."""
    return type(key) is tuple and len(key) > 0 and key[0] == SPACE


def nullifier_key(nullifier: bytes) -> Key:
    """Says who consumed a resource."""
    return (SPACE, b"nullifiers", nullifier)


def commitment_key(commitment: bytes) -> Key:
    """Says who created a resource."""
    return (SPACE, _COMMITMENTS, commitment)


def position_key(commitment: bytes) -> Key:
    """Says where in the commitment tree a resource is."""
    return (SPACE, b"positions", commitment)


def root_key(root: bytes) -> Key:
    """Says that this is a root of the commitment tree, and of how many leaves.

    Without zeros at its end: a root that was jammed has lost them.
    """
    return (SPACE, b"roots", root.rstrip(b"\0"))


def blob_key(key: Noun) -> Key:
    """Where application data are: an atom as bytes, a cell jammed."""
    return (SPACE, b"blob", atom_bytes(key)) if is_atom(key) else (SPACE, b"blob", b"jam", jam(key))


def created_by(key: Key) -> bytes | None:
    """The commitment whose key this is; None: it is another key."""
    if type(key) is tuple and len(key) == 3 and key[:2] == (SPACE, _COMMITMENTS) and type(key[2]) is bytes:
        return key[2]
    return None


class Label(NamedTuple):
    """What is read and written.

    Attributes:
        eager_reads: read in any case.
        will_writes: written in any case.
        may_writes: none, for transactions.
    """

    eager_reads: frozenset[Key]
    will_writes: frozenset[Key]
    may_writes: frozenset[Key] = frozenset()


def label_of(transaction: Transaction) -> Label:
    """The label of a transaction.

    Raises:
        WrongDeletionCriterion: application data with a criterion that there is not.
    """
    nullifiers = {nullifier_key(nullifier) for nullifier in transaction.nullifiers()}
    commitments = {commitment_key(commitment) for commitment in transaction.commitments()}
    where = position_key if transaction.roots else commitment_key
    needed = {where(commitment) for commitment in _needed(transaction)}
    roots = {root_key(root) for root in transaction.roots}
    blobs = {blob_key(key) for key in _blobs(transaction)}
    return Label(frozenset(nullifiers | commitments | needed | roots), frozenset(nullifiers | commitments | blobs))


def apply(transaction: Transaction, values: Mapping[Key, Any], fingerprint: int) -> dict[Key, Any]:
    """What a transaction writes.

    Args:
        transaction: verified.
        values: what the keys of its label have; one that is not there counts as `ABSENT`.
        fingerprint: of the transaction.

    Raises:
        StateRefusal: the state does not allow it; a double spend first.
    """
    nullifiers = sorted(transaction.nullifiers())
    commitments = sorted(transaction.commitments())
    for nullifier in nullifiers:
        if _value(values, nullifier_key(nullifier)) is not ABSENT:
            raise NullifierExists(nullifier)
    for commitment in commitments:
        if _value(values, commitment_key(commitment)) is not ABSENT:
            raise CommitmentExists(commitment)
    leaves = _leaves(transaction, values)
    for commitment in _needed(transaction):
        if not transaction.roots:
            if _value(values, commitment_key(commitment)) is ABSENT:
                raise ResourceMissing(commitment, "was not created before")
        else:
            position = _value(values, position_key(commitment))
            if position is ABSENT or position >= leaves:
                raise ResourceMissing(commitment, "is under none of the roots that the transaction names")
    writes: dict[Key, Any] = {nullifier_key(nullifier): fingerprint for nullifier in nullifiers}
    writes.update((commitment_key(commitment), fingerprint) for commitment in commitments)
    writes.update((blob_key(key), blob.to_term()) for key, blob in _blobs(transaction).items())
    return writes


def _value(values: Mapping[Key, Any], key: Key) -> Any:
    return values.get(key, ABSENT)


def _leaves(transaction: Transaction, values: Mapping[Key, Any]) -> int:
    """Leaves of the largest tree that the transaction names a root of."""
    most = 0
    for root in sorted(transaction.roots):
        leaves = _value(values, root_key(root))
        if leaves is ABSENT:
            raise UnknownRoot(root)
        most = max(most, leaves)
    return most


def _needed(transaction: Transaction) -> list[bytes]:
    """Commitments of the resources that must exist."""
    consumed = transaction.consumed()
    return [commitment_of(nullifier) for nullifier in sorted(consumed) if not consumed[nullifier].ephemeral]


def _blobs(transaction: Transaction) -> dict[Noun, Blob]:
    """What is to be stored; of two actions' blobs for one key that of the last in the order of terms."""
    return {
        datum.key: Blob(datum.value, datum.criterion)
        for action in transaction.sorted_actions()
        for datum in action.app_data
        if not isinstance(datum.criterion, Now)
    }
