%%% @doc Supervised Python engines for nodes that come and go.
%%%
%%% A stock supervisor can run an engine of a Python node without this module:
%%%
%%% ```
%%% #{id => counter, start => {erpc, call, ['py@127.0.0.1', pyanoma, start_link, [counter, 0]]}}
%%% '''
%%%
%%% Two things a plain child specification cannot do, and this module can:
%%%
%%% <ul>
%%% <li>{@link engine_spec/5}: a child that <b>waits while the Python node is down</b>. Its process is local, a
%%%     <em>keeper</em>. It starts the engine on the Python node, is linked with it, and ends as the engine ends. When
%%%     the node is lost it stays, and tries again with growing delays, so that no restart is counted against the
%%%     supervisor's intensity.</li>
%%% <li>{@link node_spec/2}: a child that <b>is the operating system process of a Python node</b>: started, awaited,
%%%     logged, stopped, and gone when this BEAM is gone.</li>
%%% </ul>
%%%
%%% Together, in this order, under `rest_for_one':
%%%
%%% ```
%%% init([]) ->
%%%     {ok, {#{strategy => rest_for_one},
%%%           [pyanoma_sup:node_spec(python, #{node => 'py@127.0.0.1', engines => #{counter => "bank:Counter"}}),
%%%            pyanoma_sup:engine_spec(counter, 'py@127.0.0.1', counter, 0, #{register => counter})]}}.
%%% '''
%%%
%%% This file stands alone: copy it into an application, or have a Python node push it into a running BEAM
%%% (`Node.push_pyanoma_sup'). Erlang/OTP 25 or later. No preprocessor is needed: it compiles from forms.
-module(pyanoma_sup).
-behaviour(gen_server).
-vsn("1").

-export([engine_spec/4, engine_spec/5, start_engine/4, engine/1]).
-export([node_spec/2, start_node/1, os_pid/1]).
-export([whereis_name/1, send/2, register_name/2, unregister_name/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_status/1]).

-export_type([keeper/0, server_name/0, engine_options/0, node_options/0]).

-type keeper() :: pid() | server_name().
%% The process of a child made by {@link engine_spec/5}, or its name.

-type server_name() :: atom() | {global, term()} | {via, module(), term()}.
%% A name as `gen_server:start_link' takes it; an atom is a local one. `{via, 'Elixir.Registry', {Registry, Key}}' makes
%% an engine known to an Elixir Registry.

