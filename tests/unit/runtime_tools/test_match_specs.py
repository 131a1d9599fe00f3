"""Match specifications of trace patterns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, Pid
from erlang_bridge.process.tracing import EVERYTHING, Outcome
from erlang_bridge.runtime_tools.match_specs import compile_match_spec
from erlang_bridge.terms.text import parse_term

PROCESS: Any = SimpleNamespace(pid=Pid(Atom("n@h"), 1, 0, 1))


def match(spec: str, arguments: str) -> Outcome | None:
    return compile_match_spec(parse_term(spec))(parse_term(arguments), PROCESS)


@pytest.mark.parametrize("spec", ["[]", "true", "[{'_',[],[]}]", "[{['_','_'],[],[]}]"])
def test_everything(spec: str):
    assert match(spec, "[1, 2]") == EVERYTHING


@pytest.mark.parametrize(
    ("head", "arguments", "matches"),
    [
        ("['$1','$1']", "[1, 1]", True),
        ("['$1','$1']", "[1, 2]", False),
        ("['$1','$1']", "[1, 1.0]", False),
        ("['_']", "[1, 2]", False),
        ("[{a,'$1'},['_'|[]]]", "[{a, 1}, [x]]", True),
        ("[{a,'$1'}]", "[[a, 1]]", False),
        ('[<<"x">>]', '[<<"x">>]', True),
        ("[true]", "[1]", False),
        ("[#{a => 1}]", "[#{a => 1}]", True),
    ],
)
def test_heads(head: str, arguments: str, matches: bool):
    assert (match(f"[{{{head},[],[]}}]", arguments) is not None) is matches


@pytest.mark.parametrize(
    ("guard", "matches"),
    [
        ("{'>','$1',2}", True),
        ("{'=<','$1',2}", False),
        ("{'==','$1',3.0}", True),
        ("{'=:=','$1',3.0}", False),
        ("{'andalso',{is_integer,'$1'},{is_atom,'$2'}}", True),
        ("{'orelse',{is_tuple,'$1'},{'not',{is_atom,'$2'}}}", False),
        ("{'==',{element,1,{{'$1',b}}},3}", True),
        ("{element,7,{{'$1'}}}", False),
        ("{'==',{hd,'$_'},{const,3}}", True),
        ("{'==',{length,'$$'},2}", True),
        ("{'==',{self},{node}}", False),
        ("{'==',{'+','$1',1},4}", True),
        ("{'+','$2',1}", False),
        ("'$9'", False),
    ],
)
def test_guards(guard: str, matches: bool):
    assert (match(f"[{{['$1','$2'],[{guard}],[]}}]", "[3, a]") is not None) is matches


def test_the_first_clause_that_matches_counts():
    spec = "[{[1],[],[{message,one}]},{['$1'],[],[{message,{{other,'$1'}}}]}]"
    assert match(spec, "[1]") == Outcome(extra=(Atom("one"),))
    assert match(spec, "[2]") == Outcome(extra=((Atom("other"), 2),))


def test_actions():
    assert match("[{'_',[],[{return_trace}]}]", "[]") == Outcome(returns=True)
    assert match("[{'_',[],[{exception_trace}]}]", "[]") == Outcome(returns=True, exceptions=True)
    assert match("[{'_',[],[{message,false}]}]", "[]") == Outcome(tell=False)
    assert match("[{'_',[],[{message,true}]}]", "[]") == EVERYTHING
    assert match("[{'_',[],[{silent,true}]}]", "[]") == Outcome(silent=True)
    assert match("[{'_',[],[{message,{caller}}]}]", "[]") == Outcome(extra=(Atom("undefined"),))


@pytest.mark.parametrize(
    "spec",
    [
        "nonsense",
        "[nonsense]",
        "[{x,[],[]}]",
        "[{'_',[],[{set_seq_token,send,true}]}]",
        "[{'_',[],[{trace,[],[send]}]}]",
        "[{'_',[],[{process_dump}]}]",
        "[{'_',[{unknown,1}],[]}]",
        "[{'_',[{hd,1,2}],[]}]",
        "[{'_',[{1,2}],[]}]",
    ],
)
def test_refused(spec: str):
    with pytest.raises(ErlangError) as caught:
        compile_match_spec(parse_term(spec))
    badarg, why = caught.value.reason
    assert badarg is Atom("badarg")
    assert len(why.split()) > 4


def test_what_has_no_term_matches_nothing_but_everything():
    matcher = compile_match_spec(parse_term("[{['$1'],[{'==','$1',1}],[]},{['$1'],[{is_tuple,'$1'}],[]}]"))
    assert matcher([object()], PROCESS) is None
    assert compile_match_spec(parse_term("[{['$1'],[],[]}]"))([object()], PROCESS) == EVERYTHING


def test_a_specification_is_bounded():
    deep: Any = 1
    for _ in range(5000):
        deep = (Atom("not"), deep)
    clauses = parse_term("[{['_'],[],[]}]") * 3000
    message = [(Atom("_"), [], [(Atom("message"), (Atom("const"), list(range(3000))))])]
    large = ([([1] * 3000, [], [])], clauses, message)
    nested = ([(Atom("_"), [deep], [])], [([deep], [], [])], [(Atom("_"), [], [(Atom("const"), deep)])])
    for spec in (*large, *nested):
        with pytest.raises(ErlangError) as caught:
            compile_match_spec(spec)
        assert caught.value.reason[1].endswith(b"too large" if spec in large else b"nested too deeply")
    assert compile_match_spec(parse_term("[{['_'],[],[]}]") * 100)([1], PROCESS) == EVERYTHING


@pytest.mark.parametrize(
    ("action", "extra"),
    [("{silent,{hd,[]}}", ()), ("{message,{'+','$1',1.5}}", ("EXIT",)), ("{message,{hd,'$1'}}", ("EXIT",))],
)
def test_an_action_that_cannot_be_done(action: str, extra: tuple[str, ...]):
    matcher = compile_match_spec(parse_term(f"[{{['$1'],[],[{action}]}}]"))
    assert matcher([10**400], PROCESS) == Outcome(extra=tuple(map(Atom, extra)))


@pytest.mark.parametrize(
    ("head", "argument", "found"),
    [
        ("['$1'|'$2']", "[1,2,3]", "{1,[2,3]}"),
        ("['$1'|'$2']", "[1]", "{1,[]}"),
        ("['$1'|'$2']", "[1|2]", "{1,2}"),
        ("['$1'|'$2']", "[1,2|3]", "{1,[2|3]}"),
        ("['$1',2|'$2']", "[1,2]", "{1,[]}"),
        ("['$1'|'$2']", "[]", None),
        ("['$1',2|'$2']", "[1]", None),
        ("['$1'|'$2']", "{1,2}", None),
        ("#{a => '$1', b => {'$2'}}", "#{b => {2}, a => 1, c => 3}", "{1,2}"),
        ("#{a => '$1', b => '$2'}", "#{a => 1}", None),
        ("#{a => '$1', b => '$2'}", "[1,2]", None),
    ],
)
def test_the_beginning_of_a_list_and_some_of_a_map(head: str, argument: str, found: str | None):
    outcome = match(f"[{{[{head}],[],[{{message,{{{{'$1','$2'}}}}}}]}}]", f"[{argument}]")
    assert outcome == (None if found is None else Outcome(extra=(parse_term(found),)))
