"""What can go wrong with nouns and Nock.

::

    NockError
    ├── NounError         a value, term or text that is no noun
    ├── CueError          bytes that are no jammed noun; `offset` is the bit where it was noticed
    ├── NockCrash         the evaluation has no result; `gas` is what it used until then
    └── NockOutOfGas      the evaluation would cost more than `limit`
"""

from __future__ import annotations


class NockError(Exception):
    """The base of all errors of `anoma.nock`."""


class NounError(NockError, ValueError):
    """A value, an Erlang term or a text that is no noun."""


class CueError(NockError, ValueError):
    """Bytes that no noun jams to.

    Attributes:
        offset: the position, in bits, of the noun that could not be read.
    """

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason}, at bit {offset}")
        self.offset = offset


class NockCrash(NockError):
    """The formula has no result on this subject.

    Attributes:
        why: what was met, in words.
        gas: gas used until then.
    """

    def __init__(self, why: str, gas: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.gas = gas


class NockOutOfGas(NockError):
    """The evaluation would cost more gas than it was given.

    Attributes:
        limit: gas that it was given.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the evaluation costs more than the {limit} gas it was given")
        self.limit = limit
