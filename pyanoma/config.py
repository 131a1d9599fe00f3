"""A node's configuration: a TOML file, then the environment, then flags, each over the one before.

=================  =========================  ===================  =============================================
key in the file    environment                flag                 value
=================  =========================  ===================  =============================================
``name``           ``PYANOMA_NAME``           ``--name``           full node name, ``py@127.0.0.1``; required
``cookie``         ``PYANOMA_COOKIE``         ``--cookie``         else ``RELEASE_COOKIE``, ``~/.erlang.cookie``
``hidden``         ``PYANOMA_HIDDEN``         ``--hidden``         stay out of ``nodes()``; false
``connect``        ``PYANOMA_CONNECT``        ``--connect``        nodes to be connected with
``engines``        ``PYANOMA_ENGINES``        ``--engine``         table of names to ``MODULE:CLASS``
``listen``         ``PYANOMA_LISTEN``         ``--listen``         address to listen on; 127.0.0.1
``ports``          ``PYANOMA_PORTS``          ``--ports``          one port, or first and last; any
``epmd_port``      ``ERL_EPMD_PORT``          ``--epmd-port``      where epmd listens; 4369
``embedded_epmd``  ``PYANOMA_EMBEDDED_EPMD``  ``--embedded-epmd``  run an epmd if none answers; true
``net_ticktime``   ``PYANOMA_NET_TICKTIME``   ``--net-ticktime``   seconds until a silent node is dead; 60
``setup_time``     ``PYANOMA_SETUP_TIME``     ``--setup-time``     seconds for each step of connecting; 7
``allow``          ``PYANOMA_ALLOW``          ``--allow``          nodes or hosts that may connect; all
``shell``          ``PYANOMA_SHELL``          ``--shell``          others may open a Python shell; false
``reload``         ``PYANOMA_RELOAD``         ``--reload``         load modules whose files change; false
``log_level``      ``PYANOMA_LOG_LEVEL``      ``--log-level``      debug, info, warning, error or critical; info
=================  =========================  ===================  =============================================

In the environment several values have commas between them, and an engine is ``NAME=MODULE:CLASS``. Engines of the three
add up, by name; of everything else the last place that has it counts.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engines import built_in
from erlang_bridge import ConfigError, GenServer, NetOptions
from erlang_bridge.epmd.node_names import parse_node_name
from pyanoma.log_setup import LEVELS

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off"))
_ENGINE: Final = re.compile(r"(?P<name>[^=:\s]+)=(?P<place>[\w.]+:[\w.]+)")
_PLACE: Final = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything that `application.start` needs to know. See the table above."""

    name: str
    cookie: str | None = field(default=None, repr=False)
    hidden: bool = False
    connect: tuple[str, ...] = ()
    engines: Mapping[str, str] = field(default_factory=dict)
    listen: str = "127.0.0.1"
    ports: tuple[int, int] | None = None
    epmd_port: int | None = None
    embedded_epmd: bool = True
    net_ticktime: float = 60.0
    setup_time: float = 7.0
    allow: tuple[str, ...] | None = None
    shell: bool = False
    reload: bool = False
    log_level: str = "info"

    def net_options(self) -> NetOptions:
        """What the node's connections are told."""
        return NetOptions(
            host=self.listen,
            port_range=self.ports,
            setup_time_s=self.setup_time,
            net_ticktime_s=self.net_ticktime,
            allowed_nodes=None if self.allow is None else frozenset(self.allow),
        )


# -- reading one value ------------------------------------------------------------------------
# Each takes the value as TOML has it, or as text, and raises ValueError where it is none.


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    seconds = float(value)
    if not 0 < seconds < 1e6:
        raise ValueError
    return seconds


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    port = int(value)
    if not 0 < port < 65536:
        raise ValueError
    return port


def _ports(value: Any) -> tuple[int, int]:
    parts = value.split("-") if isinstance(value, str) else value if isinstance(value, list) else [value]
    ports = [_port(part) for part in parts]
    if len(ports) > 2 or ports[0] > ports[-1]:
        raise ValueError
    return ports[0], ports[-1]


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(_text(word) for word in value) if isinstance(value, (list, tuple)) else _fail()


def _node_names(value: Any) -> tuple[str, ...]:
    names = _words(value)
    for name in names:
        try:
            parse_node_name(name)
        except ConfigError:
            raise ValueError from None
    return names


def _node_name(value: Any) -> str:
    return _node_names([value])[0]


