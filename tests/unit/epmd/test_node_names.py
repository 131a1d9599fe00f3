"""``alive@host``: what is one, and which are long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.epmd.node_names import NodeName, can_dial, parse_node_name, split_node_name
from erlang_bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "alive", "host", "long"),
    [
        ("py@127.0.0.1", "py", "127.0.0.1", True),
        ("py@localhost", "py", "localhost", False),
        ("py-1_b@node.example.org", "py-1_b", "node.example.org", True),
        ("py@::1", "py", "::1", True),
        ("9@h", "9", "h", False),
    ],
)
def test_a_name_is_split(text: str, alive: str, host: str, long: bool) -> None:
    name = parse_node_name(text)
    assert (name.alive, name.host, name.long, str(name)) == (alive, host, long, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("py", "one '@'"),
        ("py@", "one '@'"),
        ("@host", "one '@'"),
        ("", "one '@'"),
        ("a@b@c", "one '@'"),
        ("a.b@host", "letters, digits"),
        ("süß@host", "letters, digits"),
        ("a b@host", "letters, digits"),
        ("py@ho st", "host name"),
        ("py@h\n", "host name"),
        ("py@" + "h" * 300, "at most 255"),
    ],
)
def test_what_is_no_name_of_ours_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        parse_node_name(text, key="--name")
    assert raised.value.key == "--name"
    assert raised.value.value == text


def test_other_nodes_may_have_stranger_names() -> None:
    assert split_node_name("süß.1@host") == NodeName("süß.1", "host")
    assert split_node_name("a@b@c") is None
    assert split_node_name("nonode") is None


def test_long_and_short_names_do_not_dial_each_other() -> None:
    short, long = NodeName("a", "localhost"), NodeName("b", "127.0.0.1")
    assert can_dial(short, short)
    assert can_dial(long, long)
    assert not can_dial(short, long)
    assert not can_dial(long, short)


@given(st.text())
def test_any_text_is_a_name_or_a_config_error(text: str) -> None:
    try:
        name = parse_node_name(text)
    except ConfigError:
        return
    assert str(name) == text
    assert split_node_name(text) == name
