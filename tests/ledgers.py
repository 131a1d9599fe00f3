"""What every store of the ledger has to do: `StoreSuite`. A test module gives it the fixture ``reopen``.

``reopen()`` opens the store of the test: an empty one the first time, and later what the one before has left.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from engines.ledger.blocks import seal
from engines.ledger.encoding import stored
from engines.ledger.errors import BadExport, BadRequest, NotEmpty, StoreClosed, StoreFailed, WrongHeights
from engines.ledger.memory_store import MemoryStore
from engines.ledger.messages import AppendItems, Change, Changed, LedgerFailed, Persist, Persisted, PutItems
from engines.ledger.records import ABSENT, NO_HASH, CommittedTransaction, Heights, JournalEntry
from engines.ledger.rows import (
    BLOCKS,
    ITEMS,
    JOURNAL,
    META,
    SEQUENCES,
    TRANSACTIONS,
    VERSIONS,
    Head,
)
from engines.ledger.store import LedgerStore
from engines.messages import EngineID
from erlang_bridge import Atom
from erlang_bridge.terms import BitString, ImproperList, Map

Reopen = Callable[[], LedgerStore]


def entry(fingerprint: int, issuer: Any = None) -> JournalEntry:
    return JournalEntry(fingerprint, (Atom("python"), b"program", fingerprint), issuer)


def entries(first: int, last: int) -> list[JournalEntry]:
    return [entry(fingerprint) for fingerprint in range(first, last + 1)]


def done(fingerprint: int, *writes: tuple[Any, Any], **more: Any) -> CommittedTransaction:
    return CommittedTransaction(fingerprint, entry(fingerprint).candidate, writes=writes, **more)


def fill(store: LedgerStore, blocks: int = 3, each: int = 2) -> None:
    """Blocks of `each` transactions, all of which write the key ``k`` and one of their own, and two more pending."""
    for number in range(blocks):
        first = number * each + 1
        store.append(entries(first, first + each - 1))
        store.commit([done(i, (b"k", i), ((b"own", i), {b"at": i})) for i in range(first, first + each)])
    store.append(entries(blocks * each + 1, blocks * each + 2))


def exported(store: LedgerStore) -> bytes:
    stream = io.BytesIO()
    store.export(stream)
    return stream.getvalue()


def findings(store: LedgerStore) -> list[str]:
    return [f"{found.kind}: {found.where}: {found.text}" for found in store.verify()]


ODD_TERMS = [
    0,
    -1,
    2**200,
    1.0,
    -0.0,
    b"",
    "text of many bytes: ü",
    True,
    None,
    Atom("atom"),
    [],
    [1, 2, 3],
    [300, [b"x"]],
    (),
    (1, (2, (3,))),
    {},
    {b"b": 1, b"a": {2: [{}]}},
    Map([(1, b"integer"), (1.0, b"float")]),
    ImproperList((1, {b"z": 0, b"y": 0}), 2),
    BitString(b"\xa0", 3),
]

REFUSED: list[tuple[str, Change, str]] = [
    ("gap", Persist((entry(10),)), "expected the entry of fingerprint 9"),
    ("zero", Persist((entry(0),)), "expected the entry of fingerprint 9"),
    ("negative", Persist((entry(-1),)), "expected the entry of fingerprint 9"),
    ("other candidate", Persist((JournalEntry(7, b"another"),)), "belongs to another transaction"),
    ("committed candidate", Persist((JournalEntry(3, b"another"),)), "belongs to another transaction"),
    ("no term", Persist((JournalEntry(9, {1, 2}),)), "has to be a term"),
    ("too high", Persist((), (done(8),)), "from fingerprint 7 on"),
    ("never accepted", Persist((), (done(7), done(8), done(9))), "was never accepted"),
    ("hole", Persist((), (done(7), done(9))), "expected the transaction of fingerprint 8"),
    ("differs", Persist((), (done(6, (b"k", b"other")),)), "is in a block, and differs"),
    ("its candidate", Persist((), (CommittedTransaction(7, b"other"),)), "with another candidate"),
    ("failed with writes", Persist((), (done(7, (b"k", 1), success=False),)), "has failed, and has writes"),
    ("key twice", Persist((), (done(7, (b"k", 1), (b"k", 2)),)), "writes the key b'k' twice"),
    ("half good", Persist((entry(9),), (done(7), done(8), done(9), done(10))), "was never accepted"),
    ("no name", PutItems("", ((1, 2),)), "name of a table"),
    ("odd name", AppendItems("a\nb", (1,)), "name of a table"),
    ("no term in a table", PutItems("t", ((b"good", 1), (b"bad", {1}))), "has to be a term"),
]

# Rows that are changed behind the store's back, and what is found then.
DAMAGE: list[tuple[str, dict[Any, Any], str]] = [
    ("a block is gone", {(BLOCKS, (2,)): None}, "heights: block 3: expected block 2 next, found 3"),
    ("the last block is gone", {(BLOCKS, (3,)): None}, "it says that it ends with block 3"),
    ("half a block", {(TRANSACTIONS, (4,)): None}, "block: block 2: it is not whole: 2 transactions expected, 1 found"),
    ("another hash", {(BLOCKS, (2,)): (2, 3, 4, NO_HASH, NO_HASH)}, "chain: block 2: its previous hash is 0000"),
    ("a version is gone", {(VERSIONS, (stored(b"k"), 3)): None}, "version: key b'k' at 3: the transaction has written it"),
    (
        "a version was changed",
        {(VERSIONS, (stored(b"k"), 3)): (stored(b"k"), 3, stored(b"forged"))},
        "version: key b'k' at 3: the version is not what",
    ),
    (
        "a version too many",
        {(VERSIONS, (stored(b"new"), 3)): (stored(b"new"), 3, stored(1))},
        "version: key b'new' at 3: no committed transaction has written it",
    ),
    (
        "a transaction was changed",
        {(TRANSACTIONS, (3,)): (3, 2, stored((3, b"c", True, None, [], [(b"k", 3), ((b"own", 3), {b"at": 3})])))},
        "chain: block 2: its hash is",
    ),
    ("no transaction at all", {(TRANSACTIONS, (3,)): (3, 2, b"\x83rubbish")}, "transaction: transaction 3: the ledger is damaged"),
    ("a gap in the journal", {(JOURNAL, (7,)): None}, "journal: entry 8: expected the entry of 7 next"),
    ("the journal ends early", {(JOURNAL, (8,)): None}, "journal: the journal: expected entries up to 8"),
    ("an entry of no term", {(JOURNAL, (8,)): (8, b"x", stored(None))}, "journal: entry 8: the ledger is damaged"),
    ("other heights", {(META, ("head",)): Head(Heights(4, 6, 9), NO_HASH).row}, "heights: the ledger: it says"),
    ("no heights", {(META, ("head",)): ("head", stored(b"?"))}, "file: the ledger: the ledger is damaged: its heights"),
    ("an item of no term", {(ITEMS, ("t", b"\x83a\x01")): ("t", b"\x83a\x01", b"")}, "table: table t: the ledger is damaged"),
    ("a hole in a sequence", {(SEQUENCES, ("s", 2)): None}, "table: sequence s: expected number 2 next, found 3"),
    ("a sequence ends early", {(SEQUENCES, ("s", 3)): None}, "table: sequence s: it should end at 3, and ends at 2"),
]  # fmt: skip


class StoreSuite:
    """Tests for one kind of store."""

    def test_an_empty_one(self, reopen: Reopen) -> None:
        store = reopen()
        assert store.heights() == Heights(1, 0, 1)
        assert store.heights().pending == 0
        assert (store.pending(), store.block(), store.block(1), list(store.blocks())) == ([], None, None, [])
        assert store.read(b"k", 100) is ABSENT
        assert (store.versions(b"k"), store.items("t"), store.appended("s")) == ([], [], [])
        assert store.item("t", 1) is ABSENT
        nothing = store.transaction(1)
        assert (nothing.round, nothing.transaction, nothing.pending) == (None, None, None)
        assert findings(store) == []

    def test_what_is_written_is_there_after_reopening(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        store.put_many("t", [(b"a", 1)])
        store.append_many("s", [b"x", b"y"])
        for _ in range(2):
            assert store.heights() == Heights(next_round=4, committed=6, next_fingerprint=9)
            assert store.heights().pending == 2
            assert store.pending() == entries(7, 8)
            assert store.pending(7) == entries(8, 8)
            assert [store.read(b"k", at) for at in (0, 1, 5, 6, 999)] == [ABSENT, 1, 5, 6, 6]
            assert store.version(b"k", 999) == (6, 6)
            assert store.read((b"own", 4), 3) is ABSENT
            assert store.read((b"own", 4), 4) == {b"at": 4}
            assert store.versions(b"k", after=2, limit=3) == [(3, 3), (4, 4), (5, 5)]
            assert [block.round for block in store.blocks()] == [1, 2, 3]
            assert store.block() == store.block(3)
            assert store.items("t") == [(b"a", 1)]
            assert store.appended("s") == [(1, b"x"), (2, b"y")]
            assert findings(store) == []
            store.close()
            store = reopen()

    def test_blocks_are_a_chain_that_others_can_check(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        previous = NO_HASH
        for block in store.blocks():
            assert block == seal(block.round, block.transactions, previous)
            assert [transaction.fingerprint for transaction in block.transactions] == [block.first, block.last]
            previous = block.hash

    def test_a_transaction_is_pending_then_committed(self, reopen: Reopen) -> None:
        store = reopen()
        issuer = EngineID("py@127.0.0.1", "client")
        store.append([entry(1, issuer)])
        assert store.transaction(1).pending == entry(1, issuer)
        reads = ((b"seen", [1]), (b"unseen", ABSENT))
        finished = done(1, success=False, error=(Atom("gas"), 10), reads=reads)
        heights = store.commit([finished], also=[entry(2)])
        assert heights == Heights(2, 1, 3)
        reply = store.transaction(1)
        assert (reply.round, reply.transaction, reply.pending) == (1, finished, None)
        assert reply.transaction is not None
        assert reply.transaction.reads[1][1] is ABSENT

    def test_the_same_again_is_the_same_as_once(self, reopen: Reopen) -> None:
        store = reopen()
        change = Persist(tuple(entries(1, 3)), (done(1, (b"k", 1)), done(2)))
        first = store.apply([change])
        before = exported(store)
        assert store.apply([change, change]) == first * 2
        assert exported(store) == before
        longer = Persist(tuple(entries(2, 4)), (done(2), done(3), done(4)))
        assert store.apply([longer]) == [Persisted(Heights(3, 4, 5), 2)]
        assert [(block.first, block.last) for block in store.blocks()] == [(1, 2), (3, 4)]

    def test_refused(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        before = exported(store)
        for case, change, text in REFUSED:
            (answer,) = store.apply([change])
            assert isinstance(answer, LedgerFailed), case
            assert text in answer.text, case
            assert not answer.temporary
        assert exported(store) == before

    def test_one_refused_among_others(self, reopen: Reopen) -> None:
        store = reopen()
        answers = store.apply(
            [
                Persist(tuple(entries(1, 2))),
                Persist((entry(7),)),
                Persist((entry(3),), (done(1, (b"k", 1)),)),
                PutItems("t", ((b"a", {1}),)),
                Persist((), (done(2, (b"k", 2)), done(3))),
                AppendItems("s", (b"one",)),
                AppendItems("s", (b"two", b"three"), trim=1),
            ]
        )
        assert answers[0] == Persisted(Heights(1, 0, 3))
        assert isinstance(answers[1], LedgerFailed)
        assert answers[2] == Persisted(Heights(2, 1, 4), 1)
        assert isinstance(answers[3], LedgerFailed)
        assert answers[4:] == [Persisted(Heights(3, 3, 4), 2), Changed(1), Changed(3)]
        assert store.heights() == Heights(3, 3, 4)
        assert store.appended("s") == [(2, b"two"), (3, b"three")]
        assert findings(store) == []

    def test_the_methods_raise_what_is_refused(self, reopen: Reopen) -> None:
        store = reopen()
        with pytest.raises(WrongHeights):
            store.append([entry(2)])
        with pytest.raises(BadRequest):
            store.put_many("t", [(b"a", object())])
        with pytest.raises(BadRequest, match="natural number"):
            store.read(b"k", 2**63)
        with pytest.raises(BadRequest):
            store.read(object(), 1)

    def test_any_term_can_be_key_and_value(self, reopen: Reopen) -> None:
        store = reopen()
        writes = [((Atom("in"), term), term) for term in ODD_TERMS] + [(term, [term]) for term in ODD_TERMS]
        store.persist(entries(1, 1), [done(1, *writes)])
        store.put_many("t", [(term, term) for term in ODD_TERMS])
        for term in ODD_TERMS:
            assert stored(store.read((Atom("in"), term), 1)) == stored(term)
            assert stored(store.read(term, 1)) == stored([term])
            assert stored(store.item("t", term)) == stored(term)
        assert len(store.items("t")) == len(ODD_TERMS)
        assert findings(store) == []

    def test_integers_and_floats_are_different_keys(self, reopen: Reopen) -> None:
        store = reopen()
        store.persist(entries(1, 1), [done(1, (1, b"integer"), (1.0, b"float"), (Atom("1"), b"atom"))])
        assert [store.read(key, 1) for key in (1, 1.0, Atom("1"))] == [b"integer", b"float", b"atom"]

    def test_deep_terms(self, reopen: Reopen) -> None:
        deep: Any = {b"bottom": 1}
        for _ in range(5000):
            deep = (deep, b"x")
        store = reopen()
        store.put_many("t", [(b"deep", deep)])
        assert stored(store.item("t", b"deep")) == stored(deep)
        store.persist(entries(1, 1), [done(1, (deep, deep))])
        assert stored(store.read(deep, 1)) == stored(deep)
        with pytest.raises(BadRequest, match="twice"):
            store.persist(entries(2, 2), [done(2, (deep, 1), (deep, 2))])
        store._write({(VERSIONS, (stored(deep), 1)): None})
        assert any("there is no version" in one for one in findings(store))

    def test_a_map_that_only_looks_like_a_struct(self, reopen: Reopen) -> None:
        odd = {Atom("__struct__"): Atom("Elixir.MapSet"), Atom("map"): b"no map"}
        store = reopen()
        store.put_many("t", [(1, odd), (2, {Atom("__struct__"): Atom("Elixir.Date"), Atom("year"): b"?"})])
        assert len(store.items("t")) == 2
        assert findings(store) == []

    def test_tables_of_items(self, reopen: Reopen) -> None:
        store = reopen()
        store.put_many("t", [(number, number * 2) for number in range(20)])
        store.put_many("u", [(5, b"other")])
        store.put_many("t", [(3, b"three"), (4, b"four")], deleted=[4, 5, b"never there"])
        assert store.item("t", 3) == b"three"
        assert store.item("t", 4) == b"four"
        assert store.item("t", 5) is ABSENT
        assert store.items("u") == [(5, b"other")]
        found: list[tuple[Any, Any]] = []
        after: Any = ABSENT
        while piece := store.items("t", after, limit=7):
            found += piece
            after = piece[-1][0]
        assert [key for key, _ in found] == [number for number in range(20) if number != 5]

    def test_sequences_count_on_after_trimming(self, reopen: Reopen) -> None:
        store = reopen()
        assert store.append_many("s", [b"a", b"b"]) == 2
        assert store.append_many("other", [b"z"]) == 1
        assert store.append_many("s", [b"c"], trim=2) == 3
        assert store.appended("s") == [(3, b"c")]
        assert store.append_many("s", [], trim=99) == 3
        store.close()
        store = reopen()
        assert store.append_many("s", [b"d"]) == 4
        assert store.appended("s", after=3) == [(4, b"d")]
        assert store.appended("other") == [(1, b"z")]

    def test_more_rows_than_are_read_in_one_go(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(entries(1, 560))
        assert [found.fingerprint for found in store.pending()] == list(range(1, 561))
        assert len(store.pending(limit=10)) == 10
        store.commit([done(i, (b"k", i)) for i in range(1, 521)])
        assert store.versions(b"k", limit=2000) == [(i, i) for i in range(1, 521)]
        block = store.block(1)
        assert block is not None
        assert len(block.transactions) == 520
        assert findings(store) == []

    def test_reads_agree_with_a_model(self, reopen: Reopen, rng: Any) -> None:
        store = reopen()
        model: dict[Any, dict[int, Any]] = {}
        keys = [b"a", b"ab", b"b", 1, (b"a", 1), Atom("a")]
        last = 0
        for _ in range(12):
            block = []
            for _ in range(rng.randrange(1, 6)):
                last += 1
                writes = [(key, rng.randrange(1000)) for key in rng.sample(keys, rng.randrange(len(keys)))]
                for key, value in writes:
                    model.setdefault(key, {})[last] = value
                block.append(done(last, *writes))
            store.persist([entry(one.fingerprint) for one in block], block)
        for key in keys:
            for at in range(last + 2):
                known = [number for number in model.get(key, {}) if number <= at]
                assert store.read(key, at) == (model[key][max(known)] if known else ABSENT)

    def test_damage_is_found(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        store.append_many("s", [b"a", b"b", b"c"])
        assert findings(store) == []
        for case, rows, text in DAMAGE:
            with store.reading() as before:
                whole = {(table, key): before.get(table, *key) for table, key in rows}
            store._write(rows)
            found = findings(store)
            assert any(text in one for one in found), (case, found)
            store._write(whole)
        assert findings(store) == []

    def test_export_and_import(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        store.put_many("t", [(b"a", {b"z": 1, b"y": 2}), ("ü", 1)])
        store.append_many("s", [b"a", b"b", b"c"], trim=0)
        store.append_many("s", [], trim=1)
        store.append_many("trimmed", [b"a"])
        store.append_many("trimmed", [], trim=1)
        text = exported(store)
        other = MemoryStore()
        assert other.import_(io.BytesIO(text)) == store.heights()
        assert exported(other) == text
        assert findings(other) == []
        assert other.append_many("trimmed", [b"b"]) == 2
        with pytest.raises(NotEmpty):
            store.import_(io.BytesIO(text))
        assert exported(store) == text

    def test_import_from_another_kind(self, reopen: Reopen) -> None:
        other = MemoryStore()
        fill(other, blocks=6, each=50)
        store = reopen()
        store.import_(io.BytesIO(exported(other)))
        assert exported(store) == exported(other)
        assert findings(store) == []
        store.append([entry(303)])
        store.commit([done(301)])
        assert findings(store) == []

    def test_a_broken_export_leaves_nothing(self, reopen: Reopen) -> None:
        other = MemoryStore()
        fill(other, blocks=150)
        lines = exported(other).splitlines(keepends=True)
        block = json.loads(lines[-4])
        block["block"]["last"] += 1
        broken = [
            (b"", "line 1: the export ends"),
            (b'{"a": 1}\n', "line 1: lines of the kind 'a'"),
            (b"".join(lines[:-1]), "ends before its last line"),
            (b"".join(lines)[:-20], "the line has no end"),
            (b"".join(lines[:50] + lines[51:]), "line 51: expected block 50"),
            (b"".join(lines).replace(b'"version":1', b'"version":2'), "line 1: it has version 2"),
            (b"".join(lines) + b"more", "something follows the last line"),
            (b"".join([*lines[:-4], json.dumps(block).encode() + b"\n", *lines[-3:]]), "line 151: expected block 150"),
            (b"".join(lines).replace(b'"issuer":', b'"issuer" :', 1), "the checksum is not that of the lines"),
        ]
        store = reopen()
        for text, why in broken:
            with pytest.raises(BadExport, match="nothing was imported") as raised:
                store.import_(io.BytesIO(text))
            assert why in str(raised.value)
            assert store.heights() == Heights()
            assert store.block(1) is None
        assert findings(store) == []
        fill(store)
        assert findings(store) == []

    @pytest.mark.parametrize("was_written", [True, False])
    def test_an_answer_that_was_lost(self, reopen: Reopen, monkeypatch: pytest.MonkeyPatch, was_written: bool) -> None:
        store = reopen()
        fill(store)
        write = store._write

        def write_and_fail(changes: Any) -> None:
            if was_written:
                write(changes)
            raise StoreFailed("the answer was lost")

        changes = [Persist((entry(9),), (done(7),)), AppendItems("s", (b"once",)), Persist((entry(20),))]
        with monkeypatch.context() as patch:
            patch.setattr(store, "_write", write_and_fail)
            with pytest.raises(StoreFailed):
                store.apply(changes)
        answers = store.apply(changes)
        assert answers[:2] == [Persisted(Heights(5, 7, 10), 4), Changed(1)]
        assert isinstance(answers[2], LedgerFailed)
        assert store.appended("s") == [(1, b"once")]
        # Not the same changes any more, and so made once more.
        assert store.append_many("s", [b"once"]) == 2
        assert findings(store) == []

    def test_a_closed_one(self, reopen: Reopen) -> None:
        store = reopen()
        fill(store)
        store.close()
        store.close()
        for use in (
            store.heights,
            lambda: store.read(b"k", 1),
            lambda: store.append([entry(9)]),
            lambda: findings(store),
        ):
            with pytest.raises(StoreClosed):
                use()
