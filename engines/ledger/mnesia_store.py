"""A ledger in tables of Mnesia, on a BEAM of the cluster.

Nothing is installed there: what has to happen on the BEAM is a handful of funs, made there by ``erl_eval`` from source
that is sent once, and called by rpc. A commit is one ``mnesia:transaction``, followed by ``mnesia:sync_log``, so that
it is on the BEAM's disk before it is acknowledged.

The tables are ``NAME_blocks``, ``NAME_versions`` and so on, one for each of `rows`: ordered sets with a copy on disc
and one in the BEAM's memory, which therefore has to hold the ledger.

Source: OTP ``lib/mnesia``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final

from gevent.lock import RLock

from engines.ledger.errors import (
    BeamUnavailable,
    LedgerError,
    NewerSchema,
    NoMnesia,
    NotALedger,
    StoreClosed,
    StoreFailed,
    StoreLocked,
)
from engines.ledger.rows import (
    CHUNK,
    META,
    SCHEMA,
    TABLES,
    VERSIONS,
    Changes,
    Key,
    Row,
    Rows,
    Table,
)
from engines.ledger.store import LedgerStore
from erlang_bridge.errors import BridgeError, CallTimeout, ErlangError, ErlangException, NoConnection
from erlang_bridge.terms import Atom
from erlang_bridge.terms.text import format_term

Rpc = Callable[..., Any]
"""``rpc(node, module, function, arguments, timeout_s)``, such as `Node.rpc`."""

TIMEOUT_S: Final = 30.0
OWNER: Final = "owner"
"""Key in ``meta`` of who may write: ``{Node, Token}``."""

IMPORTING: Final = "importing"
"""Key in ``meta`` of an import that has begun, and not ended."""

UNDEF: Final = Atom("undef")
NONE: Final = Atom("none")

_PREPARE: Final = r"""
fun(Directory, Schema, Tables, Wait) ->
    Names = [Name || {Name, _} <- Tables],
    Property = pyanoma_ledger,
    try
        case code:ensure_loaded(mnesia) of {module, _} -> ok; _ -> throw(no_mnesia) end,
        case mnesia:system_info(is_running) of
            yes -> ok;
            no ->
                case Directory of
                    nil -> ok;
                    _ -> application:load(mnesia), application:set_env(mnesia, dir, Directory)
                end,
                case mnesia:create_schema([node()]) of
                    ok -> ok;
                    {error, {_, {already_exists, _}}} -> ok;
                    {error, Refused} -> throw({create_schema, Refused})
                end,
                case mnesia:start() of ok -> ok; {error, NoStart} -> throw({start, NoStart}) end,
                case mnesia:wait_for_tables([schema], Wait) of ok -> ok; NoSchema -> throw({wait, NoSchema}) end;
            Other -> throw({busy, Other})
        end,
        case mnesia:table_info(schema, storage_type) of
            ram_copies ->
                case mnesia:change_table_copy_type(schema, node(), disc_copies) of
                    {atomic, ok} -> ok;
                    {aborted, InMemory} -> throw({schema_in_memory, InMemory})
                end;
            _ -> ok
        end,
        Known = mnesia:system_info(tables),
        Make = fun({Name, Attributes}) ->
            case lists:member(Name, Known) of
                false ->
                    Options = [{attributes, Attributes}, {type, ordered_set}, {disc_copies, [node()]},
                               {user_properties, [{Property, Schema}]}],
                    case mnesia:create_table(Name, Options) of
                        {atomic, ok} -> ok;
                        {aborted, {already_exists, _}} -> ok;
                        {aborted, NoTable} -> throw({create_table, NoTable})
                    end;
                true ->
                    case lists:keyfind(Property, 1, mnesia:table_info(Name, user_properties)) of
                        {_, Found} when Found > Schema -> throw({newer, Found});
                        {_, _} ->
                            case mnesia:table_info(Name, attributes) of
                                Attributes -> ok;
                                Differs -> throw({foreign, {Name, Differs}})
                            end;
                        false -> throw({foreign, Name})
                    end
            end
        end,
        lists:foreach(Make, Tables),
        case mnesia:wait_for_tables(Names, Wait) of ok -> ok; NotThere -> throw({wait, NotThere}) end
    catch throw:Why -> {error, Why}
    end
