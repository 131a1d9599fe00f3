"""What TAB adds."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from erlang_bridge.shell.completion import complete, default_names


class Careful:
    """Counts how often its property is read."""

    reads = 0
    plain = 1

    @property
    def dangerous(self) -> int:
        Careful.reads += 1
        return 1

    def method(self) -> None: ...


NAMES: dict[str, Any] = {"counter": 1, "count": 2, "careful": Careful(), "ages": {"ann": 1, "bob": 2, 3: 4}, "sys": sys}


@pytest.mark.parametrize(
    ("before", "insert", "possibilities"),
    [
        ("", "    ", []),
        ("  ", "    ", []),
        ("counte", "r", []),
        ("coun", "t", ["count", "counter"]),
        ("x = retur", "n", []),
        ("isinst", "ance(", []),
        ("no_such_na", "", []),
        ("careful.pl", "ain", []),
        ("careful.dang", "erous", []),
        ("careful.me", "thod(", []),
        ("careful.dangerous.re", "", []),
        ("careful.", "", ["dangerous", "method(", "plain", "reads"]),
        ("careful.__cla", "ss__(", []),
        ("sys.stdo", "ut", []),
        ("f(careful.me", "thod(", []),
        ("no.such", "", []),
        ("1 / 0 .re", "", []),
        ("whereis('net_", "kernel'", []),
        ("whereis('", "", ["net_kernel", "rex"]),
        ('call("re', 'x"', []),
        ("'done' + co", "", ["complex(", "copyright(", "count", "counter"]),
        ("ages['a", "nn']", []),
        ('ages["', "", ["ann", "bob"]),
        ("careful['a", "", []),
        ("import jso", "n", []),
        ("from sy", "", ["symtable", "sys", "sysconfig", "syslog"]),
        ("while Tr", "ue", []),
        ("λ", "", []),
    ],
)
def test_complete(before: str, insert: str, possibilities: list[str]) -> None:
    found = complete(before, NAMES, default_names(), ["rex", "net_kernel"])
    if possibilities:
        assert found[0] == insert
        assert set(possibilities) <= set(found[1])
    else:
        assert found == (insert, [])


def test_properties_are_not_read() -> None:
    for before in ("careful.dang", "careful.", "careful.dangerous.re"):
        complete(before, NAMES, {}, [])
    assert Careful.reads == 0


def test_an_object_that_raises_gives_nothing() -> None:
    class Shy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __dir__(self) -> list[str]:
            raise RuntimeError

    assert complete("shy.x.y", {"shy": Shy()}, {}, []) == ("", [])
    assert complete("shy.", {"shy": Shy()}, {}, []) == ("", [])
