"""What the Static Configuration takes and sends.

Source: nspec before v0.2.0, "Static Configuration Engine", since removed. `found` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.messages import Message


class StaticConfigurationMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "static_configuration"


@dataclass(frozen=True, slots=True)
class GetStaticConfigRequest(StaticConfigurationMessage):
    """Ask for the value of a key; `GetStaticConfigResponse` comes back.

    Attributes:
        key: any text.
    """

    key: str


@dataclass(frozen=True, slots=True)
class GetStaticConfigResponse(StaticConfigurationMessage):
    """The value of a key.

    Attributes:
        key: as in the request.
        found: whether it has a value.
        value: any term; None where it has none, or where that is its value.
    """

    key: str
    found: bool
    value: Any = None


MESSAGES: Final = (GetStaticConfigRequest, GetStaticConfigResponse)