def _engines(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        if not all(isinstance(place, str) and _PLACE.fullmatch(place) for place in value.values()):
            raise ValueError
        return dict(value)
    engines = {}
    for word in _words(value):
        match = _ENGINE.fullmatch(word)
        if match is None:
            raise ValueError
        engines[match["name"]] = match["place"]
    return engines


def _level(value: Any) -> str:
    if isinstance(value, str) and value.lower() in LEVELS:
        return value.lower()
    raise ValueError


def _fail() -> Any:
    raise ValueError


# -- the keys ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    environment: str
    flag: str
    read: Callable[[Any], Any]
    expected: str
    secret: bool = False


_KEYS: Final = {
    "name": _Key("PYANOMA_NAME", "--name", _node_name, "a full node name such as 'py@127.0.0.1'"),
    "cookie": _Key("PYANOMA_COOKIE", "--cookie", _text, "a text that is not empty", secret=True),
    "hidden": _Key("PYANOMA_HIDDEN", "--hidden", _boolean, "true or false"),
    "connect": _Key("PYANOMA_CONNECT", "--connect", _node_names, "full node names such as 'beam@127.0.0.1'"),
    "engines": _Key(
        "PYANOMA_ENGINES", "--engine", _engines, "NAME=MODULE:CLASS, in a file a table of NAME = 'MODULE:CLASS'"
    ),
    "listen": _Key("PYANOMA_LISTEN", "--listen", _text, "an address of this machine"),
    "ports": _Key("PYANOMA_PORTS", "--ports", _ports, "a TCP port, or the first and the last, such as 9100-9110"),
    "epmd_port": _Key("ERL_EPMD_PORT", "--epmd-port", _port, "a TCP port"),
    "embedded_epmd": _Key("PYANOMA_EMBEDDED_EPMD", "--embedded-epmd", _boolean, "true or false"),
    "net_ticktime": _Key("PYANOMA_NET_TICKTIME", "--net-ticktime", _seconds, "seconds, more than 0"),
    "setup_time": _Key("PYANOMA_SETUP_TIME", "--setup-time", _seconds, "seconds, more than 0"),
    "allow": _Key("PYANOMA_ALLOW", "--allow", _words, "names of nodes or hosts"),
    "shell": _Key("PYANOMA_SHELL", "--shell", _boolean, "true or false"),
    "reload": _Key("PYANOMA_RELOAD", "--reload", _boolean, "true or false"),
    "log_level": _Key("PYANOMA_LOG_LEVEL", "--log-level", _level, "one of " + ", ".join(LEVELS)),
}


def load_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> NodeConfig:
    """Read the three sources.

    Args:
        path: of the TOML file; None: ``PYANOMA_CONFIG``, or no file.
        flags: by key; one that is None or empty was not given.

    Raises:
        ConfigError: says which key, flag or variable, what was expected, and what came.
    """
    if path is None and environ.get("PYANOMA_CONFIG"):
        path = Path(environ["PYANOMA_CONFIG"])
    found: dict[str, Any] = {}
    if path is not None:
        for key, value in _read_file(path).items():
            if key not in _KEYS:
                raise ConfigError(f"{key} in {path}", value, f"one of the keys {', '.join(_KEYS)}")
            _add(found, key, f"{key} in {path}", value)
    for key, described in _KEYS.items():
        if environ.get(described.environment):
            _add(found, key, described.environment, environ[described.environment])
    for key, value in flags.items():
        if value is not None and value != ():
            _add(found, key, _KEYS[key].flag, value)
    if "name" not in found:
        raise ConfigError(
            "--name", None, f"{_KEYS['name'].expected} (or PYANOMA_NAME, or name in a configuration file)"
        )
    return NodeConfig(**found)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError("--config", str(path), f"a file that can be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("--config", str(path), f"a TOML file ({error})") from error


def _add(found: dict[str, Any], key: str, place: str, value: Any) -> None:
    described = _KEYS[key]
    try:
        read = described.read(value)
    except ValueError:
        if isinstance(value, tuple):
            value = ", ".join(map(str, value))
        shown = "something else" if described.secret else value
        raise ConfigError(place, shown, described.expected) from None
    found[key] = {**found.get(key, {}), **read} if key == "engines" else read


# -- engines ----------------------------------------------------------------------------------


def load_engines(engines: Mapping[str, str]) -> dict[str, type[GenServer]]:
    """The built-in engines and those of the configuration; a name that is in both is the configuration's.

    Raises:
        ConfigError: there is no such module or class, or it is no server.
    """
    return {**built_in(), **{name: _load_engine(name, place) for name, place in engines.items()}}


def _load_engine(name: str, place: str) -> type[GenServer]:
    key = f"engine {name}"
    module_name, _, class_name = place.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(key, place, f"a module that can be imported ({error})") from error
    except Exception as error:
        raise ConfigError(key, place, f"a module that can be imported (it raised {error!r})") from error
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if not (inspect.isclass(found) and issubclass(found, GenServer)):
        raise ConfigError(key, place, f"a subclass of erlang_bridge.GenServer in {module_name}")
    return found
