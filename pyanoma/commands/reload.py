"""``pyanoma reload``: new code for running processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import click

from erlang_bridge import Atom, ErlangError, ModuleNotLoaded, Node
from erlang_bridge.kernel.code_server import shown_version
from erlang_bridge.terms.text import format_term
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.output import print_json

UNDEF = Atom("undef")


@dataclass(frozen=True, slots=True)
class Place:
    """A process that is in old code."""

    pid: str
    name: str | None
    why: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one module. `moved` is None on a BEAM, which does not tell."""

    module: str
    old_version: str
    new_version: str
    moved: int | None
    in_old_code: tuple[Place, ...] = ()


@click.command()
@node_argument
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...")
@cookie_option
@timeout_option()
@json_option
def reload(node: str, modules: tuple[str, ...], cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """Load each MODULE into NODE again, from its file, for all processes that run it.

    MODULE is a Python module that the node has loaded, such as engines.ticker.behaviour, or a class in one. Processes
    keep their state and their messages; where a class has a code_change, it is called. Several modules change together:
    all of them, or, where one is refused, none.

    Says which processes are still in the old code: they are in the middle of something, and go over when that ends.

    Exits with 1 where a module is refused, with file and line of the fault; everything runs as before then. On a BEAM
    it is code:soft_purge and code:load_file.
    """
    with connected(node, cookie, timeout_s) as client:
        try:
            answer = client.rpc(node, "pyanoma", "reload", [[Atom(module) for module in modules]], timeout_s)
        except ErlangError as error:
            if error.reason is not UNDEF:
                raise
            results = [_on_beam(client, node, module, timeout_s) for module in modules]
        else:
            results = _results(answer)
    if as_json:
        print_json([asdict(result) for result in results])
        return
    for result in results:
        moved = "" if result.moved is None else f"  {result.moved} {_processes(result.moved)} moved"
        click.echo(f"{result.module}  {result.old_version} -> {result.new_version}{moved}")
        for place in result.in_old_code:
            name = f" ({place.name})" if place.name is not None else ""
            click.echo(f"  in old code: {place.pid}{name} {place.why}, {place.file}:{place.line}")


def _processes(count: int) -> str:
    return "process" if count == 1 else "processes"


def _results(answer: Any) -> list[Result]:
    match answer:
        case (Atom("ok"), list(told)):
            return [_result({key.name: value for key, value in one.items()}) for one in told]
        case (Atom("error"), dict(fault)):
            known = {key.name: value for key, value in fault.items()}
            raise ModuleNotLoaded(known["module"].name, known["reason"].name, known["text"].decode())
    raise ModuleNotLoaded("?", "nofile", f"the node answered {format_term(answer, most=200)}")


def _result(told: dict[str, Any]) -> Result:
    places = tuple(
        Place(
            format_term(pid),
            None if name is Atom("undefined") else name.name,
            why.decode(errors="replace"),
            path.decode(errors="replace"),
            line,
        )
        for pid, name, why, path, line in told["in_old_code"]
    )
    versions = (_version(told["old_version"]), _version(told["new_version"]))
    return Result(told["module"].name, *versions, told["moved"], places)


def _version(term: Any) -> str:
    if term is Atom("undefined"):
        return shown_version(None)
    return shown_version(term) if isinstance(term, int) else format_term(term, most=60)


def _on_beam(client: Node, node: str, module: str, timeout_s: float) -> Result:
    """Load a module of a BEAM. Nobody is ended for it: in old code, it is refused."""

    def ask(function: str) -> Any:
        return client.rpc(node, "code", function, [Atom(module)], timeout_s)

    if ask("is_loaded") is False:
        raise ModuleNotLoaded(module, "nofile", "no module of that name is loaded")
    before = _beam_version(client, node, module, timeout_s)
    if ask("soft_purge") is not True:
        raise ModuleNotLoaded(module, "not_purged", "processes are in the code before the current one")
    match ask("load_file"):
        case (Atom("module"), _):
            return Result(module, before, _beam_version(client, node, module, timeout_s), None)
        case (Atom("error"), reason):
            raise ModuleNotLoaded(module, str(reason), f"code:load_file answered {format_term(reason, most=200)}")
    raise ModuleNotLoaded(module, "nofile", "code:load_file did not answer as it does")


def _beam_version(client: Node, node: str, module: str, timeout_s: float) -> str:
    for key, value in client.rpc(node, module, "module_info", [Atom("attributes")], timeout_s):
        if key is Atom("vsn"):
            return _version(value[0] if isinstance(value, list) and value else value)
    return shown_version(None)
