"""How the node and the process that solves tell one message from the next: four bytes of length, and a term."""

from __future__ import annotations

import struct
from typing import Final

LENGTH: Final = struct.Struct(">I")
