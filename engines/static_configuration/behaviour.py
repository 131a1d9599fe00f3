"""What the Static Configuration does: tells the values that it was started with.

Pure: functions of environment and message to effects.

Differences from the specification:

* The engine was removed from the specification; this is the one that it had, and it left the values' type open: any
  term.
* A missing key is told apart from every value, by `found`.

Source: nspec before v0.2.0, "Static Configuration Engine".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from engines.effects import Effects
from engines.guards import EngineBehaviour, First, Turn, on
from engines.static_configuration.messages import MESSAGES, GetStaticConfigRequest, GetStaticConfigResponse
from engines.wire import settings_from


@dataclass(frozen=True, slots=True)
class StaticConfigurationSettings:
    """What it tells.

    Attributes:
        values: key to value.
    """

    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaticConfigurationState:
    """None: what it tells are its settings."""


def get_config(turn: Turn[StaticConfigurationState], _args: None) -> Effects[StaticConfigurationState]:
    """Answer with the value of the key; the state stays."""
    message = turn.message
    assert isinstance(message, GetStaticConfigRequest)
    values = turn.settings.values
    reply = GetStaticConfigResponse(message.key, message.key in values, values.get(message.key))
    return Effects(turn.state, replies=(reply,))


def start(args: Any) -> tuple[StaticConfigurationSettings, StaticConfigurationState]:
    """The settings: a map with ``values``, which is a map of texts to terms.

    Raises:
        ValueError: they are no settings.
    """
    return settings_from(StaticConfigurationSettings, args), StaticConfigurationState()


BEHAVIOUR: Final[EngineBehaviour[StaticConfigurationState]] = EngineBehaviour(
    "static_configuration", MESSAGES, start, First(on(GetStaticConfigRequest, get_config))
)
