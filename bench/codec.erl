%% The same terms as bench_etf.py, through erts' own codec. Argument: a file with [{Name, Term as binary, Count}].
%% Prints one line "name encode_us decode_us" for each.
-module(codec).
-export([main/1]).

main([File]) ->
    {ok, Bytes} = file:read_file(File),
    lists:foreach(fun({Name, Binary, Count}) ->
        Term = binary_to_term(Binary),
        io:format("~s ~p ~p~n", [Name,
            best(7, Count, fun() -> encode(Count, Term) end),
            best(7, Count, fun() -> decode(Count, Binary) end)])
    end, binary_to_term(Bytes)),
    halt().

best(Times, Count, Job) -> lists:min([per(Count, Job) || _ <- lists:seq(1, Times)]).

per(Count, Job) ->
    garbage_collect(),
    Start = erlang:monotonic_time(nanosecond),
    Job(),
    (erlang:monotonic_time(nanosecond) - Start) / Count / 1000.

encode(0, _) -> ok;
encode(N, Term) -> term_to_binary(Term, [{minor_version, 2}]), encode(N - 1, Term).

decode(0, _) -> ok;
decode(N, Binary) -> binary_to_term(Binary), decode(N - 1, Binary).
