"""Cookie files: what a BEAM makes we read, what we make it reads, and both read a file alike."""

from __future__ import annotations

import stat

import pytest

from erlang_bridge.errors import ConfigError
from erlang_bridge.net.cookies import create_cookie_file, find_cookie, read_cookie_file
from erlang_bridge.testing import Beam, BeamDied
from erlang_bridge.testing.plugin import BeamFactory


def cookie_of(beam: Beam) -> bytes:
    cookie: bytes = beam.eval("atom_to_binary(erlang:get_cookie(), latin1)")
    return cookie


def test_a_file_that_a_beam_has_made(beam_factory: BeamFactory) -> None:
    beam = beam_factory(cookie=None)
    path = beam.directory / ".erlang.cookie"
    assert find_cookie(environ={"HOME": str(beam.directory)}).value == cookie_of(beam)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_file_that_we_have_made(beam_factory: BeamFactory) -> None:
    beam = beam_factory(cookie=None, start=False)
    made = create_cookie_file(beam.directory / ".erlang.cookie")
    beam.start()
    assert cookie_of(beam) == made


def test_a_file_in_the_config_directory(beam_factory: BeamFactory) -> None:
    beam = beam_factory(cookie=None, start=False)
    create_cookie_file(beam.directory / ".config" / "erlang" / ".erlang.cookie")
    beam.start()
    assert not (beam.directory / ".erlang.cookie").exists()
    assert find_cookie(environ={"HOME": str(beam.directory)}).value == cookie_of(beam)


@pytest.mark.parametrize("content", [b"abc\r\n", b"abc \n", b"  \n \n", b" x'\\\"~"])
def test_a_file_is_read_alike(beam_factory: BeamFactory, content: bytes) -> None:
    beam = beam_factory(cookie=None, start=False)
    beam.directory.mkdir()
    path = beam.directory / ".erlang.cookie"
    path.write_bytes(content)
    path.chmod(0o600)
    beam.start()
    assert read_cookie_file(path) == cookie_of(beam)


@pytest.mark.parametrize(
    ("content", "mode"), [(b"abc", 0o440), (b"abc", 0o604), (b"a\nb", 0o400), (b"", 0o400), (b"\tabc", 0o400)]
)
def test_a_file_is_refused_alike(beam_factory: BeamFactory, content: bytes, mode: int) -> None:
    beam = beam_factory(cookie=None, start=False)
    beam.directory.mkdir()
    path = beam.directory / ".erlang.cookie"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(BeamDied):
        beam.start()
    with pytest.raises(ConfigError):
        read_cookie_file(path)
