"""Erlang's terms as Python values.

========================  =======================================================================
Erlang                    Python
========================  =======================================================================
``ok``                    ``Atom("ok")``
``true`` ``false``        ``True`` ``False``
``nil``                   ``None`` (Elixir's; Erlang's ``undefined`` stays an atom)
integer, float            `int`, `float`
``<<"bytes">>``           `bytes`; a `str` is sent as the binary of its UTF-8
``<<5:3>>``               `BitString`
``{a, b}``                `tuple`
``[1, 2]``, ``"ab"``      `list` (a string of Erlang is a list of integers)
``[a|b]``                 `ImproperList`
``#{k => v}``             `dict`, or `Map` where a dict would confuse or could not hash the keys
pid, port, reference      `Pid`, `Port`, `Reference`
``fun m:f/1``, closures   `Export`, `Fun`
native record (OTP 29)    `Record`
========================  =======================================================================

An object of any other class is sent as the term that its method ``__erlang_term__()`` gives, if it has one.
"""

from erlang_bridge.terms.atom import Atom, atom_table
from erlang_bridge.terms.containers import BitString, ImproperList, Map, exact_key, map_of
from erlang_bridge.terms.funs import Export, Fun, Record
from erlang_bridge.terms.identifiers import Pid, Port, Reference

__all__ = [
    "Atom",
    "BitString",
    "Export",
    "Fun",
    "ImproperList",
    "Map",
    "Pid",
    "Port",
    "Record",
    "Reference",
    "atom_table",
    "exact_key",
    "map_of",
]