-type options(Map) :: Map | [{atom(), term()}].
%% A map, or a property list (Elixir's keyword list).

-type engine_options() :: options(#{
    name => atom(),
    register => server_name(),
    start => wait | require | background,
    start_timeout => timeout(),
    init_timeout => timeout(),
    retry_min => pos_integer(),
    retry_max => pos_integer(),
    jitter => float(),
    restart => permanent | transient | temporary,
    shutdown => brutal_kill | timeout(),
    significant => boolean()
}).
%% <dl>
%% <dt>`name'</dt><dd>registered name of the engine on the Python node. Without, its own name while that is free.</dd>
%% <dt>`register'</dt><dd>name of the keeper.</dd>
%% <dt>`start'</dt><dd>what the supervisor waits for. `wait' (the default): the first try to start the engine; if the
%%     node cannot be reached, or the try takes longer than `start_timeout', the child counts as started and goes on
%%     trying. `require': try until it runs, and fail with `{nodedown, Node}' after `start_timeout'. `background':
%%     nothing. An engine that refuses to start (`{error, Reason}', `ignore') is a failed start as for any child.</dd>
%% <dt>`start_timeout'</dt><dd>milliseconds, see `start'; 5000.</dd>
%% <dt>`init_timeout'</dt><dd>milliseconds that the engine's `init' may take, at any try; 60000.</dd>
%% <dt>`retry_min', `retry_max', `jitter'</dt><dd>the delay between two tries: 200 ms at first, doubled each time up to
%%     10000 ms, each delay changed at random by up to the part `jitter' of it, 0.25. If the Python node connects by
%%     itself, the next try is at once.</dd>
%% <dt>`restart', `significant'</dt><dd>of the child specification; `permanent', `false'.</dd>
%% <dt>`shutdown'</dt><dd>milliseconds that the engine has to end when told `shutdown', before it is killed; 5000. The
%%     child specification gets a second more, for the keeper to see to it.</dd>
%% </dl>

-type node_options() :: options(#{
    node => node(),
    engines => #{atom() => string() | binary()} | [{atom(), string() | binary()}],
    python => string() | binary(),
    arguments => [string() | binary()],
    command => [string() | binary()],
    env => [{string() | binary(), string() | binary() | false}] | #{string() | binary() => string() | binary() | false},
    cd => string() | binary(),
    ready => string() | binary() | none,
    ready_timeout => timeout(),
    connect => boolean(),
    reconnect_timeout => timeout(),
    stop_timeout => timeout(),
    log => logger:level() | none,
    register => server_name(),
    restart => permanent | transient | temporary,
    significant => boolean()
}).
%% <dl>
%% <dt>`node'</dt><dd>name of the Python node. Needed, unless `command' is given and `connect' is false.</dd>
%% <dt>`engines'</dt><dd>engines that the node is to know: name and `"module:Class"'.</dd>
%% <dt>`python'</dt><dd>the interpreter, a path or a program on the `PATH'; `"python3"'.</dd>
%% <dt>`arguments'</dt><dd>further arguments of `pyanoma start'.</dd>
%% <dt>`command'</dt><dd>program and arguments to run in place of `python -m pyanoma start'. It should end when its
%%     standard input is closed, which is how it learns that this BEAM is gone. A shell script has to `exec'.</dd>
%% <dt>`env'</dt><dd>environment variables to set, or to unset with `false'. The cookie of this node is passed on as
%%     `PYANOMA_COOKIE', unless that is given here.</dd>
%% <dt>`cd'</dt><dd>working directory.</dd>
%% <dt>`ready', `ready_timeout'</dt><dd>the start of the output line that says the node can be reached, `"READY"', and
%%     how many milliseconds to wait for it; 30000. `none': do not wait.</dd>
%% <dt>`connect'</dt><dd>connect with the node before the child counts as started; true.</dd>
%% <dt>`reconnect_timeout'</dt><dd>where `connect' is true: how many milliseconds the node may be out of reach while its
%%     process runs (frozen, for instance). Then the process is stopped, and the child ends with `{unreachable, Node}';
%%     30000.</dd>
%% <dt>`stop_timeout'</dt><dd>milliseconds between `SIGTERM' and `SIGKILL'; 10000.</dd>
%% <dt>`log'</dt><dd>level at which the lines that it prints are logged, or `none'; `notice'.</dd>
%% <dt>`register'</dt><dd>name of the child.</dd>
%% <dt>`restart', `significant'</dt><dd>of the child specification; `permanent', `false'.</dd>
%% </dl>

%%% -- engines: interface -----------------------------------------------------------------------

%% @equiv engine_spec(Id, Node, Engine, Args, #{})
-spec engine_spec(term(), node(), atom(), term()) -> supervisor:child_spec().
engine_spec(Id, Node, Engine, Args) ->
    engine_spec(Id, Node, Engine, Args, #{}).

%% @doc A child specification for `supervisor', `Supervisor' and `DynamicSupervisor': the engine `Engine' of the Python
%% node `Node', started with `Args'.
%%
%% The child's process is the keeper. What is sent to it is passed on to the engine: `gen_server:call(Keeper, ...)',
%% casts, messages and exit signals work. While the engine does not run, a call is answered with
%% `{error, {nodedown, Node}}', also one that was under way when the node was lost; other messages are dropped. Calls to
%% `{via, pyanoma_sup, Keeper}' go to the engine itself, and exit with `noproc' while it does not run or when the node
%% is lost on the way.
%%
%% `sys:get_state(Keeper)' is the keeper's own; the engine's is `sys:get_state(pyanoma_sup:engine(Keeper))'.
-spec engine_spec(term(), node(), atom(), term(), engine_options()) -> supervisor:child_spec().
engine_spec(Id, Node, Engine, Args, Options) ->
    Given = engine_options(Options),
    child_spec(Id, {pyanoma_sup, start_engine, [Node, Engine, Args, Options]}, Given,
               case maps:get(shutdown, Given) of
                   brutal_kill -> 2000;  % the keeper kills, and waits for the answer
                   infinity -> infinity;
                   Time -> Time + 1000
               end).

%% @doc Start a keeper: the start function of {@link engine_spec/5}.
-spec start_engine(node(), atom(), term(), engine_options()) -> {ok, pid()} | ignore | {error, term()}.
start_engine(Node, Engine, Args, Options) ->
    Given = engine_options(Options),
    start_link(Given, {engine, Node, Engine, Args, Given}).

