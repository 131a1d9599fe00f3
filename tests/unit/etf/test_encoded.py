"""Terms that are encoded before they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, EtfEncodeError
from erlang_bridge.etf import Encoded, encode, encode_list, encode_term


@pytest.mark.parametrize("chunks", [[], [[]], [[1]], [[1, 2], [300]], [[(Atom("a"), b"b")], [], ["c", 1.5, [1, 2]]]])
def test_a_list_in_chunks_is_that_list(chunks: list[list[Any]]):
    whole = [item for chunk in chunks for item in chunk]
    pieces = encode_list(chunks)
    if all(type(item) is int and item < 256 for item in whole):
        # Which OTP writes as a string; both mean the same.
        whole = [*whole, b""]
        pieces = encode_list([*chunks, [b""]])
    assert pieces.etf == encode_term(whole)
    assert encode((Atom("ok"), pieces)) == encode((Atom("ok"), whole))


def test_the_chunks_are_made_one_after_the_other():
    made: list[int] = []

    def chunks() -> Any:
        for number in range(3):
            made.append(number)
            yield [b"%d" % number]

    assert encode_list(chunks()).etf == encode_term([b"0", b"1", b"2"])
    assert made == [0, 1, 2]


def test_anywhere_in_a_term():
    assert encode({"k": [Encoded(encode_term(5)), 6.0]}) == encode({"k": [5, 6.0]})


def test_what_has_no_term_is_refused():
    with pytest.raises(EtfEncodeError):
        encode_list([[1], [object()]])
