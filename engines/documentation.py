"""A page for each engine, made of its tables and docstrings: ``python -m engines.documentation FOLDER``.

What an action sends, spawns and asks for is read from its source: which messages and effects it, and the functions of
the same package that it calls, construct. So a page cannot say anything that the code does not.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import engines
from engines import guards
from engines.effects import CancelTimer, Exit, SetMailbox, SetTimer, Spawn, StopChild, Watch
from engines.engine import Engine
from engines.guards import Elapsed, Ended, MessageArrived, On, Started
from engines.messages import Message
from engines.wire import fields_of, tag_of

_ATTRIBUTE: Final = re.compile(r"^(?P<name>[\w, ]+): (?P<text>.*)$")
_TRIGGERS: Final = {Started: "it starts", Elapsed: "a timer is due", Ended: "a child, or one it watches, has ended"}
_EFFECTS: Final = (SetTimer, CancelTimer, Spawn, StopChild, SetMailbox, Watch, Exit)


# -- docstrings -------------------------------------------------------------------------------


def first_paragraph(subject: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(subject) or "").split("\n\n")[0].split())


def attributes_of(cls: type) -> dict[str, str]:
    """What the section "Attributes" of a docstring says of each."""
    found: dict[str, str] = {}
    _, _, section = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    names: list[str] = []
    for line in textwrap.dedent(section.split("\n\n")[0]).splitlines():
        match = _ATTRIBUTE.match(line)
        if match is not None:
            names = [name.strip() for name in match["name"].split(",")]
            found.update(dict.fromkeys(names, match["text"]))
        elif line.strip() and names:
            for name in names:
                found[name] += f" {line.strip()}"
    return found


def in_markdown(text: str) -> str:
    """Text of a docstring as Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def type_text(annotation: Any) -> str:
    """An annotation as people write it."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, UnionType) or (get_origin(annotation) is not None and not isinstance(annotation, type)):
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is UnionType or isinstance(annotation, UnionType):
            return " | ".join(type_text(argument) for argument in arguments)
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join('...' if one is Ellipsis else type_text(one) for one in arguments)}]"
    if get_args(annotation):
        inner = ", ".join("..." if one is Ellipsis else type_text(one) for one in get_args(annotation))
        return f"{get_origin(annotation).__name__}[{inner}]"
    return getattr(annotation, "__name__", str(annotation)).removeprefix("typing.")


# -- what an action constructs ------------------------------------------------------------------


def constructed(function: Callable[..., Any], package: str) -> list[type]:
    """The messages and effects that a function, and those of its package that it uses, construct; in order."""
    found: dict[type, None] = {}
    seen: set[Any] = set()
    methods = _methods(package)

    def visit(subject: Any) -> None:
        subject = inspect.unwrap(subject)
        if subject in seen or not inspect.isfunction(subject):
            return
        seen.add(subject)
        names = {**subject.__globals__, **inspect.getclosurevars(subject).nonlocals}
        for node in ast.walk(_tree(subject)):
            if not isinstance(node, (ast.Name, ast.Attribute)):
                continue
            value = _resolve(node, names)
            if inspect.isfunction(value) and value.__module__.startswith(package):
                visit(value)
            elif value is None and isinstance(node, ast.Attribute):
                # Of some object: the methods of that name that the package has.
                for method in methods.get(node.attr, ()):
                    visit(method)
        for node in ast.walk(_tree(subject)):
            if isinstance(node, ast.Call):
                value = _resolve(node.func, names)
                if inspect.isclass(value) and issubclass(value, (Message, *_EFFECTS)):
                    found.setdefault(value)

    visit(function)
    return list(found)


@cache
def _methods(package: str) -> dict[str, list[Any]]:
    """Name to methods of that name, of the classes in a package's behaviour."""
    found: dict[str, list[Any]] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(f"{package}.") or name.endswith((".server", ".messages")):
            continue
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == name and not issubclass(cls, Message):
                for attribute, value in vars(cls).items():
                    if inspect.isfunction(value) and not attribute.startswith("__"):
                        found.setdefault(attribute, []).append(value)
    return found


