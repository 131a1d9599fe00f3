"""A ledger as lines of text, to keep it elsewhere or to move it to another store.

Each line is one JSON object with one key, in this order::

    {"ledger": {"format": "pyanoma-ledger", "version": 1}}
    {"block": {"round", "first", "last", "previous_hash", "hash", "transactions": [...]}}   one for each block
    {"pending": {"fingerprint", "candidate", "issuer"}}                                     one for each entry
    {"item": {"table", "key", "value"}}                                                     one for each row
    {"sequence": {"table", "last"}}, then
    {"entry": {"table", "number", "value"}}                                                 for each sequence
    {"end": {"lines": N, "blake3": HASH}}

Hashes are in hexadecimal; terms are in base64, in the external term format. The last line tells how many lines are
before it, and the BLAKE3 of these, line ends included. Versions of keys are not in there: they follow from the blocks.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from typing import IO, Any, Final, NoReturn

from blake3 import blake3

from engines.ledger.blocks import block_hash, transaction_bytes, transaction_of
from engines.ledger.encoding import restored, stored
from engines.ledger.errors import BadExport, LedgerError
from engines.ledger.records import NO_HASH, Heights
from engines.ledger.rows import (
    BLOCKS,
    CHUNK,
    ITEMS,
    JOURNAL,
    MAX_INTEGER,
    META,
    SEQUENCES,
    TRANSACTIONS,
    VERSIONS,
    Changes,
    Head,
    Key,
    Row,
    Rows,
    Table,
)
from engines.ledger.verification import Progress
from erlang_bridge.errors import brief

FORMAT: Final = "pyanoma-ledger"
VERSION: Final = 1
MOST_LINE: Final = 1 << 30
"""Bytes of a line."""

_LAST_OF: Final = "last of "
_ORDER: Final = ("ledger", "block", "pending", "item", "sequence", "entry", "end")


# -- out --------------------------------------------------------------------------------------


def write(rows: Rows, stream: IO[bytes], progress: Progress | None = None) -> int:
    """Write the rows, all of one moment; how many lines."""
    hasher = blake3()
    lines = 0
    for line in _lines(rows, progress):
        hasher.update(line)
        stream.write(line)
        lines += 1
    stream.write(_line("end", lines=lines, blake3=hasher.hexdigest()))
    return lines + 1


def _lines(rows: Rows, progress: Progress | None) -> Iterator[bytes]:
    yield _line("ledger", format=FORMAT, version=VERSION)
    count = rows.count(BLOCKS) if progress is not None else 0
    for number, first, last, previous_hash, hash_ in rows.each(BLOCKS):
        bodies = [_text(body) for _, _, body in rows.each(TRANSACTIONS, after=(first - 1,), until=(last,))]
        yield _line(
            "block",
            round=number,
            first=first,
            last=last,
            previous_hash=previous_hash.hex(),
            hash=hash_.hex(),
            transactions=bodies,
        )
        if progress is not None:
            progress(number, count)
    for fingerprint, candidate, issuer in rows.each(JOURNAL):
        yield _line("pending", fingerprint=fingerprint, candidate=_text(candidate), issuer=_text(issuer))
    for name, key, value in rows.each(ITEMS):
        yield _line("item", table=name, key=_text(key), value=_text(value))
    for meta, value in rows.each(META):
        if not meta.startswith(_LAST_OF):
            continue
        name = meta.removeprefix(_LAST_OF)
        yield _line("sequence", table=name, last=restored(value))
        for _, number, encoded in rows.each(SEQUENCES, after=(name, 0), until=(name, MAX_INTEGER)):
            yield _line("entry", table=name, number=number, value=_text(encoded))


def _line(kind: str, **fields: Any) -> bytes:
    return json.dumps({kind: fields}, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _text(data: bytes) -> str:
    return b64encode(data).decode()


# -- in ---------------------------------------------------------------------------------------


def read(stream: IO[bytes], progress: Progress | None = None) -> Iterator[Changes]:
    """The rows of an export, in pieces. Whoever takes them has to forget them all where this raises.

    Raises:
        BadExport: it is none, or not whole, or does not agree with itself.
    """
    reader = _Reader(stream)
    kind, fields = reader.next()
    if kind != "ledger" or fields.get("format") != FORMAT:
        reader.refuse("this is no export of a ledger")
    if fields.get("version") != VERSION:
        reader.refuse(f"it has version {brief(fields.get('version'), 40)} of the format, expected {VERSION}")
    made: dict[tuple[Table, Key], Row | None] = {}
    while True:
        kind, fields = reader.next()
        if kind == "end":
            break
        try:
            for table, row in _ROWS[kind](reader, fields):
                made[table, table.key_of(row)] = row
        except KeyError as error:
            reader.refuse(f"a line of the kind {kind!r} without {error}")
        except (TypeError, ValueError, NotBase64) as error:
            reader.refuse(f"a line of the kind {kind!r} with a wrong value: {error}")
        except LedgerError as error:
            if isinstance(error, BadExport):
                raise
            reader.refuse(error.text)
        if progress is not None and kind == "block":
            progress(reader.round, 0)
        if len(made) >= CHUNK:
            yield made
            made = {}
    reader.finish()
    head = Head(Heights(reader.round + 1, reader.committed, reader.last_pending + 1), reader.last_hash)
    made[META, META.key_of(head.row)] = head.row
    yield made


class _Reader:
    """The lines of an export, and how far it is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hasher = blake3()
        self._stage = 0
        self.number = 0
        self.round = self.committed = self.last_pending = 0
        self.last_hash = NO_HASH
        self.sequence = ("", 0)
        self.sequences: set[str] = set()
        self.last_entry = 0
        self.end: dict[str, Any] = {}

    def next(self) -> tuple[str, dict[str, Any]]:
        line = self._stream.readline(MOST_LINE)
        self.number += 1
        if not line:
            self.refuse("the export ends before its last line: it is not whole")
        if not line.endswith(b"\n"):
            self.refuse("the line has no end: the export is not whole")
        try:
            parsed = json.loads(line)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict) or len(parsed) != 1:
            self.refuse("expected an object of JSON with one key")
        ((kind, fields),) = parsed.items()
        if kind not in _ORDER or not isinstance(fields, dict):
            self.refuse(f"lines of the kind {brief(kind, 40)} are not known")
        stage = _ORDER.index(kind)
        if kind == "sequence":
            stage = _ORDER.index("sequence")
            self._stage = min(self._stage, stage)
        if stage < self._stage:
            self.refuse(f"a line of the kind {kind!r} comes too late")
        self._stage = stage
        if kind == "end":
            self.end = fields
        else:
            self._hasher.update(line)
        return kind, fields

    def finish(self) -> None:
        if self.end.get("lines") != self.number - 1:
            self.refuse(f"it should have {self.end.get('lines')} lines before the last, and has {self.number - 1}")
        if self.end.get("blake3") != self._hasher.hexdigest():
            self.refuse("the checksum is not that of the lines: somebody or something has changed them")
        if self._stream.read(1):
            self.number += 1
            self.refuse("something follows the last line")

    def refuse(self, why: str) -> NoReturn:
        raise BadExport(f"line {self.number}: {why}; nothing was imported")


