"""Jets: arms of the standard library that native code stands for.

A call takes a jet if the mug of its core's battery is in the table and the mug of the noun at the parent's axis fits,
whatever the axis of the call: all of them are gates. The sample of a gate is at axis 6; the arms of a door that were
made for one block size or set have that at axis 30.

A jet gives the term that the Elixir node's gives, in the same form, and no result on what that one has none for. Some
of these are stricter than the arms they stand for: `cue` takes no number, `silt` no list that ends with ``b""``.
Signatures and deltas exist as jets only.

Source: Anoma's Elixir node, ``nock/jets.ex``, ``nock/jets/mugs.ex``, ``noun/nounable.ex``, ``noun/order.ex``,
``transparent_resource/*.ex``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Final, NoReturn, TypeAlias

from nacl.bindings import crypto_sign, crypto_sign_open
from nacl.exceptions import CryptoError

from anoma.nock.errors import CueError
from anoma.nock.jam import cue, jam
from anoma.nock.mug import mug
from anoma.nock.noun import (
    NIL,
    Cell,
    Noun,
    TermKeys,
    atom_bytes,
    atom_int,
    axis,
    compare_terms,
    list_elements,
    nock_list,
)

MOST_BITS: Final = 64 * ((1 << 19) - 1)
"""The largest number of Erlang/OTP 25 has so many bits; what would be larger has no result."""

_SIGNATURE: Final = 64
_PUBLIC_KEY: Final = 32
_SECRET_KEY: Final = 64

_by_term: Final = cmp_to_key(compare_terms)


class NoResult(Exception):
    """The jet has no result on this core."""


@dataclass(frozen=True, slots=True)
class Jet:
    """Native code for an arm.

    Attributes:
        name: for people; jets are known by their mugs.
        parent_axis: where the parent of the core is.
        parent_mug: what its mug has to be.
        gas: its price.
        function: from the core to the result; raises `NoResult`.
    """

    name: str
    parent_axis: int
    parent_mug: int
    gas: int
    function: Callable[[Noun], Noun]

    def fits(self, core: Noun) -> bool:
        """Whether a core with the jet's battery also has its parent."""
        parent = axis(self.parent_axis, core)
        return parent is not None and mug(parent) == self.parent_mug


def _none() -> NoReturn:
    raise NoResult


# -- samples --------------------------------------------------------------------------------------------


def _sample(core: Noun) -> Noun:
    if type(core) is not Cell or type(core.tail) is not Cell:
        _none()
    return core.tail.head


def _door_sample(core: Noun) -> Noun:
    found = axis(30, core)
    return _none() if found is None else found


def _pair(noun: Noun) -> tuple[Noun, Noun]:
    return (noun.head, noun.tail) if type(noun) is Cell else _none()


def _int(noun: Noun) -> int:
    return atom_int(noun) if type(noun) is not Cell else _none()


def _bytes(noun: Noun) -> bytes:
    return atom_bytes(noun) if type(noun) is not Cell else _none()


def _ints(core: Noun) -> tuple[int, int]:
    left, right = _pair(_sample(core))
    return _int(left), _int(right)


def _signed(number: int) -> int:
    return -((number + 1) >> 1) if number & 1 else number >> 1


def _of_signed(number: int) -> int:
    return _bounded(number * 2 if number >= 0 else -number * 2 - 1)


def _signed_ints(core: Noun) -> tuple[int, int]:
    left, right = _ints(core)
    return _signed(left), _signed(right)


def _bounded(number: int) -> int:
    return number if number.bit_length() <= MOST_BITS else _none()


def _shifted(number: int, places: int) -> int:
    if number and number.bit_length() + places > MOST_BITS:
        _none()
    return number << places if number else 0


def _yes(answer: bool) -> int:
    return 0 if answer else 1


# -- layer 1: numbers -----------------------------------------------------------------------------------


def _dec(core: Noun) -> Noun:
    number = _int(_sample(core))
    return number - 1 if number else _none()


def _add(core: Noun) -> Noun:
    left, right = _ints(core)
    return _bounded(left + right)


def _sub(core: Noun) -> Noun:
    left, right = _ints(core)
    return left - right if left >= right else _none()


