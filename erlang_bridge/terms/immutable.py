"""The base of term classes that are values: their slots are set once, in ``__init__``, through `set_once`."""

from __future__ import annotations

from typing import Final, NoReturn, Self

set_once: Final = object.__setattr__


class Immutable:
    """A value: equal by content, hashable where its content is, its own copy."""

    __slots__ = ()

    def __setattr__(self, attribute: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable; cannot set {attribute!r}")

    def __delattr__(self, attribute: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable; cannot delete {attribute!r}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
