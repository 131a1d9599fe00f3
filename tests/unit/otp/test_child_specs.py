"""Child specifications: what is taken, in which forms, and how OTP names what is not."""

from functools import partial
from typing import Any

import pytest

from erlang_bridge.etf import decode, encode
from erlang_bridge.otp.child_specs import (
    ChildSpec,
    DynamicSupervisorFlags,
    InvalidSpec,
    SupervisorFlags,
    check_child_spec,
    check_child_specs,
    check_dynamic_child,
)
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.supervisor import DynamicSupervisor, Supervisor
from erlang_bridge.terms import Atom

A = Atom
MFA = (A("m"), A("f"), [1])


class Worker(GenServer):
    """Of which a specification names the class."""


def start_worker(supervisor: Any) -> Any:
    return Atom("ignore")


def a_map(**fields: Any) -> dict[Atom, Any]:
    return {A(key): value for key, value in {"id": A("a"), "start": MFA, **fields}.items()}


# -- the Python form --------------------------------------------------------------------------


def test_defaults():
    spec = ChildSpec("a", (Worker, 1))
    assert (spec.id, spec.restart, spec.shutdown_ms, spec.type, spec.significant) == (
        A("a"),
        "permanent",
        5000,
        "worker",
        False,
    )
    assert spec.modules == (A("tests.unit.otp.test_child_specs.Worker"),)


@pytest.mark.parametrize("supervisor", [Supervisor, DynamicSupervisor])
def test_a_supervisor_is_known_by_its_class_and_has_all_the_time_it_needs(supervisor):
    spec = ChildSpec("a", (supervisor, None))
    assert (spec.type, spec.shutdown_ms) == ("supervisor", "infinity")


def test_what_is_said_counts_more_than_the_class():
    spec = ChildSpec("a", (Supervisor, None), type="worker")
    assert (spec.type, spec.shutdown_ms) == ("worker", 5000)
    assert ChildSpec("a", MFA, type="supervisor").shutdown_ms == "infinity"
    assert ChildSpec("a", MFA, type="supervisor", shutdown_ms=0).shutdown_ms == 0


@pytest.mark.parametrize(
    ("start", "mfargs"),
    [
        ((Worker,), ("tests.unit.otp.test_child_specs.Worker", "start_link", [])),
        ((Worker, 1), ("tests.unit.otp.test_child_specs.Worker", "start_link", [1])),
        ((Worker, {1, 2}, {"name": "w"}), ("tests.unit.otp.test_child_specs.Worker", "start_link", [[1, 2]])),
        (MFA, ("m", "f", [1])),
        (start_worker, ("tests.unit.otp.test_child_specs", "start_worker", [])),
        (partial(start_worker, 1), ("functools", "partial", [])),
    ],
)
def test_what_starts_it_has_a_name_for_others(start, mfargs):
    module, function, arguments = ChildSpec("a", start).mfargs()
    assert (module.name, function.name, arguments) == mfargs
    encode(ChildSpec("a", start))


def test_further_arguments_come_last():
    assert ChildSpec("a", (Worker, 1)).mfargs((2, 3))[2] == [1, 2, 3]
    assert ChildSpec("a", MFA).mfargs((2, 3))[2] == [1, 2, 3]
    assert ChildSpec("a", start_worker).mfargs((2, 3))[2] == [2, 3]


def test_arguments_can_be_forgotten():
    spec = ChildSpec("a", (Worker, b"much"), restart="temporary").without_arguments()
    assert spec.mfargs()[2] is A("undefined")
    assert (spec.id, spec.restart, spec.modules) == (A("a"), "temporary", ChildSpec("a", (Worker, b"much")).modules)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"restart": "allways"}, "invalid restart type: allways"),
        ({"restart": None}, "invalid restart type"),
        ({"shutdown_ms": -1}, "invalid shutdown: -1"),
        ({"shutdown_ms": 1.5}, "invalid shutdown: 1.5"),
        ({"shutdown_ms": "soon"}, "invalid shutdown: soon"),
        ({"type": "thread"}, "invalid child type: thread"),
        ({"significant": True}, "bad combination"),
        ({"significant": 1}, "invalid significant: 1"),
        ({"modules": "m"}, "invalid modules: m"),
        ({"modules": [1]}, "invalid module: 1"),
        ({"start": (Worker, 1, {"nam": "w"})}, "invalid mfa"),
        ({"start": (Worker, 1, 2)}, "invalid mfa"),
        ({"start": (Worker, 1, {}, 3)}, "invalid mfa"),
        ({"start": Worker}, "invalid mfa"),
        ({"start": Worker(), "restart": "x"}, "invalid mfa"),
        ({"start": (A("m"), A("f"))}, "invalid mfa"),
        ({"start": ("m", "f", [])}, "invalid mfa"),
        ({"start": ()}, "invalid mfa"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_written(arguments, told):
    with pytest.raises(InvalidSpec, match=told):
        ChildSpec("a", **{"start": MFA, **arguments})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"strategy": "two_for_one"}, (A("invalid_strategy"), A("two_for_one"))),
        ({"intensity": -1}, (A("invalid_intensity"), -1)),
        ({"intensity": True}, (A("invalid_intensity"), True)),
        ({"period_s": 0}, (A("invalid_period"), 0)),
        ({"period_s": 0.5}, (A("invalid_period"), 0.5)),
        ({"auto_shutdown": "always"}, (A("invalid_auto_shutdown"), A("always"))),
    ],
)
def test_flags_are_checked(arguments, reason):
    with pytest.raises(InvalidSpec) as raised:
        SupervisorFlags(**arguments)
    assert raised.value.reason == reason


