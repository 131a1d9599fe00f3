"""The transparent resource machine: resources, actions, transactions, and what they do to the state.

`resource`, `logic`, `action`, `transaction` are the data and their rules, `delta` the balance; `compliance` and
`proving` the specification's compliance units and proof kinds; `accumulator`, `nullifier_set` and `blobs` the state as
values; `execution` says what a transaction reads and writes, `roots` how the commitment tree grows, `function` runs
programs that make transactions; `intent` is what the solver needs to know, `building` makes things for tests and
demonstrations.
"""

from __future__ import annotations

from anoma.resource_machine.action import Action
from anoma.resource_machine.blobs import AppDatum
from anoma.resource_machine.delta import ZERO, Delta
from anoma.resource_machine.errors import InvalidTransaction, NotATransaction, ResourceMachineError, StateRefusal
from anoma.resource_machine.intent import DumbIntent, Intent
from anoma.resource_machine.logic import LogicProof
from anoma.resource_machine.proving import Rules
from anoma.resource_machine.resource import TRIVIAL_LOGIC, Resource, Tag
from anoma.resource_machine.transaction import Transaction

__all__ = [
    "TRIVIAL_LOGIC",
    "ZERO",
    "Action",
    "AppDatum",
    "Delta",
    "DumbIntent",
    "Intent",
    "InvalidTransaction",
    "LogicProof",
    "NotATransaction",
    "Resource",
    "ResourceMachineError",
    "Rules",
    "StateRefusal",
    "Tag",
    "Transaction",
]
