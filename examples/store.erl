%% An Erlang service for client.py: keys and values.
%%
%%     erl -name store@127.0.0.1 -setcookie chocolate
%%     1> c(store), store:start().
-module(store).
-behaviour(gen_server).
-export([start/0, init/1, handle_call/3, handle_cast/2]).

start() ->
    gen_server:start({local, store}, store, #{}, []).

init(Map) ->
    {ok, Map}.

handle_call({get, Key}, _From, Map) ->
    {reply, maps:find(Key, Map), Map};
handle_call({put, Key, Value}, _From, Map) ->
    {reply, ok, Map#{Key => Value}};
handle_call({remove, Key}, _From, Map) ->
    {reply, maps:is_key(Key, Map), maps:remove(Key, Map)};
handle_call(keys, _From, Map) ->
    {reply, maps:keys(Map), Map}.

handle_cast(clear, _Map) ->
    {noreply, #{}}.
