"""A line into a BEAM that needs no distribution: expressions go in, terms come out, over a socket that only it has.

The BEAM inherits one end as a file descriptor and opens it as a port, so nothing that is printed can disturb the
line, and a BEAM whose Python process has died sees the end of file and halts.

Frames, each with its length in 4 bytes before it::

    to the BEAM     | id: 8 | shell: 8 | term {Language, Source, [{Name, Value}]} or {call, M, F, Args} or stop |
    from the BEAM   | id: 8 | kind: 1  | term                                                                 |

`id` is the request's; 0 comes once, at the start, with `{OsPid, Node, Creation}`. `shell` is 0 for a process of its
own, else the number of a process that lives on and keeps its bindings.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

import gevent
import gevent.event
import gevent.lock
import gevent.socket

if TYPE_CHECKING:
    Answer: TypeAlias = gevent.event.AsyncResult[tuple[int, bytes]]

OK: Final = 0
"""Kind of answer: the value."""
RAISED: Final = 1
"""``{Class, Reason, Stacktrace}``."""
DIED: Final = 2
"""The process that evaluated was ended from outside: its exit reason."""
MALFORMED: Final = 3
"""The source is no expression: ``{Where, Text}``."""

_LENGTH: Final = Struct(">I")
_REQUEST: Final = Struct(">QQ")
_ANSWER: Final = Struct(">QB")

_SERVER: Final = r"""
begin
Answer = fun(Port, Id, Kind, Term) ->
    try port_command(Port, [<<Id:64, Kind>>, term_to_binary(Term)]) catch error:badarg -> ok end
end,
Evaluate = fun(Request, Bindings) ->
    try
        case Request of
            {call, M, F, A} ->
                {0, apply(M, F, A), Bindings};
            {elixir, Source, More} ->
                Merged = maps:to_list(maps:merge(maps:from_list(Bindings), maps:from_list(More))),
                {Value, New} = apply('Elixir.Code', eval_string, [Source, Merged]),
                {0, Value, New};
            {erlang, Source, More} ->
                Parsed = case erl_scan:string(unicode:characters_to_list(Source)) of
                    {ok, Tokens, _} -> erl_parse:parse_exprs(Tokens);
                    {error, ScanError, _} -> {error, ScanError}
                end,
                case Parsed of
                    {error, {Line, Module, What}} ->
                        {3, {Line, unicode:characters_to_binary(Module:format_error(What))}, Bindings};
                    {ok, Expressions} ->
                        Merged = maps:merge(maps:from_list(Bindings), maps:from_list(More)),
                        {value, Value, New} = erl_eval:exprs(Expressions, orddict:from_list(maps:to_list(Merged))),
                        {0, Value, orddict:to_list(New)}
                end
        end
    catch
        Class:Reason:Stack -> {1, {Class, Reason, Stack}, Bindings}
    end
end,
Worker = fun Worker(Port, Tag, Bindings, Once) ->
    receive
        {Tag, Id, Request} ->
            {Kind, Result, New} = Evaluate(Request, Bindings),
            Answer(Port, Id, Kind, Result),
            case Once of true -> ok; false -> Worker(Port, Tag, New, Once) end
    end