def _tree(function: Any) -> ast.AST:
    source = textwrap.dedent(inspect.getsource(function))
    try:
        return ast.parse(source)
    except SyntaxError:  # a lambda in the middle of a call
        return ast.parse("")


def _resolve(node: ast.AST, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, names)
        return getattr(owner, node.attr, None) if inspect.ismodule(owner) or inspect.isclass(owner) else None
    return None


# -- pages --------------------------------------------------------------------------------------


def page(engine: type[Engine]) -> str:
    """The page of one engine, in Markdown."""
    return "\n".join(_lines(engine)).rstrip() + "\n"


def _lines(engine: type[Engine]) -> Iterator[str]:
    package = engine.__module__.rpartition(".")[0]
    behaviour = importlib.import_module(f"{package}.behaviour")
    kind = engine.engine
    yield f"# {kind.name}"
    yield ""
    yield "<!-- Made by python -m engines.documentation of the engine's own tables; change those. -->"
    yield ""
    yield in_markdown(inspect.getdoc(behaviour) or "")
    yield ""
    yield "## What it does"
    yield ""
    yield "```mermaid"
    yield from _picture(engine, package)
    yield "```"
    yield ""
    yield "| when | it | and makes |"
    yield "|---|---|---|"
    for guard in kind.guards.guards:
        yield _guard_row(guard, package)
    yield ""
    yield "Guards are tried in this order; the first that holds is the one."
    yield ""
    yield from _classes(engine)
    yield "## Messages"
    yield ""
    for message in kind.messages:
        yield from _message(message, engine)
    yield from _functions(package)


def _guard_row(guard: Any, package: str) -> str:
    actions = guard.actions.actions if isinstance(guard, On) else ()
    said = " ".join(first_paragraph(action) for action in actions) or first_paragraph(guard)
    made: dict[str, None] = {}
    for action in actions or (guard,):
        made.update({_shown(cls): None for cls in constructed(action, package)})
    return f"| {_when(guard)} | {in_markdown(said)} | {', '.join(made) or '-'} |"


def _when(guard: Any) -> str:
    if not isinstance(guard, On):
        return f"`{guard.__name__}`"
    if guard.trigger is not MessageArrived or guard.message is None:
        return _TRIGGERS.get(guard.trigger, guard.trigger.__name__)
    what = f"`{guard.message.__name__}`"
    if guard.when is None:
        return what
    if guard.when.__name__ == "_from_itself":
        return f"{what}, what came of an operation"
    said = in_markdown(first_paragraph(guard.when)).rstrip(".").removeprefix("Whether ")
    return f"{what}, {said or guard.when.__name__.strip('_').replace('_', ' ')}"


def _shown(cls: type) -> str:
    return f"`{cls.__name__}`"


def _picture(engine: type[Engine], package: str) -> Iterator[str]:
    """Who tells the engine what, and what it makes of it, as a Mermaid flow chart."""
    kind = engine.engine
    yield "flowchart LR"
    _, state = _settings_and_state(engine)
    fields = dataclasses.fields(state) if state is not None and dataclasses.is_dataclass(state) else ()
    body = "<br/>".join([f"<b>{kind.name}</b>", *(field.name for field in fields)])
    yield f'    engine["{body}"]'
    outgoing: dict[str, None] = {}
    for number, guard in enumerate(kind.guards.guards):
        if isinstance(guard, On):
            label = guard.message.__name__ if guard.message is not None else _TRIGGERS[guard.trigger]
            actions: tuple[Any, ...] = guard.actions.actions
        else:
            label, actions = guard.__name__, (guard,)
        made = [cls for action in actions for cls in constructed(action, package)]
        yield f'    in{number}(["{label}"]) --> engine'
        outgoing.update({cls.__name__: None for cls in made if issubclass(cls, Message)})
        outgoing.update({f"spawn {cls.__name__}": None for cls in made if cls is Spawn})
    for number, name in enumerate(outgoing):
        shape = f'[["{"another engine"}"]]' if name == "spawn Spawn" else f'(["{name}"])'
        yield f"    engine --> out{number}{shape}"


