"""Any sequence of ends, failed starts and requests leaves a supervisor as a plain model of the manual says."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.otp.supervision import Failed, Started, StaticSupervision
from erlang_bridge.terms import Atom, Pid
from tests.supervision_runs import World

MFA: Any = (Atom("m"), Atom("f"), [])
NORMAL, SHUTDOWN, BOOM = Atom("normal"), Atom("shutdown"), Atom("boom")
QUIET = [NORMAL, SHUTDOWN, (SHUTDOWN, 1)]

UP, DOWN, RESTARTING = "up", "down", "restarting"

restarts = st.sampled_from(["permanent", "transient", "temporary"])
reasons = st.sampled_from([*QUIET, BOOM, Atom("killed")])
names = st.sampled_from("abcdef")
failures = st.dictionaries(names, st.sampled_from([Failed(BOOM), Started(None)]), max_size=3)
"""Children whose next start fails, or is ignored."""


class Model:
    """Children in start order, each up, down or restarting. The words of OTP's manual, and nothing clever."""

    def __init__(self, strategy: str, intensity: int, period_s: int, children: list[tuple[str, str]]) -> None:
        self.strategy = strategy
        self.intensity = intensity
        self.period_s = period_s
        self.restart = dict(children)
        self.order = [name for name, _ in children]
        self.state = dict.fromkeys(self.order, DOWN)
        self.restarted_at: list[float] = []
        self.over = False

    def drop(self, name: str) -> None:
        self.order.remove(name)
        del self.state[name]

    def down(self, name: str) -> None:
        """A child without a process; a temporary one does not outlive its process."""
        if self.restart[name] == "temporary":
            self.drop(name)
        else:
            self.state[name] = DOWN

    def start(self, name: str, outcomes: dict[str, Any]) -> bool:
        outcome = outcomes.get(name, Started(Pid(Atom("n"), 1, 0, 0)))
        if isinstance(outcome, Failed):
            return False
        if outcome.pid is None:
            self.down(name)
        else:
            self.state[name] = UP
        return True

    def ended(self, name: str, reason: Any, now: float, outcomes: dict[str, Any]) -> None:
        restart = self.restart[name]
        if restart == "temporary" or (restart == "transient" and reason in QUIET):
            self.down(name)
        else:
            self.restart_with_others(name, now, outcomes)

    def restart_with_others(self, name: str, now: float, outcomes: dict[str, Any]) -> None:
        self.restarted_at.append(int(now))
        if len([then for then in self.restarted_at if then >= int(now) - self.period_s]) > self.intensity:
            self.over = True
            return
        position = self.order.index(name)
        group = {"one_for_one": [name], "one_for_all": self.order, "rest_for_one": self.order[position:]}[self.strategy]
        for other in list(group):
            self.down(other)
        for other in [other for other in group if other in self.state]:
            if not self.start(other, outcomes):
                self.state[other] = RESTARTING
                return


