"""The kinds of programs: what the first part of an executable says.

=================================  ========================================================================
executable                         what it is
=================================  ========================================================================
``{python, Name, Args}``           a program that is registered under this name, see `python`
``{nock, Noun}``                   Nock as the Elixir node runs it, see `nock`
``{nock, Noun, Gas}``              the same, with at most so much gas
``{nockma, Noun}``                 Nock as the specification runs it, a read at a time, see `nockma`
``{nockma, Noun, Gas}``            the same, with so much gas
``{resource_machine, ...}``        a transaction of the resource machine, see `resource_machine`
=================================  ========================================================================

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from anoma.programs.nock import nock_program
from anoma.programs.nockma import nockma_program
from anoma.programs.python import Program, python_program
from anoma.programs.resource_machine import resource_machine_program
from anoma.programs.runnable import Runnable
from erlang_bridge.errors import brief
from erlang_bridge.terms import Atom

Kind = Callable[[tuple[Any, ...], Mapping[str, Program]], Runnable]
"""Of the further parts of an executable, and the registered programs, a program. Raises ValueError: they are none."""

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "python": python_program,
        "nock": nock_program,
        "nockma": nockma_program,
        "resource_machine": resource_machine_program,
    }
)


def load(executable: Any, programs: Mapping[str, Program], kinds: Mapping[str, Kind] = KINDS) -> Runnable:
    """The program that an executable stands for.

    Raises:
        ValueError: it stands for none, in words.
    """
    if type(executable) is tuple and executable:
        kind, *parts = executable
        found = kinds.get(kind.name) if type(kind) is Atom else None
        if found is not None:
            return found(tuple(parts), programs)
    names = ", ".join(sorted(kinds))
    raise ValueError(f"expected {{Kind, ...}} as executable, with one of {names} as kind, got {brief(executable, 80)}")