def _block_rows(reader: _Reader, fields: dict[str, Any]) -> Iterator[tuple[Table, Row]]:
    number, first, last = (_integer(fields[name]) for name in ("round", "first", "last"))
    previous_hash, hash_ = bytes.fromhex(fields["previous_hash"]), bytes.fromhex(fields["hash"])
    bodies = [_bytes(text) for text in fields["transactions"]]
    if number != reader.round + 1 or first != reader.committed + 1 or last - first + 1 != len(bodies) or not bodies:
        reader.refuse(
            f"expected block {reader.round + 1} with transactions from {reader.committed + 1} on, "
            f"got block {number} with {len(bodies)} from {first} to {last}"
        )
    if previous_hash != reader.last_hash or block_hash(number, first, last, previous_hash, bodies) != hash_:
        reader.refuse(f"block {number} does not have the hash that follows from what is in it")
    for fingerprint, body in enumerate(bodies, first):
        transaction = transaction_of(body)
        if transaction.fingerprint != fingerprint or transaction_bytes(transaction) != body:
            reader.refuse(f"transaction {fingerprint} is not in its stored form")
        if transaction.writes and not transaction.success:
            reader.refuse(f"transaction {fingerprint} has failed, and has writes")
        yield TRANSACTIONS, (fingerprint, number, body)
        for key, value in transaction.writes:
            yield VERSIONS, (stored(key), fingerprint, stored(value))
    yield BLOCKS, (number, first, last, previous_hash, hash_)
    reader.round, reader.committed, reader.last_pending, reader.last_hash = number, last, last, hash_


def _pending_rows(reader: _Reader, fields: dict[str, Any]) -> Iterator[tuple[Table, Row]]:
    fingerprint = _integer(fields["fingerprint"])
    if fingerprint != reader.last_pending + 1:
        reader.refuse(f"expected the entry of fingerprint {reader.last_pending + 1}, got that of {fingerprint}")
    reader.last_pending = fingerprint
    yield JOURNAL, (fingerprint, _term(fields["candidate"]), _term(fields["issuer"]))


def _item_rows(_reader: _Reader, fields: dict[str, Any]) -> Iterator[tuple[Table, Row]]:
    yield ITEMS, (_string(fields["table"]), _term(fields["key"]), _term(fields["value"]))


def _sequence_rows(reader: _Reader, fields: dict[str, Any]) -> Iterator[tuple[Table, Row]]:
    name, last = _string(fields["table"]), _integer(fields["last"])
    if name in reader.sequences:
        reader.refuse(f"the sequence {brief(name, 80)} comes twice")
    reader.sequences.add(name)
    reader.sequence, reader.last_entry = (name, last), 0
    yield META, (_LAST_OF + name, stored(last))


def _entry_rows(reader: _Reader, fields: dict[str, Any]) -> Iterator[tuple[Table, Row]]:
    name, last = reader.sequence
    number = _integer(fields["number"])
    expected = reader.last_entry + 1 if reader.last_entry else number
    if fields["table"] != name or number != expected or number > last:
        reader.refuse(
            f"expected number {expected} of the sequence {brief(name, 80)}, which ends at {last}, got {number}"
        )
    reader.last_entry = number
    yield SEQUENCES, (name, number, _term(fields["value"]))


_ROWS: Final = {
    "block": _block_rows,
    "pending": _pending_rows,
    "item": _item_rows,
    "sequence": _sequence_rows,
    "entry": _entry_rows,
}


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ValueError(f"expected a natural number, got {brief(value, 60)}")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {brief(value, 60)}")
    return value


def _bytes(value: Any) -> bytes:
    return b64decode(_string(value), validate=True)


def _term(value: Any) -> bytes:
    """The stored form of a term, which has to be one."""
    data = _bytes(value)
    if stored(restored(data)) != data:
        raise ValueError("a term that is not in its stored form")
    return data
