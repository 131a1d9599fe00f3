"""What the resource machine refuses, and why: one class for each rule, so that a caller need not read the text.

::

    ResourceMachineError
    ├── FunctionFailed            a transaction function that crashes, or needs more gas than there is
    ├── NotATransaction           a noun, or a program's result, that is no resource, proof, action or transaction
    ├── InvalidTransaction        wrong whatever the state is
    │   ├── RepeatedCommitment        two actions create one resource
    │   ├── RepeatedNullifier         two actions consume one resource
    │   ├── MissingProof              a tag of an action for which no logic proof speaks
    │   ├── WrongTag                  a proof whose resource has another commitment or nullifier
    │   ├── UnknownTag                a proof for a tag that its action does not have
    │   ├── WrongContext              a proof made for another action
    │   ├── DeltaMismatch             the delta it states is not that of its actions
    │   ├── Unbalanced                it creates or consumes more of some kind
    │   ├── LogicRefused              a resource's logic says no
    │   ├── ProofRefused              a proof that does not hold, or of a kind that is not accepted here
    │   └── WrongDeletionCriterion    application data with a criterion that there is not
    └── StateRefusal              right by itself, but not in this state
        ├── NullifierExists           a double spend
        ├── CommitmentExists          the resource was created before
        ├── UnknownRoot               no root of the commitment tree
        ├── ResourceMissing           a consumed resource that was not created before, or is not under the roots named
        └── TreeMoved                 the commitment tree has grown since this step of it was prepared

Source: nspec v0.2.0, "Transaction": verify; "Execution flow"; Anoma's Elixir node, ``transaction.ex``, ``backends.ex``.
"""

from __future__ import annotations

from hashlib import sha256

_SHOWN_BYTES = 48


def tag_text(tag: bytes) -> str:
    """A commitment or nullifier for people: ``NF_`` and hexadecimal digits; of a long one some, and its SHA-256.

    Example:
        >>> tag_text(b"NF_\\x01\\x02")
        'NF_0102'
    """
    kind, body = tag[:3], tag[3:]
    name = kind.decode("ascii", "backslashreplace")
    if len(body) <= _SHOWN_BYTES:
        return name + body.hex()
    return f"{name}{body[:8].hex()}...{body[-8:].hex()} (sha256 {sha256(tag).hexdigest()})"


class ResourceMachineError(Exception):
    """The base of all errors of `anoma.resource_machine`."""


class NotATransaction(ResourceMachineError, ValueError):
    """A noun, or a program's result, that is not what it should be: a resource, logic proof, action or transaction."""


class FunctionFailed(ResourceMachineError):
    """A transaction function that crashes, reads what is no key, or needs more gas than there is."""


class InvalidTransaction(ResourceMachineError, ValueError):
    """A transaction that no state accepts."""


class RepeatedCommitment(InvalidTransaction):
    """Two actions create one resource.

    Attributes:
        commitment: its commitment.
    """

    def __init__(self, commitment: bytes) -> None:
        super().__init__(f"two actions of the transaction create the resource {tag_text(commitment)}")
        self.commitment = commitment


class RepeatedNullifier(InvalidTransaction):
    """Two actions consume one resource.

    Attributes:
        nullifier: its nullifier.
    """

    def __init__(self, nullifier: bytes) -> None:
        super().__init__(f"two actions of the transaction consume the resource {tag_text(nullifier)}")
        self.nullifier = nullifier


class MissingProof(InvalidTransaction):
    """Tags of an action for which no logic proof speaks.

    Attributes:
        tags: commitments and nullifiers.
    """

    def __init__(self, tags: frozenset[bytes], proofs: int) -> None:
        names = ", ".join(tag_text(tag) for tag in sorted(tags))
        super().__init__(f"an action has {proofs} logic proofs, and none for {names}")
        self.tags = tags


class WrongTag(InvalidTransaction):
    """A logic proof whose resource has another commitment or nullifier than the proof says.

    Attributes:
        tag: what the proof says.
        expected: what its resource has.
    """

    def __init__(self, tag: bytes, expected: bytes) -> None:
        super().__init__(f"a logic proof is for {tag_text(tag)}, but its resource has {tag_text(expected)}")
        self.tag = tag
        self.expected = expected


class UnknownTag(InvalidTransaction):
    """A logic proof for a resource that its action neither creates nor consumes.

    Attributes:
        tag: of the proof.
    """

    def __init__(self, tag: bytes, list_name: str) -> None:
        super().__init__(f"a logic proof is for {tag_text(tag)}, which is not among the {list_name} of its action")
        self.tag = tag


class WrongContext(InvalidTransaction):
    """A logic proof made for other commitments or nullifiers than its action has.

    Attributes:
        tag: of the proof.
    """

    def __init__(self, tag: bytes, list_name: str) -> None:
        super().__init__(f"the logic proof for {tag_text(tag)} was made for other {list_name} than its action has")
        self.tag = tag


class DeltaMismatch(InvalidTransaction):
    """The delta that a transaction states is not the sum of its actions' deltas."""


class Unbalanced(InvalidTransaction):
    """A transaction that creates more, or consumes more, of some kind of resource."""


class LogicRefused(InvalidTransaction):
    """A resource's logic does not accept the action.

    Attributes:
        tag: of the resource.
    """

    def __init__(self, tag: bytes, why: str) -> None:
        super().__init__(f"the logic of {tag_text(tag)} {why}")
        self.tag = tag


class ProofRefused(InvalidTransaction):
    """A proof that does not hold, or of a kind that is not accepted here."""


class WrongDeletionCriterion(InvalidTransaction):
    """Application data with a deletion criterion that there is not."""


class StateRefusal(ResourceMachineError):
    """A transaction that is right by itself and that this state does not allow."""


class NullifierExists(StateRefusal):
    """A double spend: the resource was consumed before.

    Attributes:
        nullifier: of the resource.
    """

    def __init__(self, nullifier: bytes) -> None:
        super().__init__(f"the resource was consumed before: the nullifier {tag_text(nullifier)} is in the set already")
        self.nullifier = nullifier


class CommitmentExists(StateRefusal):
    """The resource was created before.

    Attributes:
        commitment: of the resource.
    """

    def __init__(self, commitment: bytes) -> None:
        super().__init__(f"the resource was created before: the commitment {tag_text(commitment)} is there already")
        self.commitment = commitment


class UnknownRoot(StateRefusal):
    """What a transaction names as a root was never one of the commitment tree.

    Attributes:
        root: what it names.
    """

    def __init__(self, root: bytes) -> None:
        super().__init__(f"{root.hex() or 'the empty root'} is no root of the commitment tree that is known here")
        self.root = root


class ResourceMissing(StateRefusal):
    """A consumed resource, not an ephemeral one, that was not created before.

    Attributes:
        commitment: of the resource.
    """

    def __init__(self, commitment: bytes, why: str) -> None:
        super().__init__(f"the resource to consume {why}: commitment {tag_text(commitment)}")
        self.commitment = commitment


class TreeMoved(StateRefusal):
    """The commitment tree has grown since this step of it was prepared.

    Attributes:
        prepared: leaves that the tree was to have.
        found: leaves that it has.
    """

    def __init__(self, prepared: int, found: int) -> None:
        super().__init__(
            f"the step was prepared for a commitment tree of {prepared} leaves, but it has {found}; prepare it anew"
        )
        self.prepared = prepared
        self.found = found
