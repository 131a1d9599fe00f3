"""Test kit: real BEAMs under a test's control, and a pytest plugin with fixtures for them (see `plugin`)."""

from erlang_bridge.testing.beams import (
    Beam,
    BeamDied,
    BeamFailure,
    EvalTimeout,
    MalformedSource,
    Pending,
    ProcessDied,
    Shell,
)
from erlang_bridge.testing.elixir import Elixir, ElixirRelease, find_elixir
from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.modules import INIT_ANSWER, compile_erlang
from erlang_bridge.testing.peers import PeerFailure, ScriptedPeer
from erlang_bridge.testing.programs import Program, free_port
from erlang_bridge.testing.releases import BeamRelease, NoBeam, find_releases
from erlang_bridge.testing.terminal import NotSeen, Terminal

__all__ = [
    "INIT_ANSWER",
    "Beam",
    "BeamDied",
    "BeamFailure",
    "BeamRelease",
    "Elixir",
    "ElixirRelease",
    "Epmd",
    "EvalTimeout",
    "MalformedSource",
    "NoBeam",
    "NotSeen",
    "PeerFailure",
    "Pending",
    "ProcessDied",
    "Program",
    "ScriptedPeer",
    "Shell",
    "Terminal",
    "compile_erlang",
    "find_elixir",
    "find_releases",
    "free_port",
]
