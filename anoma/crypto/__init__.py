"""Identities, and what they do: sign, verify, seal, open; who may act for whom; names.

Pure: what has to be random comes in as an argument. `keys` has the keys, `primitives` the four algorithms, `signable`
the bytes of a value that is signed, `identities` who there is (compositions, too), `commitments` what signers make,
`evidence` who may sign or read for whom, `names` what identities are called.
"""

from __future__ import annotations

from anoma.crypto.commitments import EMPTY_COMMITMENT, Commitment, Composed, Signed, commit, compose, verify
from anoma.crypto.evidence import (
    EvidenceGraph,
    Proof,
    ReadsForEvidence,
    Relation,
    SignsForEvidence,
    statement,
)
from anoma.crypto.identities import (
    ExternalIdentity,
    ExternalKeys,
    Identity,
    InternalKeys,
    NotOffered,
    Special,
    Threshold,
    both,
    either,
    encrypt_for,
    identity_of,
)
from anoma.crypto.keys import Digest, KeyKind, KeyRefused, PrivateKey, PublicKey, Secret, SecretKey, Signature
from anoma.crypto.names import DotName, IdentityName, IdentityNameEvidence, LocalName, name_statement
from anoma.crypto.primitives import decrypt, digest, encrypt, seal, sign, unseal
from anoma.crypto.shares import Named
from anoma.crypto.signable import signable

__all__ = [
    "EMPTY_COMMITMENT",
    "Commitment",
    "Composed",
    "Digest",
    "DotName",
    "EvidenceGraph",
    "ExternalIdentity",
    "ExternalKeys",
    "Identity",
    "IdentityName",
    "IdentityNameEvidence",
    "InternalKeys",
    "KeyKind",
    "KeyRefused",
    "LocalName",
    "Named",
    "NotOffered",
    "PrivateKey",
    "Proof",
    "PublicKey",
    "ReadsForEvidence",
    "Relation",
    "Secret",
    "SecretKey",
    "Signature",
    "Signed",
    "SignsForEvidence",
    "Special",
    "Threshold",
    "both",
    "commit",
    "compose",
    "decrypt",
    "digest",
    "either",
    "encrypt",
    "encrypt_for",
    "identity_of",
    "name_statement",
    "seal",
    "sign",
    "signable",
    "statement",
    "unseal",
    "verify",
]