%% @doc The engine's process, on the Python node; `undefined' while it does not run.
-spec engine(keeper()) -> pid() | undefined.
engine(Keeper) ->
    gen_server:call(Keeper, {pyanoma_sup, engine}).

%%% Names: `{via, pyanoma_sup, Keeper}' is the engine that Keeper keeps.

%% @private
-spec whereis_name(keeper()) -> pid() | undefined.
whereis_name(Keeper) ->
    try engine(Keeper) catch exit:_ -> undefined end.

%% @private
-spec send(keeper(), term()) -> pid().
send(Keeper, Message) ->
    case whereis_name(Keeper) of
        undefined -> exit({badarg, {Keeper, Message}});
        Pid -> Pid ! Message, Pid
    end.

%% @private These names come with keepers; nobody can take one.
-spec register_name(keeper(), pid()) -> no.
register_name(_Keeper, _Pid) ->
    no.

%% @private
-spec unregister_name(keeper()) -> ok.
unregister_name(_Keeper) ->
    ok.

%%% -- the Python node: interface ---------------------------------------------------------------

%% @doc A child specification: the operating system process of a Python node, by default `python3 -m pyanoma start'.
%%
%% The child has started when the process has printed its `READY' line and this node is connected with it. When the
%% process ends, the child ends: `normal' after exit status 0, otherwise `{exit_status, Status}' (128 and the signal's
%% number after a signal). What it prints is logged, with `python_node => Node' in the metadata.
-spec node_spec(term(), node_options()) -> supervisor:child_spec().
node_spec(Id, Options) ->
    Given = node_options(Options),
    child_spec(Id, {pyanoma_sup, start_node, [Options]}, Given,
               case maps:get(stop_timeout, Given) of
                   infinity -> infinity;
                   Time -> Time + 3000
               end).

%% @doc Start it: the start function of {@link node_spec/2}.
-spec start_node(node_options()) -> {ok, pid()} | {error, term()}.
start_node(Options) ->
    Given = node_options(Options),
    start_link(Given, {node, Given}).

%% @doc The process id that the operating system gave it.
-spec os_pid(pid() | atom()) -> non_neg_integer() | undefined.
os_pid(Child) ->
    gen_server:call(Child, {pyanoma_sup, os_pid}).

%%% -- both: options and start ------------------------------------------------------------------

child_spec(Id, Start, Options, Shutdown) ->
    Spec = #{id => Id, start => Start, restart => maps:get(restart, Options), shutdown => Shutdown, type => worker,
             modules => [pyanoma_sup]},
    case Options of
        #{significant := Significant} -> Spec#{significant => Significant};
        #{} -> Spec
    end.

start_link(#{register := Name}, Start) when is_atom(Name) ->
    gen_server:start_link({local, Name}, pyanoma_sup, Start, []);
start_link(#{register := Name}, Start) ->
    gen_server:start_link(Name, pyanoma_sup, Start, []);
start_link(#{}, Start) ->
    gen_server:start_link(pyanoma_sup, Start, []).

engine_options(Options) ->
    options(Options, [name, register, significant],
            #{start => wait, start_timeout => 5000, init_timeout => 60000, retry_min => 200, retry_max => 10000,
              jitter => 0.25, restart => permanent, shutdown => 5000}).

node_options(Options) ->
    Given = options(Options, [node, command, env, cd, register, significant],
                    #{engines => #{}, python => "python3", arguments => [], ready => "READY", ready_timeout => 30000,
                      connect => true, reconnect_timeout => 30000, stop_timeout => 10000, log => notice,
                      restart => permanent}),
    case Given of
        #{node := _} -> Given;
        #{command := _, connect := false} -> Given;
        #{} -> error({missing_option, node})
    end.

options(Options, Optional, Defaults) when is_list(Options) ->
    options(maps:from_list(Options), Optional, Defaults);
options(Options, Optional, Defaults) ->
    case maps:keys(Options) -- (Optional ++ maps:keys(Defaults)) of
        [] -> maps:merge(Defaults, Options);
        [Unknown | _] -> error({unknown_option, Unknown})
    end.

%%% -- gen_server -------------------------------------------------------------------------------
%%% The state is a map; its key `kind' tells a keeper (engine) from the process of a Python node (node).

