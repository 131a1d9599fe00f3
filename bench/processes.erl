%% The same jobs as bench_processes.py, on one scheduler of a BEAM. Prints one line "name value" for each.
-module(processes).
-export([main/0, init/1, handle_call/3, handle_cast/2, handle_info/2]).

main() ->
    lists:foreach(fun({Name, Job}) -> io:format("~s ~p~n", [Name, best(5, Job)]) end,
        [{spawn, fun() -> spawn_us(100000) end},
         {start, fun() -> start_us(20000) end},
         {round_trip, fun() -> round_trip_us(200000) end},
         {call, fun() -> call_us(100000) end},
         {hop, fun() -> ring_us(1000, 300) end}]),
    io:format("idle_bytes ~p~n", [idle_bytes(100000)]),
    halt().

best(Times, Job) -> lists:min([Job() || _ <- lists:seq(1, Times)]).

per(Count, Fun) ->
    garbage_collect(),
    {Us, _} = timer:tc(Fun),
    Us / Count.

%% A process that runs and ends.
spawn_us(N) ->
    Self = self(),
    per(N, fun() ->
        [spawn(fun() -> Self ! done end) || _ <- lists:seq(1, N)],
        [receive done -> ok end || _ <- lists:seq(1, N)]
    end).

%% A gen_server that is ready.
start_us(N) ->
    Pids = [],
    Us = per(N, fun() -> put(pids, [element(2, gen_server:start(?MODULE, 0, [])) || _ <- lists:seq(1, N)]) end),
    [exit(P, kill) || P <- erase(pids) ++ Pids],
    Us.

round_trip_us(N) ->
    Echo = spawn(fun Loop() -> receive {From, M} -> From ! M, Loop() end end),
    Us = per(N, fun() -> [begin Echo ! {self(), I}, receive I -> ok end end || I <- lists:seq(1, N)] end),
    exit(Echo, kill),
    Us.

call_us(N) ->
    {ok, P} = gen_server:start(?MODULE, 0, []),
    Us = per(N, fun() -> [gen_server:call(P, read) || _ <- lists:seq(1, N)] end),
    gen_server:stop(P),
    Us.

ring_us(Size, Laps) ->
    Self = self(),
    {ok, First} = gen_server:start(?MODULE, Self, []),
    Last = lists:foldl(fun(_, Next) -> {ok, P} = gen_server:start(?MODULE, Next, []), P end, First, lists:seq(2, Size)),
    gen_server:call(First, {next, Last}),
    Us = per(Size * Laps, fun() -> Last ! Size * Laps, receive done -> ok end end),
    Us.

idle_bytes(N) ->
    garbage_collect(),
    Before = erlang:memory(processes),
    Pids = [element(2, gen_server:start(?MODULE, 0, [])) || _ <- lists:seq(1, N)],
    Bytes = (erlang:memory(processes) - Before) / N,
    [exit(P, kill) || P <- Pids],
    Bytes.

init(State) -> {ok, State}.
handle_call(read, _, State) -> {reply, State, State};
handle_call({next, Next}, _, State) -> put(done, State), {reply, ok, Next}.
handle_cast(_, State) -> {noreply, State}.
handle_info(0, State) -> case get(done) of undefined -> State ! 0; Done -> Done ! done end, {noreply, State};
handle_info(N, State) -> State ! N - 1, {noreply, State}.
