"""What refers to code that is loaded anew, or is made of its objects: registries, caches, keys, names handed on."""

from __future__ import annotations

import collections
import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import ModuleNotLoaded, Node
from tests.code_projects import COUNTER, Project


@pytest.fixture
def node(lone_node: Node) -> Node:
    return lone_node


# -- names ------------------------------------------------------------------------------------


def test_names_that_are_handed_on(node: Node, project: Project) -> None:
    project.module("consts", "LIMIT = 5000\n_HIDDEN = 5001\ndef f(): return 1\n")
    project.module("api", "from {package}.consts import LIMIT, f\n")
    star = project.module("star", "from {package}.api import *\n")
    # Nobody has looked at these when the first is loaded.
    user = project.module("user", "from .star import LIMIT as L, f\ndef g(): return L, f()\n")
    project.write("consts", "LIMIT = 6000\n_HIDDEN = 6001\ndef f(): return 2\n")
    node.code.load(project.name("consts"))
    assert (star.LIMIT, user.g()) == (6000, (6000, 2))


def test_packages_hand_on_too(node: Node, project: Project) -> None:
    (project.directory / "sub").mkdir()
    init, part = project.directory / "sub" / "__init__.py", project.directory / "sub" / "part.py"
    init.write_text("from .part import LIMIT, f\nfrom . import part\n")
    part.write_text("LIMIT = 1000\ndef f(): return 1\n")
    user = project.module(
        "user",
        "from .sub import LIMIT, f\nfrom . import sub\nimport {package}.sub.part as p\n"
        "def g(): return LIMIT, f(), sub.LIMIT, sub.f(), sub.part.f(), p.f()\n",
    )
    part.write_text("LIMIT = 2000\ndef f(): return 2\n")
    node.code.load(project.name("sub.part"))
    assert user.g() == (2000, 2, 2000, 2, 2, 2)
    part.write_text("LIMIT = 3000\ndef f(): return 3\n")
    node.code.load_all([project.name("sub"), project.name("sub.part")])
    assert user.g() == (3000, 3, 3000, 3, 3, 3)


def test_modules_that_are_loaded_together_see_each_other(node: Node, project: Project) -> None:
    project.module("messages", "LIMIT = 1\nclass Message: size = 1\n")
    server = "from . import messages\nTWICE = messages.LIMIT * 2\nclass Ask(messages.Message): half = messages.Message.size\n"
    project.module("server", server)
    node.code.note_loaded()
    project.write("messages", "LIMIT = 5\nclass Message: size = 5\n")
    node.code.load_all([project.name("server"), project.name("messages")])
    assert (project.get("server", "TWICE"), project.get("server", "Ask").half) == (10, 5)
    project.write("messages", "LIMIT = 7\nclass Message: size = 7\n")
    project.write("server", server + "1 / 0\n")
    with pytest.raises(ModuleNotLoaded):
        node.code.load_all([project.name("server"), project.name("messages")])
    package: Any = sys.modules[project.package]
    assert package.messages is sys.modules[project.name("messages")]
    assert package.messages.LIMIT == 5


# -- registries -------------------------------------------------------------------------------

REGISTRY = """
    from functools import wraps

    TABLE = {}
    BY_CLASS = {}
    ORDER = []
    CALLED = set()

    def register(cls):
        TABLE[cls.__name__] = cls
        BY_CLASS[cls] = cls.__name__
        ORDER.append(cls)
        return cls

    def called(function):
        @wraps(function)
        def wrapper(*arguments):
            return function(*arguments)
        CALLED.add(wrapper)
        return wrapper

    class Base:
        kinds = []

        def __init_subclass__(cls):
            Base.kinds.append(cls)
"""


def test_registries(node: Node, project: Project) -> None:
    registry: Any = project.module("registry", REGISTRY)
    project.module(
        "plugin",
        """
        from {package}.registry import Base, called, register

        @register
        class One(Base):
            version = 1

        @register
        class Two(Base):
            version = 1

        @called
        def version():
            return 1
        """,
    )

    def found() -> Any:
        return (
            [(name, cls.version) for name, cls in registry.TABLE.items()],
            [(cls.version, name) for cls, name in registry.BY_CLASS.items()],
            [cls.version for cls in registry.ORDER],
            [cls.version for cls in registry.Base.kinds],
            [function() for function in registry.CALLED],
        )

    def expected(version: int) -> Any:
        names = ["One", "Two"]
        both = [version, version]
        return ([(n, version) for n in names], [(version, n) for n in names], both, both, [version])

    assert found() == expected(1)
    for version in (2, 3):
        project.edit("plugin", f"version = {version - 1}", f"version = {version}")
        project.edit("plugin", f"return {version - 1}", f"return {version}")
        node.code.load(project.name("plugin"))
        assert found() == expected(version)
    # What is refused has registered nothing.
    before = (list(registry.ORDER), dict(registry.TABLE), list(registry.Base.kinds), set(registry.CALLED))
    project.edit("plugin", "return 3", "return 4\n\n        1 / 0")
    with pytest.raises(ModuleNotLoaded):
        node.code.load(project.name("plugin"))
    assert before == (registry.ORDER, registry.TABLE, registry.Base.kinds, registry.CALLED)


