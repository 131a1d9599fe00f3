"""Transactions and blocks of a node as a command sees them: followed from outside, shown as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.queue

from anoma.programs import ABSENT
from engines.engine import known_with
from engines.ledger.records import Block, CommittedTransaction
from engines.mempool_worker.messages import Stage, TransactionStatus, WatchTransactions
from engines.mempool_worker.server import WORKER
from engines.messages import EngineID, Envelope, MalformedEnvelope, decode_envelope, encode_envelope, is_envelope
from erlang_bridge import Atom, ConnectionLost, Node, OwnProcess
from erlang_bridge.otp.readable import readable
from erlang_bridge.process import is_down
from erlang_bridge.terms.text import format_term


class Follower:
    """Hears from the worker of a node how its transactions go on."""

    def __init__(self, client: Node, node: str, fingerprint: int | None) -> None:
        self._node = node
        self._heard: gevent.queue.SimpleQueue[TransactionStatus | str] = gevent.queue.SimpleQueue()
        self._process = client.spawn(self._listen, fingerprint)
        self._client = client

    def _listen(self, own: OwnProcess, fingerprint: int | None) -> None:
        worker = (WORKER, self._node)
        own.monitor(worker)
        own.send(
            worker, encode_envelope(Envelope(own.pid, EngineID(self._node, WORKER), WatchTransactions(fingerprint)))
        )
        while True:
            message = own.receive()
            if is_down(message):
                self._heard.put(format_term(message[4]))
                return
            if is_envelope(message):
                try:
                    told = decode_envelope(message, known_with(TransactionStatus)).message
                except MalformedEnvelope:
                    continue
                if isinstance(told, TransactionStatus):
                    self._heard.put(told)

    def next(self, timeout_s: float | None = None) -> TransactionStatus | None:
        """What is heard next; None if nothing is in time.

        Raises:
            ConnectionLost: the worker has ended, or cannot be reached.
        """
        try:
            heard = self._heard.get(timeout=timeout_s)
        except gevent.queue.Empty:
            return None
        if isinstance(heard, str):
            raise ConnectionLost(self._node, f"its mempool worker: {heard}")
        return heard

    def stop(self) -> None:
        """Hear nothing any more."""
        self._client.exit(self._process, Atom("kill"))


@contextmanager
def following(client: Node, node: str, fingerprint: int | None = None) -> Iterator[Follower]:
    """Follow one transaction, or all of them, inside the block."""
    follower = Follower(client, node, fingerprint)
    try:
        yield follower
    finally:
        follower.stop()


# -- as text ------------------------------------------------------------------------------------


def term_text(value: Any) -> str:
    """A key or value as a term, in Erlang's syntax; what was never written is ``absent``."""
    return "absent" if value is ABSENT else format_term(readable(value))


def pairs_text(pairs: tuple[tuple[Any, Any], ...]) -> str:
    """Keys and values, ``apples = 3, pears = 4``."""
    return ", ".join(f"{term_text(key)} = {term_text(value)}" for key, value in pairs)


def status_text(status: TransactionStatus) -> str:
    """One line on how far a transaction is."""
    if status.stage is Stage.UNKNOWN:
        return "unknown: accepted by nobody"
    where = f" in block {status.round}" if status.round is not None else ""
    outcome = "" if status.success is None else ", done" if status.success else f", failed: {status.error}"
    read = f", read {pairs_text(status.values_read)}" if status.values_read else ""
    wrote = f", wrote {pairs_text(status.values_written)}" if status.values_written else ""
    return f"{status.fingerprint} {status.stage.value}{where}{outcome}{read}{wrote}"


def status_json(status: TransactionStatus) -> dict[str, Any]:
    """The same for scripts; keys and values are texts in Erlang's syntax."""
    return {
        "fingerprint": status.fingerprint,
        "id": None if status.id is None else status.id.decode(errors="replace"),
        "stage": status.stage.value,
        "success": status.success,
        "error": status.error,
        "read": {term_text(key): term_text(value) for key, value in status.values_read},
        "written": {term_text(key): term_text(value) for key, value in status.values_written},
        "round": status.round,
    }


def transaction_json(transaction: CommittedTransaction) -> dict[str, Any]:
    """A transaction of a block for scripts."""
    return {
        "fingerprint": transaction.fingerprint,
        "success": transaction.success,
        "error": None if transaction.error is None else error_text(transaction.error),
        "read": {term_text(key): term_text(value) for key, value in transaction.reads},
        "written": {term_text(key): term_text(value) for key, value in transaction.writes},
        "candidate": term_text(transaction.candidate),
    }


def error_text(error: Any) -> str:
    """Why a transaction has failed."""
    return error.decode(errors="replace") if isinstance(error, bytes) else term_text(error)


def block_json(block: Block) -> dict[str, Any]:
    """A block for scripts."""
    return {
        "round": block.round,
        "first": block.first,
        "last": block.last,
        "hash": block.hash.hex(),
        "previous_hash": block.previous_hash.hex(),
        "transactions": [transaction_json(transaction) for transaction in block.transactions],
    }