end.
"""

_CLAIM: Final = r"""
fun(Meta, Key, Node, Token) ->
    mnesia:transaction(fun() ->
        case mnesia:read(Meta, Key, write) of
            [{_, _, {Other, _}}] when Other =/= Node ->
                case lists:member(Other, [node() | nodes(connected)]) of
                    true -> mnesia:abort({taken, Other});
                    false -> mnesia:write({Meta, Key, {Node, Token}})
                end;
            _ -> mnesia:write({Meta, Key, {Node, Token}})
        end
    end)
end.
"""

_RELEASE: Final = r"""
fun(Meta, Key, Owner) ->
    mnesia:transaction(fun() ->
        case mnesia:read(Meta, Key, write) of
            [{_, _, Owner}] -> mnesia:delete({Meta, Key});
            _ -> ok
        end
    end)
end.
"""

_WRITE: Final = r"""
fun(Meta, Key, Owner, Tables, Deletes, Puts) ->
    Written = mnesia:transaction(fun() ->
        case mnesia:read(Meta, Key, write) of
            [{_, _, Owner}] ->
                lists:foreach(fun mnesia:write_lock_table/1, Tables),
                lists:foreach(fun mnesia:delete/1, Deletes),
                lists:foreach(fun mnesia:write/1, Puts);
            [{_, _, {Other, _}}] -> mnesia:abort({taken, Other});
            [] -> mnesia:abort({taken, none})
        end
    end),
    case Written of
        {atomic, ok} -> mnesia:sync_log();
        {aborted, Why} -> {error, Why}
    end
end.
"""

_SCAN: Final = r"""
fun(Table, After, Until, Limit, Backwards) ->
    Step = case Backwards of
        true -> fun mnesia:dirty_prev/2;
        false -> fun mnesia:dirty_next/2
    end,
    Behind = fun(Key) ->
        case Backwards of
            true -> After =/= none andalso {Key} =< After;
            false -> Until =/= none andalso {Key} > Until
        end
    end,
    First = case {Backwards, After, Until} of
        {false, none, _} -> mnesia:dirty_first(Table);
        {false, {From}, _} -> mnesia:dirty_next(Table, From);
        {true, _, none} -> mnesia:dirty_last(Table);
        {true, _, {To}} ->
            case mnesia:dirty_read(Table, To) of
                [] -> mnesia:dirty_prev(Table, To);
                [_] -> To
            end
    end,
    Take = fun
        Take('$end_of_table', _, Taken) -> Taken;
        Take(_, 0, Taken) -> Taken;
        Take(Key, Left, Taken) ->
            case Behind(Key) of
                true -> Taken;
                false -> Take(Step(Table, Key), Left - 1, mnesia:dirty_read(Table, Key) ++ Taken)
            end
    end,
    lists:reverse(Take(First, Limit, []))
end.
"""

_GET: Final = "fun(Table, Key) -> mnesia:dirty_read(Table, Key) end."
_COUNT: Final = "fun(Table) -> mnesia:table_info(Table, size) end."

_LATEST: Final = r"""
fun(Table, Key, Fingerprint) ->
    case mnesia:dirty_prev(Table, {Key, Fingerprint + 1}) of
        {Key, _} = Found -> mnesia:dirty_read(Table, Found);
        _ -> []
    end
