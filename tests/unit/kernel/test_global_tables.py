"""The rules of ``global``: who gets a lock, what a process's end takes with it, what two tables come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from erlang_bridge.kernel.global_tables import (
    DELETE,
    GLOBAL,
    INSERT,
    LOST_CONNECTION_KEPT_S,
    Locks,
    LostConnections,
    Names,
    NotResolved,
    Registered,
    back_off_ms,
    boss_of,
    exchange_names,
    lockers_lock_id,
)
from erlang_bridge.terms import Atom, Pid, Reference

HERE, THERE = Atom("a@h"), Atom("b@h")
METHOD, OTHER_METHOD = Atom("method"), Atom("other_method")


def pid(number: int, node: Atom = HERE, serial: int = 0, creation: int = 1) -> Pid:
    return Pid(node, number, serial, creation)


def monitor(number: int) -> Reference:
    return Reference(HERE, 1, (number, 0, 0))


# -- locks ------------------------------------------------------------------------------------


def test_lock_is_the_requesters() -> None:
    locks = Locks()
    locks.add((GLOBAL, "me"), pid(1), monitor(1))
    assert locks.is_set(GLOBAL)
    assert locks.is_free_for((GLOBAL, "me"))
    assert not locks.is_free_for((GLOBAL, "you"))
    assert locks.is_free_for((Atom("another"), "you"))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (Atom("a"), b"a"), ([1], (1,)), (0.0, -0.0)])
def test_resources_and_requesters_are_told_apart_exactly(one: Any, other: Any) -> None:
    locks = Locks()
    locks.add((one, one), pid(1), monitor(1))
    assert locks.is_set(one)
    assert not locks.is_set(other)
    assert not locks.is_free_for((one, other))


def test_lock_shared_by_one_requester_ends_with_the_last_holder() -> None:
    locks = Locks()
    locks.add((GLOBAL, "us"), pid(1), monitor(1))
    locks.add((GLOBAL, "us"), pid(2), monitor(2))
    assert locks.remove((GLOBAL, "us"), pid(1)) == monitor(1)
    assert locks.remove((GLOBAL, "us"), pid(1)) is None
    assert locks.is_set(GLOBAL)
    assert not locks.is_held_by(GLOBAL, pid(1))
    assert locks.is_held_by(GLOBAL, pid(2))
    assert locks.remove((GLOBAL, "us"), pid(2)) == monitor(2)
    assert not locks.is_set(GLOBAL)
    assert len(locks) == 0


def test_only_its_requester_can_delete_a_lock() -> None:
    locks = Locks()
    locks.add((GLOBAL, "me"), pid(1), monitor(1))
    assert locks.remove((GLOBAL, "you"), pid(1)) is None
    assert locks.remove((Atom("another"), "me"), pid(1)) is None
    assert locks.is_set(GLOBAL)


def test_death_of_the_holder_ends_all_its_locks() -> None:
    locks = Locks()
    locks.add((GLOBAL, "me"), pid(1), monitor(1))
    locks.add((Atom("other"), "me"), pid(1), monitor(2))
    locks.holder_died(monitor(1))
    locks.holder_died(monitor(2))
    locks.holder_died(monitor(3))
    assert len(locks) == 0


def test_death_of_the_holder_of_the_global_lock_is_remembered_until_it_is_deleted_in_order() -> None:
    locks = Locks()
    seen = [locks.global_lock_died]
    locks.add((GLOBAL, "me"), pid(1), monitor(1))
    locks.holder_died(monitor(1))
    seen.append(locks.global_lock_died)
    locks.add((Atom("other"), "me"), pid(1), monitor(2))
    locks.remove((Atom("other"), "me"), pid(1))
    seen.append(locks.global_lock_died)
    locks.add((GLOBAL, "me"), pid(2), monitor(3))
    locks.remove((GLOBAL, "me"), pid(2))
    seen.append(locks.global_lock_died)
    assert seen == [False, True, True, False]


def test_lock_is_known_by_its_requester() -> None:
    locks = Locks()
    requester = [pid(1), pid(2, THERE)]
    locks.add((GLOBAL, requester), pid(1), monitor(1))
    assert locks.is_requested_by(GLOBAL, [pid(1), pid(2, THERE)])
    assert not locks.is_requested_by(GLOBAL, [pid(2, THERE), pid(1)])


def test_lockers_sort_their_pids_as_erlang_does() -> None:
    # lists:sort/1 of these on OTP 25 and 28: serial, then id, then node, then creation.
    in_order = [
        pid(4, THERE),
        pid(5),
        pid(5, creation=2),
        pid(5, THERE, creation=0),
        pid(6),
        pid(70000),
        pid(5, serial=1),
    ]
    for index, smaller in enumerate(in_order):
        for greater in in_order[index + 1 :]:
            assert (
                lockers_lock_id(greater, smaller) == lockers_lock_id(smaller, greater) == (GLOBAL, [smaller, greater])
            )


def test_boss_has_the_greatest_name() -> None:
    assert boss_of([Atom("b@h"), Atom("é@h"), Atom("z@h"), Atom("Z@h")]) is Atom("é@h")


def test_back_off_doubles_up_to_a_limit() -> None:
    assert [back_off_ms(times) for times in range(8)] == [125, 250, 500, 1000, 2000, 4000, 8000, 8000]


# -- names ------------------------------------------------------------------------------------


def registered(name: Any, owner: Pid, number: int, registrar_node: Atom | None = None) -> Registered:
    return Registered(name, owner, METHOD, monitor(number), registrar_node)


def test_names_are_found_by_name_pid_and_monitor() -> None:
    names = Names()
    names.add(registered(Atom("a"), pid(1), 1))
    names.add(registered((1, [2]), pid(1), 2, registrar_node=HERE))
    assert len(names) == 2
    assert names.names_of(pid(1)) == [Atom("a"), (1, [2])]
    assert names.triples() == [(Atom("a"), pid(1), METHOD), ((1, [2]), pid(1), METHOD)]
    assert names.external() == [((1, [2]), pid(1), HERE)]
    assert names.find((1.0, [2])) is None
    removed = names.process_died(monitor(2))
    assert removed is not None
    assert removed.name == (1, [2])
    assert names.names_of(pid(1)) == [Atom("a")]
    assert names.process_died(monitor(2)) is None
    assert names.remove(Atom("a")) is not None
    assert names.remove(Atom("a")) is None
    assert (len(names), names.names_of(pid(1))) == (0, [])


def never(*arguments: Any) -> Any:
    raise AssertionError(f"asked to resolve {arguments}")


def clash(resolve: Callable[..., Any], *, we_resolve: bool = True) -> tuple[Any, Any]:
    names = Names()
    names.add(registered(Atom("name"), pid(1), 1))
    theirs = [(Atom("name"), pid(2, THERE), OTHER_METHOD)]
    return exchange_names(theirs, names, we_resolve=we_resolve, resolve=resolve)


def test_new_names_are_taken_over_and_known_ones_stay() -> None:
    names = Names()
    names.add(registered(Atom("same"), pid(1), 1))
    names.add(registered(Atom("ours"), pid(3), 2))
    theirs = [(Atom("same"), pid(1), METHOD), (Atom("new"), pid(2, THERE), OTHER_METHOD)]
    for_us, for_them = exchange_names(theirs, names, we_resolve=True, resolve=never)
    assert for_us == [(INSERT, (Atom("new"), pid(2, THERE), OTHER_METHOD))]
    assert for_them == []


def test_the_other_side_resolves() -> None:
    assert clash(never, we_resolve=False) == ([], [])


def test_resolve_is_given_our_method_their_pid_our_pid() -> None:
    asked: list[Any] = []
    clash(lambda *arguments: asked.append(arguments))
    assert asked == [(METHOD, Atom("name"), pid(2, THERE), pid(1))]


OURS = (INSERT, (Atom("name"), pid(1), METHOD))
THEIRS = (INSERT, (Atom("name"), pid(2, THERE), OTHER_METHOD))
NOBODYS = (DELETE, Atom("name"))


@pytest.mark.parametrize(
    ("answer", "for_us", "for_them"),
    [
        (pid(1), [], [OURS]),
        (pid(2, THERE), [THEIRS], []),
        (Atom("none"), [NOBODYS], [NOBODYS]),
        (pid(3), [NOBODYS], [NOBODYS]),
        ((Atom("EXIT"), Atom("undef")), [NOBODYS], [NOBODYS]),
    ],
)
def test_outcome_of_a_clash(answer: Any, for_us: list[Any], for_them: list[Any]) -> None:
    assert clash(lambda *arguments: answer) == (for_us, for_them)


def test_name_goes_to_them_where_the_method_cannot_be_run() -> None:
    def fails(*arguments: Any) -> Any:
        raise NotResolved

    assert clash(fails) == ([THEIRS], [])


# -- lost connections -------------------------------------------------------------------------


def test_a_report_is_news_once() -> None:
    lost = LostConnections()
    assert lost.is_news(HERE, THERE, 7, 1, 0.0)
    assert not lost.is_news(HERE, THERE, 7, 1, 0.1)
    assert not lost.is_news(HERE, THERE, 7, 0, 0.2)
    assert lost.is_news(HERE, THERE, 7, 2, 0.3)
    assert lost.is_news(THERE, HERE, 7, 2, 0.3)
    assert lost.is_news(HERE, THERE, 8, 1, 0.4), "another incarnation counts from the beginning"


def test_reports_are_forgotten_in_the_end() -> None:
    lost = LostConnections()
    assert lost.is_news(HERE, THERE, 7, 1, 0.0)
    assert lost.is_news(THERE, HERE, 7, 1, LOST_CONNECTION_KEPT_S + 1)
    assert lost.is_news(HERE, THERE, 7, 1, LOST_CONNECTION_KEPT_S + 2)
