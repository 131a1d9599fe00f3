"""What the Commitment Tree does: reads the blocks of the ledger, in order, and has what was created become leaves.

Leaves are added by steps, which are transactions of the resource machine as any other. One step is under way at a time;
what gathers meanwhile goes with the next. So a step has what was created in one block or in several, and a block's root
is known when the step after it is in a block itself. A step creates nothing, so none follows from it.

What the ledger has is where it begins. The tree itself is in the state, and the blocks tell how it grows, whoever adds
to it. Its own table has the last round of which everything is in the tree, and the hash of each full subtree, of which
paths are made. A step that fails has read where the tree is and which of its leaves are in it, and from that the next
is made.

While the ledger or the worker is away nothing is lost: each is asked again, after a delay that grows.

Differences from the specification:

* it says what a commitment accumulator is, and not who keeps it. Here the tree is behind the blocks by one step, so
  that no transaction waits for it.

Pure: a function of environment and message to effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from anoma.keys import in_order
from anoma.programs.runnable import ABSENT
from anoma.resource_machine.accumulator import Frontier
from anoma.resource_machine.execution import TREE_KEY, commitment_key, created_by, position_key
from anoma.resource_machine.roots import TreeKeeper, TreeStep, label_of_step
from engines.commitment_tree.messages import (
    MESSAGES,
    CommitmentTreeFailed,
    RootReply,
    RootRequest,
    WitnessRequest,
)
from engines.commitment_tree.paths import FindPath, PathFound
from engines.effects import Effects, SetTimer, Watch
from engines.executor.messages import ExecutorFinished
from engines.guards import (
    EngineBehaviour,
    First,
    Turn,
    on,
    on_elapsed,
    on_ended,
    on_outcome,
    on_started,
)
from engines.ledger import messages as ledger
from engines.ledger.records import NO_HASH, Block, CommittedTransaction
from engines.mempool_worker.messages import (
    Rejection,
    TransactionAck,
    TransactionCandidate,
    TransactionLabel,
    TransactionRejected,
    TransactionRequest,
)
from engines.messages import EngineID, Envelope, Message
from engines.wire import settings_from
from erlang_bridge.terms import Atom, Reference

LEDGER: Final = "ledger"
"""The timer until the ledger is asked again how far it is."""

WORKER: Final = "worker"
"""The timer until a step that is not accepted is submitted again."""

PROGRESS: Final = Atom("progress")
"""Key of the row that has the last round of which everything is in the tree. The other keys are height and index."""

OWN_LEDGER: Final = EngineID(None, "ledger")
OWN_WORKER: Final = EngineID(None, "mempool_worker")
EMPTY_TREE: Final = Frontier()

MACHINE: Final = Atom("resource_machine")
ADVANCE: Final = Atom("advance")

_POSITIONS: Final = position_key(b"")[:2]
_SAVE_EVERY: Final = 100
"""Rounds in which nothing was created that are read again, at most, after a restart."""

_MOST_DOUBLED: Final = 32


@dataclass(frozen=True, slots=True)
class CommitmentTreeSettings:
    """What a Commitment Tree is started with.

    Attributes:
        ledger: whose blocks it follows.
        worker: takes its steps.
        table: of the ledger, for what it keeps. Two of them must not share one.
        most_in_step: leaves that one step adds.
        most_looking: requests for paths that are under way; further ones are refused.
        retry_first_s: seconds until what has failed is tried again; each time twice as long.
        retry_most_s: seconds, at most.
        patience_s: seconds until the ledger is asked for news that may have been lost, and a step that nobody has
            acknowledged is submitted again.
    """

    ledger: EngineID = OWN_LEDGER
    worker: EngineID = OWN_WORKER
    table: str = "commitment_tree"
    most_in_step: int = 1000
    most_looking: int = 1000
    retry_first_s: float = 0.1
    retry_most_s: float = 30.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("most_in_step", "most_looking"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("retry_first_s", "retry_most_s", "patience_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a number greater than 0, got {getattr(self, name)}")


class Question(Enum):
    """What the ledger has been asked; one of each at a time."""

    HEIGHTS = "heights"
    PROGRESS = "progress"
    TREE = "tree"
    BLOCK = "block"
    OUTCOME = "outcome"
    SAVE = "save"


@dataclass(frozen=True, slots=True)
class Flight:
    """The step that is under way.

    Attributes:
        attempt: part of its id: another one where the same step has to be a transaction once more.
        number: of the request to the worker.
        fingerprint: None: it is not acknowledged.
    """

    step: TreeStep
    attempt: int = 0
    number: int = 0
    fingerprint: int | None = None

    @property
    def id(self) -> bytes:
        """The same for the same step, also after a restart, so that submitted twice it is one transaction."""
        return b"commitment_tree:%d:%s:%d" % (self.step.size, self.step.root.hex().encode(), self.attempt)


@dataclass(frozen=True, slots=True)
class Saving:
    """What is being written to the table.

    Attributes:
        rows: how many of `unsaved`, from the first.
        round: the last one of which everything is in the tree.
        tree: that the table then has the full subtrees of.
    """

    rows: int
    round: int
    tree: Frontier


@dataclass(frozen=True, slots=True)
class CommitmentTreeState:
    """The Commitment Tree's state.

    Attributes:
        incarnation: number of this life; 0 before its first turn.
        questions: how many requests there have been.
        asked: what the ledger has not answered, and the number of the request.
        connected: whether it is known how far the ledger is.
        ready: whether it is known where to go on.
        last_round, committed: the ledger's last block, and the last fingerprint in there.
        round, hash: the last block that was read.
        followed: the tree as that block has left it.
        tree, tree_at: the newest tree that is known, and the fingerprint at which it was so.
        gathered: what was created in the blocks that were read and is in no tree yet, with the rounds, in order.
        flight: the step that is under way.
        unsaved: full subtrees that the table does not have: height, index and hash.
        saving: what is being written to the table.
        saved_round: what the table says of the progress.
        kept: the tree that the table has the full subtrees of.
        looking: how many requests for paths are under way.
        tries: how often the ledger was asked in vain.
        failures: how often a step was submitted in vain.
        ledger_failure, step_failure: why.
    """

    incarnation: int = 0
    questions: int = 0
    asked: Mapping[Question, int] = field(default_factory=dict)
    connected: bool = False
    ready: bool = False
    last_round: int = 0
    committed: int = 0
    round: int = 0
    hash: bytes = NO_HASH
    followed: Frontier = EMPTY_TREE
    tree: Frontier = EMPTY_TREE
    tree_at: int = 0
    gathered: tuple[tuple[int, bytes], ...] = ()
    flight: Flight | None = None
    unsaved: tuple[tuple[int, int, bytes], ...] = ()
    saving: Saving | None = None
    saved_round: int = 0
    kept: Frontier = EMPTY_TREE
    looking: int = 0
    tries: int = 0
    failures: int = 0
    ledger_failure: str | None = None
    step_failure: str | None = None


Effect = Effects[CommitmentTreeState]
TreeTurn = Turn[CommitmentTreeState]


class _Draft:
    """The state that a turn makes, while it does, and what the turn does besides."""

    def __init__(self, turn: TreeTurn) -> None:
        self.turn = turn
        self.own = turn.own
        self.settings: CommitmentTreeSettings = turn.settings
        self.state = turn.state
        self.messages: list[Envelope] = []
        self.timers: list[SetTimer] = []
        self.watches: list[Watch] = []

    def change(self, **fields: Any) -> None:
        self.state = replace(self.state, **fields)

    def effects(self) -> Effect:
        return Effects(
            self.state,
            messages=tuple(self.messages),
            timers=tuple(self.timers),
            watches=tuple(self.watches),
        )

    def send(self, target: EngineID, message: Message) -> int:
        """Send a request; its number comes back with the reply."""
        number = self.state.questions + 1
        self.change(questions=number)
        words = (number & 0xFFFFFFFF, number >> 32, *_words(self.state))
        reference = Reference(Atom(self.own.node or ""), 0, words)
        self.messages.append(Envelope(self.own, target, message, reference=reference))
        return number

    def ask(self, question: Question, message: Message) -> None:
        number = self.send(self.settings.ledger, message)
        self.change(asked={**self.state.asked, question: number})

    def answered(self, question: Question) -> None:
        self.change(asked={other: number for other, number in self.state.asked.items() if other is not question})

    def delay_s(self, times: int) -> float:
        settings = self.settings
        return min(settings.retry_first_s * 2.0 ** min(times, _MOST_DOUBLED), settings.retry_most_s)


def _words(state: CommitmentTreeState) -> tuple[int, int]:
    return state.incarnation & 0xFFFFFFFF, state.incarnation >> 32


def _number(turn: TreeTurn) -> int | None:
    """The number of the request that a message replies to; None: it replies to none of this life."""
    reference = turn.envelope.reference
    if reference is None or len(reference.words) != 4 or reference.words[2:] != _words(turn.state):
        return None
    return reference.words[0] + (reference.words[1] << 32)


# -- the ledger: how far it is, and where to go on ------------------------------------------------


def connect(turn: TreeTurn, _args: None) -> Effect:
    """Have the ledger tell of its blocks, and ask how far it is."""
    draft = _Draft(turn)
    if draft.state.incarnation == 0:
        draft.change(incarnation=int(turn.time_s * 1e6))
    _connect(draft)
    return draft.effects()


def _connect(draft: _Draft) -> None:
    address = draft.settings.ledger
    draft.watches.append(Watch(address))
    draft.send(address, ledger.Subscribe())
    draft.ask(Question.HEIGHTS, ledger.HeightsRequest())
    draft.timers.append(SetTimer(LEDGER, draft.settings.patience_s))


def heights_known(turn: TreeTurn, _args: None) -> Effect:
    """Read on. A ledger that has less than was read is another one: begin anew."""
    message = turn.message
    assert isinstance(message, ledger.HeightsReply)
    draft = _Draft(turn)
    draft.answered(Question.HEIGHTS)
    heights = message.heights
    if heights.next_round <= draft.state.round:
        _begin_anew(draft, "the ledger has fewer blocks than before")
        return draft.effects()
    draft.change(
        connected=True, last_round=heights.next_round - 1, committed=heights.committed, tries=0, ledger_failure=None
    )
    _go_on(draft)
    return draft.effects()


def block_committed(turn: TreeTurn, _args: None) -> Effect | None:
    """Read it, once those before it are read."""
    message = turn.message
    assert isinstance(message, ledger.BlockCommitted)
    state = turn.state
    if not state.connected or message.round <= state.last_round:
        return None
    draft = _Draft(turn)
    draft.change(last_round=message.round, committed=message.last)
    _go_on(draft)
    return draft.effects()


def progress_known(turn: TreeTurn, _args: None) -> Effect:
    """Go on behind the last round of which everything is in the tree: see what the tree was then."""
    message = turn.message
    assert isinstance(message, ledger.ItemReply)
    draft = _Draft(turn)
    draft.answered(Question.PROGRESS)
    round_ = message.value
    if type(round_) is int and 0 < round_ <= draft.state.last_round:
        draft.ask(Question.BLOCK, ledger.BlockRequest(round_))
    else:
        draft.change(ready=True)
        _go_on(draft)
    return draft.effects()


def block_known(turn: TreeTurn, _args: None) -> Effect:
    """Take what was created in it as leaves to be, follow the tree, and go on."""
    message = turn.message
    assert isinstance(message, ledger.BlockReply)
    draft = _Draft(turn)
    draft.answered(Question.BLOCK)
    block, state = message.block, draft.state
    if block is None or (state.ready and (block.round, block.previous_hash) != (state.round + 1, state.hash)):
        _begin_anew(draft, "the ledger has other blocks than before")
    elif not state.ready:
        draft.change(round=block.round, hash=block.hash, saved_round=block.round)
        draft.ask(Question.TREE, ledger.ReadRequest(TREE_KEY, block.last))
    else:
        _follow(draft, block)
        _go_on(draft)
    return draft.effects()


def tree_known(turn: TreeTurn, _args: None) -> Effect:
    """Begin with the tree as that block has left it."""
    message = turn.message
    assert isinstance(message, ledger.ReadReply)
    draft = _Draft(turn)
    draft.answered(Question.TREE)
    tree = _frontier_of(message.value) or EMPTY_TREE
    draft.change(ready=True, followed=tree, kept=tree, tree=tree, tree_at=message.fingerprint)
    _go_on(draft)
    return draft.effects()


def saved(turn: TreeTurn, _args: None) -> Effect:
    """Hand out paths for what the table has now."""
    draft = _Draft(turn)
    draft.answered(Question.SAVE)
    state = draft.state
    saving = state.saving
    assert saving is not None
    draft.change(unsaved=state.unsaved[saving.rows :], saving=None, saved_round=saving.round, kept=saving.tree)
    _go_on(draft)
    return draft.effects()


def ledger_failed(turn: TreeTurn, _args: None) -> Effect:
    """Ask again later."""
    message = turn.message
    assert isinstance(message, ledger.LedgerFailed)
    draft = _Draft(turn)
    _disconnect(draft, f"the ledger has not done what it should: {message.text}")
    return draft.effects()


def ledger_ended(turn: TreeTurn, _args: None) -> Effect:
    """Ask again later, whoever is the ledger then."""
    draft = _Draft(turn)
    _disconnect(draft, f"the ledger {turn.ended.address} is not there: {turn.ended.reason}")
    return draft.effects()


def _disconnect(draft: _Draft, failure: str) -> None:
    state = draft.state
    draft.change(connected=False, asked={}, saving=None, tries=state.tries + 1, ledger_failure=failure)
    draft.timers.append(SetTimer(LEDGER, draft.delay_s(state.tries)))


def _begin_anew(draft: _Draft, failure: str) -> None:
    state = draft.state
    draft.state = CommitmentTreeState(
        state.incarnation, state.questions, looking=state.looking, tries=state.tries, failures=state.failures
    )
    _disconnect(draft, failure)


# -- going on -----------------------------------------------------------------------------------


def _go_on(draft: _Draft) -> None:
    """Ask for, and submit, whatever is next."""
    state = draft.state
    if not state.connected:
        return
    asked = state.asked
    if not state.ready:
        if not {Question.PROGRESS, Question.BLOCK, Question.TREE} & asked.keys():
            draft.ask(Question.PROGRESS, ledger.ItemRequest(draft.settings.table, PROGRESS))
        return
    flight = state.flight
    fingerprint = None if flight is None else flight.fingerprint
    if fingerprint is not None and fingerprint <= state.committed and Question.OUTCOME not in asked:
        draft.ask(Question.OUTCOME, ledger.TransactionRequest(fingerprint))
    _read_on(draft)
    _save(draft)
    if flight is None:
        _make_step(draft)


def _read_on(draft: _Draft) -> None:
    state, most = draft.state, draft.settings.most_in_step
    if state.round >= state.last_round or Question.BLOCK in state.asked:
        return
    if len(state.gathered) < most and len(state.unsaved) < 4 * most:
        draft.ask(Question.BLOCK, ledger.BlockRequest(state.round + 1))


def _save(draft: _Draft) -> None:
    """Write what paths need, and how far everything is in the tree: both, or neither."""
    state = draft.state
    if state.saving is not None:
        return
    done = state.gathered[0][0] - 1 if state.gathered else state.round
    if not state.unsaved and done < state.saved_round + _SAVE_EVERY:
        return
    done = max(done, state.saved_round)
    rows = tuple(((height, index), hashed) for height, index, hashed in state.unsaved)
    draft.change(saving=Saving(len(rows), done, state.followed))
    draft.ask(Question.SAVE, ledger.PutItems(draft.settings.table, (*rows, (PROGRESS, done))))


def _follow(draft: _Draft, block: Block) -> None:
    """What a block has brought: leaves to be, and leaves that are."""
    state = draft.state
    created: dict[bytes, None] = {}
    placed: set[bytes] = set()
    followed, unsaved = state.followed, list(state.unsaved)
    tree, tree_at = state.tree, state.tree_at
    for transaction in block.transactions:
        places: dict[bytes, Any] = {}
        after: Any = ABSENT
        for key, value in transaction.writes:
            leaf = created_by(key)
            if leaf is not None:
                created[leaf] = None
            elif key == TREE_KEY:
                after = value
            elif (leaf := _placed_by(key)) is not None:
                places[leaf] = value
        placed.update(places)
        stored = _frontier_of(after)
        if stored is None:
            continue
        if transaction.fingerprint > tree_at:
            tree, tree_at = stored, transaction.fingerprint
        if _are_next(list(places.values()), followed.size):
            grown, full = followed.grow(sorted(places, key=places.__getitem__))
            if grown == stored:
                followed = grown
                unsaved += full
    draft.change(
        round=block.round,
        hash=block.hash,
        followed=followed,
        unsaved=tuple(unsaved),
        tree=tree,
        tree_at=tree_at,
        gathered=_gathered(state.gathered, block.round, created, placed),
    )


def _gathered(
    before: tuple[tuple[int, bytes], ...], round_: int, created: Mapping[bytes, None], placed: set[bytes]
) -> tuple[tuple[int, bytes], ...]:
    if placed:
        before = tuple(entry for entry in before if entry[1] not in placed)
    if not created:
        return before
    known = {leaf for _, leaf in before}
    return before + tuple((round_, leaf) for leaf in created if leaf not in known and leaf not in placed)


def _placed_by(key: Any) -> bytes | None:
    """The commitment whose place in the tree a key is; None: it is another key."""
    if type(key) is tuple and len(key) == 3 and key[:2] == _POSITIONS and type(key[2]) is bytes:
        return key[2]
    return None


def _are_next(places: list[Any], size: int) -> bool:
    """Whether these are the places behind so many leaves."""
    return all(type(place) is int for place in places) and sorted(places) == list(range(size, size + len(places)))


def _frontier_of(value: Any) -> Frontier | None:
    """The tree that is stored; None: what is there is none."""
    if value is ABSENT:
        return None
    try:
        return Frontier.from_term(value)
    except ValueError:
        return None


# -- steps --------------------------------------------------------------------------------------


def _make_step(draft: _Draft) -> None:
    """Submit the next leaves: what there is, once all blocks are read; before that only where a step is full."""
    state, most = draft.state, draft.settings.most_in_step
    if not state.gathered or (len(state.gathered) < most and state.round < state.last_round):
        return
    leaves = [(commitment_key(leaf), None) for _, leaf in state.gathered[:most]]
    try:
        _, step = TreeKeeper(state.tree).committed(leaves)
    except ValueError as error:
        draft.change(step_failure=str(error))
        return
    assert step is not None
    draft.change(flight=Flight(step))
    _submit(draft)


def _submit(draft: _Draft) -> None:
    flight = draft.state.flight
    assert flight is not None
    label = label_of_step(flight.step)
    # In order: the worker takes two requests with one id for one transaction only if they are the same bytes.
    keys = TransactionLabel(tuple(in_order(label.eager_reads)), tuple(in_order(label.will_writes)))
    candidate = TransactionCandidate(keys, (MACHINE, (ADVANCE, flight.step.to_term())), flight.id)
    address = draft.settings.worker
    draft.watches.append(Watch(address))
    number = draft.send(address, TransactionRequest(candidate))
    draft.change(flight=replace(flight, number=number))
    draft.timers.append(SetTimer(WORKER, draft.settings.patience_s))


def _submit_later(draft: _Draft, failure: str, *, once_more: bool = False) -> None:
    """Have the step submitted again after a while.

    Args:
        once_more: as another transaction.
    """
    state = draft.state
    flight = state.flight
    assert flight is not None
    flight = Flight(flight.step, flight.attempt + once_more)
    draft.change(flight=flight, failures=state.failures + 1, step_failure=failure)
    draft.timers.append(SetTimer(WORKER, draft.delay_s(state.failures)))


def step_accepted(turn: TreeTurn, _args: None) -> Effect:
    """Wait until it is in a block."""
    message, flight = turn.message, turn.state.flight
    assert isinstance(message, TransactionAck)
    assert flight is not None
    draft = _Draft(turn)
    draft.change(flight=replace(flight, fingerprint=message.fingerprint))
    _go_on(draft)
    return draft.effects()


def step_rejected(turn: TreeTurn, _args: None) -> Effect:
    """Submit it again later; under another id, where somebody has taken this one."""
    message = turn.message
    assert isinstance(message, TransactionRejected)
    draft = _Draft(turn)
    failure = f"the worker rejects a step of the tree: {message.text}"
    _submit_later(draft, failure, once_more=message.reason is Rejection.ID_TAKEN)
    return draft.effects()


def worker_ended(turn: TreeTurn, _args: None) -> Effect | None:
    """Submit the step again later, if it was not acknowledged. One that was is in the ledger."""
    ended, flight = turn.ended, turn.state.flight
    if flight is None or flight.fingerprint is not None:
        return None
    draft = _Draft(turn)
    _submit_later(draft, f"the worker {ended.address} is not there: {ended.reason}")
    return draft.effects()


def step_decided(turn: TreeTurn, _args: None) -> Effect:
    """Its leaves are in the tree; or make the next of what a step that has failed has read."""
    message = turn.message
    assert isinstance(message, ledger.TransactionReply)
    draft = _Draft(turn)
    draft.answered(Question.OUTCOME)
    flight, done = draft.state.flight, message.transaction
    assert flight is not None
    if done is None:
        _begin_anew(draft, "the ledger has lost a transaction that it had")
    elif done.success:
        _know(draft, done, done.writes, set(flight.step.commitments))
        draft.change(flight=None, failures=0, step_failure=None)
        _go_on(draft)
    else:
        _step_failed(draft, flight, done)
    return draft.effects()


def _step_failed(draft: _Draft, flight: Flight, done: CommittedTransaction) -> None:
    reads = dict(done.reads)
    placed = {leaf for leaf in flight.step.commitments if reads.get(position_key(leaf), ABSENT) is not ABSENT}
    _know(draft, done, done.reads, placed)
    if placed or draft.state.tree.size != flight.step.size:
        draft.change(flight=None)
    else:
        error = done.error.decode(errors="replace") if isinstance(done.error, bytes) else done.error
        _submit_later(draft, f"a step of the tree has failed: {error}", once_more=True)
    _go_on(draft)


def _know(draft: _Draft, done: CommittedTransaction, values: tuple[tuple[Any, Any], ...], placed: set[bytes]) -> None:
    """Take over what a step has found, or done: the tree, and which leaves are in it."""
    state = draft.state
    tree = _frontier_of(dict(values).get(TREE_KEY, ABSENT))
    if tree is not None and done.fingerprint > state.tree_at:
        draft.change(tree=tree, tree_at=done.fingerprint)
    if placed:
        draft.change(gathered=tuple(entry for entry in state.gathered if entry[1] not in placed))


def timers_due(turn: TreeTurn, _args: None) -> Effect:
    """Ask the ledger again how far it is, and submit again what nobody has acknowledged."""
    draft = _Draft(turn)
    if LEDGER in turn.handles:
        _connect(draft)
    flight = draft.state.flight
    if WORKER in turn.handles and flight is not None and flight.fingerprint is None:
        _submit(draft)
    return draft.effects()


# -- what others ask ------------------------------------------------------------------------------


def tell_root(turn: TreeTurn, _args: None) -> Effect:
    """Answer with the root of the tree, as the last block that was read has left it."""
    state = turn.state
    if not state.ready:
        return Effects(state, replies=(_not_ready(state),))
    tree = state.followed
    reply = RootReply(
        tree.root,
        tree.size,
        state.round,
        max(0, state.last_round - state.round),
        len(state.gathered),
        state.ledger_failure or state.step_failure,
    )
    return Effects(state, replies=(reply,))


def look_up(turn: TreeTurn, _args: None) -> Effect:
    """Have the path found, beside whatever else is under way."""
    message, state = turn.message, turn.state
    assert isinstance(message, WitnessRequest)
    settings: CommitmentTreeSettings = turn.settings
    if not state.ready:
        return Effects(state, replies=(_not_ready(state),))
    if state.looking >= settings.most_looking:
        text = f"{state.looking} requests for paths are under way, and no more are taken: ask again later"
        return Effects(state, replies=(CommitmentTreeFailed(text),))
    operation = FindPath(
        turn.envelope, message.commitment, state.kept, state.committed, settings.ledger, settings.table
    )
    return Effects(replace(state, looking=state.looking + 1), operations=(operation,))


def looked_up(turn: TreeTurn, _args: None) -> Effect:
    """Answer with the path."""
    message = turn.message
    assert isinstance(message, PathFound)
    reply = message.envelope.reply(turn.own, message.reply)
    state = replace(turn.state, looking=turn.state.looking - 1)
    return Effects(state, messages=() if reply is None else (reply,))


def _not_ready(state: CommitmentTreeState) -> CommitmentTreeFailed:
    why = state.ledger_failure or "the ledger has not said yet what it has"
    return CommitmentTreeFailed(f"it is not known yet how far the tree is: {why}; ask again later")


def nothing_to_do(turn: TreeTurn, _args: None) -> Effect:
    """Nothing: what counts is what is in a block."""
    return Effects(turn.state)


# -- guards -------------------------------------------------------------------------------------


def _answers(question: Question) -> Callable[[TreeTurn], bool]:
    def answers(turn: TreeTurn) -> bool:
        """Whether it answers what the ledger was asked."""
        number = turn.state.asked.get(question)
        return number is not None and number == _number(turn) and _is_from_ledger(turn)

    return answers


def _answers_any(turn: TreeTurn) -> bool:
    """Whether it answers anything that the ledger was asked."""
    return _number(turn) in turn.state.asked.values() and _is_from_ledger(turn)


def _is_from_ledger(turn: TreeTurn) -> bool:
    """Whether it is from the ledger."""
    return bool(turn.sender == turn.settings.ledger.at(turn.config.node))


def _is_about_step(turn: TreeTurn) -> bool:
    """Whether it is about the step that waits for it."""
    flight = turn.state.flight
    if flight is None or flight.fingerprint is not None or flight.number != _number(turn):
        return False
    return bool(turn.sender == turn.settings.worker.at(turn.config.node))


def _is_ledger(turn: TreeTurn) -> bool:
    """Whether it is the ledger."""
    return bool(turn.ended.address == turn.settings.ledger)


def start(args: Any) -> tuple[CommitmentTreeSettings, CommitmentTreeState]:
    """Its settings, of `CommitmentTreeSettings` or a map of some of their fields, and one that knows nothing.

    Raises:
        ValueError: no such settings.
    """
    return settings_from(CommitmentTreeSettings, args), CommitmentTreeState()


BEHAVIOUR: Final[EngineBehaviour[CommitmentTreeState]] = EngineBehaviour(
    "commitment_tree",
    MESSAGES,
    start,
    First(
        on_started(connect),
        on(ledger.BlockCommitted, block_committed, when=_is_from_ledger),
        on(ledger.HeightsReply, heights_known, when=_answers(Question.HEIGHTS)),
        on(ledger.ItemReply, progress_known, when=_answers(Question.PROGRESS)),
        on(ledger.ReadReply, tree_known, when=_answers(Question.TREE)),
        on(ledger.BlockReply, block_known, when=_answers(Question.BLOCK)),
        on(ledger.TransactionReply, step_decided, when=_answers(Question.OUTCOME)),
        on(ledger.Changed, saved, when=_answers(Question.SAVE)),
        on(ledger.LedgerFailed, ledger_failed, when=_answers_any),
        on(TransactionAck, step_accepted, when=_is_about_step),
        on(TransactionRejected, step_rejected, when=_is_about_step),
        on(RootRequest, tell_root),
        on(WitnessRequest, look_up),
        on_outcome(PathFound, looked_up),
        on(ExecutorFinished, nothing_to_do),
        on(ledger.Degraded, nothing_to_do),
        on(ledger.Recovered, nothing_to_do),
        on_elapsed(timers_due),
        on_ended(ledger_ended, when=_is_ledger),
        on_ended(worker_ended),
    ),
)