def _settings_and_state(engine: type[Engine]) -> tuple[Any, Any]:
    returned = get_type_hints(engine.engine.start).get("return")
    arguments = get_args(returned)
    return (arguments[0], arguments[1]) if len(arguments) == 2 else (None, None)


def _classes(engine: type[Engine]) -> Iterator[str]:
    for title, cls in zip(("Settings", "State"), _settings_and_state(engine), strict=True):
        if cls is None or not dataclasses.is_dataclass(cls):
            continue
        yield f"## {title}"
        yield ""
        yield in_markdown(first_paragraph(cls))
        yield ""
        hints = get_type_hints(cls)
        said = attributes_of(cls)  # type: ignore[arg-type]  # it is a class
        fields = dataclasses.fields(cls)
        if fields:
            yield "| field | type | |"
            yield "|---|---|---|"
            for field in fields:
                kind = type_text(hints[field.name]).replace("|", "\\|")
                yield f"| `{field.name}` | `{kind}` | {in_markdown(said.get(field.name, ''))} |"
            yield ""


def _message(message: type[Message], engine: type[Engine]) -> Iterator[str]:
    yield f"### {message.__name__}"
    yield ""
    yield in_markdown(first_paragraph(message))
    yield ""
    said = attributes_of(message)
    fields = fields_of(message)
    if fields:
        yield "| field | type | |"
        yield "|---|---|---|"
        for field in fields:
            kind = type_text(field.annotation).replace("|", "\\|")
            yield f"| `{field.name}` | `{kind}` | {in_markdown(said.get(field.name, ''))} |"
        yield ""
    if engine.dialect is None:
        pairs = ", ".join(f"{field.name} => {field.name.title().replace('_', '')}" for field in fields)
        plain = f"{{{tag_of(message)}, #{{{pairs}}}}}" if fields else tag_of(message)
        yield f"In a call or cast: `{plain}`"
        yield ""


def _functions(package: str) -> Iterator[str]:
    server = importlib.import_module(f"{package}.server")
    functions = [
        value
        for value in vars(server).values()
        if inspect.isfunction(value) and value.__module__ == server.__name__ and not value.__name__.startswith("_")
    ]
    if not functions:
        return
    yield "## From Python"
    yield ""
    yield f"In `{server.__name__}`:"
    yield ""
    for function in functions:
        parameters = ", ".join(inspect.signature(function).parameters)
        yield f"* `{function.__name__}({parameters})`: {in_markdown(first_paragraph(function))}"
    yield ""


def index() -> str:
    """The list of all engines, and what they have in common, in Markdown."""
    rows = []
    for name, engine in engines.built_in().items():
        behaviour = importlib.import_module(f"{engine.__module__.rpartition('.')[0]}.behaviour")
        rows.append(f"| [{name}]({name}.md) | {in_markdown(first_paragraph(behaviour))} |")
    model = ["", "## The model that they share", "", in_markdown(inspect.getdoc(guards) or "")]
    head = [
        "# Engines",
        "",
        "Each page is made of the engine's own tables and docstrings.",
        "",
        "| engine | |",
        "|---|---|",
    ]
    return "\n".join([*head, *rows, *model]) + "\n"


def pages() -> dict[str, str]:
    """File name to text, for all engines."""
    made = {f"{name}.md": page(engine) for name, engine in engines.built_in().items()}
    return {"README.md": index(), **made}


def main(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a page for each engine into a folder.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/engines"))
    main(parser.parse_args().folder)
