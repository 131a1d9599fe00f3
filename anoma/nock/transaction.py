"""How the Anoma node runs a transaction's code: in two stages, with the transaction's id in between.

The code is a core, or an atom that it is jammed in. ``[9 2 0 1]`` of it gives ``[head transaction]``; the transaction
is a core too, which gets the id as its sample, and ``[9 2 0 1]`` of that is the result. Operation 12 asks for
``[id key]``, a list: the value of a key as the transaction of that id sees it.

Source: Anoma's Elixir node, ``node/transaction/backends.ex``.
"""

from __future__ import annotations

from anoma.nock.errors import CueError, NockCrash
from anoma.nock.evaluator import Evaluation
from anoma.nock.jam import cue
from anoma.nock.noun import Cell, Noun, format_noun, list_elements, noun


def transaction_code(code: Noun) -> Noun:
    """The core that a transaction's code is: a cell as it is, bytes cued.

    Raises:
        NockCrash: bytes that are no jammed noun, or a number: the node cues bytes only.
    """
    if type(code) is Cell:
        return code
    if not isinstance(code, bytes):
        raise NockCrash(f"the code of a transaction is a cell or jammed bytes, got the number {format_noun(code, 80)}")
    try:
        return cue(code)
    except CueError as error:
        raise NockCrash(f"the code of a transaction is no jammed noun: {error}") from None


def transaction_evaluation(code: Noun, transaction_id: Noun, gas: int | None = None) -> Evaluation:
    """Both stages of a transaction as one evaluation; its gas is 4 more than that of the stages one by one.

    Args:
        code: the transaction's code, as it came.
        transaction_id: what the transaction gets as its sample.
        gas: the most it may use.

    Raises:
        NockCrash: the code is no noun.

    Example:
        >>> code = noun((1, 0, (0, 6), 0, 909), 0)  # makes [0 [0 6] 0 909]: a gate that gives its sample
        >>> transaction_evaluation(code, b"id").run().noun
        b'id'
    """
    second = noun(7, (0, 3), (7, (10, (6, 1, transaction_id), 0, 1), (9, 2, 0, 1)))
    return Evaluation.start(transaction_code(code), noun(7, (9, 2, 0, 1), second), gas)


def read_request(request: Noun) -> tuple[Noun, Noun] | None:
    """The id and the key that a scry asks for.

    Returns:
        None: it is no list of two, so there is nothing to read.

    Example:
        >>> read_request(noun(b"id", b"key", 0))
        (b'id', b'key')
    """
    elements = list_elements(request)
    return (elements[0], elements[1]) if elements is not None and len(elements) == 2 else None


def key_values(result: Noun) -> list[tuple[Noun, Noun]] | None:
    """The keys and values of a result that is a list of ``[key value]``: what a transaction writes.

    Returns:
        None: it is not, so the transaction fails.

    Example:
        >>> key_values(noun((b"a", 1), (b"b", 2), 0))
        [(b'a', 1), (b'b', 2)]
    """
    elements = list_elements(result)
    if elements is None:
        return None
    pairs = [(element.head, element.tail) for element in elements if type(element) is Cell]
    return pairs if len(pairs) == len(elements) else None