end,
Serve = fun Serve(Port, Tag, Shells, Current) ->
    receive
        {Port, {data, <<Id:64, Shell:64, Body/binary>>}} ->
            case {binary_to_term(Body), Shell} of
                {stop, _} ->
                    case Shells of #{Shell := Pid} -> exit(Pid, kill); #{} -> ok end,
                    Answer(Port, Id, 0, ok),
                    Serve(Port, Tag, maps:remove(Shell, Shells), Current);
                {Request, 0} ->
                    {Pid, _} = spawn_monitor(fun() -> Worker(Port, Tag, [], true) end),
                    Pid ! {Tag, Id, Request},
                    Serve(Port, Tag, Shells, Current#{Pid => Id});
                {Request, _} ->
                    Pid = case Shells of
                        #{Shell := Known} -> Known;
                        #{} -> element(1, spawn_monitor(fun() -> Worker(Port, Tag, [], false) end))
                    end,
                    Pid ! {Tag, Id, Request},
                    case is_process_alive(Pid) of
                        true -> ok;
                        false -> Answer(Port, Id, 2, noproc)
                    end,
                    Serve(Port, Tag, Shells#{Shell => Pid}, Current#{Pid => Id})
            end;
        {'DOWN', _, process, Pid, Reason} ->
            case Current of
                #{Pid := Id} when Reason =/= normal -> Answer(Port, Id, 2, Reason);
                #{} -> ok
            end,
            Serve(Port, Tag, Shells, maps:remove(Pid, Current));
        {Port, eof} ->
            erlang:halt(0, [{flush, false}])
    end
end,
spawn(fun() ->
    Fd = list_to_integer(os:getenv("ERLANG_BRIDGE_EVALUATOR_FD")),
    Port = open_port({fd, Fd, Fd}, [{packet, 4}, binary, eof]),
    Answer(Port, 0, 0, {list_to_integer(os:getpid()), node(), erlang:system_info(creation)}),
    Serve(Port, make_ref(), #{}, #{})
end)
end.
"""
"""Erlang expressions that serve the line; interpreted, since a BEAM may have no compiler."""

START_ERLANG: Final = (
    '{ok, Tokens, _} = erl_scan:string(os:getenv("ERLANG_BRIDGE_EVALUATOR")),'
    "{ok, Expressions} = erl_parse:parse_exprs(Tokens),"
    "{value, _, _} = erl_eval:exprs(Expressions, [])."
)
"""For ``erl -eval``: serve the line."""

START_ELIXIR: Final = (
    '{:ok, tokens, _} = :erl_scan.string(:os.getenv(~c"ERLANG_BRIDGE_EVALUATOR"));'
    "{:ok, expressions} = :erl_parse.parse_exprs(tokens);"
    "{:value, _, _} = :erl_eval.exprs(expressions, []);"
    "Process.sleep(:infinity)"
)
"""For ``elixir -e``: serve the line."""


def environment(line: socket.socket) -> dict[str, str]:
    """What the BEAM has to find in its environment to serve `line`, which it has to inherit."""
    return {"ERLANG_BRIDGE_EVALUATOR": _SERVER, "ERLANG_BRIDGE_EVALUATOR_FD": str(line.fileno())}


class EvaluatorClosed(Exception):
    """The line is closed: the BEAM has ended, or does not read."""


class Evaluator:
    """Our end of the line.

    Args:
        line: a connected stream socket; the other end is the BEAM's.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = gevent.socket.socket(fileno=line.detach())
        self._writing = gevent.lock.Semaphore(1)
        self._waiting: dict[int, Answer] = {0: gevent.event.AsyncResult()}
        self.hello: Answer = self._waiting[0]
        """``(kind, term bytes)`` of the BEAM's first frame."""
        self._last_id = 0
        self._last_shell = 0
        self._closed = False
        self._reader = gevent.spawn(self._read)

    def new_shell(self) -> int:
        """A number for a process that keeps its bindings; it is started by its first request."""
        self._last_shell += 1
        return self._last_shell

    def request(self, body: bytes, shell: int, timeout_s: float) -> Answer:
        """Send one request; the result becomes ``(kind, term bytes)``, or raises `EvaluatorClosed`.

        Raises:
            EvaluatorClosed: the line is closed, or the BEAM did not take the bytes in time.
        """
        if self._closed:
            raise EvaluatorClosed
        self._last_id += 1
        request_id = self._last_id
        answer: Answer = gevent.event.AsyncResult()
        self._waiting[request_id] = answer
        frame = _REQUEST.pack(request_id, shell) + body
        try:
            with gevent.Timeout(timeout_s, EvaluatorClosed("the BEAM does not read")), self._writing:
                self._line.sendall(_LENGTH.pack(len(frame)) + frame)
        except (OSError, EvaluatorClosed) as error:
            self.close()
            raise EvaluatorClosed(str(error)) from error
        return answer

    def close(self) -> None:
        """Close the line; a BEAM at the other end halts."""
        self._closed = True
        self._reader.kill()
        self._line.close()
        self._fail_all()

    def _read(self) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(self._receive(_LENGTH.size))
                frame = self._receive(length)
                request_id, kind = _ANSWER.unpack_from(frame)
                answer = self._waiting.pop(request_id, None)
                if answer is not None:
                    answer.set((kind, frame[_ANSWER.size :]))
        except (OSError, EOFError):
            self._closed = True
            self._fail_all()

    def _receive(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._line.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(data)

    def _fail_all(self) -> None:
        for answer in self._waiting.values():
            if not answer.ready():
                answer.set_exception(EvaluatorClosed("the BEAM has ended"))
        self._waiting.clear()
