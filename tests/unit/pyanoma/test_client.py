"""The name of a command's own node."""

from __future__ import annotations

import pytest

from erlang_bridge import ConfigError
from erlang_bridge.epmd.node_names import can_dial, parse_node_name
from pyanoma.client import client_name


@pytest.mark.parametrize("target", ["beam@127.0.0.1", "beam@host.example", "beam@box"])
def test_it_is_long_or_short_as_the_target_is(target: str):
    assert can_dial(parse_node_name(client_name(target)), parse_node_name(target))


def test_it_is_another_one_each_time():
    assert client_name("beam@h") != client_name("beam@h")


def test_a_target_that_is_no_name():
    with pytest.raises(ConfigError, match="NODE: expected a node name"):
        client_name("beam")
