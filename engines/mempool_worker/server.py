"""The Mempool Worker as a process, and what others call to use it."""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.mempool_worker.behaviour import BEHAVIOUR
from engines.mempool_worker.messages import (
    TransactionAck,
    TransactionCandidate,
    TransactionRejected,
    TransactionRequest,
    TransactionStatus,
    TransactionStatusRequest,
    WorkerStatus,
    WorkerStatusRequest,
)
from erlang_bridge import BridgeError

WORKER = "mempool_worker"
"""The name that a node's own worker is registered under."""


class Rejected(BridgeError):
    """A transaction was not accepted.

    Attributes:
        rejection: the worker's answer.
    """

    def __init__(self, rejection: TransactionRejected) -> None:
        self.rejection = rejection
        super().__init__(rejection.text)


def submit(
    client: Client, candidate: TransactionCandidate, worker: Any = WORKER, timeout_s: float | None = 5.0
) -> TransactionAck:
    """Have a transaction ordered and run. Returns when it is accepted, and lasts.

    Args:
        worker: its name on the client's node, an `EngineID`, a pid, or ``(name, node)``.

    Raises:
        Rejected: it is not accepted, and why.
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`. It may have been accepted: sent
            again under the same id, it is still one transaction.
    """
    answer = ask(client, worker, TransactionRequest(candidate), timeout_s)
    if isinstance(answer, TransactionRejected):
        raise Rejected(answer)
    assert isinstance(answer, TransactionAck)
    return answer


def transaction_status(
    client: Client,
    fingerprint: int | None = None,
    id: bytes | None = None,  # the field's name
    worker: Any = WORKER,
    timeout_s: float | None = 5.0,
) -> TransactionStatus:
    """What has become of a transaction, by its fingerprint or by its id.

    Raises:
        Rejected: the ledger cannot be read.
        ErlangExit: as of `submit`.
    """
    answer = ask(client, worker, TransactionStatusRequest(fingerprint, id), timeout_s)
    if isinstance(answer, TransactionRejected):
        raise Rejected(answer)
    assert isinstance(answer, TransactionStatus)
    return answer


def status(client: Client, worker: Any = WORKER, timeout_s: float | None = 5.0) -> WorkerStatus:
    """How much there is to do.

    Raises:
        ErlangExit: as of `submit`.
    """
    answer: WorkerStatus = ask(client, worker, WorkerStatusRequest(), timeout_s)
    return answer


class MempoolWorker(Engine):
    """Orders transactions, has them run, and commits them."""

    engine = BEHAVIOUR