%% @private
init({engine, Node, Engine, Args, Options}) ->
    process_flag(trap_exit, true),
    put('$process_label', {pyanoma_engine, Engine, Node}),  % shown by OTP 27 and later
    #{start := Mode, start_timeout := Timeout} = Options,
    State = maps:with([init_timeout, retry_min, retry_max, jitter, shutdown], Options),
    Wanted = case Options of
        #{name := Name} -> [Engine, Args, #{name => Name}];
        #{} -> [Engine, Args]
    end,
    first_start(Mode, deadline(Timeout), request_start(State#{
        kind => engine,
        node => Node,
        engine => Engine,
        wanted => Wanted,         % arguments of pyanoma:start_link on the Python node
        status => starting,       % starting | up | waiting (for the next try) | asking (whether the node is stopping)
        pid => undefined,         % the engine, while it is up
        request => undefined,     % of erpc, while it is starting or asking
        timer => undefined,       % of the next try, or of the end of our patience with the request
        tries => 0,               % in vain since it was up
        calls => #{}              % alias of the reply => who asked, and the monitor of it, for each call under way
    }));
init({node, Options}) ->
    process_flag(trap_exit, true),
    put('$process_label', {pyanoma_node, maps:get(node, Options, undefined)}),
    case open(Options) of
        {ok, State} -> await_ready(State, deadline(maps:get(ready_timeout, Options)), []);
        {error, Reason} -> fail(Reason)
    end.

