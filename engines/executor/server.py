"""The Executor as a process. Only a Mempool Worker starts one."""

from __future__ import annotations

from engines.engine import Engine
from engines.executor.behaviour import BEHAVIOUR


class Executor(Engine):
    """Runs one transaction, and ends."""

    engine = BEHAVIOUR