class Supervising(RuleBasedStateMachine):
    """The real thing and the model side by side."""

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        intensity=st.integers(0, 6),
        period_s=st.integers(1, 8),
        children=st.lists(st.tuples(names, restarts), max_size=6, unique_by=lambda child: child[0]),
    )
    def begin(self, strategy: Any, intensity: int, period_s: int, children: list[tuple[str, Any]]) -> None:
        self.world = World()
        self.model = Model(strategy, intensity, period_s, children)
        self.now = 0.0
        self.over = False
        self.supervision = StaticSupervision(
            SupervisorFlags(strategy, intensity, period_s),
            [ChildSpec(name, MFA, restart=restart) for name, restart in children],
            self.world.is_alive,
        )
        assert self.world.carry_out(self.supervision.start_all()) is None
        for name in list(self.model.order):
            self.model.start(name, {})

    # -- what happens -----------------------------------------------------------------------------

    def prepare(self, outcomes: dict[str, Any]) -> None:
        self.world.answers = {name: [outcome] for name, outcome in outcomes.items()}
        self.world.asked = []
        self.before = dict(self.world.living)

    @rule(name=names, reason=reasons, outcomes=failures, later=st.floats(0, 4))
    def child_ends(self, name: str, reason: Any, outcomes: dict[str, Any], later: float) -> None:
        child = self.supervision.children.get((Atom, Atom(name)))
        if self.over or child is None or child.pid is None or child.restarting:
            return
        self.now += later
        self.prepare(outcomes)
        del self.before[child.pid]
        steps = self.supervision.child_ended(self.world.end(child.pid), reason, self.now)
        self.over = self.world.carry_out(steps)
        self.model.ended(name, reason, self.now, outcomes)
        self.check_order()

    @precondition(lambda self: self.world.again)
    @rule(outcomes=failures, later=st.floats(0, 4))
    def failed_start_is_tried_again(self, outcomes: dict[str, Any], later: float) -> None:
        if self.over:
            return
        self.now += later
        self.prepare(outcomes)
        child = self.world.again.pop(0)
        name = child.spec.id.name
        wanted = self.model.state.get(name) == RESTARTING
        self.over = self.world.carry_out(self.supervision.try_again(child, self.now))
        if wanted:
            self.model.restart_with_others(name, self.now, outcomes)
        self.check_order()

    @rule(name=names, restart=restarts, outcomes=failures)
    def child_is_added(self, name: str, restart: Any, outcomes: dict[str, Any]) -> None:
        if self.over:
            return
        self.prepare(outcomes)
        known = self.model.state.get(name)
        reply = self.world.carry_out(self.supervision.start_child(ChildSpec(name, MFA, restart=restart)))
        if known is not None:
            assert reply[0] is Atom("error")
            assert self.world.asked == []
            return
        self.model.restart[name] = restart
        self.model.order.append(name)
        self.model.state[name] = DOWN
        if self.model.start(name, outcomes):
            assert reply[0] is Atom("ok")
        else:
            assert reply[0] is Atom("error")
            self.model.drop(name)

    @rule(name=names)
    def child_is_stopped(self, name: str) -> None:
        if self.over:
            return
        self.prepare({})
        known = name in self.model.state
        reply = self.world.carry_out(self.supervision.terminate_child(Atom(name)))
        assert (reply is Atom("ok")) is known
        if known:
            self.model.down(name)

    @rule(name=names, outcomes=failures)
    def child_is_restarted(self, name: str, outcomes: dict[str, Any]) -> None:
        if self.over:
            return
        self.prepare(outcomes)
        idle = self.model.state.get(name) == DOWN
        reply = self.world.carry_out(self.supervision.restart_child(Atom(name)))
        started = idle and self.model.start(name, outcomes)
        assert (reply[0] is Atom("ok")) is started

    @rule(name=names)
    def child_is_deleted(self, name: str) -> None:
        if self.over:
            return
        idle = self.model.state.get(name) == DOWN
        assert (self.supervision.delete_child(Atom(name)) is Atom("ok")) is idle
        if idle:
            self.model.drop(name)

    @precondition(lambda self: self.over)
    @rule()
    def supervisor_ends(self) -> None:
        self.prepare({})
        self.world.carry_out(self.supervision.terminate_all())
        assert not self.world.living
        self.check_order()
        self.model.state = {}
        self.supervision.children = {}
        self.supervision._running = {}

    # -- what holds -------------------------------------------------------------------------------

    def check_order(self) -> None:
        """Children stop in reverse start order, then start in start order; who did not have to stop kept running."""
        order = [child.spec.id.name for child in self.supervision.children.values()]
        starts = [asked[1] for asked in self.world.asked if asked[0] == "start"]
        stops = [asked[1] for asked in self.world.asked if asked[0] == "stop"]
        assert starts == sorted(starts, key=order.index)
        kept = [name for name in reversed(stops) if name in order]
        assert kept == sorted(kept, key=order.index)
        kinds = [asked[0] for asked in self.world.asked if asked[0] in ("start", "stop")]
        assert kinds == sorted(kinds, reverse=True)
        stopped = {pid for pid, name in self.before.items() if name in stops}
        assert self.before.keys() - stopped <= self.world.living.keys()

    @invariant()
    def as_the_model_says(self) -> None:
        if not hasattr(self, "model") or self.over or self.model.over:
            return
        shown = {}
        for id, pid, _, _ in reversed(self.supervision.which_children()):
            shown[id.name] = UP if isinstance(pid, Pid) else {Atom("restarting"): RESTARTING}.get(pid, DOWN)
        assert shown == self.model.state
        assert list(shown) == self.model.order

    @invariant()
    def gives_up_when_the_model_does(self) -> None:
        if hasattr(self, "model"):
            assert self.over == self.model.over

    @invariant()
    def one_process_for_each_child_that_is_up(self) -> None:
        if not hasattr(self, "model") or self.over:
            return
        running = [child for child in self.supervision.children.values() if child.running]
        assert {child.pid for child in running} == set(self.world.living)
        assert dict(self.supervision.count_children())[Atom("active")] == len(running)

    @invariant()
    def whoever_is_restarting_will_be_tried_again(self) -> None:
        if hasattr(self, "model") and not self.over:
            restarting = [child for child in self.supervision.children.values() if child.restarting]
            assert all(child in self.world.again for child in restarting)


TestSupervising = Supervising.TestCase
TestSupervising.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
