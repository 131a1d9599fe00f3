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
``programs``       ``PYANOMA_PROGRAMS``       ``--program``        table of names to ``MODULE:NAME``, for transactions
``log_level``      ``PYANOMA_LOG_LEVEL``      ``--log-level``      debug, info, warning, error or critical; info
=================  =========================  ===================  =============================================

And in sections, of the Anoma node (in the environment ``PYANOMA_STORAGE_PATH`` and so on):

=============================  ================================================================================
``[storage]``
``backend``                    ``sqlite``, ``mnesia``, or ``memory``, which forgets; sqlite. Flag ``--storage``
``path``                       of the SQLite file; ``~/.local/share/pyanoma/NODE.sqlite``. Flag ``--storage-path``
``node``                       the BEAM whose Mnesia it is; required for mnesia
``synchronous``                ``full``: a block outlasts a power cut; ``normal``: only a crash; full
``[ordering]``
``shards``                     how many; 2
``max_in_flight``              transactions accepted and not finished, beyond which new ones are refused; 10000
``gas``                        the most that a program may ask for; 10000000
``[intents]``
``time_limit``                 seconds for one run of the solver; 5
``gather``                     seconds that the solver waits for more intents; 0.05
``[network]``
``tcp``                        ``HOST:PORT`` to listen on for nodes outside of the cluster; none
``tls``                        the same with TLS, with ``certificate``, ``key`` and ``authorities``, paths; none
``identity``                   path of the file with the node's own identity, made if missing; beside the storage
=============================  ================================================================================

In the environment several values have commas between them, and an engine is ``NAME=MODULE:CLASS``. Engines of the three
add up, by name, and so do programs; of everything else the last place that has it counts.
"""

from __future__ import annotations

import importlib
import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engines import built_in
from erlang_bridge import ConfigError, GenServer, NetOptions
from pyanoma import config_values as values
from pyanoma.log_setup import LEVELS


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where the state that lasts is kept."""

    backend: str = "memory"
    path: Path | None = None
    node: str | None = None
    synchronous: str = "full"
    own_folder: bool = False
    """The path is the usual one, whose folder is made if it is missing."""


@dataclass(frozen=True, slots=True)
class OrderingConfig:
    """How transactions are ordered and executed."""

    shards: int = 2
    max_in_flight: int = 10_000
    gas: int = 10_000_000


@dataclass(frozen=True, slots=True)
class IntentsConfig:
    """How intents are matched."""

    time_limit: float = 5.0
    gather: float = 0.05


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How nodes outside of the cluster are met."""

    tcp: tuple[str, int] | None = None
    tls: tuple[str, int] | None = None
    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    identity: Path | None = None


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
    programs: Mapping[str, str] = field(default_factory=dict)
    storage: StorageConfig = field(default_factory=StorageConfig)
    ordering: OrderingConfig = field(default_factory=OrderingConfig)
    intents: IntentsConfig = field(default_factory=IntentsConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def net_options(self) -> NetOptions:
        """What the node's connections are told."""
        return NetOptions(
            host=self.listen,
            port_range=self.ports,
            setup_time_s=self.setup_time,
            net_ticktime_s=self.net_ticktime,
            allowed_nodes=None if self.allow is None else frozenset(self.allow),
        )


# -- the keys ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    environment: str
    flag: str
    read: Callable[[Any], Any]
    expected: str
    secret: bool = False