end.
"""

_SOURCES: Final = {
    "prepare": _PREPARE,
    "claim": _CLAIM,
    "release": _RELEASE,
    "write": _WRITE,
    "get": _GET,
    "count": _COUNT,
    "scan": _SCAN,
    "latest": _LATEST,
}


class MnesiaStore(LedgerStore):
    """A ledger on a BEAM.

    Args:
        rpc: calls functions on other nodes, `Node.rpc`.
        beam: full name of the BEAM.
        owner: full name of the node that the ledger is to belong to.
        name: what the names of the tables begin with; ledgers of other names are other ledgers.
        directory: of Mnesia's files on the BEAM's machine, where Mnesia does not run yet; None: as the BEAM is
            configured (``-mnesia dir``), or else ``Mnesia.NODE`` in its working directory.
        timeout_s: for each call.

    Mnesia is started where it does not run, gets a schema on disc where it has none, and the tables where they are
    missing. A BEAM whose other applications keep Mnesia's schema in memory has it moved to disc.

    Raises:
        BeamUnavailable: no answer. NoMnesia: the BEAM has none, or it refuses; says what.
        StoreLocked: the ledger belongs to another node, which is connected with the BEAM.
        NotALedger, NewerSchema: tables of these names are not for us.
    """

    in_threads: ClassVar[bool] = False

    def __init__(
        self,
        rpc: Rpc,
        beam: str | Atom,
        *,
        owner: str | Atom,
        name: str = "pyanoma",
        directory: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.beam = str(beam)
        self._rpc = rpc
        self._directory = directory
        self._timeout_s = timeout_s
        self._owner = (owner if isinstance(owner, Atom) else Atom(owner), secrets.token_bytes(12))
        self.names = {table: Atom(f"{name}_{table.name}") for table in TABLES}
        self._funs: dict[str, Any] = {}
        self._writing = RLock()
        self._closed = False
        self._rows = _MnesiaRows(self)
        self.call("claim", self.names[META], OWNER, *self._owner)
        if self._rows.get(META, IMPORTING) is not None:
            self._clear()

    # -- the BEAM --------------------------------------------------------------------------------

    def call(self, function: str, *arguments: Any) -> Any:
        """Call one of the funs, after all has been prepared for it."""
        if self._closed:
            raise StoreClosed(f"the ledger on {self.beam} is closed")
        if not self._funs:
            self._prepare()
        return self._answer(function, self._ask("erlang", "apply", [self._funs[function], list(arguments)]))

    def _prepare(self) -> None:
        funs = {}
        for function, source in _SOURCES.items():
            _, tokens, _ = self._ask("erl_scan", "string", [_characters(source)])
            _, expressions = self._ask("erl_parse", "parse_exprs", [tokens])
            _, funs[function], _ = self._ask("erl_eval", "exprs", [expressions, []])
        tables = [(self.names[table], _attributes(table)) for table in TABLES]
        directory = None if self._directory is None else _characters(self._directory)
        wait_ms = int(self._timeout_s * 900)
        self._answer("prepare", self._ask("erlang", "apply", [funs["prepare"], [directory, SCHEMA, tables, wait_ms]]))
        self._funs = funs

    def _ask(self, module: str, function: str, arguments: list[Any]) -> Any:
        try:
            return self._rpc(self.beam, module, function, arguments, self._timeout_s)
        except (NoConnection, CallTimeout) as error:
            self._funs = {}
            raise BeamUnavailable(f"the ledger's BEAM {self.beam} does not answer: {error}; start it again") from None
        except ErlangException as error:
            # It has been restarted, or Mnesia was stopped: next time everything is prepared again.
            self._funs = {}
            if isinstance(error, ErlangError) and error.reason is UNDEF:
                raise NoMnesia(self._no_mnesia()) from None
            raise BeamUnavailable(
                f"Mnesia of {self.beam} does not answer as it should: {format_term(error.reason, most=300)}; "
                "look at that node's log"
            ) from None
        except BridgeError as error:
            self._funs = {}
            raise BeamUnavailable(f"the ledger's BEAM {self.beam} cannot be asked: {error}") from None

    def _no_mnesia(self) -> str:
        return (
            f"{self.beam} has no Mnesia: the application 'mnesia' is not part of its release; "
            "use a BEAM that has it, or keep the ledger in a file"
        )

    def _answer(self, function: str, answer: Any) -> Any:
        match answer:
            case (Atom("error"), why) | (Atom("aborted"), why):
                self._refuse(function, why)
        return answer

    def _refuse(self, function: str, why: Any) -> None:
        shown = format_term(why, most=300)
        error: LedgerError
        match why:
            case Atom("no_mnesia"):
                error = NoMnesia(self._no_mnesia())
            case (Atom("taken"), Atom(other)):
                error = StoreLocked(
                    f"the ledger on {self.beam} belongs to "
                    f"{'nobody any more' if other == 'none' else other}; a ledger belongs to one node at a time: "
                    "stop that one, or give this one tables of another name"
                )
            case (Atom("newer"), found):
                error = NewerSchema(
                    f"the tables on {self.beam} were made by a later version of pyanoma: "
                    f"they have schema {found}, this one knows {SCHEMA}; use that version"
                )
            case (Atom("foreign"), _):
                error = NotALedger(f"{self.beam} has tables of these names, and they are no ledger's: {shown}")
            case (Atom("busy"), _) | (Atom("wait"), _):
                error = BeamUnavailable(f"Mnesia of {self.beam} is not ready: {shown}")
            case (Atom("create_schema"), _) | (Atom("schema_in_memory"), _):
                error = NoMnesia(
                    f"Mnesia of {self.beam} cannot keep its schema on disc: {shown}; "
                    "it needs a directory that it may write (-mnesia dir '\"/path\"')"
                )
            case (Atom("start"), _) | (Atom("create_table"), _):
                error = NoMnesia(f"Mnesia of {self.beam} refuses: {shown}")
            case _:
                self._funs = {}
                error = StoreFailed(f"Mnesia of {self.beam} has not done what was asked ({function}): {shown}")
        raise error

    # -- what a store has ------------------------------------------------------------------------

    def close(self) -> None:
        """Let other nodes have the tables. Twice is once; does not matter where the BEAM is gone."""
        if self._closed:
            return
        if self._funs:
            try:
                self.call("release", self.names[META], OWNER, self._owner)
            except LedgerError:
                # Gone with the BEAM, or on the way to it: whoever comes next finds that this node is gone.
                pass
        self._closed = True

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """See `LedgerStore.reading`."""
        yield self._rows

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        """See `LedgerStore.snapshot`. Writing waits meanwhile."""
        with self._writing:
            yield self._rows

    def _write(self, changes: Changes) -> None:
        deletes, puts, tables = [], [], set()
        for (table, key), row in changes.items():
            name = self.names[table]
            tables.add(name)
            if row is None:
                deletes.append((name, _key_term(key)))
            else:
                puts.append((name, _key_term(key), *row[table.key_size :]))
        meta = self.names[META]
        locked = sorted(tables - {meta}, key=str)
        self.call("write", meta, OWNER, self._owner, locked, deletes, puts)

    def _fill(self, pieces: Iterator[Changes]) -> None:
        self._write({(META, (IMPORTING,)): (IMPORTING, b"")})
        try:
            before: Changes = {}
            for piece in pieces:
                self._write(before)
                before = piece
            self._write({**before, (META, (IMPORTING,)): None})
        except BaseException:
            # Where the BEAM is gone, whoever opens the ledger next does it.
            with suppress(LedgerError):
                self._clear()
            raise

    def _clear(self) -> None:
        """Undo an import that has not ended."""
        for table in TABLES:
            kept = {OWNER, IMPORTING} if table is META else set()
            while True:
                rows = [row for row in self._rows.scan(table) if row[0] not in kept]
                if not rows:
                    break
                self._write({(table, table.key_of(row)): None for row in rows})
        self._write({(META, (IMPORTING,)): None})


class _MnesiaRows(Rows):
    """Rows, each call one rpc."""

    def __init__(self, store: MnesiaStore) -> None:
        self._store = store

    def get(self, table: Table, *key: Any) -> Row | None:
        found = self._rows(table, "get", self._store.names[table], _key_term(key))
        return found[0] if found else None

    def scan(
        self,
        table: Table,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int = CHUNK,
        backwards: bool = False,
    ) -> list[Row]:
        bounds = [NONE if bound is None else (_key_term(bound),) for bound in (after, until)]
        return self._rows(table, "scan", self._store.names[table], *bounds, limit, backwards)

    def count(self, table: Table, most: int | None = None) -> int:
        count = int(self._store.call("count", self._store.names[table]))
        return count if most is None else min(count, most)

    def latest(self, key: bytes, fingerprint: int) -> Row | None:
        found = self._rows(VERSIONS, "latest", self._store.names[VERSIONS], key, fingerprint)
        return found[0] if found else None

    def _rows(self, table: Table, function: str, *arguments: Any) -> list[Row]:
        texts = [kind is str for _, kind in table.key]
        size = table.key_size
        rows = []
        for _, key, *rest in self._store.call(function, *arguments):
            parts = key if size > 1 else (key,)
            rows.append((*(part.decode() if text else part for part, text in zip(parts, texts, strict=True)), *rest))
        return rows


def _key_term(key: Key) -> Any:
    return key[0] if len(key) == 1 else key


def _attributes(table: Table) -> list[Atom]:
    """Names of a record's fields after the first, which Mnesia shows."""
    names = [name for name, _ in table.key]
    key = names[0] if len(names) == 1 else "_and_".join(names)
    return [Atom(key), *(Atom(name) for name, _ in table.columns)]


def _characters(text: str) -> list[int]:
    return [ord(character) for character in text]
