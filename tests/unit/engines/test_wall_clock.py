"""The Wall Clock without a node: H3 of the specification's test properties."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.messages import EngineID
from engines.simulation import Simulation
from engines.wall_clock.behaviour import BEHAVIOUR, WallClockState
from engines.wall_clock.messages import GetTime, GetTimeResult


@settings(deadline=None)
@given(st.lists(st.floats(0, 4e9), max_size=30))
def test_it_is_monotone_and_never_behind_the_machine(times_s: list[float]):
    world = Simulation({"wall_clock": BEHAVIOUR})
    world.spawn("wall_clock", {"any": "thing"}, "wall_clock")
    told: list[int] = []
    for time_s in times_s:
        world.time_s = time_s
        world.send(EngineID(None, "wall_clock"), GetTime(), sender=EngineID("far@h", "me"))
        while choices := world.choices():
            world.happen(choices[0])
        reply = world.received("me")[-1]
        assert isinstance(reply, GetTimeResult)
        told.append(reply.epoch_time)
        assert reply.epoch_time == max(int(at * 1000) for at in times_s[: len(told)])
        assert world.engines["wall_clock"].environment.state == WallClockState(told[-1])
    assert told == sorted(told)