_KEYS: Final = {
    "name": _Key("PYANOMA_NAME", "--name", values.node_name, "a full node name such as 'py@127.0.0.1'"),
    "cookie": _Key("PYANOMA_COOKIE", "--cookie", values.text, "a text that is not empty", secret=True),
    "hidden": _Key("PYANOMA_HIDDEN", "--hidden", values.boolean, "true or false"),
    "connect": _Key("PYANOMA_CONNECT", "--connect", values.node_names, "full node names such as 'beam@127.0.0.1'"),
    "engines": _Key(
        "PYANOMA_ENGINES", "--engine", values.places, "NAME=MODULE:CLASS, in a file a table of NAME = 'MODULE:CLASS'"
    ),
    "listen": _Key("PYANOMA_LISTEN", "--listen", values.text, "an address of this machine"),
    "ports": _Key("PYANOMA_PORTS", "--ports", values.ports, "a TCP port, or the first and the last, such as 9100-9110"),
    "epmd_port": _Key("ERL_EPMD_PORT", "--epmd-port", values.port, "a TCP port"),
    "embedded_epmd": _Key("PYANOMA_EMBEDDED_EPMD", "--embedded-epmd", values.boolean, "true or false"),
    "net_ticktime": _Key("PYANOMA_NET_TICKTIME", "--net-ticktime", values.seconds, "seconds, more than 0"),
    "setup_time": _Key("PYANOMA_SETUP_TIME", "--setup-time", values.seconds, "seconds, more than 0"),
    "allow": _Key("PYANOMA_ALLOW", "--allow", values.words, "names of nodes or hosts"),
    "shell": _Key("PYANOMA_SHELL", "--shell", values.boolean, "true or false"),
    "reload": _Key("PYANOMA_RELOAD", "--reload", values.boolean, "true or false"),
    "log_level": _Key("PYANOMA_LOG_LEVEL", "--log-level", values.level, "one of " + ", ".join(LEVELS)),
    "programs": _Key(
        "PYANOMA_PROGRAMS", "--program", values.places, "NAME=MODULE:NAME, in a file a table of NAME = 'MODULE:NAME'"
    ),
}


def _in_section(name: str, read: Callable[[Any], Any], expected: str, flag: str = "") -> _Key:
    variable = "PYANOMA_" + name.replace(".", "_").upper()
    return _Key(variable, flag, read, expected)


_ADDRESS: Final = "HOST:PORT, such as 127.0.0.1:4300"
_SECTIONS: Final = {
    name: _in_section(name, read, expected, *flag)
    for name, read, expected, *flag in (
        (
            "storage.backend",
            values.one_of("sqlite", "mnesia", "memory"),
            "one of sqlite, mnesia, memory",
            "--storage",
        ),
        ("storage.path", values.path, "a path", "--storage-path"),
        ("storage.node", values.node_name, "a full node name such as 'beam@127.0.0.1'"),
        ("storage.synchronous", values.one_of("full", "normal"), "full or normal"),
        ("ordering.shards", values.count(1, 64), "a number from 1 to 64"),
        ("ordering.max_in_flight", values.count(1, 1_000_000), "a number from 1 to 1000000"),
        ("ordering.gas", values.count(1, 10**15), "a number of steps, more than 0"),
        ("intents.time_limit", values.seconds, "seconds, more than 0"),
        ("intents.gather", values.seconds, "seconds, more than 0"),
        ("network.tcp", values.address, _ADDRESS),
        ("network.tls", values.address, _ADDRESS),
        ("network.certificate", values.path, "the path of a certificate in PEM"),
        ("network.key", values.path, "the path of a private key in PEM"),
        ("network.authorities", values.path, "the path of certificates in PEM"),
        ("network.identity", values.path, "a path"),
    )
}
_SECTION_CLASSES: Final = {
    "storage": StorageConfig,
    "ordering": OrderingConfig,
    "intents": IntentsConfig,
    "network": NetworkConfig,
}
_ALL_KEYS: Final = {**_KEYS, **_SECTIONS}


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
        for key, value in _flattened(path, _read_file(path)).items():
            _add(found, key, f"{key} in {path}", value)
    for key, described in _ALL_KEYS.items():
        if environ.get(described.environment):
            _add(found, key, described.environment, environ[described.environment])
    for key, value in flags.items():
        if value is not None and value != ():
            _add(found, key, _ALL_KEYS[key].flag, value)
    if "name" not in found:
        raise ConfigError(
            "--name", None, f"{_KEYS['name'].expected} (or PYANOMA_NAME, or name in a configuration file)"
        )
    sections: dict[str, dict[str, Any]] = {section: {} for section in _SECTION_CLASSES}
    for key in [key for key in found if key in _SECTIONS]:
        section, _, name = key.partition(".")
        sections[section][name] = found.pop(key)
    _complete(found["name"], sections, environ)
    built: dict[str, Any] = {section: cls(**sections[section]) for section, cls in _SECTION_CLASSES.items()}
    return NodeConfig(**found, **built)


