"""Finding the cookie: which place counts, and what is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.errors import ConfigError
from erlang_bridge.net.cookies import (
    cookie_paths,
    create_cookie_file,
    find_cookie,
    parse_cookie_file,
    read_cookie_file,
)


def write(path: Path, content: bytes, mode: int = 0o400) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environ(home: Path) -> Mapping[str, str]:
    """All places have a cookie of their own."""
    write(home / ".erlang.cookie", b"OF_HOME")
    write(home / ".config" / "erlang" / ".erlang.cookie", b"OF_CONFIG")
    return {"HOME": str(home), "PYANOMA_COOKIE": "OF_PYANOMA", "RELEASE_COOKIE": "OF_RELEASE"}


def without(environ: Mapping[str, str], *names: str) -> Mapping[str, str]:
    return {name: value for name, value in environ.items() if name not in names}


def test_the_first_place_that_has_one_counts(environ: Mapping[str, str], home: Path) -> None:
    assert find_cookie("GIVEN", environ=environ).value == b"GIVEN"
    assert find_cookie(environ=environ).value == b"OF_PYANOMA"
    environ = without(environ, "PYANOMA_COOKIE")
    assert find_cookie(environ=environ).value == b"OF_RELEASE"
    environ = without(environ, "RELEASE_COOKIE")
    found = find_cookie(environ=environ)
    assert found.value == b"OF_HOME"
    assert found.source == f"the file {home / '.erlang.cookie'}"
    (home / ".erlang.cookie").unlink()
    assert find_cookie(environ=environ).value == b"OF_CONFIG"


def test_an_empty_variable_is_none(environ: Mapping[str, str]) -> None:
    assert find_cookie(environ={**environ, "PYANOMA_COOKIE": ""}).value == b"OF_RELEASE"


def test_the_config_directory_can_be_elsewhere(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "xdg" / "erlang" / ".erlang.cookie", b"OF_XDG")
    assert find_cookie(environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).value == b"OF_XDG"
    assert cookie_paths({"HOME": "/h", "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == (
        Path("/h/.erlang.cookie"),
        elsewhere,
    )
    assert cookie_paths({"HOME": "/h"}) == (Path("/h/.erlang.cookie"), Path("/h/.config/erlang/.erlang.cookie"))
    assert cookie_paths({}) == ()


def test_a_cookie_is_bytes_or_latin_1() -> None:
    assert find_cookie(b"\xff\x00", environ={}).value == b"\xff\x00"
    assert find_cookie("sü ß", environ={}).value == b"s\xfc \xdf"


@pytest.mark.parametrize("cookie", ["", "a" * 256, "h\u0142", b""])
def test_a_cookie_that_no_beam_can_have_is_refused(cookie: str | bytes) -> None:
    with pytest.raises(ConfigError, match="cookie: expected a cookie of"):
        find_cookie(cookie, environ={})


def test_no_cookie_says_where_one_was_looked_for(home: Path) -> None:
    with pytest.raises(ConfigError, match="PYANOMA_COOKIE") as raised:
        find_cookie(environ={"HOME": str(home)})
    assert str(home / ".erlang.cookie") in str(raised.value)
    with pytest.raises(ConfigError, match="HOME is not set"):
        find_cookie(environ={}, create=True)
    assert not home.exists()


def test_the_value_is_not_shown() -> None:
    assert "SECRET" not in repr(find_cookie("SECRET", environ={}))


# -- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "cookie"),
    [
        (b"abc", b"abc"),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\n \r\n", b"abc"),
        (b"abc \n", b"abc "),
        (b" x", b" x"),
        (b"  \n", b"  "),
        (b"~!\"'", b"~!\"'"),
    ],
)
def test_a_cookie_file_is_read_as_otp_does(content: bytes, cookie: bytes) -> None:
    assert parse_cookie_file(content) == cookie


@pytest.mark.parametrize("content", [b"a\nb", b"\tabc", b"a\tb", b"\xc3\xa9", b"a\x7f", b"a\0"])
def test_other_characters_are_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match="one line of printable ASCII"):
        parse_cookie_file(content)


@pytest.mark.parametrize("content", [b"", b"\n", b"\n  ", b"a" * 256])
def test_no_cookie_or_too_long_a_one_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match="1 to 255"):
        parse_cookie_file(content)


@given(st.binary())
def test_any_content_is_a_cookie_or_a_config_error(content: bytes) -> None:
    try:
        cookie = parse_cookie_file(content)
    except ConfigError:
        return
    assert content.startswith(cookie)
    assert 1 <= len(cookie) <= 255


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o620, 0o601])
def test_an_open_file_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / ".erlang.cookie", b"abc", mode)
    with pytest.raises(ConfigError, match=f"chmod 400 {path}") as raised:
        read_cookie_file(path)
    assert f"{mode:04o}" in str(raised.value)
    assert "abc" not in str(raised.value)


def test_an_open_file_is_refused_even_where_the_next_place_has_one(environ: Mapping[str, str], home: Path) -> None:
    (home / ".erlang.cookie").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        find_cookie(environ=without(environ, "PYANOMA_COOKIE", "RELEASE_COOKIE"))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_the_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert read_cookie_file(write(tmp_path / "cookie", b"abc", mode)) == b"abc"


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    for name in ("pipe", "directory"):
        with pytest.raises(ConfigError, match="a regular file"):
            read_cookie_file(tmp_path / name)
    assert read_cookie_file(tmp_path / "nothing") is None


def test_a_file_is_made_only_when_asked(home: Path) -> None:
    home.mkdir()
    made = find_cookie(environ={"HOME": str(home)}, create=True)
    path = home / ".erlang.cookie"
    assert path.read_bytes() == made.value
    assert len(made.value) == 20
    assert set(made.value) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert [each.name for each in home.iterdir()] == [".erlang.cookie"]
    assert find_cookie(environ={"HOME": str(home)}, create=True).value == made.value


def test_without_a_home_the_file_is_made_in_the_config_directory(tmp_path: Path) -> None:
    made = find_cookie(environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}, create=True)
    assert (tmp_path / "xdg" / "erlang" / ".erlang.cookie").read_bytes() == made.value


def test_the_faster_one_counts(tmp_path: Path) -> None:
    path = write(tmp_path / ".erlang.cookie", b"FASTER")
    assert create_cookie_file(path) == b"FASTER"


def test_a_file_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    write(tmp_path / "file", b"")
    with pytest.raises(ConfigError, match="a directory where it can be made"):
        create_cookie_file(tmp_path / "file" / ".erlang.cookie")
