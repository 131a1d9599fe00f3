"""Hypothesis strategies for terms and for broken bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from erlang_bridge.terms import (
    Atom,
    BitString,
    Export,
    ImproperList,
    Pid,
    Port,
    Reference,
    exact_key,
    map_of,
)

_U32 = st.integers(0, 2**32 - 1)
_NAME_CHARACTERS = st.characters(exclude_categories=["Cs"])

integers = st.one_of(
    st.integers(-3, 260),
    st.sampled_from([2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, 256**255 - 1, 256**255, -(256**255)]),
    st.integers(-(2**80), 2**80),
    st.integers(-(2**3000), 2**3000),
)
floats = st.floats(allow_nan=False, allow_infinity=False)
atom_names = st.text(_NAME_CHARACTERS, max_size=12) | st.sampled_from(
    ["ok", "undefined", "Elixir.Foo.Bar", "å" * 255, "\U0001f600" * 255, "a" * 255]
)
atoms = atom_names.filter(lambda name: name not in ("true", "false", "nil")).map(Atom)
nodes = st.sampled_from([Atom("a@127.0.0.1"), Atom("å@host"), Atom("n" * 200 + "@host.example")])
creations = st.integers(4, 2**32 - 1)
pids = st.builds(Pid, nodes, st.integers(0, 2**28 - 1), _U32, creations)
ports = st.builds(Port, nodes, st.integers(0, 2**64 - 1), creations)
references = st.builds(
    Reference, nodes, creations, st.lists(_U32, min_size=1, max_size=5).map(lambda w: (w[0] & 0x3FFFF, *w[1:]))
)
bit_strings = st.builds(BitString, st.binary(min_size=1, max_size=20), st.integers(1, 7))
exports = st.builds(Export, atoms, atoms, st.integers(0, 255))
leaves = st.one_of(
    integers, floats, atoms, st.booleans(), st.none(), st.binary(max_size=40), bit_strings, pids, ports, references, exports,
    st.lists(st.integers(0, 255), max_size=5),
)  # fmt: skip


def _with_keys_apart(pairs: list[tuple[Any, Any]]) -> Any:
    # OTP 25 and 26 take 0.0 and -0.0 for the same key.
    apart = {exact_key(0.0 if type(key) is float and not key else key): (key, value) for key, value in pairs}
    return map_of(list(apart.values()))


def _containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    elements = st.lists(inside, max_size=5)
    no_list = inside.filter(lambda term: not isinstance(term, (list, ImproperList)))
    return st.one_of(
        elements,
        elements.map(tuple),
        st.builds(ImproperList, st.lists(inside, min_size=1, max_size=4), no_list),
        st.lists(st.tuples(inside, inside), max_size=5).map(_with_keys_apart),
        st.lists(st.tuples(st.sampled_from([1, 1.0, True, 0, 0.0, False, (1,), (1.0,), []]), inside), max_size=6).map(
            _with_keys_apart
        ),
    )


terms = st.recursive(leaves, _containers, max_leaves=25)


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
