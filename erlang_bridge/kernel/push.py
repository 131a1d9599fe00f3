"""Put an Erlang module into a running BEAM: compiled there, from its source, and never written to its disk.

The source goes over as text. What runs on the BEAM is a short program of expressions, interpreted by ``erl_eval`` of
stdlib, which scans and parses the text (``erl_scan``, ``erl_parse``), compiles the forms (``compile``, the only part
that not every BEAM has) and loads the result (``code:load_binary``). No preprocessor takes part: the source must do
without ``-include``, ``-define`` and ``?``.

A pushed module is in memory only: it is gone when the BEAM restarts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from erlang_bridge.errors import ModuleNotPushed
from erlang_bridge.terms import Atom
from erlang_bridge.terms.text import format_term

Rpc = Callable[..., Any]
"""``rpc(node, module, function, arguments, timeout_s)``, such as `Node.rpc`."""

OK: Final = Atom("ok")
OLD_CODE_IN_USE: Final = (Atom("error"), Atom("old_code_in_use"))
"""What `_LOAD` gives where purging the old code would kill its processes."""

_MODULE: Final = re.compile(r"^-module\(\s*(?:'([^']+)'|([a-z][\w@]*))\s*\)", re.MULTILINE)

_COMPILE: Final = r"""
Explain = fun(Where, By, What) ->
    Line = case Where of {L, _} -> L; L -> L end,
    unicode:characters_to_binary(io_lib:format("line ~p: ~ts", [Line, By:format_error(What)]))
end,
Forms = fun Forms([]) -> [];
            Forms(Tokens) ->
    {Form, Rest} = lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens),
    case Rest of
        [] -> throw({error, [<<"the last form has no dot">>]});
        [Dot | More] ->
            case erl_parse:parse_form(Form ++ [Dot]) of
                {ok, Parsed} -> [Parsed | Forms(More)];
                {error, {Where, Parser, What}} -> throw({error, [Explain(Where, Parser, What)]})
            end
    end
end,
try
    case code:ensure_loaded(compile) of
        {module, _} -> ok;
        {error, _} -> throw(no_compiler)
    end,
    Tokens = case erl_scan:string(unicode:characters_to_list(Source)) of
        {ok, Scanned, _} -> Scanned;
        {error, {Where, Scanner, What}, _} -> throw({error, [Explain(Where, Scanner, What)]})
    end,
    Mark = fun({attribute, At, module, _} = Form) -> [Form, {attribute, At, pyanoma_source, Digest}];
              (Form) -> [Form]
           end,
    Marked = lists:flatmap(Mark, Forms(Tokens)),
    case compile:noenv_forms([{attribute, 1, file, {File, 1}} | Marked], [return_errors, return_warnings]) of
        {ok, _, Code, _} -> {ok, Code};
        {error, Errors, _} -> {error, [Explain(At, By, Why) || {_, Listed} <- Errors, {At, By, Why} <- Listed]}
    end
catch
    throw:Answer -> Answer
end.
"""
"""Compiles `Source`. Gives ``{ok, ObjectCode}``, ``{error, Lines}`` or ``no_compiler``."""

_HAS: Final = r"""
erlang:module_loaded(Module) andalso proplists:get_value(pyanoma_source, Module:module_info(attributes)) =:= [Digest].
"""

_LOAD: Final = r"""
case code:soft_purge(Module) of
    true -> case code:load_binary(Module, File, Code) of {module, Module} -> ok; Refused -> Refused end;
    false -> {error, old_code_in_use}
end.
"""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to.

    Attributes:
        module: its name.
        loaded: False where the BEAM had this very source loaded already, and nothing was done.
    """

    module: Atom
    loaded: bool


def pyanoma_sup_source() -> str:
    """The source of the module ``pyanoma_sup``, for BEAMs that supervise our engines."""
    return resources.files("erlang_bridge.kernel").joinpath("pyanoma_sup.erl").read_text(encoding="utf-8")


def push(
    rpc: Rpc, beam_node: str | Atom, source: str, *, compile_on: str | Atom | None = None, timeout_s: float = 30.0
) -> Pushed:
    """Compile an Erlang module and load it into a running BEAM.

    Args:
        rpc: calls functions on other nodes, `Node.rpc`.
        source: the whole module, with its ``-module(name).``
        compile_on: another BEAM to compile on, not of a later release, for one without the compiler application.
        timeout_s: for each of the at most nine calls that it takes.

    Raises:
        ModuleNotPushed: the source has no module name or does not compile, with the compiler's words; there is no
            compiler; or the BEAM does not take the module (old code of it is in use, or it belongs to OTP).
        NoConnection, CallTimeout: no answer from the BEAM.
    """
    named = _MODULE.search(source)
    if named is None:
        raise ModuleNotPushed("?", str(beam_node), ("the source has no -module(name).",))
    name = named[1] or named[2]
    digest = hashlib.sha256(source.encode()).hexdigest().encode()
    bindings = {"Module": Atom(name), "File": _characters(f"{name}.erl"), "Digest": digest}
    if _evaluate(rpc, beam_node, _HAS, bindings, timeout_s) is True:
        return Pushed(Atom(name), False)
    compiler = compile_on if compile_on is not None else beam_node
    made = _evaluate(rpc, compiler, _COMPILE, bindings | {"Source": source.encode()}, timeout_s)
    match made:
        case (Atom("ok"), bytes(code)):
            pass
        case (Atom("error"), list(lines)):
            raise ModuleNotPushed(name, str(beam_node), tuple(line.decode(errors="replace") for line in lines))
        case _:
            why = (
                f"{compiler} has no compiler (the application 'compiler' is not part of it): name a node that has one "
                f"in compile_on, or compile {name}.erl with erlc and add it to the release"
            )
            raise ModuleNotPushed(name, str(beam_node), (why,))
    answer = _evaluate(rpc, beam_node, _LOAD, bindings | {"Code": code}, timeout_s)
    if answer == OLD_CODE_IN_USE:
        raise ModuleNotPushed(
            name,
            str(beam_node),
            ("old_code_in_use: processes there still run the version before the loaded one; end them, and push again",),
        )
    if answer is not OK:
        raise ModuleNotPushed(name, str(beam_node), (f"code:load_binary answered {format_term(answer, most=200)}",))
    return Pushed(Atom(name), True)


def _evaluate(rpc: Rpc, node: str | Atom, source: str, bindings: dict[str, Any], timeout_s: float) -> Any:
    """The value of Erlang expressions on a BEAM; `source` is our own, and parses."""
    _, tokens, _ = rpc(node, "erl_scan", "string", [_characters(source)], timeout_s)
    _, expressions = rpc(node, "erl_parse", "parse_exprs", [tokens], timeout_s)
    bound = [(Atom(name), bindings[name]) for name in sorted(bindings)]  # an orddict
    return rpc(node, "erl_eval", "exprs", [expressions, bound], timeout_s)[1]


def _characters(text: str) -> list[int]:
    return [ord(character) for character in text]
