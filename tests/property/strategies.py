"""Hypothesis strategies for terms and for broken bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from erlang_bridge.etf import encode
from erlang_bridge.terms import (
    Atom,
    BitString,
    Export,
    ImproperList,
    Map,
    Pid,
    Port,
    Reference,
    map_of,
)

MINUS_ZERO, PLUS_ZERO = encode(-0.0)[1:], encode(0.0)[1:]
_U32 = st.integers(0, 2**32 - 1)
_NAME_CHARACTERS = st.characters(exclude_categories=["Cs"])

integers = st.one_of(
    st.integers(-3, 260),
    st.builds(
        lambda power, more, sign: sign * ((1 << power) + more),
        st.sampled_from([8, 31, 32, 63, 64, 8 * 255, 3000]),
        st.integers(-1, 1),
        st.sampled_from([1, -1]),
    ),
    st.binary(max_size=380).map(lambda digits: int.from_bytes(digits, signed=True)),
)
floats = st.floats(allow_nan=False, allow_infinity=False)
atom_names = st.text(_NAME_CHARACTERS, max_size=12) | st.sampled_from("åa\U0001f600").map(lambda letter: letter * 255)
atoms = atom_names.map(lambda name: Atom(name + "_" if name in ("true", "false", "nil") else name))
nodes = st.sampled_from([Atom("a@127.0.0.1"), Atom("å@host"), Atom("n" * 200 + "@host.example")])
creations = st.integers(4, 2**32 - 1)
pids = st.builds(Pid, nodes, st.integers(0, 2**28 - 1), _U32, creations)
ports = st.builds(Port, nodes, st.integers(0, 2**64 - 1), creations)
references = st.builds(
    Reference, nodes, creations, st.lists(_U32, min_size=1, max_size=5).map(lambda w: (w[0] & 0x3FFFF, *w[1:]))
)
bit_strings = st.builds(BitString, st.binary(min_size=1, max_size=20), st.integers(1, 7))
exports = st.builds(Export, atoms, atoms, st.integers(0, 255))
identifiers = st.one_of(pids, ports, references)
writable_leaves = st.one_of(
    integers, floats, atoms, st.booleans(), st.none(), st.binary(max_size=40), bit_strings, exports,
    st.lists(st.integers(0, 255), max_size=5),
)  # fmt: skip
"""Leaves that can also be given as text."""


def _with_keys_apart(pairs: list[tuple[Any, Any]]) -> Any:
    # OTP 25 and 26 take 0.0 and -0.0 for the same, also inside a key.
    apart = {encode(key).replace(MINUS_ZERO, PLUS_ZERO): (key, value) for key, value in pairs}
    return map_of(list(Map(apart.values()).pairs()))


def _containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    elements = st.lists(inside, max_size=5)
    no_list = inside.map(lambda term: (term,) if isinstance(term, (list, ImproperList)) else term)
    return st.one_of(
        elements,
        elements.map(tuple),
        st.builds(ImproperList, st.lists(inside, min_size=1, max_size=4), no_list),
        st.lists(st.tuples(inside, inside), max_size=5).map(_with_keys_apart),
        st.lists(st.tuples(st.sampled_from([1, 1.0, True, 0, 0.0, False, (1,), (1.0,), []]), inside), max_size=6).map(
            _with_keys_apart
        ),
    )


terms = st.recursive(writable_leaves | identifiers, _containers, max_leaves=25)
no_identifiers = st.recursive(writable_leaves, _containers, max_leaves=25)


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes near to what `whole` gives: some changed, taken out, put in or cut off."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "remove", "insert", "cut", "repeat"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255) | st.sampled_from([67, 97, 104, 105, 106, 107, 108, 112, 116, 119]))
            case "remove":
                del data[at : at + draw(st.integers(1, 4))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=6))
            case "cut":
                del data[at:]
            case "repeat":
                data[at:at] = data[: draw(st.integers(0, len(data)))]
            case _:
                pass
    return bytes(data)
