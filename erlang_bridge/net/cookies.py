"""Finding the cookie: the secret that the nodes of a cluster share."""

from __future__ import annotations

import os
import secrets
import stat
import string
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from erlang_bridge.errors import ConfigError

COOKIE_FILE: Final = ".erlang.cookie"
MAX_COOKIE_SIZE: Final = 255
"""Bytes; OTP keeps a cookie as an atom."""

_MADE_SIZE: Final = 20
_MOST_READ: Final = 64 * 1024
_TRAILING: Final = frozenset(b"\r\n ")


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie and where it came from. Its ``repr`` does not tell the value, so that no log does.

    Attributes:
        value: the bytes that both nodes hash.
        source: in words, such as ``the file /home/me/.erlang.cookie``.
    """

    value: bytes = field(repr=False)
    source: str


def find_cookie(
    explicit: str | bytes | None = None, *, environ: Mapping[str, str] | None = None, create: bool = False
) -> Cookie:
    """The cookie of this node.

    The first that is there counts:

    1. `explicit`,
    2. the environment variable ``PYANOMA_COOKIE``, then ``RELEASE_COOKIE`` (that of Elixir releases),
    3. the file ``$HOME/.erlang.cookie``,
    4. the file ``$XDG_CONFIG_HOME/erlang/.erlang.cookie``, by default ``~/.config/erlang/.erlang.cookie``,
    5. with `create`, a new file: at 3, or at 4 without ``HOME``.

    Args:
        explicit: as given by the user; a `str` must be Latin-1.
        environ: by default ``os.environ``.
        create: whether a file may be made, 20 random letters A-Z that only the owner may read, as a BEAM does. Its
            nodes on this machine then use the same.

    Raises:
        ConfigError: none is there, or the first that is there cannot be used: an open file, a bad character, ...

    Source: kernel, ``auth:init_cookie/0``.
    """
    if explicit is not None:
        return Cookie(_checked(explicit, "cookie"), "given explicitly")
    environ = os.environ if environ is None else environ
    for variable in ("PYANOMA_COOKIE", "RELEASE_COOKIE"):
        if environ.get(variable):
            return Cookie(_checked(environ[variable], variable), f"the environment variable {variable}")
    paths = cookie_paths(environ)
    for path in paths:
        value = read_cookie_file(path)
        if value is not None:
            return Cookie(value, f"the file {path}")
    if create and paths:
        return Cookie(create_cookie_file(paths[0]), f"the file {paths[0]}, which was made now")
    places = " or ".join(f"the file {path}" for path in paths) or "a file (HOME is not set)"
    raise ConfigError("cookie", None, f"one given explicitly, in PYANOMA_COOKIE or RELEASE_COOKIE, or in {places}")


def cookie_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where OTP looks for a cookie file, in its order."""
    home, config = environ.get("HOME", ""), environ.get("XDG_CONFIG_HOME", "")
    paths = [Path(home, COOKIE_FILE)] if home else []
    if config or home:
        paths.append((Path(config) if config else Path(home, ".config")) / "erlang" / COOKIE_FILE)
    return tuple(paths)


def read_cookie_file(path: Path) -> bytes | None:
    """The cookie in a file, or None where there is no such file.

    As OTP, this refuses a file that others than its owner may touch.

    Raises:
        ConfigError: it cannot be used, with the remedy.
    """
    key = f"cookie file {path}"
    try:
        # Not blocking, for the case that it is a pipe; what was checked is what is read.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(key, error.strerror, "a file that this user may read") from error
    try:
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(key, stat.filemode(status.st_mode), "a regular file")
        if os.name == "posix" and mode & 0o077:
            raise ConfigError(key, f"mode {mode:04o}", f"a file that only its owner may touch (run: chmod 400 {path})")
        content = os.read(descriptor, _MOST_READ)
    finally:
        os.close(descriptor)
    return parse_cookie_file(content, key)


def parse_cookie_file(content: bytes, key: str = "cookie file") -> bytes:
    r"""The cookie in the content of a cookie file: its first line, whose characters are 32 to 126.

    Only CR, LF and spaces may follow the line. A space at the end of the line belongs to the cookie.

    Raises:
        ConfigError: other characters, or no cookie, or too long a one.

    Example:
        >>> parse_cookie_file(b"chocolate\r\n")
        b'chocolate'

    Source: kernel, ``auth:check_cookie/2``.
    """
    end = next((at for at, byte in enumerate(content) if not 32 <= byte <= 126), len(content))
    if not _TRAILING.issuperset(content[end:]):
        raise ConfigError(key, "something else", "one line of printable ASCII characters, and only blanks after it")
    return _checked(content[:end], key)


def create_cookie_file(path: Path) -> bytes:
    """Make a cookie file as OTP does: 20 letters A-Z, mode 0400. If another program was faster, its cookie counts.

    Raises:
        ConfigError: it cannot be made.
    """
    value = "".join(secrets.choice(string.ascii_uppercase) for _ in range(_MADE_SIZE)).encode()
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "wb") as file:
                file.write(value)
            with suppress(FileExistsError):
                # Under its name it must never be seen half written, nor replace one that is in use.
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cookie file {path}", error.strerror, "a directory where it can be made") from error
    found = read_cookie_file(path)
    if found is None:
        raise ConfigError(f"cookie file {path}", "nothing", "the file that has just been made")
    return found


def _checked(cookie: str | bytes, key: str) -> bytes:
    if isinstance(cookie, str):
        try:
            cookie = cookie.encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigError(key, "other characters", "a cookie of Latin-1 characters") from None
    if not 1 <= len(cookie) <= MAX_COOKIE_SIZE:
        raise ConfigError(key, f"{len(cookie)} characters", f"a cookie of 1 to {MAX_COOKIE_SIZE} characters")
    return cookie
