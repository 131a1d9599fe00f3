"""What an Executor does: runs the program of one transaction.

It waits for the transaction's eager reads, runs the program, asks the shards for what the program wants besides, and at
the end writes, lets go of what it has not used, and tells how it went. Then it ends. See `anoma.programs.execution` for
the rules of the program.

Differences from the specification:

* It starts by itself; there only a read starts it, and a transaction that only writes never runs.
* Its name has the transaction's fingerprint, and its address the node; there all Executors have one name, and cannot
  be reached.
* The program gets its reads in an order of its own, not in that of their arrival.
* It tells the worker and the issuer, once each, with all reads and writes of the run; there only the issuer, and
  without those of the last step. The issuer hears of it in the worker's name, whom it has asked.
* A read or write outside of the label fails the transaction, as do a program's error, no more gas, a promised write
  that is missing, and a program that neither halts nor waits; there such reads and writes are dropped, and some of the
  others wait for ever.
* A transaction that fails writes nothing, and lets go of all of its locks, of writes that it had promised as well.
* Only the shard that has a key can say what it reads.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Executor behaviour": guard First[processRead].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.keys import Key, in_order, shard_number
from anoma.programs import ABSENT, Runnable
from anoma.programs.execution import Execution, Outcome, Rights, begin, receive
from engines.effects import Effects, Exit
from engines.executor.messages import MESSAGES, ExecutorFinished, ShardRestored
from engines.guards import EngineBehaviour, First, Turn, on, on_started
from engines.messages import Address, EngineID, Envelope
from engines.shard.messages import KVSRead, KVSReadRequest, KVSWrite
from erlang_bridge.terms import Atom

NORMAL: Final = Atom("normal")


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What an Executor is started with, by the worker.

    Attributes:
        timestamp: the transaction's fingerprint.
        program: what to run; or why there is nothing to run, in words.
        rights: the four sets of keys of its label.
        worker: in charge of the transaction.
        issuer: who wants to hear how it went; None: nobody.
        shards: those that there are; `anoma.keys.shard_number` says which has a key.
    """

    timestamp: int
    program: Runnable | str
    rights: Rights
    worker: EngineID
    issuer: Address | None
    shards: tuple[EngineID, ...]

    def key_to_shard(self, key: Key) -> EngineID:
        """The shard that has a key."""
        shards = self.shards
        return shards[shard_number(key, len(shards))]


@dataclass(frozen=True, slots=True)
class ExecutorState:
    """The Executor's state.

    Attributes:
        execution: the run; None before the first turn.
    """

    execution: Execution | None = None


def begin_run(turn: Turn[ExecutorState], _args: None) -> Effects[ExecutorState]:
    """Start the program, or wait for its eager reads."""
    settings: ExecutorSettings = turn.settings
    program = settings.program
    if isinstance(program, str):
        return _finished(turn, turn.state, Outcome(False, error=program), frozenset())
    return _after(turn, *begin(program, settings.rights, settings.timestamp))


def process_read(turn: Turn[ExecutorState], _args: None) -> Effects[ExecutorState] | None:
    """Give a value to the program, as soon as it is the value's turn."""
    message = turn.message
    assert isinstance(message, KVSRead)
    execution = turn.state.execution
    assert execution is not None
    after, wanted = receive(execution, message.key, message.data)
    return None if after is execution else _after(turn, after, wanted)


def repeat_requests(turn: Turn[ExecutorState], _args: None) -> Effects[ExecutorState] | None:
    """Ask a shard again for the lazy reads that it has not answered."""
    message = turn.message
    assert isinstance(message, ShardRestored)
    settings: ExecutorSettings = turn.settings
    execution = turn.state.execution
    assert execution is not None
    open_ = (key for key in execution.asked if key not in execution.arrived)
    requests = _requests(turn, [key for key in open_ if settings.key_to_shard(key) == message.shard])
    return Effects(turn.state, messages=requests) if requests else None


def _after(turn: Turn[ExecutorState], execution: Execution, wanted: tuple[Key, ...]) -> Effects[ExecutorState]:
    state = ExecutorState(execution)
    if execution.outcome is None:
        return Effects(state, messages=_requests(turn, wanted))
    return _finished(turn, state, execution.outcome, execution.arrived.keys())


def _requests(turn: Turn[ExecutorState], keys: Any) -> tuple[Envelope, ...]:
    settings: ExecutorSettings = turn.settings
    ts = settings.timestamp
    return tuple(turn.send(settings.key_to_shard(key), KVSReadRequest(ts, key, True)) for key in keys)


def _finished(
    turn: Turn[ExecutorState], state: ExecutorState, outcome: Outcome, arrived: Any
) -> Effects[ExecutorState]:
    """Write or skip, let go, tell, and end."""
    settings: ExecutorSettings = turn.settings
    ts, rights = settings.timestamp, settings.rights
    written = dict(outcome.writes)
    messages = [
        turn.send(settings.key_to_shard(key), KVSWrite(ts, key, written.get(key, ABSENT)))
        for key in in_order(rights.writes)
    ]
    messages += [
        turn.send(settings.key_to_shard(key), KVSReadRequest(ts, key, False))
        for key in in_order(key for key in rights.reads if key not in arrived)
    ]
    told = ExecutorFinished(outcome.success, outcome.reads, outcome.writes, ts, outcome.error)
    messages.append(turn.send(settings.worker, told))
    if settings.issuer is not None and settings.issuer != settings.worker:
        messages.append(Envelope(settings.worker, settings.issuer, told))
    return Effects(state, messages=tuple(messages), exit=Exit(NORMAL))


def _is_own_read(turn: Turn[ExecutorState]) -> bool:
    message = turn.message
    settings: ExecutorSettings = turn.settings
    assert isinstance(message, KVSRead)
    return message.timestamp == settings.timestamp and turn.sender == settings.key_to_shard(message.key)


def _by_worker(turn: Turn[ExecutorState]) -> bool:
    return bool(turn.sender == turn.settings.worker)


def start(args: Any) -> tuple[ExecutorSettings, ExecutorState]:
    """Its settings.

    Raises:
        ValueError: it is not a worker that starts it.
    """
    if not isinstance(args, ExecutorSettings):
        raise ValueError(f"expected the settings that a worker gives, got {args!r:.80}: only workers start executors")
    return args, ExecutorState()


BEHAVIOUR: Final[EngineBehaviour[ExecutorState]] = EngineBehaviour(
    "executor",
    MESSAGES,
    start,
    First(
        on_started(begin_run),
        on(KVSRead, process_read, when=_is_own_read),
        on(ShardRestored, repeat_requests, when=_by_worker),
    ),
)
