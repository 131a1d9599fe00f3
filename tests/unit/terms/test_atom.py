from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Barrier, Thread

import pytest

from erlang_bridge.terms import Atom


@pytest.fixture
def eager_threads() -> Iterator[None]:
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual_s)


def test_one_object_for_a_name_whichever_thread_is_first(eager_threads: None) -> None:
    """What an offloaded function returns has to match what the node has decoded meanwhile."""
    names = [f"made_by_threads_{number}" for number in range(10_000)]
    made: list[list[Atom]] = [[], []]
    ready = Barrier(2)

    def make(into: list[Atom]) -> None:
        ready.wait(10)
        into += map(Atom, names)

    threads = [Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [name for name, one, other in zip(names, *made, strict=True) if one is not other] == []
