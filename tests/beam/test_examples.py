"""The programs in examples/: their main functions against real nodes, and each run as its head says."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erlang_bridge import Atom, NoConnection, Node, NoProcess, Pid
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.programs import clean_environment, free_port
from tests.fix_node import NodeFactory
from tests.pages import ROOT
from tests.sessions import Session, interpreter, path_with
from tests.waiting import until

EXAMPLES = ROOT / "examples"
COOKIE = "chocolate"


def example(name: str) -> ModuleType:
    return importlib.import_module(f"examples.{name}")


@pytest.fixture
def options(beam_cookie: str, epmd_port: int) -> dict[str, Any]:
    """Of a node that meets the BEAMs of this run."""
    return {"cookie": beam_cookie, "epmd_port_number": epmd_port}


@pytest.fixture
def store_beam(beam: Beam, compile_erlang: Callable[[str], bytes]) -> Beam:
    """A BEAM on which ``store.erl`` runs."""
    beam.load_module(compile_erlang((EXAMPLES / "store.erl").read_text()))
    beam.eval("{ok, _} = store:start()")
    return beam


@pytest.fixture
def pool(options: dict[str, Any]) -> Iterator[Node]:
    with example("pool").main("pool_under_test@127.0.0.1", 3, **options) as node:
        yield node


# -- counter ----------------------------------------------------------------------------------


def test_counter(beam: Beam, node_factory: NodeFactory) -> None:
    node = node_factory(engines={"counter": example("counter").Counter})
    counter = beam.eval("{ok, C} = erpc:call(N, pyanoma, start_link, [counter, 5]), unlink(C), C", N=node.name)
    beam.eval("gen_server:cast(C, {add, 2})", C=counter)
    assert beam.eval("[gen_server:call(C, {add, 1}), gen_server:call(C, read)]", C=counter) == [Atom("ok"), 8]


# -- client -----------------------------------------------------------------------------------


def test_client(store_beam: Beam, options: dict[str, Any]) -> None:
    store = example("client").main("client_under_test@127.0.0.1", store_beam.name, **options)
    with store.node:
        store["fee"] = 7
        store[(Atom("block"), 1)] = [1.5, {"a": None}]
        assert store["fee"] == 7
        assert dict(store) == {b"fee": 7, (Atom("block"), 1): [1.5, {b"a": None}]}
        assert store_beam.eval('gen_server:call(store, {get, <<"fee">>})') == (Atom("ok"), 7)
        del store["fee"]
        with pytest.raises(KeyError):
            store["fee"]
        with pytest.raises(KeyError):
            del store["fee"]
        assert len(store) == 1
        store.clear()
        assert list(store) == []
        store_beam.eval("exit(whereis(store), kill)")
        with pytest.raises(NoProcess):
            store["fee"]
        store_beam.kill()
        with pytest.raises(NoConnection):
            store["fee"]


def test_client_as_a_program(
    beam_factory: Any, compile_erlang: Callable[[str], bytes], epmd_port: int, tmp_path: Path
) -> None:
    beam = beam_factory(name="store@127.0.0.1", cookie=COOKIE)
    beam.load_module(compile_erlang((EXAMPLES / "store.erl").read_text()))
    for started in (False, True):
        if started:
            beam.eval("{ok, _} = store:start()")
        with Session(f"python {EXAMPLES / 'client.py'}", tmp_path, environment(epmd_port)) as client:
            assert client.run() == (0 if started else 1)
            if started:
                client.expect("(Atom('block'), 1) -> [Atom('pending'), {b'fee': 1.5}]")
                client.expect("b'pay bob' -> 7")
            else:
                client.expect("gen_server:call({store,'store@127.0.0.1'}, ...): noproc (no such process)")


# -- pool -------------------------------------------------------------------------------------


def members(beam: Beam) -> list[Pid]:
    found: list[Pid] = beam.eval("pg:get_members(hashers)")
    return found


def test_pool(beam: Beam, pool: Node) -> None:
    beam.eval("spawn(fun() -> pg:start_link(), timer:sleep(infinity) end), pong = net_adm:ping(N)", N=pool.name)
    beam.wait_until("length(pg:get_members(hashers)) =:= 3")
    workers = members(beam)
    assert all(worker.node is pool.name for worker in workers)
    expected = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 1000)
    hashes = beam.eval('[gen_server:call(W, {hash, <<"secret">>, 1000}) || W <- Workers]', Workers=workers)
    assert hashes == [expected] * 3

    beam.eval("catch gen_server:call(W, nonsense), ok", W=workers[0])
    assert until(lambda: len(members(beam)) == 3 and workers[0] not in members(beam))
    assert set(members(beam)) >= set(workers[1:])
    ids = beam.eval("[Id || {Id, _, _, _} <- supervisor:which_children({pool, N})]", N=pool.name)
    assert sorted(id.name for id in ids) == ["hasher_1", "hasher_2", "hasher_3"]


@pytest.mark.parametrize("program", ["counter.py", "pool.py"])
def test_a_node_as_a_program(program: str, epmd_port: int, tmp_path: Path) -> None:
    with Session(f"python {EXAMPLES / program}", tmp_path, environment(epmd_port)) as session:
        session.expect("READY ...@127.0.0.1", 20)


def environment(epmd_port: int) -> dict[str, str]:
    return {"PATH": path_with(interpreter()), "ERL_EPMD_PORT": str(epmd_port)}


@pytest.mark.parametrize("first", ["a_block", "matched_intents"])
def test_anoma_node_in_any_order(tmp_path: Path, first: str):
    """Each function builds what it needs."""
    environment = clean_environment(tmp_path, ERL_EPMD_PORT=str(free_port()), PYTHONPATH=str(ROOT))
    source = f"import examples.anoma_node as e; assert e.{first}() is e.{first}(); e.main()"
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def test_anoma_node_as_a_program(tmp_path: Path):
    environment = clean_environment(tmp_path, ERL_EPMD_PORT=str(free_port()), PYTHONPATH=str(ROOT))
    command = [sys.executable, EXAMPLES / "anoma_node.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "a_transfer: TransactionStatus(stage=<Stage.COMMITTED" in done.stdout
