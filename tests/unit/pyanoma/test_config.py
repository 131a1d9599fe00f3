"""Configuration: file under environment under flags, and errors that name the key, what was expected and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.ticker.server import Ticker
from erlang_bridge import ConfigError
from pyanoma.config import (
    IntentsConfig,
    NetworkConfig,
    NodeConfig,
    OrderingConfig,
    StorageConfig,
    load_config,
    load_engines,
    load_programs,
)

NAME = {"name": "py@127.0.0.1"}


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_only_the_name_is_required():
    config = load_config(None, {"HOME": "/home/me"}, NAME)
    folder = Path("/home/me/.local/share/pyanoma")
    assert config == NodeConfig(
        "py@127.0.0.1",
        storage=StorageConfig("sqlite", folder / "py@127.0.0.1.sqlite", own_folder=True),
        network=NetworkConfig(identity=folder / "py@127.0.0.1.identity"),
    )
    assert load_config(None, {"XDG_DATA_HOME": "/data"}, NAME).storage.path == Path("/data/pyanoma/py@127.0.0.1.sqlite")


def test_every_key_from_a_file(tmp_path: Path):
    path = file(
        tmp_path,
        """
        name = "py@127.0.0.1"
        cookie = "secret"
        hidden = true
        connect = ["a@127.0.0.1", "b@127.0.0.1"]
        listen = "0.0.0.0"
        ports = [9100, 9110]
        epmd_port = 4370
        embedded_epmd = false
        net_ticktime = 15
        setup_time = 2.5
        allow = ["a@127.0.0.1", "10.0.0.7"]
        shell = true
        reload = true
        log_level = "DEBUG"
        [engines]
        counter = "my.engines:Counter"
        [programs]
        add = "my.programs:add"
        [storage]
        backend = "mnesia"
        path = "/data/x.sqlite"
        node = "beam@127.0.0.1"
        synchronous = "normal"
        [ordering]
        shards = 4
        max_in_flight = 7
        gas = 1000
        [intents]
        time_limit = 1.5
        gather = 1
        [network]
        tcp = "127.0.0.1:4300"
        tls = "[::1]:4301"
        certificate = "/c.pem"
        key = "/k.pem"
        authorities = "/a.pem"
        identity = "/i"
        """,
    )
    assert load_config(path, {}, {}) == NodeConfig(
        "py@127.0.0.1",
        "secret",
        True,
        ("a@127.0.0.1", "b@127.0.0.1"),
        {"counter": "my.engines:Counter"},
        "0.0.0.0",
        (9100, 9110),
        4370,
        False,
        15.0,
        2.5,
        ("a@127.0.0.1", "10.0.0.7"),
        True,
        True,
        "debug",
        {"add": "my.programs:add"},
        StorageConfig("mnesia", Path("/data/x.sqlite"), "beam@127.0.0.1", "normal"),
        OrderingConfig(4, 7, 1000),
        IntentsConfig(1.5, 1.0),
        NetworkConfig(("127.0.0.1", 4300), ("::1", 4301), Path("/c.pem"), Path("/k.pem"), Path("/a.pem"), Path("/i")),
    )


def test_every_key_from_the_environment():
    environ = {
        "PYANOMA_NAME": "py@127.0.0.1",
        "PYANOMA_COOKIE": "secret",
        "PYANOMA_HIDDEN": "yes",
        "PYANOMA_CONNECT": "a@127.0.0.1, b@127.0.0.1",
        "PYANOMA_ENGINES": "counter=my.engines:Counter,other=my:Other.Inner",
        "PYANOMA_PROGRAMS": "add=my.programs:add",
        "PYANOMA_STORAGE_BACKEND": "memory",
        "PYANOMA_ORDERING_SHARDS": "8",
        "PYANOMA_LISTEN": "::1",
        "PYANOMA_PORTS": "9100-9110",
        "ERL_EPMD_PORT": "4370",
        "PYANOMA_EMBEDDED_EPMD": "0",
        "PYANOMA_NET_TICKTIME": "15",
        "PYANOMA_SETUP_TIME": "2.5",
        "PYANOMA_ALLOW": "10.0.0.7",
        "PYANOMA_SHELL": "true",
        "PYANOMA_RELOAD": "on",
        "PYANOMA_LOG_LEVEL": "warning",
    }
    assert load_config(None, environ, {}) == NodeConfig(
        "py@127.0.0.1",
        "secret",
        True,
        ("a@127.0.0.1", "b@127.0.0.1"),
        {"counter": "my.engines:Counter", "other": "my:Other.Inner"},
        "::1",
        (9100, 9110),
        4370,
        False,
        15.0,
        2.5,
        ("10.0.0.7",),
        True,
        True,
        "warning",
        {"add": "my.programs:add"},
        StorageConfig("memory"),
        OrderingConfig(8),
    )


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path):
    path = file(tmp_path, 'name = "file@h"\nnet_ticktime = 1\nsetup_time = 1\nlog_level = "error"')
    environ = {"PYANOMA_NET_TICKTIME": "2", "PYANOMA_SETUP_TIME": "2"}
    config = load_config(path, environ, {"setup_time": "3", "hidden": None, "connect": ()})
    assert (config.name, config.net_ticktime, config.setup_time, config.log_level) == ("file@h", 2.0, 3.0, "error")


def test_a_false_flag_counts(tmp_path: Path):
    path = file(tmp_path, 'name = "file@h"\nhidden = true')
    assert load_config(path, {}, {"hidden": False}).hidden is False


def test_engines_of_all_three_add_up(tmp_path: Path):
    path = file(tmp_path, 'name = "file@h"\n[engines]\na = "file:A"\nb = "file:B"')
    config = load_config(path, {"PYANOMA_ENGINES": "b=env:B,c=env:C"}, {"engines": ("c=flag:C", "d=flag:D")})
    assert config.engines == {"a": "file:A", "b": "env:B", "c": "flag:C", "d": "flag:D"}


def test_one_port():
    assert load_config(None, {}, {**NAME, "ports": "9100"}).ports == (9100, 9100)


def test_the_file_may_be_named_in_the_environment(tmp_path: Path):
    path = file(tmp_path, 'name = "file@h"')
    assert load_config(None, {"PYANOMA_CONFIG": str(path)}, {}).name == "file@h"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nmae = 1", r"nmae in .*node\.toml: expected one of the keys name, .*, got 1"),
        ('name = "py"', r"name in .*node\.toml: expected a full node name .*, got 'py'"),
        ("name = 7", "expected a full node name .*, got 7"),
        ('hidden = "perhaps"', "hidden in .*: expected true or false, got 'perhaps'"),
        ("hidden = 1", "hidden in .*: expected true or false, got 1"),
        ('connect = ["a"]', "connect in .*: expected full node names"),
        ("net_ticktime = 0", "net_ticktime in .*: expected seconds, more than 0, got 0"),
        ('net_ticktime = "x"', "net_ticktime in .*: expected seconds, more than 0, got 'x'"),
        ("net_ticktime = true", "net_ticktime in .*: expected seconds"),
        ("ports = [9110, 9100]", "ports in .*: expected a TCP port, or the first and the last"),
        ("ports = [1, 2, 3]", "ports in .*: expected a TCP port"),
        ("epmd_port = 70000", "epmd_port in .*: expected a TCP port, got 70000"),
        ('log_level = "loud"', "log_level in .*: expected one of debug, info"),
        ("storage = 3", r"storage in .*: expected a table, \[storage\], got 3"),
        ('[storage]\npth = "x"', "storage.pth in .*: expected one of the keys storage.backend, storage.path"),
        ('[storage]\nbackend = "disk"', "storage.backend in .*: expected one of sqlite, mnesia, memory, got 'disk'"),
        ('[storage]\nbackend = "mnesia"', "storage.node: expected the full name of the BEAM"),
        ("[ordering]\nshards = 0", "ordering.shards in .*: expected a number from 1 to 64, got 0"),
        ('[network]\ntcp = "4300"', "network.tcp in .*: expected HOST:PORT, such as 127.0.0.1:4300, got '4300'"),
        ('[network]\ntls = "127.0.0.1:1"', "network.certificate: expected the path of a certificate"),
        ('[engines]\na = "no_class"', "engines in .*: expected NAME=MODULE:CLASS"),
        ("name = ", r"--config: expected a TOML file \(.*\), got '.*node\.toml'"),
    ],
)
def test_errors_in_a_file(tmp_path: Path, text: str, says: str):
    with pytest.raises(ConfigError, match=says):
        load_config(file(tmp_path, text), {}, NAME)


@pytest.mark.parametrize(
    ("environ", "flags", "says"),
    [
        ({}, {}, r"--name: expected a full node name such as 'py@127\.0\.0\.1' \(or PYANOMA_NAME"),
        ({"PYANOMA_HIDDEN": "2"}, NAME, "PYANOMA_HIDDEN: expected true or false, got '2'"),
        ({"ERL_EPMD_PORT": "x"}, NAME, "ERL_EPMD_PORT: expected a TCP port, got 'x'"),
        ({}, {"name": "a@b@c"}, "--name: expected a full node name .*, got 'a@b@c'"),
        ({}, {**NAME, "connect": ("b@h", "c")}, "--connect: expected full node names .*, got 'b@h, c'"),
        ({}, {**NAME, "engines": ("x=y",)}, "--engine: expected NAME=MODULE:CLASS.*, got 'x=y'"),
        ({}, {**NAME, "setup_time": "-1"}, "--setup-time: expected seconds, more than 0, got '-1'"),
    ],
)
def test_errors_elsewhere(environ: dict[str, str], flags: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        load_config(None, environ, flags)


def test_no_such_file(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"--config: expected a file that can be read \(No such file"):
        load_config(tmp_path / "none.toml", {}, {})


def test_the_cookie_is_shown_nowhere(tmp_path: Path):
    config = load_config(None, {"PYANOMA_COOKIE": "hush"}, NAME)
    assert "hush" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        load_config(file(tmp_path, 'cookie = ["hush"]'), {}, NAME)
    assert "hush" not in str(caught.value)


def test_the_connections_are_told():
    options = NodeConfig(
        "py@h", listen="0.0.0.0", ports=(1, 2), net_ticktime=5, setup_time=3, allow=("h",)
    ).net_options()
    assert (options.host, options.port_range) == ("0.0.0.0", (1, 2))
    assert (options.net_ticktime_s, options.setup_time_s) == (5, 3)
    assert options.allowed_nodes == frozenset({"h"})


def test_engines_are_loaded_beside_the_built_in_ones():
    loaded = load_engines({"counter": "pyanoma.demo.counter:Counter"})
    assert loaded["counter"].__name__ == "Counter"
    assert loaded["ticker"] is Ticker


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("no.such.module:X", r"engine x: expected a module that can be imported \(No module named 'no'\)"),
        ("pyanoma.config:NoSuchClass", r"expected a subclass of erlang_bridge\.GenServer in pyanoma\.config"),
        ("pyanoma.config:NodeConfig", r"expected a subclass of erlang_bridge\.GenServer"),
        ("pyanoma.config:load_config", r"expected a subclass of erlang_bridge\.GenServer"),
        ("raising_engine:X", r"expected a module that can be imported \(it raised ZeroDivisionError"),
    ],
)
def test_engines_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, says: str):
    (tmp_path / "raising_engine.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=says):
        load_engines({"x": place})


def test_programs_are_loaded_or_refused():
    assert load_programs({"join": "posixpath:join"})["join"]("a", "b") == "a/b"
    with pytest.raises(ConfigError, match="program x: expected a function or a class, got 'posixpath:none'"):
        load_programs({"x": "posixpath:none"})
    with pytest.raises(ConfigError, match="program x: expected a module that can be imported"):
        load_programs({"x": "no.such.module:f"})


def test_the_file_in_the_documentation_can_be_used(tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
    config = load_config(file(tmp_path, page.partition("```toml\n")[2].partition("```")[0]), {}, {})
    assert config.storage.backend == "sqlite"
    assert config.network.tls == ("127.0.0.1", 4301)