def test_functions_that_another_module_decorates(node: Node, project: Project) -> None:
    project.module("registry", REGISTRY)
    project.module("tools", "from .registry import called\n@called\ndef f(): return 1\n")
    user: Any = project.module(
        "user",
        "from functools import partial\nfrom .tools import f\nT = {'f': f}\nP = partial(f)\ndef g(h=f): return h()\n",
    )
    project.edit("tools", "return 1", "return 2")
    node.code.load(project.name("tools"))
    assert (user.f(), user.T["f"](), user.P(), user.g()) == (2, 2, 2, 2)


# -- tables and caches ------------------------------------------------------------------------


class Strict(dict):  # type: ignore[type-arg]
    """A table that does not let itself be used as any other."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self:
            raise KeyError(key)
        super().__setitem__(key, value)

    def clear(self) -> None:
        raise TypeError

    def update(self, *_: Any) -> None:
        raise TypeError


def test_tables_of_all_kinds(node: Node, project: Project) -> None:
    project.module("classes", "class One: pass\nclass Two: pass\n")
    one, two = project.get("classes", "One"), project.get("classes", "Two")
    holder: Any = project.module("holder", "")
    holder.counts = collections.Counter({one: 3, two: 1})
    holder.ordered = collections.OrderedDict([(one, 3), (two, 1)])
    holder.lists = collections.defaultdict(list, {one: [1]})
    holder.strict = Strict({one: 1})
    project.write("classes", "class One: version = 2\nclass Two: version = 2\n")
    node.code.load(project.name("classes"))
    one, two = project.get("classes", "One"), project.get("classes", "Two")
    assert holder.counts == collections.Counter({one: 3, two: 1})
    assert list(holder.ordered.items()) == [(one, 3), (two, 1)]
    assert (holder.lists, holder.strict) == ({one: [1]}, {one: 1})


def test_a_cache_forgets_objects_that_are_no_more(node: Node, project: Project) -> None:
    source = (
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass Config:\n    size: int = 1\n"
    )
    project.module("config", source)
    user: Any = project.module(
        "user",
        "from functools import lru_cache\nfrom .config import Config\n@lru_cache\ndef config(): return Config()\n",
    )
    user.config()
    project.write("config", source + "    unit: str = 'm'\n")
    node.code.load(project.name("config"))
    assert (type(user.config()), user.config().unit) == (project.get("config", "Config"), "m")


def test_old_code_does_not_pile_up_in_the_caches_of_typing(node: Node, project: Project) -> None:
    source = (
        "from typing import Generic, Optional, TypeVar, Union\nclass A: pass\nclass B(Generic[TypeVar('T')]): pass\n"
    )
    source += "X = Optional[A]\nY = Union[A, B[int]]\n"
    project.module("typed", source)
    for version in range(5):
        project.write("typed", source + f"VERSION = {version}\n")
        node.code.load(project.name("typed"))
    gc.collect()
    name = project.name("typed")
    assert len([cls for cls in gc.get_objects() if isinstance(cls, type) and cls.__module__ == name]) <= 4


# -- keys -------------------------------------------------------------------------------------


def test_keys_that_consist_of_objects_that_change(node: Node, project: Project) -> None:
    inner = "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass Inner:\n    a: int\n"
    project.module("inner", inner)
    outer: Any = project.module(
        "outer",
        """
        from dataclasses import dataclass
        from .inner import Inner

        @dataclass(frozen=True)
        class Key:
            inner: Inner

        TABLE = {Key(Inner(1)): "key", ("t", Inner(2)): "tuple", ("u", Key(Inner(3))): "both"}
        SET = {Key(Inner(1))}
        """,
    )
    project.write("inner", inner + "    b: int = 0\n")
    node.code.load(project.name("inner"))
    new, key = project.get("inner", "Inner"), outer.Key
    assert (outer.TABLE[key(new(1))], outer.TABLE[("t", new(2))], outer.TABLE[("u", key(new(3)))]) == (
        "key",
        "tuple",
        "both",
    )
    assert key(new(1)) in outer.SET


def test_a_class_gets_a_hash(node: Node, project: Project) -> None:
    project.module("keys", "class Key:\n    def __init__(self, a): self.a = a\n")
    holder: Any = project.module("holder", "")
    holder.table = {project.get("keys", "Key")(3): "three"}
    project.write("keys", "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Key:\n    a: int\n")
    node.code.load(project.name("keys"))
    assert holder.table[project.get("keys", "Key")(3)] == "three"


def test_a_hash_that_raises_changes_nothing(node: Node, project: Project) -> None:
    source = (
        "class Key:\n    def __init__(self, a): self.a = a\n    def __eq__(self, other): return self.a == other.a\n"
    )
    project.module("keys", source + "    def __hash__(self): return hash(self.a)\n")
    cls = project.get("keys", "Key")
    holder: Any = project.module("holder", "")
    holder.table = {cls(1): "one"}
    project.write("keys", source + "    def __hash__(self): raise RuntimeError('no hash')\n")
    with pytest.raises(ModuleNotLoaded, match="keys.py:4: RuntimeError: no hash"):
        node.code.load(project.name("keys"))
    assert project.get("keys", "Key") is cls
    assert holder.table[cls(1)] == "one"


# -- classes and states -----------------------------------------------------------------------


def test_a_metaclass(node: Node, project: Project) -> None:
    source = "class Meta(type):\n    def version(cls): return 1\nclass One(metaclass=Meta): pass\n"
    project.module("meta", source)
    user: Any = project.module(
        "user", "from .meta import Meta, One\nclass Two(metaclass=Meta): pass\nclass Three(One): pass\n"
    )
    project.write("meta", source.replace("return 1", "return 2"))
    node.code.load(project.name("meta"))
    assert (project.get("meta", "One").version(), user.Two.version(), user.Three.version()) == (2, 2, 2)


NESTED = """
    from dataclasses import dataclass, field
    from erlang_bridge import GenServer, Reply

    @dataclass(frozen=True, slots=SLOTS)
    class Base:
        a: int

    @dataclass(frozen=True, slots=SLOTS)
    class Inner(Base):
        c: int = 0

    class Row(tuple):
        pass

    @dataclass(frozen=True, slots=SLOTS)
    class Outer:
        inner: Inner
        many: tuple = ()

    class Server(GenServer):
        def init(self, args):
            row = Row([Inner(3)])
            row.first = Inner(4)
            return Outer(Inner(1), (Inner(2), (Inner(2),), row))

        def handle_call(self, request, caller, state):
            one, (two,), row = state.many
            inners = [state.inner, one, two, row[0], row.first]
            return Reply([type(state) is Outer, type(row) is Row, *(type(each) is Inner for each in inners)], state)

        def code_change(self, old_version, state, extra):
            return state
