"""Atoms: interned names, never equal to a `str`."""

from __future__ import annotations

from _thread import RLock
from itertools import islice
from sys import getsizeof
from typing import Any, Final, NoReturn
from weakref import WeakValueDictionary

MAX_ATOM_CHARACTERS: Final = 255
"""OTP's limit, counted in characters, not bytes (erts ``atom.h``, ``MAX_ATOM_CHARACTERS``)."""

_interned: WeakValueDictionary[str, Atom] = WeakValueDictionary()
_recent: dict[str, Atom] = {}
_interning: Final = RLock()
"""Two threads that make an atom of one name must get one object. `_thread`'s lock, which gevent never replaces: the hub
makes atoms too, and must not be switched away from."""
_MAX_RECENT: Final = 8192


class Atom:
    """An Erlang atom. ``Atom("ok") is Atom("ok")``, and ``Atom("ok") != "ok"``.

    Interned, so that comparing and hashing cost what they cost for any object; an atom that nothing refers to
    any more is forgotten, so names sent by peers do not pile up.

    Reads well in a ``match``::

        match request:
            case Atom("read"): ...
            case (Atom("add"), int(n)): ...

    The atoms ``true``, ``false`` and ``nil`` arrive as ``True``, ``False`` and ``None``; an ``Atom`` of that name is
    encoded as the same atom, and is still not equal to the Python value.

    Args:
        name: at most 255 characters.

    Raises:
        TypeError: not a `str`.
        ValueError: too long, or not encodable as UTF-8.

    Source: ERTS, "External Term Format", ATOM_UTF8_EXT and SMALL_ATOM_UTF8_EXT.
    """

    __slots__ = ("__weakref__", "etf", "name")
    __match_args__ = ("name",)

    name: str
    etf: bytes
    """The atom as the external term format has it, tag first: 119 up to 255 bytes, else 118."""

    def __new__(cls, name: str) -> Atom:
        # A plain dict in front: a weak one costs ten times as much to look into, and a name in use every now and then
        # would be made again each time.
        recent = _recent.get(name)
        if recent is not None:
            return recent
        found = _interned.get(name)
        if found is not None:
            return _remember(found)
        if not isinstance(name, str):
            raise TypeError(f"an atom's name must be a str, got {type(name).__name__}")
        if len(name) > MAX_ATOM_CHARACTERS:
            raise ValueError(f"an atom has at most {MAX_ATOM_CHARACTERS} characters, got {len(name)}")
        try:
            utf8 = name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"an atom's name must be encodable as UTF-8: {error}") from None
        size = len(utf8)
        atom = object.__new__(cls)
        set_once = object.__setattr__
        set_once(atom, "name", str(name))
        set_once(atom, "etf", b"w%c%b" % (size, utf8) if size < 256 else b"v%b%b" % (size.to_bytes(2, "big"), utf8))
        with _interning:
            found = _interned.get(name)
            if found is None:
                _interned[atom.name] = found = atom
        return _remember(found)

    def __setattr__(self, attribute: str, value: object) -> NoReturn:
        raise AttributeError(f"atoms are immutable; cannot set {attribute!r}")

    def __repr__(self) -> str:
        return f"Atom({self.name!r})"

    def __str__(self) -> str:
        return self.name

    def __copy__(self) -> Atom:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Atom:
        return self

    def __reduce__(self) -> tuple[type[Atom], tuple[str]]:
        return Atom, (self.name,)


def _remember(atom: Atom) -> Atom:
    if len(_recent) >= _MAX_RECENT:
        _recent.clear()
    _recent[atom.name] = atom
    return atom


def atom_table() -> tuple[int, int]:
    """How many atoms there are now, and the bytes that they and their names take; of many, as an average of some."""
    count = len(_interned)
    some = list(islice(_recent.values(), 256))
    if not some:
        return count, 0
    size = sum(getsizeof(atom) + getsizeof(atom.name) + getsizeof(atom.etf) for atom in some)
    return count, size * count // len(some)
