%% Looks into observer's windows from inside its BEAM: what a user sees, as terms. Each call is made by a process of its own.
-module(observer_probe).

-export([attach/0, place/1, move/2, close/1, windows/0, tree/1, selected/1]).
-export([list/3, columns/1, list_item_rect/2, tab_point/2, menu/2, app_tree/0]).

-define(CONTEXT, {?MODULE, context}).

%% Find observer's frame, once, while it is not held up by a dialog.
attach() ->
    observer ! {get_debug_info, self()},
    receive
        {observer_debug, Env, Notebook, _} ->
            wx:set_env(Env),
            persistent_term:put(?CONTEXT, {Env, top_of(Notebook)}),
            ok
    after 10000 ->
        exit(observer_does_not_answer)
    end.

top_of(Window) ->
    case wxWindow:isTopLevel(Window) of
        true -> Window;
        false -> top_of(wxWindow:getParent(Window))
    end.

frame() ->
    {Env, Frame} = persistent_term:get(?CONTEXT),
    wx:set_env(Env),
    Frame.

place(Rect) ->
    wxWindow:setSize(frame(), Rect).

move(Window, At) ->
    frame(),
    wxWindow:move(Window, At).

close(Window) ->
    frame(),
    wxWindow:close(Window).

selected(Window) ->
    frame(),
    Notebook = wx:typeCast(Window, wxNotebook),
    chars(wxNotebook:getPageText(Notebook, wxNotebook:getSelection(Notebook))).

%% Every top level window that is shown: [{Ref, Class, Title, Rect}], observer's frame first.
windows() ->
    Frame = frame(),
    [describe(Window) || Window <- [Frame | tops_below(Frame)], wxWindow:isShown(Window)].

tops_below(Window) ->
    lists:append([[Child || wxWindow:isTopLevel(Child)] ++ tops_below(Child) || Child <- wxWindow:getChildren(Window)]).

%% What is shown in a window: {Ref, Class, Text, Rect, [Child]}, windows of their own left out.
tree(Window) ->
    frame(),
    {Ref, Class, Text, Rect} = describe(Window),
    Children = [
        Child
     || Child <- wxWindow:getChildren(Window), not wxWindow:isTopLevel(Child), wxWindow:isShown(Child)
    ],
    {Ref, Class, Text, Rect, [tree(Child) || Child <- Children]}.

describe(Window) ->
    Class = list_to_binary(wxWindow:getName(Window)),
    {Window, Class, text(Class, Window), wxWindow:getScreenRect(Window)}.

text(<<"htmlWindow">>, Window) -> chars(wxHtmlWindow:toText(wx:typeCast(Window, wxHtmlWindow)));
text(<<"text">>, Window) -> chars(wxTextCtrl:getValue(wx:typeCast(Window, wxTextCtrl)));
text(<<"statusBar">>, Window) -> chars(wxStatusBar:getStatusText(wx:typeCast(Window, wxStatusBar)));
text(<<"status_line">>, Window) -> text(<<"statusBar">>, Window);
text(<<"listBox">>, Window) ->
    Box = wx:typeCast(Window, wxListBox),
    chars(lists:join($\n, [wxListBox:getString(Box, N) || N <- lists:seq(0, wxListBox:getCount(Box) - 1)]));
text(_, Window) -> chars(wxWindow:getLabel(Window)).

chars(Text) -> unicode:characters_to_binary(Text).

%% Rows From .. of a list, at most Most of them, each a list of the texts of its columns.
list(Window, From, Most) ->
    frame(),
    List = wx:typeCast(Window, wxListCtrl),
    Columns = lists:seq(0, wxListCtrl:getColumnCount(List) - 1),
    Last = min(From + Most, wxListCtrl:getItemCount(List)) - 1,
    [[cell(List, Row, Column) || Column <- Columns] || Row <- lists:seq(From, Last)].

cell(List, Row, Column) -> chars(wxListCtrl:getItemText(List, Row, [{col, Column}])).

%% Number of rows, and the columns' titles and widths.
columns(Window) ->
    frame(),
    List = wx:typeCast(Window, wxListCtrl),
    Item = wxListItem:new(),
    wxListItem:setMask(Item, 2 bor 8),
    Titles = [
        begin
            wxListCtrl:getColumn(List, Column, Item),
            {chars(wxListItem:getText(Item)), wxListCtrl:getColumnWidth(List, Column)}
        end
     || Column <- lists:seq(0, wxListCtrl:getColumnCount(List) - 1)
    ],
    wxListItem:destroy(Item),
    {wxListCtrl:getItemCount(List), Titles}.

%% Where a row is on the screen; scrolls to it first.
list_item_rect(Window, Row) ->
    frame(),
    List = wx:typeCast(Window, wxListCtrl),
    wxListCtrl:ensureVisible(List, Row),
    {true, {X, Y, W, H}} = wxListCtrl:getItemRect(List, Row),
    {SX, SY, _, _} = wxWindow:getScreenRect(List),
    {SX + X, SY + Y, W, H}.

%% A point on the tab with this text, on the screen.
tab_point(Window, Title) ->
    frame(),
    Notebook = wx:typeCast(Window, wxNotebook),
    {X0, Y0, W, _} = wxWindow:getScreenRect(Notebook),
    Page = index_of(Title, [chars(wxNotebook:getPageText(Notebook, N)) || N <- lists:seq(0, wxNotebook:getPageCount(Notebook) - 1)]),
    Hits = [X || X <- lists:seq(2, W, 8), {P, _} <- [wxNotebook:hitTest(Notebook, {X, 12})], P =:= Page],
    {X0 + lists:nth(length(Hits) div 2 + 1, Hits), Y0 + 12}.

index_of(X, List) -> length(lists:takewhile(fun(Y) -> Y =/= X end, List)).

%% How many keys Right and Down lead to an item of a menu bar, once its first menu is open: {Right, Down}.
menu(Title, Label) ->
    Frame = wx:typeCast(frame(), wxFrame),
    menu(wxFrame:getMenuBar(Frame), Title, Label).

menu(Bar, Title, Label) ->
    Right = wxMenuBar:findMenu(Bar, Title),
    Items = [
        chars(wxMenuItem:getItemLabelText(Item))
     || Item <- wxMenu:getMenuItems(wxMenuBar:getMenu(Bar, Right)), not wxMenuItem:isSeparator(Item)
    ],
    {Right, index_of(Label, Items), Items}.

%% The tree that the tab Applications has been told to draw: [{Text, Pid, Depth, Point}], a point inside the box of each.
app_tree() ->
    frame(),
    Panel = wx_object:get_pid(panel(app_panel)),
    State = state_of(Panel),
    case [App || App <- State, is_tuple(App), element(1, App) =:= app] of
        [App] -> boxes(element(2, App), 0);
        [] -> []
    end.

panel(Name) ->
    [Panels] = [L || L <- state_of(observer), is_list(L), lists:keymember(Name, 1, L)],
    {_, Panel, _} = lists:keyfind(Name, 1, Panels),
    Panel.

%% The fields of the state record of a wx_object.
state_of(Process) ->
    [_Name, State | _] = sys:get_state(Process),
    tuple_to_list(State).

boxes({{box, X, Y, W, H, {str, _, _, Text, Pid}}, Children}, Depth) ->
    [{chars(Text), Pid, Depth, {X, Y, W, H}} | lists:append([boxes(Child, Depth + 1) || Child <- Children])].