"""


@pytest.mark.parametrize("slots", ["True", "False"])
@pytest.mark.parametrize("has_code_change", [True, False])
def test_states_in_states(node: Node, project: Project, slots: str, has_code_change: bool) -> None:
    source = NESTED.replace("SLOTS", slots)
    if not has_code_change:
        source = source[: source.index("        def code_change")]
    project.module("nested", source)
    pid = node.start(project.get("nested", "Server"))
    assert node.call(pid, "look") == [True] * 7
    project.edit("nested", "a: int\n", "a: int\n        b: int = field(default=2, kw_only=True)\n")
    project.edit("nested", "many: tuple = ()", "many: tuple = ()\n        more: int = 1")
    node.code.load(project.name("nested"))
    assert node.call(pid, "look") == [True] * 7
    project.write("nested", source)
    node.code.load(project.name("nested"))
    assert node.call(pid, "look") == [True] * 7
    process = node.table.find(pid)
    assert process is not None
    assert not hasattr(process.instance._state.inner, "b")  # type: ignore[attr-defined]


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (b"import sys\nsys.exit(3)\n", "on_load_failure.*:2: SystemExit: 3"),
        (b"x = " + b"-" * 200_000 + b"1\n", "badfile.*:1: (MemoryError|RecursionError)"),
        (b"x = " + b"+".join([b"1"] * 100_000), "badfile.*:1: RecursionError"),
        (b"x = 1\0", "badfile.*:1: "),
        (b"# coding: none\n", "badfile.*:1: SyntaxError"),
        (b"x = '\xff'\n", "badfile.*:1: SyntaxError"),
    ],
)
def test_files_that_are_no_modules(node: Node, project: Project, source: bytes, what: str) -> None:
    project.module("counter", COUNTER)
    pid = node.start(project.get("counter", "Counter"), 1)
    Path(project.path("counter")).write_bytes(source)
    with pytest.raises(ModuleNotLoaded, match=what):
        node.code.load(project.name("counter"))
    assert node.call(pid, "said") == ("one", 1)
