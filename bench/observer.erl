%% Asks a node what OTP's observer asks while all its tabs have been opened, at observer's rates.
-module(observer).
-export([watch/2, processes/1]).

%% For so many seconds. Returns how many answers came.
watch(Node, Seconds) ->
    process_flag(trap_exit, true),
    {ok, Apps} = rpc:call(Node, appmon_info, start_link2, [self(), self(), []]),
    [App | _] = [A || {A, _, _} <- rpc:call(Node, application, which_applications, []), A =:= bench],
    gen_server:cast(Apps, {self(), app_ctrl, Node, true, []}),
    gen_server:cast(Apps, {self(), app, App, true, []}),
    Charts = spawn_link(Node, observer_backend, fetch_stats, [self(), 500]),
    self() ! every_second,
    self() ! every_10_seconds,
    erlang:send_after(Seconds * 1000, self(), finish),
    Answers = loop(Node, 0),
    Charts ! exit,
    exit(Apps, normal),
    Answers.

loop(Node, Answers) ->
    receive
        every_second ->
            erlang:send_after(1000, self(), every_second),
            [{uptime, _} | _] = rpc:call(Node, observer_backend, sys_info, []),
            loop(Node, Answers + 1);
        every_10_seconds ->
            erlang:send_after(10000, self(), every_10_seconds),
            [{uptime, _} | _] = rpc:call(Node, observer_backend, sys_info, []),
            spawn_link(Node, observer_backend, procs_info, [self()]),
            [] = [Bad || {F, A} <- [{get_port_list, []}, {get_socket_list, []}, {socket_info, []},
                                    {get_table_list, [ets, [{sys_hidden, false}, {unread_hidden, true}]]}],
                         Bad <- [rpc:call(Node, observer_backend, F, A)], not is_list(Bad)],
            loop(Node, Answers + 5);
        {stats, 1, _, _, _} -> loop(Node, Answers + 1);
        {procs_info, _, _} -> loop(Node, Answers + 1);
        {delivery, _, _, _, _} -> loop(Node, Answers + 1);
        {'EXIT', _, normal} -> loop(Node, Answers);
        finish -> Answers
    end.

%% The list of the Processes tab: how many rows, and after how many milliseconds it is shown.
processes(Node) ->
    process_flag(trap_exit, true),
    Started = erlang:monotonic_time(),
    Pid = spawn_link(Node, observer_backend, procs_info, [self()]),
    Rows = rows(Pid, 0),
    {Rows, erlang:convert_time_unit(erlang:monotonic_time() - Started, native, microsecond) / 1000}.

rows(Pid, Rows) ->
    receive
        {procs_info, Pid, Some} -> rows(Pid, Rows + length(Some));
        {'EXIT', Pid, normal} -> Rows
    end.