def _lth(core: Noun) -> Noun:
    left, right = _ints(core)
    return _yes(left < right)


def _lte(core: Noun) -> Noun:
    left, right = _ints(core)
    return _yes(left <= right)


def _gth(core: Noun) -> Noun:
    left, right = _ints(core)
    return _yes(left > right)


def _gte(core: Noun) -> Noun:
    left, right = _ints(core)
    return _yes(left >= right)


def _mul(core: Noun) -> Noun:
    left, right = _ints(core)
    if left.bit_length() + right.bit_length() > MOST_BITS + 1:
        _none()
    return _bounded(left * right)


def _div(core: Noun) -> Noun:
    left, right = _ints(core)
    return left // right if right else _none()


def _mod(core: Noun) -> Noun:
    left, right = _ints(core)
    return left % right if right else _none()


# -- layers 4 and 5: bits --------------------------------------------------------------------------------


def _bex(core: Noun) -> Noun:
    return _shifted(1, _int(_sample(core)))


def _mix(core: Noun) -> Noun:
    left, right = _ints(core)
    return left ^ right


def _blocks(core: Noun) -> tuple[int, int]:
    """How many bits, and the number, of ``[count number]`` and the door's block size."""
    count, number = _ints(core)
    return _shifted(count, _int(_door_sample(core))), number


def _lsh(core: Noun) -> Noun:
    bits, number = _blocks(core)
    return _shifted(number, bits)


def _rsh(core: Noun) -> Noun:
    bits, number = _blocks(core)
    return number >> bits


def _end(core: Noun) -> Noun:
    bits, number = _blocks(core)
    return number & (_shifted(1, bits) - 1)


