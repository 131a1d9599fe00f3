"""The process ``net_kernel``: answers ``net_adm:ping``.

Source: OTP ``lib/kernel/src/net_kernel.erl``.
"""

from __future__ import annotations

from typing import Any

from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.terms import Atom


class NetKernel(GenServer):
    """Whoever gets as far as asking has passed the handshake: ``is_auth`` is always ``yes``."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
        match request:
            case (Atom("is_auth"), _):
                return Reply(Atom("yes"), state)
        return Reply((Atom("error"), (Atom("unknown_request"), request)), state)

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)
