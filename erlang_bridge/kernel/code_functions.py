"""What other nodes ask of ``code``, and of the modules of this node: ``code:*``, ``c:l/1``, ``M:module_info``.

Modules are the Python modules that are loaded (see `code_modules`), and the Erlang names under which the node exports
functions. **Nothing is imported because another node names it**: what is not loaded does not exist, and what is
loaded can be loaded again from its own file only.

Source: OTP ``lib/kernel/src/code.erl``, ``lib/stdlib/src/c.erl``; ERTS ``erlang.erl``.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from erlang_bridge.errors import ErlangError, ModuleNotLoaded
from erlang_bridge.kernel import code_modules
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.reports import charlist
from erlang_bridge.terms import Atom, Pid

if TYPE_CHECKING:
    from erlang_bridge.kernel.code_server import CodeServer, Loaded

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
MODULE: Final = Atom("module")
NOFILE: Final = Atom("nofile")
BADARG: Final = Atom("badarg")
PRELOADED: Final = Atom("preloaded")
UNDEFINED: Final = Atom("undefined")

MODULE_INFO: Final = [("module_info", 0), ("module_info", 1)]
INFO_KEYS: Final = ("module", "exports", "attributes", "compile", "md5")
"""Those of ``module_info/0``, in its order; ``functions``, ``nifs`` and ``native`` are for ``/1`` only."""


class CodeFunctions:
    """The functions of one node; `export` puts them into its table."""

    def __init__(self, node: Any) -> None:
        self._node = node

    @property
    def _code(self) -> CodeServer:
        code: CodeServer = self._node.code
        return code

    def export(self) -> None:
        """Let other nodes call them."""
        node = self._node
        for name, function in (
            ("all_loaded", self.all_loaded),
            ("all_available", self.all_available),
            ("ensure_loaded", self.ensure_loaded),
            ("ensure_modules_loaded", self.ensure_modules_loaded),
            ("is_loaded", self.is_loaded),
            ("which", self.which),
            ("load_file", self.load_file),
            ("atomic_load", self.atomic_load),
            ("purge", self.purge),
            ("soft_purge", self.soft_purge),
            ("delete", self.delete),
            ("is_sticky", self.is_sticky),
            ("modified_modules", self.modified_modules),
            ("module_status", self.module_status),
            ("module_md5", self.module_md5),
            ("get_object_code", self.get_object_code),
            ("get_path", self.get_path),
            ("get_mode", lambda: Atom("interactive")),
            ("root_dir", lambda: charlist(sys.prefix)),
            ("lib_dir", self.lib_dir),
            ("priv_dir", lambda _name: (ERROR, Atom("bad_name"))),
            ("compiler_dir", lambda: charlist(sys.prefix)),
            ("where_is_file", self.where_is_file),
            ("objfile_extension", lambda: charlist(".py")),
            ("is_module_native", lambda module: False if self._exists(module) else UNDEFINED),
        ):
            node.export("code", name, function)
        # Binaries of a BEAM cannot be run here.
        node.export("code", "load_binary", lambda _module, _file, _binary: (ERROR, Atom("badfile")))
        node.export("code", "load_abs", lambda _file: (ERROR, NOFILE))
        node.export("c", "l", self.load_file)
        node.export("c", "lm", self.load_modified)
        node.export("erlang", "function_exported", self.function_exported)
        node.export("erlang", "module_loaded", self.module_loaded)
        node.export("erlang", "loaded", lambda: [Atom(name) for name, _ in self._all()], arity=0)
        node.export("erlang", "check_old_code", self.check_old_code)
        node.export("erlang", "check_process_code", self.check_process_code)
        node.export("pyanoma", "reload", self.reload)
        node.callables.add_resolver(self.resolve)

    # -- module_info ------------------------------------------------------------------------

    def resolve(self, module: str, name: str, arity: int) -> Callable[..., Any] | None:
        """``module_info/0`` and ``/1`` of every module; None for anything else."""
        if name != "module_info" or arity > 1 or not self._is_module(module):
            return None
        if arity == 0:
            return lambda: [(Atom(key), self.module_info(module, key)) for key in INFO_KEYS]
        return lambda key: self.module_info(module, key.name if type(key) is Atom else "")

    def module_info(self, name: str, key: str) -> Any:
        """One item of ``module_info/1``.

        Raises:
            ErlangError: ``badarg``: no such item.
        """
        match key:
            case "module":
                return Atom(name)
            case "exports":
                return _pairs([pair for pair in self._functions(name) if not _is_private(pair[0])] + MODULE_INFO)
            case "functions":
                return _pairs([*self._functions(name), *MODULE_INFO])
            case "attributes":
                return self._attributes(name)
            case "compile":
                return self._compile(name)
            case "md5":
                return self._md5(name)
            case "nifs":
                return []
            case "native":
                return False
        raise ErlangError(BADARG, [(Atom("erlang"), Atom("get_module_info"), [Atom(name), Atom(key)], [])])

    def _find(self, name: str) -> tuple[ModuleType, type | None] | None:
        """A Python module or class; where the node exports functions under a name, the name is theirs."""
        return None if name in self._node.callables.modules() else code_modules.find(name)

    def _functions(self, name: str) -> list[tuple[str, int]]:
        found = self._find(name)
        if found is None:
            return list(self._node.callables.exported(name))
        module, cls = found
        return code_modules.functions(module) if cls is None else code_modules.methods(cls)

    def _attributes(self, name: str) -> list[Any]:
        found = self._find(name)
        if found is None:
            return []
        module, cls = found
        version = code_modules.generation(module).version
        vsn = [] if version is None else [(Atom("vsn"), [readable(version)])]
        behaviours = [Atom(behaviour) for behaviour in code_modules.behaviours(module if cls is None else cls)]
        return vsn + ([(Atom("behaviour"), behaviours)] if behaviours else [])

    def _compile(self, name: str) -> list[Any]:
        found = self._find(name)
        if found is None:
            return []
        path = code_modules.source_path(found[0])
        source = [] if path is None else [(Atom("source"), charlist(path))]
        return [(Atom("version"), charlist(platform.python_version())), (Atom("options"), []), *source]

    def _md5(self, name: str) -> bytes:
        """Of a module's source; where there is none, of the names of its functions."""
        found = self._find(name)
        md5 = None if found is None else code_modules.generation(found[0]).md5
        if md5 is None:
            names = repr(self._functions(name)).encode()
            md5 = hashlib.md5(names, usedforsecurity=False).digest()
        return md5

    # -- which modules ----------------------------------------------------------------------

    def _is_module(self, name: str) -> bool:
        return code_modules.find(name) is not None or name in self._node.callables.modules()

    def _exists(self, module: Any) -> bool:
        return type(module) is Atom and self._is_module(module.name)

    def _file(self, name: str) -> Any:
        """Its file as text, or ``preloaded``."""
        found = self._find(name)
        path = None if found is None else code_modules.source_path(found[0])
        return PRELOADED if path is None else charlist(path)

    def _all(self) -> list[tuple[str, Any]]:
        names: list[str] = []
        for module in code_modules.loaded():
            names.append(module.__name__)
            if not code_modules.is_sticky(module):
                names += [f"{cls.__module__}.{cls.__qualname__}" for cls in code_modules.server_classes(module)]
        names += self._node.callables.modules()
        return [(name, self._file(name)) for name in dict.fromkeys(names) if len(name) <= 255]

    def all_loaded(self) -> list[tuple[Atom, Any]]:
        """``[{Module, File | preloaded}]``: the project's modules and servers first, then the bridge's, then names."""
        return [(Atom(name), file) for name, file in self._all()]

    def all_available(self) -> list[tuple[Any, Any, bool]]:
        """``[{Module, File, Loaded}]``, names as text. Only what is loaded is known."""
        return [(charlist(name), file, True) for name, file in self._all()]

    def ensure_loaded(self, module: Any) -> Any:
        """``{module, Module}`` for what is loaded, else ``{error, nofile}``: nothing is imported."""
        return (MODULE, module) if self._exists(module) else (ERROR, NOFILE)

    def ensure_modules_loaded(self, modules: list[Any]) -> Any:
        missing = [(module, NOFILE) for module in modules if not self._exists(module)]
        return (ERROR, missing) if missing else OK

    def is_loaded(self, module: Any) -> Any:
        """``{file, File | preloaded}`` or ``false``."""
        return (Atom("file"), self._file(module.name)) if self._exists(module) else False

    def which(self, module: Any) -> Any:
        return self._file(module.name) if self._exists(module) else Atom("non_existing")

    def module_loaded(self, module: Any) -> bool:
        if type(module) is not Atom:
            raise ErlangError(BADARG)
        return self._exists(module)

    def function_exported(self, module: Any, function: Any, arity: Any) -> bool:
        """Whether other nodes can call that function here."""
        if type(module) is not Atom or type(function) is not Atom or type(arity) is not int:
            raise ErlangError(BADARG)
        return self._node.callables.find(module, function, arity) is not None

    # -- new code ---------------------------------------------------------------------------

    def load_file(self, module: Any) -> Any:
        """New code for a module and all its processes: ``{module, Module}``, or ``{error, What}``.

        `What` is ``nofile``, ``sticky_directory`` or ``not_purged``; or ``{badfile, Text}``,
        ``{on_load_failure, Text}`` and ``{code_change, Text}``, where the text names file and line.
        """
        if type(module) is not Atom:
            raise ErlangError(BADARG)
        try:
            self._code.load(module.name)
        except ModuleNotLoaded as error:
            return (ERROR, error_term(error))
        return (MODULE, module)

    def atomic_load(self, modules: Any) -> Any:
        """New code for several modules at once, all or none: ``ok`` or ``{error, [{Module, What}]}``."""
        if not isinstance(modules, list) or not all(type(module) is Atom for module in modules):
            raise ErlangError(BADARG)
        try:
            self._code.load_all([module.name for module in modules])
        except ModuleNotLoaded as error:
            return (ERROR, [(Atom(error.module), error_term(error))])
        return OK

    def reload(self, modules: Any) -> Any:
        """``pyanoma:reload/1``: as `atomic_load`, and tells what came of it.

        Returns:
            ``{ok, [#{module, old_version, new_version, moved, in_old_code => [{Pid, Name, Why, File, Line}]}]}`` or
            ``{error, #{module, reason, file, line, text}}``.
        """
        if not isinstance(modules, list) or not all(type(module) is Atom for module in modules):
            raise ErlangError(BADARG)
        try:
            done = self._code.load_all([module.name for module in modules])
        except ModuleNotLoaded as error:
            return (ERROR, error_map(error))
        return (OK, [result_map(result) for result in done])

    def load_modified(self) -> list[Any]:
        """``c:lm/0``: load what has changed on disk; what `load_file` said of each."""
        return [self.load_file(module) for module in self.modified_modules()]

    def modified_modules(self) -> list[Atom]:
        """Modules whose file is not what was loaded."""
        return [Atom(name) for name in self._code.modified()]

    def module_status(self, module: Any = None) -> Any:
        """``loaded``, ``modified``, ``removed`` or ``not_loaded``; without a module of all that could change."""
        if module is None:
            named = [found for found in code_modules.loaded() if not code_modules.is_sticky(found)]
            return [(Atom(found.__name__), Atom(self._code.status(found.__name__))) for found in named]
        if isinstance(module, list):
            return [(each, self.module_status(each)) for each in module]
        return Atom(self._code.status(module.name)) if self._exists(module) else Atom("not_loaded")

    def module_md5(self, _binary: Any) -> Any:
        """``undefined``: what it is asked about is object code of a BEAM."""
        return UNDEFINED

    def get_object_code(self, _module: Any) -> Any:
        """``error``: the source of a module is not given away."""
        return ERROR

    def purge(self, module: Any) -> bool:
        """End what runs old code of a module; whether that was anything."""
        return bool(self._code.purge(_name(module))) if self._exists(module) else False

    def soft_purge(self, module: Any) -> bool:
        """Forget the old code of a module; ``false`` where a process is in it."""
        return self._code.soft_purge(_name(module)) if self._exists(module) else True

    def delete(self, _module: Any) -> bool:
        """``false``: other modules refer to the current code of a Python module, it is never taken away."""
        return False

    def check_old_code(self, module: Any) -> bool:
        if type(module) is not Atom:
            raise ErlangError(BADARG)
        return self._exists(module) and self._code.has_old_code(module.name)

    def check_process_code(self, pid: Any, module: Any, options: Any = ()) -> Any:
        """Whether a process is in old code of a module.

        With ``{async, Id}`` the answer is ``async``, and ``{check_process_code, Id, Result}`` comes as a message.

        Raises:
            ErlangError: ``badarg``.
        """
        table = self._node.table
        if type(pid) is not Pid or type(module) is not Atom or pid.node is not table.node_name:
            raise ErlangError(BADARG)
        process = table.find(pid)
        result: Any = False
        if process is not None and self._exists(module):
            result = self._code.is_in_old_code(process, module.name)
        for option in options:
            match option:
                case (Atom("async"), id):
                    caller = table.current()
                    table.send(None, caller.pid, (Atom("check_process_code"), id, result))
                    return Atom("async")
                case (Atom("allow_gc"), bool()):
                    pass
                case _:
                    raise ErlangError(BADARG)
        return result

    # -- places -----------------------------------------------------------------------------

    def is_sticky(self, module: Any) -> bool:
        found = code_modules.find(module.name) if type(module) is Atom else None
        return self._exists(module) if found is None else code_modules.is_sticky(found[0])

    def get_path(self) -> list[Any]:
        return [charlist(entry or ".") for entry in sys.path]

    def lib_dir(self, name: Any = None, _sub: Any = None) -> Any:
        """The folder of a loaded package, by its name; without a name where Python has its library."""
        if name is None:
            return charlist(str(Path(platform.__file__).parent))
        found = code_modules.find(name.name) if type(name) is Atom else None
        path = None if found is None else code_modules.source_path(found[0])
        return (ERROR, Atom("bad_name")) if path is None else charlist(str(Path(path).parent))

    def where_is_file(self, name: Any) -> Any:
        """The file of a loaded module, by its last part, such as ``"server.py"``."""
        wanted = _text(name)
        for _, file in self._all():
            if file is not PRELOADED and _text(file).rpartition("/")[2] == wanted:
                return file
        return Atom("non_existing")


