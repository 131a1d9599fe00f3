"""The static and the dynamic configuration without a node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engines.dynamic_configuration import behaviour as dynamic
from engines.dynamic_configuration.behaviour import DELETED, DynamicConfigurationSettings
from engines.dynamic_configuration.messages import (
    NO_SUCH_KEY,
    DeleteDynamicConfigRequest,
    DeleteDynamicConfigResponse,
    DynamicConfigChanged,
    GetDynamicConfigRequest,
    GetDynamicConfigResponse,
    SetDynamicConfigRequest,
    SetDynamicConfigResponse,
    SubscribeDynamicConfigRequest,
    SubscribeDynamicConfigResponse,
    UnsubscribeDynamicConfigRequest,
    UnsubscribeDynamicConfigResponse,
)
from engines.keeping.behaviour import CLOCK
from engines.messages import EngineID
from engines.static_configuration import behaviour as static
from engines.static_configuration.behaviour import StaticConfigurationSettings
from engines.static_configuration.messages import GetStaticConfigRequest, GetStaticConfigResponse
from erlang_bridge.terms import Atom
from tests.table_worlds import TableWorld

KEYS = ["", "a", "ab"]
REQUESTS = st.one_of(
    st.builds(GetDynamicConfigRequest, st.sampled_from(KEYS)),
    st.builds(SetDynamicConfigRequest, st.sampled_from(KEYS), st.sampled_from([None, 0, DELETED])),
    st.builds(DeleteDynamicConfigRequest, st.sampled_from(KEYS)),
)


def settings(ledger: bool) -> DynamicConfigurationSettings:
    return DynamicConfigurationSettings("ledger" if ledger else None, None, {"a": b"given", "other": b"given"})


def test_the_static_one_tells_what_it_was_started_with():
    made = TableWorld(static.BEHAVIOUR, StaticConfigurationSettings({"name": b"py", "none": None}))
    assert made.now(GetStaticConfigRequest("name")) == GetStaticConfigResponse("name", True, b"py")
    assert made.now(GetStaticConfigRequest("none")) == GetStaticConfigResponse("none", True, None)
    assert made.now(GetStaticConfigRequest("missing")) == GetStaticConfigResponse("missing", False, None)


@pytest.mark.parametrize("start", [static.start, dynamic.start])
def test_start_arguments(start: Any):
    assert start({Atom("values"): {b"k": 1}, Atom("node_id"): 7})[0].values == {"k": 1}
    assert start(None) == start([]) == start({})
    for wrong in (7, {Atom("values"): 7}, {Atom("values"): {Atom("k"): 1}}, {Atom("value"): {}}):
        with pytest.raises(ValueError, match="should|expected"):
            start(wrong)


@hypothesis_settings(deadline=None, max_examples=50)
@given(st.lists(REQUESTS, max_size=25), st.lists(st.sampled_from(["ok", "fails"]), max_size=5), st.integers(0, 2**32))
def test_the_dynamic_one_is_a_dict(requests: list[Any], fate: list[str], seed: int):
    for ledger in (False, True):
        made = TableWorld(dynamic.BEHAVIOUR, settings(ledger), seed=seed)
        made.now(SubscribeDynamicConfigRequest("a", prefix=True))
        made.fate = fate if ledger else []
        numbers = [made.ask(message) for message in requests]
        made.settle()
        model: dict[str, Any] = {"a": b"given", "other": b"given"}
        changed: dict[str, list[Any]] = {"a": [], "ab": []}
        for message, number in zip(requests, numbers, strict=True):
            reply, key = made.reply(number), message.key
            if reply.error == "no disk":
                continue
            if isinstance(message, GetDynamicConfigRequest):
                assert reply == GetDynamicConfigResponse(key, key in model, model.get(key))
                continue
            if isinstance(message, SetDynamicConfigRequest):
                assert reply == SetDynamicConfigResponse(key, success=True)
                model[key] = message.value
            elif key in model:
                assert reply == DeleteDynamicConfigResponse(key, success=True)
                del model[key]
            else:
                assert reply == DeleteDynamicConfigResponse(key, success=False, error=NO_SUCH_KEY)
                continue
            changed.setdefault(key, []).append((key in model, model.get(key)))
        news = made.news("me", DynamicConfigChanged)
        for key in KEYS:
            expected = changed.get(key, []) if key.startswith("a") else []
            assert [(change.found, change.value) for change in news if change.key == key] == expected
        assert [change.timestamp for change in news] == sorted({change.timestamp for change in news})
        assert made.state.data.values == model
        if ledger:
            made.fate = []
            made.crash(dynamic.BEHAVIOUR.name)
            made.start()
            made.settle()
            assert made.state.data.values == model


def test_what_lasts_comes_before_what_it_is_started_with():
    made = TableWorld(dynamic.BEHAVIOUR, settings(ledger=True))
    made.now(DeleteDynamicConfigRequest("a"))
    made.now(SetDynamicConfigRequest("b", 1))
    made.now(DeleteDynamicConfigRequest("b"))
    assert made.rows == {b"a": DELETED, CLOCK: 1_000_002}
    made.crash(dynamic.BEHAVIOUR.name)
    made.start()
    assert not made.now(GetDynamicConfigRequest("a")).found
    assert made.now(GetDynamicConfigRequest("other")) == GetDynamicConfigResponse("other", True, b"given")


def test_subscriptions():
    made = TableWorld(dynamic.BEHAVIOUR)
    made.time_s = 2.0
    assert made.now(SubscribeDynamicConfigRequest("k")) == SubscribeDynamicConfigResponse("k", False, True, 2000)
    made.now(SetDynamicConfigRequest("k", None))
    assert made.now(UnsubscribeDynamicConfigRequest("k")) == UnsubscribeDynamicConfigResponse("k", False, True)
    assert made.now(UnsubscribeDynamicConfigRequest("k")) == UnsubscribeDynamicConfigResponse("k", False, False)
    made.now(DeleteDynamicConfigRequest("k"))
    assert made.news("me", DynamicConfigChanged) == [DynamicConfigChanged("k", True, None, 2000)]
    made.send(EngineID(None, dynamic.BEHAVIOUR.name), UnsubscribeDynamicConfigRequest("k"))
    made.settle()


def test_failures_are_told():
    made = TableWorld(dynamic.BEHAVIOUR, settings(ledger=True))
    made.settle()
    made.fate = ["fails", "fails"]
    assert made.now(SetDynamicConfigRequest("k", 1)) == SetDynamicConfigResponse("k", success=False, error="no disk")
    deleted = made.now(DeleteDynamicConfigRequest("a"))
    assert deleted == DeleteDynamicConfigResponse("a", success=False, error="no disk")
    made.crash(dynamic.BEHAVIOUR.name)
    made.rows = {b"k": 7}
    made.start()
    number = made.ask(GetDynamicConfigRequest("k"))
    made.deliver()
    made.perform_next()
    assert "expected values, deleted keys, and a clock, got b'k' with 7" in made.reply(number).error
