"""The external term format: Python values to bytes and back, and whole packets of the distribution.

``etf.__impl__`` says which implementation is in use. The environment variable ``PYANOMA_ETF`` (``python`` or ``c``)
forces one; a forced one that is missing is an ImportError.
"""

from __future__ import annotations

import os
from typing import Final

from erlang_bridge.etf.decoder import decode, decode_prefix
from erlang_bridge.etf.encoder import Encoded, encode, encode_list, encode_term
from erlang_bridge.etf.signals import NO_PAYLOAD, Signal, cut_signals, decode_assembled, encode_signal
from erlang_bridge.etf.structs import StructCodec, default_structs, struct

__impl__: Final = "python"

_forced = os.environ.get("PYANOMA_ETF", __impl__)
if _forced != __impl__:
    raise ImportError(f"PYANOMA_ETF={_forced}: there is no such implementation; this installation has: {__impl__}")

__all__ = [
    "NO_PAYLOAD",
    "Encoded",
    "Signal",
    "StructCodec",
    "__impl__",
    "cut_signals",
    "decode",
    "decode_assembled",
    "decode_prefix",
    "default_structs",
    "encode",
    "encode_list",
    "encode_signal",
    "encode_term",
    "struct",
]