%% @private
handle_call({pyanoma_sup, engine}, _From, #{kind := engine, pid := Pid} = State) ->
    {reply, Pid, State};
handle_call({pyanoma_sup, os_pid}, _From, #{kind := node, os_pid := OsPid} = State) ->
    {reply, OsPid, State};
handle_call(Request, {Client, _} = From, #{kind := engine, pid := Pid, calls := Calls} = State) when is_pid(Pid) ->
    % The engine sees who asks. Its reply comes by way of this process, which answers in its place if the node is lost.
    Alias = alias([reply]),
    Pid ! {'$gen_call', {Client, [alias | Alias]}, Request},
    {noreply, State#{calls := Calls#{Alias => {From, monitor(process, Client)}}}};
handle_call(_Request, _From, #{kind := engine, node := Node} = State) ->
    {reply, {error, {nodedown, Node}}, State};
handle_call(Request, _From, #{kind := node} = State) ->
    {reply, {error, {unknown_request, Request}}, State}.

%% @private
handle_cast(Message, #{kind := engine} = State) ->
    pass_on({'$gen_cast', Message}, State);
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
handle_info({'EXIT', Pid, Reason}, #{kind := engine, pid := Pid} = State) ->
    engine_ended(Reason, State#{pid := undefined});
handle_info({'EXIT', _Other, Reason}, #{kind := engine} = State) when Reason =/= normal ->
    % From whoever is linked with the keeper, or wants to end it: it is meant for the engine.
    case State of
        #{pid := undefined} -> leave(Reason, State);
        #{pid := Pid} -> exit(Pid, Reason), {noreply, State}
    end;
handle_info({'EXIT', Other, normal}, #{kind := engine} = State) when is_pid(Other) ->
    {noreply, State};
handle_info({[alias | Alias], Reply} = Message, #{kind := engine, calls := Calls} = State) ->
    case maps:take(Alias, Calls) of
        {{From, Monitor}, Rest} ->
            demonitor(Monitor, [flush]),
            gen_server:reply(From, Reply),
            {noreply, State#{calls := Rest}};
        error -> pass_on(Message, State)
    end;
handle_info({'DOWN', Monitor, process, _, _} = Message, #{kind := engine, calls := Calls} = State) ->
    % Whoever asked is gone: nobody waits for the reply.
    case [Alias || {Alias, {_, Asked}} <- maps:to_list(Calls), Asked =:= Monitor] of
        [Alias] -> unalias(Alias), {noreply, State#{calls := maps:remove(Alias, Calls)}};
        [] when map_get(request, State) =:= undefined -> pass_on(Message, State);
        [] -> response(Message, State)
    end;
handle_info({timeout, Timer, pyanoma_sup}, #{kind := engine} = State) ->
    case State of
        #{timer := Timer, status := waiting} -> {noreply, request_start(State)};
        #{timer := Timer, request := Request} -> answered(outcome(fun() -> give_up(Request) end), State);
        #{} -> {noreply, State}
    end;
handle_info({nodeup, Node, _}, #{kind := engine, status := waiting, node := Node} = State) ->
    {noreply, request_start(State)};
handle_info({Change, _, _}, #{kind := engine, status := waiting} = State) when Change =:= nodeup; Change =:= nodedown ->
    {noreply, State};
handle_info(Message, #{kind := engine, request := Request} = State) when Request =/= undefined ->
    response(Message, State);
handle_info(Message, #{kind := engine} = State) ->
    pass_on(Message, State);

handle_info({Port, {data, {_, Line}}}, #{kind := node, port := Port} = State) ->
    log_line(Line, State),
    {noreply, State};
handle_info({Port, {exit_status, Status}}, #{kind := node, port := Port} = State) ->
    leave(exit_reason(Status), State#{port := undefined, os_pid := undefined});
handle_info({'EXIT', Port, Reason}, #{kind := node, port := Port} = State) ->
    leave({port_closed, Reason}, State#{port := undefined});
handle_info({nodedown, Node}, #{kind := node, node := Node, timer := Timer, reconnect_timeout := Time} = State) ->
    log(warning, State, "lost the connection with ~ts, whose process still runs", [Node]),
    {noreply, reconnect(State#{timer := start_timer(Time, Timer)})};
handle_info(reconnect, #{kind := node} = State) ->
    {noreply, reconnect(State)};
handle_info({timeout, Timer, pyanoma_sup}, #{kind := node, timer := Timer, node := Node} = State) ->
    stop_os_process(State),
    leave({unreachable, Node}, State#{port := undefined});
handle_info({'EXIT', From, Reason}, #{kind := node} = State) when is_pid(From), Reason =/= normal ->
    {stop, Reason, State};
handle_info(_Message, #{kind := node} = State) ->
    {noreply, State}.

%% @private
terminate(Reason, #{kind := engine, pid := Pid, shutdown := Time} = State) when is_pid(Pid) ->
    case stop_engine(Pid, Reason, Time) of
        {ended, Reason} -> ok;
        {ended, _} when Time =:= brutal_kill; Reason =:= normal -> ok;
        {ended, Other} -> leave(Other, State#{pid := undefined});  % the supervisor reports it, as for any child
        silent -> ok  % the end of this process is the last that it hears
    end;
terminate(_Reason, #{kind := node, port := Port} = State) when Port =/= undefined ->
    stop_os_process(State);
terminate(_Reason, _State) ->
    ok.

%% @private
format_status(#{state := #{kind := engine, calls := Calls} = State} = Status) ->
    Status#{state := State#{calls := maps:size(Calls)}};
format_status(Status) ->
    Status.

%% What init returns for a start that failed: without a crash report where the release can (26), since the supervisor
%% makes one of its own.
fail(Reason) ->
    case list_to_integer(erlang:system_info(otp_release)) >= 26 of
        true -> {error, Reason};
        false -> {stop, Reason}
    end.

%% End with `Reason', as if the engine itself were the supervised process: the supervisor reports a failure, and who
%% failed has reported it. A report of this process, which mirrors it, would only repeat it; a signal makes none.
leave(Reason, State) when Reason =:= normal; Reason =:= shutdown; element(1, Reason) =:= shutdown ->
    {stop, Reason, State};
leave(Reason, _State) ->
    process_flag(trap_exit, false),
    exit(self(), Reason),
    receive after infinity -> ok end.

%%% -- a keeper: the life of its engine ---------------------------------------------------------

%% Ask the Python node to start the engine. It links the engine with this process before it answers.
request_start(#{node := Node, wanted := Wanted, init_timeout := Timeout} = State) ->
    request(starting, erpc:send_request(Node, pyanoma, start_link, Wanted), Timeout, State).

request(Status, Request, Timeout, #{timer := Timer} = State) ->
    watch_nodes(false, State),
    State#{status := Status, request := Request, timer := start_timer(Timeout, Timer)}.

%% The first start, in init: the supervisor waits, but no longer than it was promised.
first_start(background, _Until, State) ->
    {ok, State};
first_start(Mode, Until, #{request := Request, node := Node, engine := Engine, timer := Timer} = State) ->
    case await_response(Request, Until, Timer) of
        {up, Pid} -> {ok, up(Pid, State)};
        ignore -> ignore;
        {failed, Reason} -> fail(Reason);
        unreachable when Mode =:= wait ->
            log(warning, State, "~ts is out of reach; engine ~ts is started when it is there", [Node, Engine]),
            {ok, wait_for_node(State)};
        unreachable ->
            case await_retry(wait_for_node(State), Until) of
                late -> fail({nodedown, Node});
                Next -> first_start(Mode, Until, Next)
            end;
        late when Mode =:= wait -> {ok, State};
        late -> fail({timeout, {pyanoma, start_link}})
    end.

%% The outcome of the request, or `late'. In slices, as the end of the supervisor must be seen meanwhile.
await_response(Request, Until, Timer) ->
    receive
        {'EXIT', Parent, Reason} when is_pid(Parent), Reason =/= normal -> exit(Reason);
        {timeout, Timer, pyanoma_sup} -> outcome(fun() -> give_up(Request) end)
    after 0 ->
        case outcome(fun() -> erpc:wait_response(Request, min(left(Until), 50)) end) of
            no_response ->
                case left(Until) of
                    0 -> late;
                    _ -> await_response(Request, Until, Timer)
                end;
            Outcome -> Outcome
        end
    end.

await_retry(#{timer := Timer, node := Node} = State, Until) ->
    receive
        {'EXIT', Parent, Reason} when is_pid(Parent), Reason =/= normal -> exit(Reason);
        {timeout, Timer, pyanoma_sup} -> request_start(State);
        {nodeup, Node, _} -> request_start(State)
    after left(Until) -> late
    end.

%% What a request came to. `Ask' returns what erpc returns.
outcome(Ask) ->
    try Ask() of
        no_response -> no_response;
        {response, {ok, Pid}} when is_pid(Pid) -> {up, Pid};
        {response, {ok, Pid, _Extra}} when is_pid(Pid) -> {up, Pid};
        {response, {error, Reason}} -> {failed, Reason};
        {response, ignore} -> ignore;
        {response, Other} -> {failed, {bad_return_value, Other}}
    catch
        error:{erpc, noconnection} -> unreachable;
        error:{erpc, timeout} -> {failed, {timeout, {pyanoma, start_link}}};
        error:{erpc, Reason} -> {failed, {erpc, Reason}};
        exit:{signal, shutdown} -> unreachable;  % the node was stopped while it worked on it
        exit:{signal, noconnection} -> unreachable;
        exit:{_, Reason} -> {failed, Reason};
        error:{exception, Reason, Stack} -> {failed, {Reason, Stack}};
        throw:Thrown -> {failed, {nocatch, Thrown}}
    end.

%% An answer that came too late to matter would start an engine that nobody wants: the node ends it, told so by erpc.
give_up(Request) ->
    {response, erpc:receive_response(Request, 0)}.

answered(Outcome, #{status := asking} = State) ->
    case Outcome of
        unreachable -> {noreply, wait_for_node(State)};
        {failed, {timeout, _}} -> {noreply, wait_for_node(State)};
        {failed, {bad_return_value, {stopping, _}}} -> {noreply, wait_for_node(State)};
        _ -> leave(shutdown, State)
    end;
answered({up, Pid}, State) ->
    {noreply, up(Pid, State)};
answered(unreachable, State) ->
    {noreply, wait_for_node(State)};
answered(ignore, State) ->
    leave(normal, State);
answered({failed, {already_started, Pid} = Reason}, #{tries := Tries, node := Node} = State) ->
    % After a lost connection the engine's former self may still be about its end.
    case Tries > 0 andalso Tries < 8 andalso is_pid(Pid) andalso node(Pid) =:= Node of
        true -> {noreply, wait_for_node(State)};
        false -> leave(Reason, State)
    end;
answered({failed, Reason}, State) ->
    leave(Reason, State).

up(Pid, #{timer := Timer, tries := Tries, engine := Engine, node := Node} = State) ->
    link(Pid),
    cancel_timer(Timer),
    case Tries of
        0 -> ok;
        _ -> log(notice, State, "engine ~ts runs again on ~ts, after ~b tries in vain", [Engine, Node, Tries])
    end,
    State#{status := up, pid := Pid, request := undefined, timer := undefined, tries := 0}.

engine_ended(noconnection, #{engine := Engine, node := Node} = State) ->
    log(warning, State, "lost ~ts; engine ~ts is started again when it is back", [Node, Engine]),
    {noreply, wait_for_node(State)};
engine_ended(shutdown, #{node := Node} = State) ->
    % Nobody here has told it so. Either the engine is finished, or the whole node is being stopped.
    {noreply, request(asking, erpc:send_request(Node, init, get_status, []), 2000, State)};
engine_ended(Reason, State) ->
    leave(Reason, State).

%% Perhaps the response to our request; any other message is the engine's.
response(Message, #{request := Request} = State) ->
    case outcome(fun() -> erpc:check_response(Message, Request) end) of
        no_response -> pass_on(Message, State);
        Outcome -> answered(Outcome, State)
    end.

%% Wait until the next try. Whoever waits for the engine is told; were this process to end, its end would tell them.
wait_for_node(#{node := Node, calls := Calls, tries := Tries, timer := Timer} = State) ->
    maps:foreach(fun(Alias, {From, Monitor}) ->
        unalias(Alias),
        demonitor(Monitor, [flush]),
        gen_server:reply(From, {error, {nodedown, Node}})
    end, Calls),
    watch_nodes(true, State),
    State#{status := waiting, request := undefined, calls := #{}, tries := Tries + 1,
           timer := start_timer(delay(State), Timer)}.

delay(#{node := Node, tries := Tries, retry_min := Min, retry_max := Max, jitter := Jitter}) ->
    Delay = case lists:member(Node, nodes(connected)) of
        true -> Min;  % it came before this process listened for it
        false -> min(Min bsl min(Tries, 30), Max)
    end,
    max(1, round(Delay * (1 + Jitter * (2 * rand:uniform() - 1)))).

%% While it waits, the keeper hears of nodes that come; at other times such a message is not for it.
watch_nodes(true, #{status := Status}) when Status =/= waiting ->
    _ = net_kernel:monitor_nodes(true, [{node_type, all}]),
    ok;
watch_nodes(false, #{status := waiting}) ->
    _ = net_kernel:monitor_nodes(false, [{node_type, all}]),
    flush_nodes();
watch_nodes(_Wanted, _State) ->
    ok.

flush_nodes() ->
    receive
        {nodeup, _, _} -> flush_nodes();
        {nodedown, _, _} -> flush_nodes()
    after 0 -> ok
    end.

pass_on(Message, #{pid := Pid} = State) when is_pid(Pid) ->
    Pid ! Message,
    {noreply, State};
pass_on(_Message, State) ->
    {noreply, State}.

%% End the engine as a supervisor would, in the time that it has.
stop_engine(Pid, _Reason, brutal_kill) ->
    kill_engine(Pid);
stop_engine(Pid, normal, Time) ->
    % gen_server:stop: the engine's terminate is run also where it does not trap exits.
    try proc_lib:stop(Pid, normal, Time) catch exit:_ -> ok end,
    await_end(Pid, 0, fun() -> kill_engine(Pid) end);
stop_engine(Pid, Reason, Time) ->
    exit(Pid, Reason),
    await_end(Pid, Time, fun() -> kill_engine(Pid) end).

kill_engine(Pid) ->
    exit(Pid, kill),
    await_end(Pid, 900, fun() -> silent end).

await_end(Pid, Time, Otherwise) ->
    receive {'EXIT', Pid, Reason} -> {ended, Reason} after Time -> Otherwise() end.

%%% -- the operating system process of a Python node --------------------------------------------

open(Options) ->
    [Program | Arguments] = command(Options),
    case executable(Program) of
        false ->
            {error, {no_such_program, Program}};
        Path ->
            Directory = case Options of #{cd := Cd} -> [{cd, Cd}]; #{} -> [] end,
            Settings = [{args, Arguments}, {env, environment(Options)}, {line, 8192}, binary, use_stdio,
                        stderr_to_stdout, exit_status, hide | Directory],
            try open_port({spawn_executable, Path}, Settings) of
                Port ->
                    OsPid = case erlang:port_info(Port, os_pid) of
                        {os_pid, Known} -> Known;
                        undefined -> undefined  % it has ended already
                    end,
                    State = maps:with([ready, connect, reconnect_timeout, stop_timeout, log], Options),
                    {ok, State#{kind => node, node => maps:get(node, Options, undefined), port => Port,
                                os_pid => OsPid, timer => undefined}}
            catch
                error:Reason -> {error, {cannot_start, Path, Reason}}
            end
    end.

command(#{command := Command}) ->
    Command;
command(#{python := Python, node := Node, engines := Engines, arguments := More}) ->
    Known = case is_map(Engines) of true -> maps:to_list(Engines); false -> Engines end,
    [Python, "-m", "pyanoma", "start", "--name", atom_to_binary(Node), "--exit-with-stdin"]
        ++ lists:append([["--engine", unicode:characters_to_binary([atom_to_list(Name), $=, Class])]
                         || {Name, Class} <- Known])
        ++ More.

executable(Program) ->
    Name = unicode:characters_to_list(Program),
    case filename:pathtype(Name) of
        absolute -> Name;
        _ -> os:find_executable(Name)
    end.

%% What BEAM and Python have to agree on and cannot see in each other's files.
environment(Options) ->
    Given = case maps:get(env, Options, []) of
        Map when is_map(Map) -> maps:to_list(Map);
        List -> List
    end,
    Cookie = case erlang:get_cookie() of
        nocookie -> [];
        Known -> [{"PYANOMA_COOKIE", atom_to_list(Known)}]
    end,
    maps:to_list(maps:from_list(
        [{"PYTHONUNBUFFERED", "1"}] ++ Cookie
        ++ [{text(Name), case Value of false -> false; _ -> text(Value) end} || {Name, Value} <- Given])).

text(Text) ->
    unicode:characters_to_list(Text).

%% Wait for the line that says READY; the last lines go with the reason of a failure.
await_ready(#{ready := none} = State, _Until, _Lines) ->
    ready(State);
await_ready(#{port := Port, ready := Ready} = State, Until, Lines) ->
    receive
        {'EXIT', Parent, Reason} when is_pid(Parent), Reason =/= normal ->
            stop_os_process(State),
            exit(Reason);
        {Port, {data, {_, Line}}} ->
            log_line(Line, State),
            case string:prefix(Line, Ready) of
                nomatch -> await_ready(State, Until, lists:sublist([Line | Lines], 20));
                _ -> ready(State)
            end;
        {Port, {exit_status, Status}} ->
            fail({not_ready, {exit_status, Status}, lists:reverse(Lines)})
    after left(Until) ->
        stop_os_process(State),
        fail({not_ready, timeout, lists:reverse(Lines)})
    end.

ready(#{connect := true, node := Node} = State) ->
    case net_kernel:connect_node(Node) of
        true ->
            erlang:monitor_node(Node, true),
            {ok, State};
        _ ->
            stop_os_process(State),
            fail({cannot_connect, Node})
    end;
ready(State) ->
    {ok, State}.

%% Have the runtime connect, without waiting for it, until it has or `reconnect_timeout' is over.
reconnect(#{timer := undefined} = State) ->
    State;
reconnect(#{node := Node, timer := Timer} = State) ->
    case lists:member(Node, nodes(connected)) of
        true ->
            cancel_timer(Timer),
            erlang:monitor_node(Node, true),
            log(notice, State, "connected with ~ts again", [Node]),
            State#{timer := undefined};
        false ->
            erpc:cast(Node, erlang, node, []),
            erlang:send_after(500, self(), reconnect),
            State
    end.

stop_os_process(#{stop_timeout := Time} = State) ->
    signal("TERM", State),
    case await_os_exit(State, deadline(Time)) of
        ended ->
            ok;
        late ->
            log(warning, State, "~ts did not end ~b ms after SIGTERM: killed", [name(State), Time]),
            signal("KILL", State),
            await_os_exit(State, deadline(2000))
    end.

await_os_exit(#{port := Port} = State, Until) ->
    receive
        {Port, {data, {_, Line}}} -> log_line(Line, State), await_os_exit(State, Until);
        {Port, {exit_status, _}} -> ended;
        {'EXIT', Port, _} -> ended
    after left(Until) -> late
    end.

%% A BEAM has no function for it, and any shell has `kill' built in.
signal(_Name, #{os_pid := undefined}) ->
    ok;
signal(Name, #{os_pid := OsPid}) ->
    _ = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.

exit_reason(0) -> normal;
exit_reason(Status) -> {exit_status, Status}.

log_line(_Line, #{log := none}) -> ok;
log_line(Line, #{log := Level} = State) -> log(Level, State, "~ts: ~ts", [name(State), Line]).

name(#{node := undefined, os_pid := OsPid}) -> io_lib:format("~p", [OsPid]);
name(#{node := Node}) -> atom_to_list(Node).

%%% -- both: time, log --------------------------------------------------------------------------

deadline(infinity) -> infinity;
deadline(Time) -> erlang:monotonic_time(millisecond) + Time.

%% Milliseconds until then, never negative.
left(infinity) -> infinity;
left(Until) -> max(0, Until - erlang:monotonic_time(millisecond)).

start_timer(Time, Former) ->
    cancel_timer(Former),
    case Time of
        infinity -> undefined;
        _ -> erlang:start_timer(Time, self(), pyanoma_sup)
    end.

cancel_timer(undefined) -> ok;
cancel_timer(Timer) -> _ = erlang:cancel_timer(Timer), ok.

%% Without a domain: the default handler shows only those that it knows.
log(Level, #{node := Node}, Format, Arguments) ->
    logger:log(Level, Format, Arguments, #{python_node => Node}).
