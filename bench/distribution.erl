%% The load that bench_distribution.py puts on a peer: the same on a BEAM and on our node.
%% The peer has the registered names echo (sends back what comes) and sink (a server that counts messages).
-module(distribution).
-export([run/1, start_peer/0, init/1, handle_call/3, handle_cast/2, handle_info/2]).

run(Node) ->
    pong = net_adm:ping(Node),
    [{Name, best(3, Job)} || {Name, Job} <- [
        {round_trip_us, fun() -> echo(Node, 2000, {tx, 1, <<1:256>>}) end},
        {call_us, fun() -> calls(Node, 1, 2000) end},
        {call_100_us, fun() -> calls(Node, 100, 100) end},
        {one_way_us, fun() -> one_way(Node, 30000, {tx, 1, <<1:256>>}) end},
        {one_way_64k_us, fun() -> one_way(Node, 1000, binary:copy(<<1>>, 65536)) end},
        {echo_1m_us, fun() -> echo(Node, 20, binary:copy(<<1>>, 1000000)) end},
        {echo_list_us, fun() -> echo(Node, 10, [{I, <<I:32>>} || I <- lists:seq(1, 10000)]) end}]].

best(Times, Job) -> lists:min([Job() || _ <- lists:seq(1, Times)]).

per(Count, Fun) ->
    {Us, _} = timer:tc(Fun),
    Us / Count.

echo(Node, N, Term) ->
    per(N, fun() ->
        [begin {echo, Node} ! {self(), Term}, receive Term -> ok end end || _ <- lists:seq(1, N)]
    end).

one_way(Node, N, Term) ->
    per(N, fun() ->
        [{sink, Node} ! Term || _ <- lists:seq(1, N)],
        gen_server:call({sink, Node}, count, infinity)
    end).

calls(Node, Callers, N) ->
    Self = self(),
    per(Callers * N, fun() ->
        [spawn_link(fun() ->
            [gen_server:call({sink, Node}, count) || _ <- lists:seq(1, N)],
            Self ! done
        end) || _ <- lists:seq(1, Callers)],
        [receive done -> ok end || _ <- lists:seq(1, Callers)]
    end).

%% The same peer on a BEAM.
start_peer() ->
    register(echo, spawn(fun Loop() -> receive {From, Term} -> From ! Term, Loop() end end)),
    {ok, Sink} = gen_server:start({local, sink}, ?MODULE, 0, []),
    is_pid(Sink).

init(Count) -> {ok, Count}.
handle_call(count, _, Count) -> {reply, Count, Count}.
handle_cast(_, Count) -> {noreply, Count}.
handle_info(_, Count) -> {noreply, Count + 1}.
