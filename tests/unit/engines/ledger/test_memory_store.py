"""The ledger in memory."""

from __future__ import annotations

import pytest

from engines.ledger.memory_store import MemoryStore
from tests.ledgers import Reopen, StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def reopen(self) -> Reopen:
        """Always the same one: it is gone with `close`."""
        store = MemoryStore()

        def open_again() -> MemoryStore:
            store._closed = False
            store._rows = kept or store._rows
            return store

        kept = store._rows
        return open_again