def test_flags_of_a_dynamic_supervisor_are_checked():
    assert DynamicSupervisorFlags() == DynamicSupervisorFlags(intensity=3, period_s=5, max_children=None)
    with pytest.raises(InvalidSpec, match="invalid intensity: -1"):
        DynamicSupervisorFlags(intensity=-1)
    with pytest.raises(InvalidSpec, match="invalid max children: -1"):
        DynamicSupervisorFlags(max_children=-1)


# -- terms ------------------------------------------------------------------------------------


def test_a_map_and_a_tuple_say_the_same():
    full = a_map(
        restart=A("transient"), shutdown=A("brutal_kill"), type=A("supervisor"), modules=[A("m"), A("n")], other=1
    )
    spec = check_child_spec(full)
    assert spec == check_child_spec((A("a"), MFA, A("transient"), A("brutal_kill"), A("supervisor"), [A("m"), A("n")]))
    assert spec == ChildSpec(
        "a", MFA, restart="transient", shutdown_ms="brutal_kill", type="supervisor", modules=["m", "n"]
    )


def test_the_defaults_of_a_map():
    assert check_child_spec(a_map()) == ChildSpec("a", MFA)
    assert check_child_spec(a_map(type=A("supervisor"))).shutdown_ms == "infinity"
    assert check_child_spec(a_map(modules=A("dynamic"))).modules == "dynamic"


def test_a_specification_survives_the_wire():
    spec = ChildSpec("a", MFA, restart="temporary", significant=True, shutdown_ms=7, modules="dynamic")
    assert check_child_spec(decode(encode(spec)), "any_significant") == spec


@pytest.mark.parametrize("id", [b"a", "a", 1, 1.0, (A("a"), [1]), [1, [2]], {A("k"): [1]}, None])
def test_any_term_is_an_id(id):
    assert check_child_specs([ChildSpec(id, MFA)])[0].id == (A("a") if id == "a" else id)


def test_ids_are_told_apart_as_erlang_does():
    specs = [ChildSpec(id, MFA) for id in (1, 1.0, True, "true_", b"true_", [1], (1,))]
    assert check_child_specs(specs) == specs
    with pytest.raises(InvalidSpec) as raised:
        check_child_specs([ChildSpec([1], MFA), a_map(), a_map(id=[1])])
    assert raised.value.reason == (A("duplicate_child_name"), [1])


NEVER = (A("auto_shutdown"), A("never"))
SIGNIFICANT = (A("significant"), True)


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        (A("foo"), (A("invalid_child_spec"), A("foo"))),
        ([], (A("invalid_child_spec"), [])),
        ((1, 2, 3), (A("invalid_child_spec"), (1, 2, 3))),
        ({}, A("missing_id")),
        ({A("id"): 1}, A("missing_start")),
        (a_map(start=A("b")), (A("invalid_mfa"), A("b"))),
        (a_map(start=(A("m"), A("f"), 1)), (A("invalid_mfa"), (A("m"), A("f"), 1))),
        (a_map(start=(b"m", A("f"), [])), (A("invalid_mfa"), (b"m", A("f"), []))),
        (a_map(restart=A("e"), type=A("f")), (A("invalid_restart_type"), A("e"))),
        (a_map(restart=b"permanent"), (A("invalid_restart_type"), b"permanent")),
        (a_map(restart=None), (A("invalid_restart_type"), A("nil"))),
        (a_map(significant=True, type=A("f")), (A("bad_combination"), [NEVER, SIGNIFICANT])),
        (a_map(significant=A("yes"), type=A("f")), (A("invalid_significant"), A("yes"))),
        (a_map(type=A("f"), shutdown=-1), (A("invalid_child_type"), A("f"))),
        (a_map(shutdown=-1, modules=A("f")), (A("invalid_shutdown"), -1)),
        (a_map(shutdown=None), (A("invalid_shutdown"), A("nil"))),
        (a_map(shutdown=True), (A("invalid_shutdown"), True)),
        (a_map(modules=A("f")), (A("invalid_modules"), A("f"))),
        (a_map(modules=[1]), (A("invalid_module"), 1)),
        ((A("a"), A("b"), 1, 2, 3, 4), (A("invalid_mfa"), A("b"))),
    ],
)
def test_otp_s_reason_for_what_is_wrong(term, reason):
    with pytest.raises(InvalidSpec) as raised:
        check_child_spec(term)
    assert raised.value.reason == reason


def test_a_significant_child_needs_a_supervisor_that_ends_with_it():
    spec = ChildSpec("a", MFA, restart="transient", significant=True)
    assert check_child_spec(spec, "all_significant") is spec
    for form in (spec, a_map(restart=A("transient"), significant=True)):
        with pytest.raises(InvalidSpec) as raised:
            check_child_spec(form)
        assert raised.value.reason == (A("bad_combination"), [NEVER, SIGNIFICANT])
    with pytest.raises(InvalidSpec) as raised:
        check_child_spec(a_map(significant=True), "any_significant")
    assert raised.value.reason == (A("bad_combination"), [(A("restart"), A("permanent")), SIGNIFICANT])


def test_nobody_far_away_can_name_a_python_class():
    with pytest.raises(InvalidSpec, match="invalid mfa"):
        check_child_spec(a_map(start=(Worker, 1)))


def test_elixir_s_form_of_a_dynamic_child():
    spec = check_dynamic_child((MFA, A("temporary"), 100, A("worker"), [A("m")]))
    assert spec == ChildSpec("undefined", MFA, restart="temporary", shutdown_ms=100, modules=["m"])
    assert check_dynamic_child(a_map()) == ChildSpec("a", MFA)
