"""The supervision tree of a node, as data: subsystems, the engines in each, and how each is restarted.

::

    pyanoma_sup                     one_for_one
    ├── pyanoma_ordering            rest_for_one
    │   ├── ledger
    │   ├── mempool_worker          its executors are linked with it
    │   └── pyanoma_shards          one_for_one: shard-0, shard-1, ...
    ├── pyanoma_hardware            one_for_one: logging, wall_clock, local_key_value_storage, ...
    ├── pyanoma_identity            one_for_one: identity_management, verification, encryption, ...
    ├── pyanoma_intents             one_for_one: intent_pool, solver
    ├── pyanoma_network             one_for_one: network_registry, transport protocols, storage
    ├── pyanoma_resource_machine    one_for_one: commitment_tree
    ├── pyanoma_engines             one_for_one: ticker
    ├── pyanoma_connector           keeps the connections that the configuration names; only where it names some
    └── pyanoma_reloader            loads modules whose files change; only with ``reload``

What an engine's crash costs is its own work. A shard that is started again reads what is committed, and is told the
rest by the worker; the worker starts executors again. What the worker knows is in the ledger: after its crash the
shards begin anew with it, and what was accepted is run again. The pool keeps taking intents while the solver is down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import engines
from anoma.programs.standard import STANDARD
from engines.commitment_tree.behaviour import CommitmentTreeSettings
from engines.commitment_tree.server import COMMITMENT_TREE
from engines.dynamic_configuration.behaviour import DynamicConfigurationSettings
from engines.intent_pool.behaviour import IntentPoolSettings
from engines.intent_pool.server import INTENT_POOL
from engines.keeping.behaviour import KeepingSettings
from engines.ledger.behaviour import Backend, LedgerSettings, Synchronous
from engines.ledger.server import LEDGER
from engines.logging.behaviour import LoggingSettings
from engines.mempool_worker.behaviour import MempoolWorkerSettings
from engines.mempool_worker.server import WORKER
from engines.messages import EngineID
from engines.network_registry.adverts import TransportProtocol, transport_name
from engines.network_registry.behaviour import RegistrySettings
from engines.network_registry.server import NETWORK_REGISTRY
from engines.shard.behaviour import ShardSettings
from engines.solver.behaviour import SolverSettings
from engines.solver.server import SOLVER
from engines.static_configuration.behaviour import StaticConfigurationSettings
from engines.storage.behaviour import StorageSettings
from engines.storage.server import STORAGE
from engines.transport_connection.behaviour import TLSFiles
from engines.transport_protocol.behaviour import TransportSettings
from erlang_bridge.otp.child_specs import ChildSpec, Strategy, SupervisorFlags
from erlang_bridge.otp.supervisor import Supervisor
from pyanoma.config import NodeConfig, StorageConfig, load_programs
from pyanoma.connector import Connector
from pyanoma.node_identity import own_identity
from pyanoma.reloader import Reloader


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of the tree.

    Attributes:
        type: as a node knows it.
        name: that it is registered under.
        args: for its start.
    """

    type: str
    name: str
    args: Any = None


@dataclass(frozen=True, slots=True)
class Subsystem:
    """A supervisor with its children.

    Attributes:
        name: that it is registered under.
        children: of the configuration.
        strategy: what a child's end means for the others.
        intensity: restarts within `period_s` seconds, beyond which the subsystem itself has failed. An engine that
            crashes now and then, because somebody sends it nonsense, must not take its subsystem down.
    """

    name: str
    children: Callable[[NodeConfig], Iterator[EngineSpec | Subsystem]]
    strategy: Strategy = "one_for_one"
    intensity: int = 10
    period_s: int = 10


# -- subsystems -------------------------------------------------------------------------------


def hardware(config: NodeConfig) -> Iterator[EngineSpec]:
    """What stands for the machine."""
    yield EngineSpec("logging", "logging", LoggingSettings(ledger=LEDGER))
    yield EngineSpec("wall_clock", "wall_clock")
    yield EngineSpec("local_key_value_storage", "local_key_value_storage", KeepingSettings(LEDGER))
    yield EngineSpec("local_time_series_storage", "local_time_series_storage", KeepingSettings(LEDGER))
    yield EngineSpec("static_configuration", "static_configuration", StaticConfigurationSettings(_shown(config)))
    yield EngineSpec("dynamic_configuration", "dynamic_configuration", DynamicConfigurationSettings(ledger=LEDGER))


def ordering(config: NodeConfig) -> Iterator[EngineSpec | Subsystem]:
    """Transactions, from their acceptance into a block."""
    yield EngineSpec("ledger", LEDGER, ledger_settings(config.storage))
    yield EngineSpec(
        "mempool_worker",
        WORKER,
        MempoolWorkerSettings(
            shards=tuple(EngineID(None, name) for name in shard_names(config)),
            ledger=EngineID(None, LEDGER),
            most_in_flight=config.ordering.max_in_flight,
            most_gas=config.ordering.gas,
            programs={**STANDARD, **load_programs(config.programs)},
        ),
    )
    yield Subsystem("pyanoma_shards", shards)


