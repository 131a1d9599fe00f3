"""Beside the Elixir node: what its own modules gave, in vectors.json.

The file was made by running ``Noun``, ``Noun.Jam``, ``Nock`` and ``Nock.Jets`` of Anoma's Elixir node (0.30, commit
38fd6618c) on OTP 25 and Elixir 1.14: over random nouns, bytes and formulas, on the cores of its standard library
(``Examples.ENock``, every outer call), and each jet's function on random and odd cores. Outcomes are compared as terms,
so in the forms of their atoms, and results with their gas.

A number is an atom as a number, a string an atom as bytes in hexadecimal, null is ``[]``, an array ``[a b c]``, and
``{"core": name}`` a core of the library.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path

import pytest

from anoma.nock.errors import CueError
from anoma.nock.evaluator import Crash, Done, Evaluation, Scry
from anoma.nock.jam import cue, jam
from anoma.nock.jets import JETS, NoResult
from anoma.nock.library import logics_core, resource_machine_core, standard_library_core
from anoma.nock.mug import mug
from anoma.nock.noun import NIL, Cell, list_elements, nock_list, same, same_term

CORES = {
    "logics": logics_core,
    "resource machine": resource_machine_core,
    "standard": standard_library_core,
}


@cache
def vectors(kind):
    return json.loads(Path(__file__).with_name("vectors.json").read_text())[kind]


def of(data):
    if data is None:
        return NIL
    if isinstance(data, str):
        return bytes.fromhex(data)
    if isinstance(data, dict):
        return CORES[data["core"]]()
    if isinstance(data, list):
        parts = [of(part) for part in data]
        return nock_list(parts[:-1], parts[-1])
    return data


def scry(request):
    """What the environment of the vectors gives for [id key]."""
    parts = list_elements(request)
    return Cell(parts[1], parts[0]) if parts is not None and len(parts) == 2 else None


def evaluate(subject, formula, steps=None, gas=None):
    outcome = Evaluation.start(subject, formula, gas).run(steps)
    while True:
        match outcome:
            case Scry():
                outcome = outcome.resume(scry(outcome.request)).run(steps)
            case Done() | Crash():
                return outcome
            case _:
                outcome = outcome.evaluation.run(steps)


def test_jam_and_mug():
    for data, jammed, hashed in vectors("nouns"):
        noun = of(data)
        assert jam(noun).hex() == jammed
        assert mug(noun) == hashed


def test_cue():
    for data, result in vectors("cues"):
        if result == "error":
            with pytest.raises(CueError):
                cue(bytes.fromhex(data))
        else:
            assert same_term(cue(bytes.fromhex(data)), of(result[0]))


def test_equality():
    for left, right, expected in vectors("equal"):
        assert same(of(left), of(right)) is expected


@pytest.mark.parametrize("kind", ["evaluations", "examples"])
def test_evaluations(kind):
    for number, (subject, formula, expected) in enumerate(vectors(kind)):
        outcome = evaluate(of(subject), of(formula))
        if expected == "crash":
            assert isinstance(outcome, Crash), number
            continue
        result, gas, printed = expected
        assert isinstance(outcome, Done), (number, outcome)
        assert same_term(outcome.noun, of(result)), number
        assert outcome.gas == gas, number
        assert "".join(base64.b64encode(jam(noun)).decode() for noun in outcome.outputs) == printed


def test_evaluations_in_single_steps():
    for subject, formula, _ in vectors("evaluations"):
        at_once = evaluate(of(subject), of(formula))
        assert repr(evaluate(of(subject), of(formula), 1)) == repr(at_once)


def test_jets():
    seen = set()
    for number, core, expected in vectors("jets"):
        seen.add(number)
        try:
            result = JETS[number].function(of(core))
        except NoResult:
            assert expected == "crash", (JETS[number].name, core)
        else:
            assert expected != "crash", (JETS[number].name, core)
            assert same_term(result, of(expected[0])), (JETS[number].name, core)
    assert seen == JETS.keys()