def _met(core: Noun) -> Noun:
    sample, block = _sample(core), _door_sample(core)
    # Only a sample of bytes has the block size converted, and `[]` is no number at all.
    if sample is NIL or (isinstance(sample, int) and (isinstance(block, bytes) or block is NIL)):
        _none()
    number = _int(sample)
    size = _shifted(1, _int(block))
    return -(-number.bit_length() // size)


def _jam(core: Noun) -> Noun:
    return jam(_sample(core))


def _cue(core: Noun) -> Noun:
    sample = _sample(core)
    if not isinstance(sample, bytes):
        _none()
    try:
        return cue(sample)
    except CueError:
        _none()


# -- layers 6 and 7: signatures, hashes -------------------------------------------------------------------


def _sign(core: Noun) -> Noun:
    message, secret = map(_bytes, _pair(_sample(core)))
    return crypto_sign(message, secret) if len(secret) == _SECRET_KEY else _none()


def _sign_detached(core: Noun) -> Noun:
    message, secret = map(_bytes, _pair(_sample(core)))
    return crypto_sign(message, secret)[:_SIGNATURE] if len(secret) == _SECRET_KEY else _none()


def _verify(core: Noun) -> Noun:
    signed, public = map(_bytes, _pair(_sample(core)))
    message = _opened(signed, public)
    return 0 if message is None else Cell(0, message)


def _verify_detached(core: Noun) -> Noun:
    signature, rest = _pair(_sample(core))
    message, public = _pair(rest)
    signature, message, public = _bytes(signature), _bytes(message), _bytes(public)
    return _yes(len(signature) == _SIGNATURE and _opened(signature + message, public) is not None)


def _opened(signed: bytes, public: bytes) -> bytes | None:
    if len(signed) < _SIGNATURE or len(public) != _PUBLIC_KEY:
        return None
    try:
        return crypto_sign_open(signed, public)
    except CryptoError:
        return None


def _shax(core: Noun) -> Noun:
    return hashlib.sha256(_bytes(_sample(core))).digest()


# -- layer 8: signed numbers ------------------------------------------------------------------------------


def _abs(core: Noun) -> Noun:
    return abs(_signed(_int(_sample(core))))


def _dif(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    return _of_signed(left - right)


def _dul(core: Noun) -> Noun:
    left, right = _ints(core)
    left = _signed(left)
    if left >= 0:
        return left % right if right else _none()
    return right + left if right >= -left else _none()


def _fra(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    if right == 0:
        _none()
    quotient = abs(left) // abs(right)
    return _of_signed(quotient if (left < 0) == (right < 0) else -quotient)


def _pro(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    if left.bit_length() + right.bit_length() > MOST_BITS + 1:
        _none()
    return _of_signed(left * right)


def _rem(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    if right == 0:
        _none()
    remainder = abs(left) % abs(right)
    return _of_signed(-remainder if left < 0 else remainder)


def _sum(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    return _of_signed(left + right)


def _sun(core: Noun) -> Noun:
    return _bounded(2 * _int(_sample(core)))


def _syn(core: Noun) -> Noun:
    return _int(_sample(core)) & 1


def _cmp(core: Noun) -> Noun:
    left, right = _signed_ints(core)
    return _of_signed((left > right) - (left < right))


# -- layer 9: the order of nouns --------------------------------------------------------------------------


def _nmug(core: Noun) -> Noun:
    return mug(_sample(core))


def _dor(core: Noun) -> Noun:
    left, right = _pair(_sample(core))
    keys = TermKeys()
    while type(left) is Cell and type(right) is Cell:
        if keys.key(left.head) == keys.key(right.head):
            left, right = left.tail, right.tail
        else:
            left, right = left.head, right.head
    if type(left) is not Cell and type(right) is not Cell:
        return _yes(atom_int(left) <= atom_int(right))
    return _yes(type(left) is not Cell)


def _gor(core: Noun) -> Noun:
    left, right = _pair(_sample(core))
    return _yes(mug(left) <= mug(right))


def _mor(core: Noun) -> Noun:
    left, right = _pair(_sample(core))
    return _yes(mug(mug(left)) <= mug(mug(right)))


# -- layers 10 and 11: sets and maps ------------------------------------------------------------------------

# As in Elixir, the elements of a set and the keys of a map differ if they do as terms.
_Elements: TypeAlias = dict[int, Noun]


def _elements_of_tree(tree: Noun, keys: TermKeys) -> _Elements:
    elements: _Elements = {}
    seen: set[int] = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        if type(node) is Cell and type(node.tail) is Cell and id(node) not in seen:
            seen.add(id(node))
            elements[keys.key(node.head)] = node.head
            pending += (node.tail.head, node.tail.tail)
    return elements


def _tree(elements: Iterable[Noun]) -> Noun:
    """The balanced tree of a set: searched by mug, with the least mug of mug on top."""
    tree: Noun = 0
    for element in sorted(elements, key=_by_term):
        tree = _put_in_tree(tree, element)
    return tree


def _put_in_tree(tree: Noun, element: Noun) -> Cell:
    own = mug(element)
    path: list[tuple[Noun, Noun, Noun, bool]] = []
    while type(tree) is Cell:
        node = tree.head
        left, right = _pair(tree.tail)
        goes_left = own <= mug(node)
        path.append((node, left, right, goes_left))
        tree = left if goes_left else right
    made = Cell(element, Cell(0, 0))
    top = mug(own)
    for node, left, right, went_left in reversed(path):
        if mug(mug(node)) <= top:
            made = Cell(node, Cell(made, right) if went_left else Cell(left, made))
            top = mug(mug(node))
            continue
        inner_left, inner_right = _pair(made.tail)
        if went_left:
            made = Cell(made.head, Cell(inner_left, Cell(node, Cell(inner_right, right))))
        else:
            made = Cell(made.head, Cell(Cell(node, Cell(left, inner_left)), inner_right))
    return made


def _silt(core: Noun) -> Noun:
    sample = _sample(core)
    elements = list_elements(sample)
    end = sample
    while type(end) is Cell:
        end = end.tail
    if elements is None or isinstance(end, bytes):
        _none()
    keys = TermKeys()
    return _tree({keys.key(element): element for element in elements}.values())


def _put(core: Noun) -> Noun:
    keys = TermKeys()
    element = _sample(core)
    elements = _elements_of_tree(_door_sample(core), keys)
    elements[keys.key(element)] = element
    return _tree(elements.values())


def _two_sets(core: Noun) -> tuple[_Elements, _Elements]:
    keys = TermKeys()
    return _elements_of_tree(_sample(core), keys), _elements_of_tree(_door_sample(core), keys)


def _uni(core: Noun) -> Noun:
    given, own = _two_sets(core)
    return _tree((given | own).values())


def _intersection(core: Noun) -> Noun:
    given, own = _two_sets(core)
    return _tree(element for key, element in given.items() if key in own)


def _set_dif(core: Noun) -> Noun:
    given, own = _two_sets(core)
    return _tree(element for key, element in given.items() if key not in own)


def _duni(core: Noun) -> Noun:
    given, own = _two_sets(core)
    return _none() if given.keys() & own.keys() else _tree((given | own).values())


def _has(core: Noun) -> Noun:
    keys = TermKeys()
    return _yes(keys.key(_sample(core)) in _elements_of_tree(_door_sample(core), keys))


def _map_of_tree(tree: Noun, keys: TermKeys) -> dict[int, tuple[Noun, Noun]]:
    pairs = {}
    for element in sorted(_elements_of_tree(tree, keys).values(), key=_by_term):
        key, value = _pair(element)
        pairs[keys.key(key)] = (key, value)
    return pairs


def _map_put(core: Noun) -> Noun:
    keys = TermKeys()
    key, value = _pair(_sample(core))
    pairs = _map_of_tree(_door_sample(core), keys)
    pairs[keys.key(key)] = (key, value)
    elements = [Cell(_with_numbers(key), _with_numbers(value)) for key, value in pairs.values()]
    return _tree({keys.key(element): element for element in elements}.values())


def _got(core: Noun) -> Noun:
    # The Elixir node takes the value for a map: it has a result, the empty map, only where the value is an Elixir list.
    keys = TermKeys()
    found = _map_of_tree(_door_sample(core), keys).get(keys.key(_sample(core)))
    if found is None:
        _none()
    value = found[1]
    while type(value) is Cell:
        value = value.tail
    return 0 if value is NIL else _none()


def _with_numbers(noun: Noun) -> Noun:
    """A noun with 0 for every `NIL`."""
    changed: dict[int, Noun] = {}
    pending = [noun]
    while pending:
        top = pending[-1]
        if type(top) is not Cell or id(top) in changed:
            pending.pop()
            continue
        missing = [part for part in (top.tail, top.head) if type(part) is Cell and id(part) not in changed]
        if missing:
            pending += missing
            continue
        pending.pop()
        head, tail = (
            changed[id(part)] if type(part) is Cell else 0 if part is NIL else part for part in (top.head, top.tail)
        )
        changed[id(top)] = top if head is top.head and tail is top.tail else Cell(head, tail)
    if type(noun) is Cell:
        return changed[id(noun)]
    return 0 if noun is NIL else noun


# -- the layer of the resource machine ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Resource:
    label: bytes
    logic: Noun
    logic_key: int
    rest: tuple[object, ...]
    quantity: int

    @property
    def identity(self) -> tuple[object, ...]:
        return self.label, self.logic_key, self.quantity, self.rest

    @property
    def kind(self) -> bytes:
        return hashlib.sha256(jam(Cell(self.label, self.logic))).digest()


def _list(noun: Noun) -> list[Noun]:
    elements = list_elements(noun)
    return _none() if elements is None else elements


def _resource(noun: Noun, keys: TermKeys) -> _Resource:
    fields = []
    for _ in range(7):
        part, noun = _pair(noun)
        fields.append(part)
    label, logic, ephemeral, quantity, data, nullifier_key, nonce = fields
    flag = _bytes(ephemeral)
    if flag not in (b"", b"\0", b"\1"):
        _none()
    rest = (flag != b"\1", _bytes(data), _padded(nullifier_key), _padded(nonce), _bytes(noun))
    return _Resource(_bytes(label), logic, keys.key(logic), rest, _int(quantity))


def _padded(noun: Noun) -> bytes:
    if isinstance(noun, bytes) and len(noun) == _PUBLIC_KEY:
        return noun
    number = _int(noun)
    return number.to_bytes(max(_PUBLIC_KEY, (number.bit_length() + 7) >> 3), "little")


class _Delta:
    """Quantities by kind; kinds are terms, and none has the quantity 0."""

    __slots__ = ("quantities",)

    def __init__(self, quantities: dict[int, tuple[Noun, int]]) -> None:
        self.quantities = quantities

    def plus(self, other: _Delta, sign: int) -> _Delta:
        summed = dict(self.quantities)
        for key, (kind, quantity) in other.quantities.items():
            summed[key] = (kind, summed[key][1] + sign * quantity if key in summed else sign * quantity)
        return _Delta({key: entry for key, entry in summed.items() if entry[1]})

    def noun(self) -> Noun:
        entries = sorted(self.quantities.values(), key=lambda entry: _by_term(entry[0]))
        return nock_list([Cell(kind, _of_signed(quantity)) for kind, quantity in entries], NIL)


def _delta(noun: Noun, keys: TermKeys) -> _Delta:
    quantities: dict[int, tuple[Noun, int]] = {}
    for entry in _list(noun):
        kind, quantity = _pair(entry)
        quantities[keys.key(kind)] = (kind, _signed(_int(quantity)))
    return _Delta(quantities)


def _two_deltas(core: Noun, sign: int) -> Noun:
    keys = TermKeys()
    left, right = _pair(_sample(core))
    return _delta(left, keys).plus(_delta(right, keys), sign).noun()


def _delta_add(core: Noun) -> Noun:
    return _two_deltas(core, 1)


def _delta_sub(core: Noun) -> Noun:
    return _two_deltas(core, -1)


def _kind(core: Noun) -> Noun:
    return _resource(_sample(core), TermKeys()).kind


def _delta_of_action(noun: Noun, keys: TermKeys) -> _Delta:
    commitments, rest = _pair(noun)
    nullifiers, rest = _pair(rest)
    proofs, _app_data = _pair(rest)
    for atom in (*_list(commitments), *_list(nullifiers)):
        _bytes(atom)
    committed: dict[object, _Resource] = {}
    nullified: dict[object, _Resource] = {}
    for proof in _list(proofs):
        if proof is not NIL and type(proof) is not Cell and _bytes(proof) == b"compliance":
            continue
        resource, is_committed = _proof(proof, keys)
        (committed if is_committed else nullified)[resource.identity] = resource
    return _delta_of_resources(committed.values(), keys).plus(_delta_of_resources(nullified.values(), keys), -1)


def _delta_of_resources(resources: Iterable[_Resource], keys: TermKeys) -> _Delta:
    delta = _Delta({})
    for resource in resources:
        kind = resource.kind
        delta = delta.plus(_Delta({keys.key(kind): (kind, resource.quantity)}), 1)
    return delta


def _proof(noun: Noun, keys: TermKeys) -> tuple[_Resource, bool]:
    """The resource that a logic proof is about, and whether it is committed."""
    resource, inputs = _pair(noun)
    public, private = _pair(inputs)
    commitments, public = _pair(public)
    nullifiers, public = _pair(public)
    tag, _other = _pair(public)
    committed_plain, private = _pair(private)
    nullified_plain, _other = _pair(private)
    for atom in (*_list(commitments), *_list(nullifiers)):
        _bytes(atom)
    for plaintexts in (committed_plain, nullified_plain):
        if plaintexts != b"\0":
            for plaintext in _list(plaintexts):
                _resource(plaintext, keys)
    prefix = _bytes(tag)[:3]
    if prefix not in (b"CM_", b"NF_"):
        _none()
    return _resource(resource, keys), prefix == b"CM_"


def _action_delta(core: Noun) -> Noun:
    return _delta_of_action(_sample(core), TermKeys()).noun()


def _make_delta(core: Noun) -> Noun:
    # Each action's delta less what the actions before it came to: what the Elixir node does.
    keys = TermKeys()
    delta = _Delta({})
    for action in [_delta_of_action(action, keys) for action in _list(_sample(core))]:
        delta = action.plus(delta, -1)
    return delta.noun()


# Mugs of contexts, by layer of the standard library; those of layers 4, 10 and 11 also of the doors in them.
_LAYER_1: Final = 703853248
_LAYER_4: Final = 171152136
_BLOCK: Final = 645316720
_LAYER_5: Final = 903000751
_LAYER_6: Final = 1812395411
_LAYER_7: Final = 1694808605
_LAYER_8: Final = 1993123302
_LAYER_9: Final = 1258224070
_LAYER_10: Final = 20493734
_SET: Final = 356423517
_MAP: Final = 1488832239
_RESOURCE_MACHINE: Final = 890358089

JETS: Final[dict[int, Jet]] = {
    1070774082: Jet("dec", 7, _LAYER_1, 10, _dec),
    274794522: Jet("add", 7, _LAYER_1, 10, _add),
    1361861245: Jet("sub", 7, _LAYER_1, 10, _sub),
    1849179272: Jet("lth", 7, _LAYER_1, 10, _lth),
    1588335594: Jet("met", 14, _BLOCK, 20, _met),
    1578257594: Jet("lte", 7, _LAYER_1, 10, _lte),
    1561317665: Jet("gth", 7, _LAYER_1, 10, _gth),
    961716502: Jet("gte", 7, _LAYER_1, 10, _gte),
    780273006: Jet("mul", 7, _LAYER_1, 10, _mul),
    1809095064: Jet("div", 7, _LAYER_1, 10, _div),
    627457367: Jet("mod", 7, _LAYER_1, 10, _mod),
    1506822028: Jet("verify", 7, _LAYER_6, 100, _verify),
    494290098: Jet("sign", 7, _LAYER_6, 100, _sign),
    295570022: Jet("verify-detatched", 7, _LAYER_6, 100, _verify_detached),
    718423643: Jet("sign-detatched", 7, _LAYER_6, 100, _sign_detached),
    1827555063: Jet("bex", 7, _LAYER_4, 20, _bex),
    128138607: Jet("mix", 7, _LAYER_5, 20, _mix),
    1438185685: Jet("jam", 7, _LAYER_5, 50, _jam),
    1010670936: Jet("cue", 7, _LAYER_5, 50, _cue),
    2046665033: Jet("shax", 7, _LAYER_7, 100, _shax),
    945283753: Jet("end", 14, _BLOCK, 20, _end),
    1756595363: Jet("lsh", 14, _BLOCK, 20, _lsh),
    579952770: Jet("rsh", 14, _BLOCK, 20, _rsh),
    318043874: Jet("abs", 7, _LAYER_8, 30, _abs),
    1483114004: Jet("dif", 7, _LAYER_8, 30, _dif),
    595807969: Jet("dul", 7, _LAYER_8, 30, _dul),
    922759722: Jet("fra", 7, _LAYER_8, 30, _fra),
    1151696150: Jet("pro", 7, _LAYER_8, 30, _pro),
    1645633564: Jet("rem", 7, _LAYER_8, 30, _rem),
    1022234851: Jet("sum", 7, _LAYER_8, 30, _sum),
    1959834939: Jet("sun", 7, _LAYER_8, 30, _sun),
    344914769: Jet("syn", 7, _LAYER_8, 30, _syn),
    1192529830: Jet("cmp", 7, _LAYER_8, 30, _cmp),
    1283090366: Jet("mug", 7, _LAYER_9, 50, _nmug),
    598027924: Jet("dor", 7, _LAYER_9, 30, _dor),
    1009142435: Jet("gor", 7, _LAYER_9, 30, _gor),
    1212716886: Jet("mor", 7, _LAYER_9, 30, _mor),
    250116030: Jet("silt", 7, _LAYER_10, 30, _silt),
    1207362020: Jet("put", 7, _SET, 30, _put),
    1745596431: Jet("uni", 7, _SET, 30, _uni),
    334279107: Jet("int", 7, _SET, 30, _intersection),
    815849443: Jet("dif", 7, _SET, 30, _set_dif),
    1635158504: Jet("duni", 7, _SET, 30, _duni),
    2067464586: Jet("has", 7, _SET, 30, _has),
    1488515560: Jet("put", 7, _MAP, 30, _map_put),
    95724431: Jet("got", 7, _MAP, 30, _got),
    463672507: Jet("kind", 7, _RESOURCE_MACHINE, 100, _kind),
    1564147318: Jet("delta-add", 7, _RESOURCE_MACHINE, 50, _delta_add),
    1973314672: Jet("delta-sub", 7, _RESOURCE_MACHINE, 50, _delta_sub),
    1472842221: Jet("action-delta", 7, _RESOURCE_MACHINE, 50, _action_delta),
    2056238249: Jet("make-delta", 7, _RESOURCE_MACHINE, 50, _make_delta),
}
"""The jets, by the mug of the battery of the core."""
