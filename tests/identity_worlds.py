"""A world of the identity engines without a node."""

from __future__ import annotations

import random
from typing import Any

from anoma.crypto import InternalKeys, Secret
from engines import engine_of
from engines.commitment import behaviour as commitment
from engines.decryption import behaviour as decryption
from engines.encryption import behaviour as encryption
from engines.encryption import messages as encryption_messages
from engines.identity_management import behaviour as identity_management
from engines.identity_management import messages as identity_messages
from engines.messages import EngineID, Message
from engines.naming import behaviour as naming
from engines.reads_for import behaviour as reads_for
from engines.signs_for import behaviour as signs_for
from engines.simulation import NODE, Simulation
from engines.verification import behaviour as verification

BEHAVIOURS = {
    module.BEHAVIOUR.name: module.BEHAVIOUR
    for module in (
        commitment,
        decryption,
        encryption,
        identity_management,
        naming,
        reads_for,
        signs_for,
        verification,
    )
}

CLASSES = {name: engine_of(f"engines.{name}") for name in BEHAVIOURS}
"""The same as processes."""

ON_A_NODE = tuple(name for name in BEHAVIOURS if name not in ("commitment", "decryption"))
"""Those that a node has under their own names."""

INTERNAL = [InternalKeys.of(Secret(bytes([number]) * 64)) for number in range(1, 9)]
PEOPLE = [keys.external for keys in INTERNAL]
NAMES = [person.external_identity for person in PEOPLE]


class World(Simulation):
    """Engines under the names of their types, and random bytes from a seed."""

    def __init__(self, *engines: str, seed: int = 0, **settings: Any) -> None:
        super().__init__(BEHAVIOURS, self._draw)
        self.random = random.Random(seed)
        for engine in engines:
            self.spawn(engine, settings.get(engine), engine)

    def _draw(self, _engine: str, operation: Any) -> Message:
        secret = Secret(self.random.randbytes(operation.size))
        if isinstance(operation, identity_management.Draw):
            return identity_messages.Drawn(operation.number, secret)
        assert isinstance(operation, encryption.Draw)
        return encryption_messages.Drawn(operation.number, secret)

    def ask(self, engine: Any, message: Message, sender: str = "me", *, timers: bool = True) -> Any:
        """Send a request, let everything happen, and give the one message that came back."""
        before = len(self.received(sender))
        target = engine if isinstance(engine, EngineID) else EngineID(None, engine)
        self.send(target, message, sender=EngineID(NODE, sender))
        self.run(self.random, timers=timers)
        replies = self.received(sender)[before:]
        assert len(replies) == 1, replies
        return replies[0]