def error_term(error: ModuleNotLoaded) -> Any:
    """What OTP has an atom for is that; the rest is told in a text with file and line."""
    word = Atom(error.reason)
    return word if error.reason in ("nofile", "sticky_directory", "not_purged") else (word, _utf8(error.what))


def error_map(error: ModuleNotLoaded) -> dict[Atom, Any]:
    """All that is known of a failure; ``file`` and ``line`` are ``undefined`` where it has no place."""
    return {
        Atom("module"): Atom(error.module[-255:]),
        Atom("reason"): Atom(error.reason),
        Atom("file"): UNDEFINED if error.path is None else _utf8(error.path),
        Atom("line"): UNDEFINED if error.line is None else error.line,
        Atom("text"): _utf8(error.what),
    }


def result_map(result: Loaded) -> dict[Atom, Any]:
    """What came of new code for one module."""
    return {
        Atom("module"): Atom(result.module),
        Atom("old_version"): _version(result.old_version),
        Atom("new_version"): _version(result.new_version),
        Atom("moved"): result.moved,
        Atom("in_old_code"): [
            (place.pid, place.name or UNDEFINED, _utf8(place.why), _utf8(place.path), place.line)
            for place in result.in_old_code
        ],
    }


def _version(version: Any) -> Any:
    return UNDEFINED if version is None else readable(version)


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")


def _name(module: Any) -> str:
    name: str = module.name
    return name


def _pairs(functions: Sequence[tuple[str, int]]) -> list[tuple[Atom, int]]:
    return [(Atom(name[-255:]), arity) for name, arity in functions]


def _is_private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def _text(term: Any) -> str:
    if isinstance(term, bytes):
        return term.decode(errors="replace")
    return "".join(map(chr, term)) if isinstance(term, list) else str(term)
