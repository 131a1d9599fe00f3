"""A Transport Connection as a process: it reads, writes and dials in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from anoma.crypto import Secret
from engines.engine import Engine
from engines.messages import Message
from engines.router.messages import CHALLENGE_SIZE
from engines.transport_connection.behaviour import BEHAVIOUR, Challenge, Dial, End, Hold, Read, Secure, Write
from engines.transport_connection.links import Link, LinkError, dial
from engines.transport_connection.messages import Challenged, Dialled, LinkEnded, ReadBytes, Secured, Wrote
from erlang_bridge import OwnProcess


class TransportConnection(Engine):
    """Carries frames between a link and a Router."""

    engine = BEHAVIOUR
    apart = (Dial, Secure, Read, Write)

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        try:
            match operation:
                case Dial(address, tls, timeout_s):
                    return self._dialled(dial(address, tls, timeout_s))
                case Secure(link, tls, timeout_s):
                    link.secure(tls, timeout_s)
                    return Secured()
                case Challenge():
                    return Challenged(Secret(os.urandom(CHALLENGE_SIZE)))
                case Read(link):
                    return ReadBytes(link.read())
                case Write(link, data, timeout_s):
                    link.write(data, timeout_s)
                    return Wrote()
                case Hold(link):
                    self._hold(link)
                case End(link):
                    link.end()
        except LinkError as error:
            return LinkEnded(str(error))
        return None

    def _dialled(self, link: Link) -> Message | None:
        if not self.node.is_alive(self.pid):
            link.end()
            return None
        self._hold(link)
        return Dialled(link)

    def _hold(self, link: Link) -> None:
        """Have the link end with this process, also where that is killed."""
        process = self.process
        earlier: Callable[[Any], None] | None = process.on_exit

        def ended(reason: Any) -> None:
            link.end()
            if earlier is not None:
                earlier(reason)

        process.on_exit = ended