def _flattened(path: Path, tables: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the file, with the keys of sections as ``storage.path``."""
    found = {}
    for key, value in tables.items():
        if key in _SECTION_CLASSES:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{key} in {path}", value, f"a table, [{key}]")
            found.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            found[key] = value
    for key, value in found.items():
        if key not in _ALL_KEYS:
            section, dot, _ = key.partition(".")
            known = [name for name in _ALL_KEYS if name.startswith(section + ".")] if dot else [*_KEYS]
            tables_too = "" if dot else f", or of the tables {', '.join(_SECTION_CLASSES)}"
            raise ConfigError(f"{key} in {path}", value, f"one of the keys {', '.join(known)}{tables_too}")
    return found


def _complete(name: str, sections: dict[str, dict[str, Any]], environ: Mapping[str, str]) -> None:
    """Fill in what follows from other keys, and refuse what does not go together."""
    storage, network = sections["storage"], sections["network"]
    storage.setdefault("backend", "sqlite")
    if storage["backend"] == "mnesia" and "node" not in storage:
        raise ConfigError(
            "storage.node", None, "the full name of the BEAM whose Mnesia it is, for storage.backend mnesia"
        )
    data = Path(environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/share")
    folder = data / "pyanoma"
    if storage["backend"] == "sqlite":
        storage["own_folder"] = "path" not in storage
        storage.setdefault("path", folder / f"{name}.sqlite")
    if storage["backend"] != "memory":
        beside = storage.get("path", folder / f"{name}.sqlite")
        network.setdefault("identity", beside.with_suffix(".identity"))
    for key in ("certificate", "key"):
        if "tls" in network and key not in network:
            raise ConfigError(f"network.{key}", None, f"{_SECTIONS[f'network.{key}'].expected}, for network.tls")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError("--config", str(path), f"a file that can be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("--config", str(path), f"a TOML file ({error})") from error


def _add(found: dict[str, Any], key: str, place: str, value: Any) -> None:
    described = _ALL_KEYS[key]
    try:
        read = described.read(value)
    except ValueError:
        if isinstance(value, tuple):
            value = ", ".join(map(str, value))
        shown = "something else" if described.secret else value
        raise ConfigError(place, shown, described.expected) from None
    found[key] = {**found.get(key, {}), **read} if key in ("engines", "programs") else read


# -- engines ----------------------------------------------------------------------------------


def load_engines(engines: Mapping[str, str]) -> dict[str, type[GenServer]]:
    """The built-in engines and those of the configuration; a name that is in both is the configuration's.

    Raises:
        ConfigError: there is no such module or class, or it is no server.
    """
    return {**built_in(), **{name: _load_engine(name, place) for name, place in engines.items()}}


def load_programs(programs: Mapping[str, str]) -> dict[str, Any]:
    """The programs that transactions may name.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
    """
    found = {}
    for name, place in programs.items():
        program = load_place(f"program {name}", place)
        if not callable(program):
            raise ConfigError(f"program {name}", place, "a function or a class")
        found[name] = program
    return found


def load_place(key: str, place: str) -> Any:
    """What stands at ``MODULE:NAME``; None where the module has nothing of that name.

    Raises:
        ConfigError: the module cannot be imported.
    """
    module_name, _, name = place.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(key, place, f"a module that can be imported ({error})") from error
    except Exception as error:
        raise ConfigError(key, place, f"a module that can be imported (it raised {error!r})") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _load_engine(name: str, place: str) -> type[GenServer]:
    key = f"engine {name}"
    found = load_place(key, place)
    if not (inspect.isclass(found) and issubclass(found, GenServer)):
        raise ConfigError(key, place, f"a subclass of erlang_bridge.GenServer in {place.partition(':')[0]}")
    return found
