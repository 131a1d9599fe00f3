"""What a ledger cannot do, and why: one tree."""

from __future__ import annotations

from typing import ClassVar

from erlang_bridge.errors import BridgeError


class LedgerError(BridgeError):
    """Root of what a store raises. The text says what was expected, what came, and what to do.

    Attributes:
        temporary: the same request may be carried out later: the disk has room again, the BEAM is back.
        certain: it is known that nothing has been changed.
    """

    temporary: ClassVar[bool] = False
    certain: ClassVar[bool] = True

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class BadRequest(LedgerError):
    """A request that can never be carried out: no term, a key twice, a failed transaction with writes."""


class WrongHeights(LedgerError):
    """Fingerprints that do not go on where the ledger is, or differ from what it has under them already."""


class StoreLocked(LedgerError):
    """Somebody else has the store open. The text says who."""

    temporary = True


class StoreDamaged(LedgerError):
    """What is stored cannot be read, or is not what was written."""


class NotALedger(LedgerError):
    """What is there is no ledger: a file of another program, tables of another shape."""


class NewerSchema(LedgerError):
    """A later version of pyanoma has written the ledger."""


class NoLedger(LedgerError):
    """There is nothing to open: no such file, or its folder is missing."""


class NotEmpty(LedgerError):
    """An import is for an empty ledger."""


class BadExport(LedgerError):
    """What is to be imported is no export, or not the whole of one. Nothing was imported."""


class Overloaded(LedgerError):
    """Too many requests wait already."""

    temporary = True


class StoreClosed(LedgerError):
    """The store has been closed."""


class StoreFailed(LedgerError):
    """The disk or the BEAM did not do what it should. What was to be written was not acknowledged."""

    temporary = True


class DiskFull(StoreFailed):
    """No room for what is to be written. Reads go on."""


class ReadOnlyDisk(StoreFailed):
    """The disk, or the file, cannot be written. Reads go on."""


class BeamUnavailable(StoreFailed):
    """The BEAM that has the tables is not there, or does not answer in time."""

    certain = False


class NoMnesia(LedgerError):
    """The BEAM has no Mnesia, or its Mnesia does not take our tables."""


__all__ = [
    "BadExport",
    "BadRequest",
    "BeamUnavailable",
    "DiskFull",
    "LedgerError",
    "NewerSchema",
    "NoLedger",
    "NoMnesia",
    "NotALedger",
    "NotEmpty",
    "Overloaded",
    "ReadOnlyDisk",
    "StoreClosed",
    "StoreDamaged",
    "StoreFailed",
    "StoreLocked",
    "WrongHeights",
]
