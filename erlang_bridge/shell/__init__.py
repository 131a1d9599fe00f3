"""A Python prompt inside the node, for ``erl -remsh``, ``iex --remsh`` and ``pyanoma shell``.

It is full power over the node and the account that it runs under, so it is off unless the node was started with
``shell=True``; who tries all the same is told so in words.

======================================  ======================================================================
``shell:start()``                       a shell at the caller's terminal: ``erl -remsh``, ``^G r``
``iex:start(..)``, ``IEx.start(..)``    the same for ``iex --remsh``
``pyanoma:shell(Options)``, spawned     the same for ``pyanoma shell``
``edlin_expand:expand(..)``             completion, when TAB is pressed; ``IEx.Autocomplete.expand`` the same
``erl_eval:eval_str(Text)``             evaluates Python: ``erl_call -e``
======================================  ======================================================================
"""

from __future__ import annotations

from typing import Any

from erlang_bridge.shell.entrances import Shells


def start(node: Any) -> None:
    """Let other nodes open a shell here if ``node.shell_enabled``; else refuse them in words."""
    Shells(node).export()
