"""Lines typed at a prompt, put together to statements, and compiled.

As at Python's own prompt: a statement that is complete runs at once, a block ends with an empty line, and the value of
every expression that stands alone is shown. For that it is compiled into a call of `SHOW`, so that no hook of the whole
program is needed.
"""

from __future__ import annotations
import __future__

import ast
import codeop
import linecache
import warnings
from functools import reduce
from operator import or_
from types import CodeType
from typing import Final

_FUTURES: Final = reduce(or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))
"""Of the flags that the compiler of `codeop` gathers, those of ``from __future__ import``."""

SHOW: Final = "__show__"
"""The function, among the built-ins of the shell, that is given the value of each expression that stands alone."""
KEPT_SOURCES: Final = 1000
"""Of so many statements the text is kept, for tracebacks through functions that were defined at the prompt."""


class Statements:
    """The statements of one shell.

    Args:
        label: makes the file names unique that its statements have in tracebacks.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._compiler = codeop.CommandCompiler()
        self._lines: list[str] = []
        self._files: list[str] = []
        self._count = 0

    @property
    def pending(self) -> bool:
        """Whether a statement has begun and is not complete."""
        return bool(self._lines)

    def reset(self) -> None:
        """Forget the lines of a statement that is not complete."""
        self._lines.clear()

    def push(self, line: str) -> CodeType | None:
        """One more line, without its end. Returns code to run, None where more lines are needed.

        Raises:
            SyntaxError, ValueError, OverflowError, MemoryError, RecursionError: what has been typed is no Python; it
            is forgotten.
        """
        self._lines.append(line)
        source = "\n".join(self._lines)
        if not any(text.strip() and not text.lstrip().startswith("#") for text in self._lines):
            self.reset()
            return None
        name = self._name()
        try:
            complete = self._compiler(source, name, "single")
        except BaseException:
            self._keep(name, source)
            self.reset()
            raise
        if complete is None:
            return None
        self.reset()
        return self._compile(source, name, "single")

    def script(self, source: str) -> CodeType:
        """All of a program at once, with what it shows. Raises as `push`."""
        return self._compile(source, self._name(), "exec")

    def close(self) -> None:
        """Forget all texts."""
        for name in self._files:
            linecache.cache.pop(name, None)
        self._files.clear()

    def _name(self) -> str:
        return f"<shell {self._label}:{self._count + 1}>"

    def _compile(self, source: str, name: str, mode: str) -> CodeType:
        self._keep(name, source)
        flags = self._compiler.compiler.flags & _FUTURES
        with warnings.catch_warnings():
            if mode == "single":
                # They have been given by the first compilation.
                warnings.simplefilter("ignore")
            tree = compile(source, name, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True)
            shown = _Shown().visit(ast.Module(tree.body, []))
            code: CodeType = compile(ast.fix_missing_locations(shown), name, "exec", flags, dont_inherit=True)
            return code

    def _keep(self, name: str, source: str) -> None:
        self._count += 1
        # Without a time of change it is not looked for on the disk.
        linecache.cache[name] = (len(source), None, [line + "\n" for line in source.split("\n")], name)
        self._files.append(name)
        if len(self._files) > KEPT_SOURCES:
            linecache.cache.pop(self._files.pop(0), None)


class _Shown(ast.NodeTransformer):
    """Expressions that stand alone become calls of `SHOW`; not in functions and classes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        shown = ast.Call(ast.copy_location(ast.Name(SHOW, ast.Load()), node.value), [node.value], [])
        return ast.copy_location(ast.Expr(ast.copy_location(shown, node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return node