def shards(config: NodeConfig) -> Iterator[EngineSpec]:
    """The versions of all keys, in parts."""
    for name in shard_names(config):
        yield EngineSpec("shard", name, ShardSettings(EngineID(None, WORKER), EngineID(None, LEDGER)))


def identity(_config: NodeConfig) -> Iterator[EngineSpec]:
    """Who signs, and for whom."""
    for name in ("signs_for", "reads_for", "naming", "verification", "encryption", "identity_management"):
        yield EngineSpec(name, name)


def own_engines(_config: NodeConfig) -> Iterator[EngineSpec]:
    """Engines of no subsystem."""
    yield EngineSpec("ticker", "ticker")


def resource_machine(_config: NodeConfig) -> Iterator[EngineSpec]:
    """What follows the blocks. Not among ordering: it outlives the ends of ledger and worker by itself."""
    yield EngineSpec("commitment_tree", COMMITMENT_TREE, CommitmentTreeSettings())


def intents(config: NodeConfig) -> Iterator[EngineSpec]:
    """What is wanted, and who finds what goes together."""
    yield EngineSpec("intent_pool", INTENT_POOL, IntentPoolSettings(ledger=LEDGER))
    settings = SolverSettings(
        gather_ms=round(config.intents.gather * 1000), time_limit_ms=round(config.intents.time_limit * 1000)
    )
    yield EngineSpec("solver", SOLVER, settings)


def network(config: NodeConfig) -> Iterator[EngineSpec]:
    """Other nodes, in the cluster and outside of it."""
    key = own_identity(config.network.identity).signer
    yield EngineSpec("network_registry", NETWORK_REGISTRY, RegistrySettings(key))
    yield _transport(TransportSettings(TransportProtocol.CLUSTER))
    tcp, tls = config.network.tcp, config.network.tls
    # Without an address to listen on they call others all the same.
    yield _transport(_listening(TransportSettings(TransportProtocol.TCP), tcp))
    if tls is not None or config.network.authorities is not None:
        files = TLSFiles(
            certificate=_text(config.network.certificate),
            key=_text(config.network.key),
            authorities=_text(config.network.authorities),
        )
        yield _transport(_listening(TransportSettings(TransportProtocol.TLS, tls=files), tls))
    yield EngineSpec("storage", STORAGE, StorageSettings(key=key, ledger=LEDGER))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _listening(settings: TransportSettings, at: tuple[str, int] | None) -> TransportSettings:
    return replace(settings, listen=False) if at is None else replace(settings, host=at[0], port=at[1])


def _transport(settings: TransportSettings) -> EngineSpec:
    return EngineSpec("transport_protocol", transport_name(settings.protocol), settings)


TREE: Final = (
    Subsystem("pyanoma_ordering", ordering, "rest_for_one"),
    Subsystem("pyanoma_hardware", hardware),
    Subsystem("pyanoma_identity", identity),
    Subsystem("pyanoma_intents", intents),
    Subsystem("pyanoma_network", network),
    Subsystem("pyanoma_resource_machine", resource_machine),
    Subsystem("pyanoma_engines", own_engines),
)


def shard_names(config: NodeConfig) -> tuple[str, ...]:
    """What the shards are registered under; their number and order say which has a key."""
    return tuple(f"shard-{number}" for number in range(config.ordering.shards))


def ledger_settings(storage: StorageConfig) -> LedgerSettings:
    """What the ledger is started with."""
    return LedgerSettings(
        Backend(storage.backend),
        None if storage.path is None else str(storage.path),
        Synchronous(storage.synchronous),
        beam=storage.node,
    )


def _shown(config: NodeConfig) -> dict[str, Any]:
    """What everybody may know of the configuration."""
    return {
        "name": config.name,
        "storage.backend": config.storage.backend,
        "ordering.shards": config.ordering.shards,
        "ordering.max_in_flight": config.ordering.max_in_flight,
    }


# -- as child specifications ------------------------------------------------------------------


def tree(config: NodeConfig, known: Mapping[str, Any] | None = None) -> tuple[SupervisorFlags, list[ChildSpec]]:
    """The tree for a configuration, as a `Supervisor` is started with it.

    Args:
        known: engine types; None: those that every node has.

    Raises:
        ConfigError: a program of the configuration cannot be loaded.
    """
    types = engines.built_in() if known is None else known
    children = [_child(config, subsystem, types) for subsystem in TREE]
    if config.connect:
        children.append(ChildSpec("pyanoma_connector", (Connector, config.connect, {"name": "pyanoma_connector"})))
    if config.reload:
        children.append(ChildSpec("pyanoma_reloader", (Reloader, None, {"name": "pyanoma_reloader"})))
    return SupervisorFlags(intensity=3, period_s=60), children


def _child(config: NodeConfig, child: EngineSpec | Subsystem, types: Mapping[str, Any]) -> ChildSpec:
    if isinstance(child, EngineSpec):
        return ChildSpec(child.name, (types[child.type], child.args, {"name": child.name}))
    flags = SupervisorFlags(strategy=child.strategy, intensity=child.intensity, period_s=child.period_s)
    children = [_child(config, each, types) for each in child.children(config)]
    return ChildSpec(child.name, (Supervisor, (flags, children), {"name": child.name}))
