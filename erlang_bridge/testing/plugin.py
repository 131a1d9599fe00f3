"""pytest fixtures for code that talks with BEAMs. Installed with ``erlang_bridge``; nothing to import.

A test that names a fixture is run once for each Erlang/OTP release (``--otp``, or ``beam_otp`` in the configuration,
or else every release found on this machine)::

    def test_sum(beam):
        assert beam.eval("lists:sum(L)", L=[1, 2]) == 3

Fixtures:
    beam            a `Beam` of its own for each test.
    shared_beam     one `Beam` of each release for the whole run: for tests that leave no trace in it.
    beam_factory    starts further ones: ``beam_factory(hidden=True)``. They end with the test.
    elixir          an `Elixir` of its own; elixir_factory starts further ones.
    beam_release    the `BeamRelease` of this test; beam_releases: all of them.
    epmd_port       where the real epmd of this run listens; the node under test registers there to meet the BEAMs.
    unused_epmd_port  a port at which no epmd answers.
    beam_cookie     the cookie of all these nodes.
    node_factory    starts Python nodes that meet these BEAMs: ``node_factory(engines={...})``. They stop with the test.
    peer_factory    connects peers in memory with a Python node: ``peer_factory(node)``, see `ScriptedPeer`.
    compile_erlang  object code of an Erlang module given as text, for `Beam.load_module`.
    rng             `random.Random` of the run's seed (``--seed``).

A BEAM that ends without the test having asked for it fails the test; what the BEAMs printed is part of a failure's
report. A release or a tool that is missing skips its tests; with ``--require-beam``, which is on where the
environment has ``CI``, it fails them.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from erlang_bridge import Node
    from erlang_bridge.testing.beams import Beam
    from erlang_bridge.testing.elixir import Elixir, ElixirRelease
    from erlang_bridge.testing.peers import ScriptedPeer
    from erlang_bridge.testing.releases import BeamRelease

BeamFactory = Callable[..., "Beam"]
ElixirFactory = Callable[..., "Elixir"]
NodeFactory = Callable[..., "Node"]
PeerFactory = Callable[..., "ScriptedPeer"]

_BEAM_FIXTURE: Final = "beam_release"
_ELIXIR_FIXTURE: Final = "elixir_release"
_MARKERS: Final = (
    "beam: uses a real Erlang node (set by the fixtures)",
    "elixir: uses a real Elixir node (set by the fixtures)",
    "otp(minimum, maximum): run on these Erlang/OTP releases only; either may be left out",
    "otp_application(name): run on Erlang/OTP releases only that have this application",
)
_toolbox_key: pytest.StashKey[_Toolbox] = pytest.StashKey()
_nodes_key: pytest.StashKey[list[Beam]] = pytest.StashKey()


class _Toolbox:
    """What this machine has, looked up when it is first asked for."""

    def __init__(self, config: pytest.Config) -> None:
        self.required = bool(config.getoption("--require-beam") or os.environ.get("CI"))
        self.seed: int = config.getoption("--seed")
        self._also = [Path(path) for path in config.getoption("--erl")]
        named = config.getoption("--elixir")
        self._elixir_path = Path(named) if named else None
        self._asked = [int(otp) for otp in config.getoption("--otp") or config.getini("beam_otp")]
        self.releases = cache(self._releases)
        self.elixir = cache(self._elixir)

    def otp_numbers(self) -> list[int]:
        return sorted(self._asked) or [release.otp for release in self.releases()]

    def release(self, otp: int) -> BeamRelease:
        for release in self.releases():
            if release.otp == otp:
                return release
        found = ", ".join(map(str, self.releases())) or "none"
        raise self.missing(f"no Erlang/OTP {otp} on this machine (found: {found})")

    def missing(self, what: str) -> BaseException:
        """The outcome of a test whose tool is not there."""
        if self.required:
            return pytest.fail.Exception(f"{what}; --require-beam (or CI) forbids to leave it out", pytrace=False)
        return pytest.skip.Exception(what)

    def _releases(self) -> list[BeamRelease]:
        from erlang_bridge.testing.releases import find_releases

        return find_releases(self._also)

    def _elixir(self) -> ElixirRelease | None:
        from erlang_bridge.testing.elixir import find_elixir

        return find_elixir(self.releases(), self._elixir_path)


# -- hooks ------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and the configuration key `beam_otp`."""
    group = parser.getgroup("erlang_bridge", "Erlang nodes")
    group.addoption("--otp", action="append", default=[], metavar="N", help="only this Erlang/OTP release; repeatable")
    group.addoption("--erl", action="append", default=[], metavar="PATH", help="one more erl to find; repeatable")
    group.addoption("--elixir", metavar="PATH", help="this Elixir, instead of the one on the PATH")
    group.addoption("--require-beam", action="store_true", help="fail, instead of skip, where a release is missing")
    group.addoption("--seed", type=int, default=secrets.randbits(32), help="seed of the fixture rng")
    parser.addini("beam_otp", "Erlang/OTP releases to test with; default: every one found", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Markers, and the toolbox of this run."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[_toolbox_key] = _Toolbox(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each release."""
    if _BEAM_FIXTURE not in metafunc.fixturenames:
        return
    otp_numbers = metafunc.config.stash[_toolbox_key].otp_numbers()
    for mark in metafunc.definition.iter_markers("otp"):
        lowest, highest = mark.kwargs.get("minimum", 0), mark.kwargs.get("maximum", 1000)
        otp_numbers = [otp for otp in otp_numbers if lowest <= otp <= highest]
    for mark in metafunc.definition.iter_markers("otp_application"):
        toolbox = metafunc.config.stash[_toolbox_key]
        otp_numbers = [otp for otp in otp_numbers if toolbox.release(otp).has_application(mark.args[0])]
    metafunc.parametrize(
        _BEAM_FIXTURE, otp_numbers, indirect=True, scope="session", ids=[f"otp{n}" for n in otp_numbers]
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, so that ``-m "not beam"`` works."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if _BEAM_FIXTURE in fixtures:
            item.add_marker("beam")
        if _ELIXIR_FIXTURE in fixtures:
            item.add_marker("elixir")


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say what the collected tests will run with."""
    fixtures: set[str] = set()
    for item in items:
        fixtures.update(getattr(item, "fixturenames", ()))
    lines: list[str] = []
    toolbox = config.stash[_toolbox_key]
    if fixtures & {_BEAM_FIXTURE, _ELIXIR_FIXTURE}:
        from erlang_bridge import etf

        lines += [f"beam: {release}" for release in toolbox.releases()] or ["beam: none found"]
        lines.append(f"elixir: {toolbox.elixir() or 'none found'}" if _ELIXIR_FIXTURE in fixtures else "")
        lines.append(f"external term format: {etf.__impl__}")
    if "rng" in fixtures:
        lines.append(f"seed: {toolbox.seed} (again with --seed {toolbox.seed})")
    return [line for line in lines if line]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the BEAMs printed to the report of a failure."""
    report = yield
    if report.failed:
        for node in item.stash.get(_nodes_key, []):
            text = node.log_text()
            if text:
                report.sections.append((f"{node.name} printed", text[-8000:]))
    return report


# -- fixtures ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def beam_toolbox(pytestconfig: pytest.Config) -> _Toolbox:
    """What this machine has."""
    return pytestconfig.stash[_toolbox_key]


@pytest.fixture(scope="session")
def beam_releases(beam_toolbox: _Toolbox) -> list[BeamRelease]:
    """Every `BeamRelease` of the run, lowest first."""
    return [beam_toolbox.release(otp) for otp in beam_toolbox.otp_numbers()]


@pytest.fixture(scope="session")
def beam_release(request: pytest.FixtureRequest, beam_toolbox: _Toolbox) -> BeamRelease:
    """The `BeamRelease` that this test runs with."""
    return beam_toolbox.release(request.param)


@pytest.fixture(scope="session")
def elixir_release(beam_toolbox: _Toolbox) -> ElixirRelease:
    """The Elixir of this machine."""
    found = beam_toolbox.elixir()
    if found is None:
        raise beam_toolbox.missing("no Elixir on this machine")
    return found


@pytest.fixture(scope="session")
def beam_cookie() -> str:
    """The cookie of all BEAMs of this run."""
    return f"cookie_{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
def epmd_port(beam_toolbox: _Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port, on 127.0.0.1, of a real epmd that runs for this run alone."""
    from erlang_bridge.testing.epmd import Epmd
    from erlang_bridge.testing.programs import free_port

    releases = beam_toolbox.releases()
    if not releases:
        raise beam_toolbox.missing("no epmd on this machine")
    epmd = Epmd(releases[0], free_port(), tmp_path_factory.mktemp("epmd"))
    epmd.start()
    yield epmd.port
    epmd.stop()


@pytest.fixture
def unused_epmd_port() -> int:
    """A port of 127.0.0.1 at which nothing answers."""
    from erlang_bridge.testing.programs import free_port

    return free_port()


@pytest.fixture(scope="session")
def compile_erlang(beam_toolbox: _Toolbox) -> Callable[[str], bytes]:
    """``compile_erlang(source)``: object code made by the lowest release that has a compiler."""
    from erlang_bridge.testing import modules

    @cache
    def compiled(source: str) -> bytes:
        for release in beam_toolbox.releases():
            if release.compiler:
                return modules.compile_erlang(release, source)
        raise beam_toolbox.missing("no Erlang/OTP with a compiler on this machine")

    return compiled


@pytest.fixture
def beam_factory(
    request: pytest.FixtureRequest,
    beam_release: BeamRelease,
    epmd_port: int,
    beam_cookie: str,
    tmp_path: Path,
) -> Iterator[BeamFactory]:
    """Starts BEAMs that end with the test: ``beam_factory(**options)``, the keyword arguments of `Beam`.

    ``release``, ``epmd_port``, ``cookie`` and ``directory`` have the test's own as defaults; ``start=False`` leaves
    the start to the test.
    """
    from erlang_bridge.testing.beams import Beam

    def make(start: bool = True, release: BeamRelease = beam_release, **options: Any) -> Beam:
        beam = Beam(release, **{"epmd_port": epmd_port, "cookie": beam_cookie, "directory": tmp_path, **options})
        return _run(request, beam, start)

    yield make
    _end_all(request)


@pytest.fixture
def beam(beam_factory: BeamFactory) -> Beam:
    """A running Erlang node that only this test uses."""
    return beam_factory()


@pytest.fixture(scope="session")
def shared_beam(
    beam_release: BeamRelease, epmd_port: int, beam_cookie: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beam]:
    """A running Erlang node for all tests with this release: do not stop it, leave nothing behind in it."""
    from erlang_bridge.testing.beams import Beam

    directory = tmp_path_factory.mktemp("shared_beam")
    with Beam(beam_release, epmd_port=epmd_port, cookie=beam_cookie, directory=directory) as beam:
        yield beam
        beam.check_not_crashed()


@pytest.fixture
def elixir_factory(
    request: pytest.FixtureRequest,
    elixir_release: ElixirRelease,
    epmd_port: int,
    beam_cookie: str,
    tmp_path: Path,
) -> Iterator[ElixirFactory]:
    """Starts Elixir nodes that end with the test; as `beam_factory`."""
    from erlang_bridge.testing.elixir import Elixir

    def make(start: bool = True, **options: Any) -> Elixir:
        elixir = Elixir(
            elixir_release, **{"epmd_port": epmd_port, "cookie": beam_cookie, "directory": tmp_path, **options}
        )
        _run(request, elixir, start)
        return elixir

    yield make
    _end_all(request)


@pytest.fixture
def elixir(elixir_factory: ElixirFactory) -> Elixir:
    """A running Elixir node that only this test uses."""
    return elixir_factory()


@pytest.fixture
def node_factory(request: pytest.FixtureRequest) -> Iterator[NodeFactory]:
    """Starts Python nodes that stop with the test: ``node_factory(name=None, **options)``, the arguments of `Node`.

    ``cookie`` and ``epmd_port_number`` have those of the run's BEAMs as defaults; a node with ``listen=False`` needs
    no BEAM and no epmd.
    """
    from erlang_bridge import Node

    started = ExitStack()

    def start(name: str | None = None, **options: Any) -> Node:
        if options.get("listen", True):
            options.setdefault("epmd_port_number", request.getfixturevalue("epmd_port"))
        options.setdefault("cookie", request.getfixturevalue("beam_cookie"))
        return started.enter_context(Node(name or f"py_{secrets.token_hex(4)}@127.0.0.1", **options))

    with started:
        yield start


@pytest.fixture
def peer_factory() -> Iterator[PeerFactory]:
    """Connects peers in memory that go with the test: ``peer_factory(node, **options)``, those of `ScriptedPeer`."""
    from erlang_bridge.testing.peers import ScriptedPeer

    with ExitStack() as peers:
        yield lambda node, **options: peers.enter_context(ScriptedPeer(node, **options))


@pytest.fixture
def rng(beam_toolbox: _Toolbox, request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test: the same again for the same ``--seed``."""
    return random.Random(f"{beam_toolbox.seed} {request.node.nodeid}")


def _run(request: pytest.FixtureRequest, beam: Beam, start: bool) -> Beam:
    request.node.stash.setdefault(_nodes_key, []).append(beam)
    return beam.start() if start else beam


def _end_all(request: pytest.FixtureRequest) -> None:
    from erlang_bridge.testing.beams import BeamDied

    crashed: list[str] = []
    for beam in request.node.stash.get(_nodes_key, []):
        try:
            beam.check_not_crashed()
        except BeamDied as death:
            crashed.append(str(death))
        with suppress(ProcessLookupError):
            beam.kill()
    if crashed:
        pytest.fail("\n".join(crashed), pytrace=False)
