"""The import statements keep to the layers: downwards only, no cycle, nothing slow while a module is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "stubsim"

# Lowest first; a module may import from its own row and from the rows above it in this list.
LAYERS = (
    ("rows",),
    ("errors", "named_files", "printable", "stream", "trace", "extent", "digests", "version", "schemas", "wording"),
    ("formats",),
    ("chid", "uki"),
    ("hosts", "machine"),
    ("uefi",),
    ("systemd",),
    ("shim", "loader", "stub", "linux", "handover"),
    ("start", "front", "entry_image", "result", "chain", "after_update", "doubt", "supposed", "simulation"),
    ("explain", "lint", "fleet", "testing"),
    ("views",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# 5 to 120 ms of start-up each, and some are extras: imported by the function that needs them. A row of typing's costs a
# third of a millisecond more than one of `stubsim.rows`.
SLOW = frozenset(
    {
        "pefile",
        "rich",
        "elftools",
        "cryptography",
        "sevsnpmeasure",
        "tomlkit",
        "multiprocessing",
        "concurrent",
        "pyarrow",
        "duckdb",
        "adbc_driver_manager",
        "pyspark",
        "tarfile",
        "typing.NamedTuple",
    }
)


class Import(NamedTuple):
    """One imported name; ``names`` are the modules it may mean, the longest first."""

    line: int
    names: tuple[str, ...]
    in_function: bool
    type_checking: bool

    @property
    def on_load(self) -> bool:
        return not (self.in_function or self.type_checking)


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(source: str, module: str, *, package: bool = False) -> Iterator[Import]:
    """Every import statement of a module; relative ones are resolved, ``package`` says that it is an __init__."""
    parents = module.split(".") if package else module.split(".")[:-1]

    def walk(nodes: list[ast.AST], in_function: bool, type_checking: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, (alias.name,), in_function, type_checking)
            elif isinstance(node, ast.ImportFrom):
                above = parents[: len(parents) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    yield Import(node.lineno, (f"{base}.{alias.name}", base), in_function, type_checking)
            elif isinstance(node, ast.If) and is_type_checking(node.test):
                yield from walk(list(node.body), in_function, True)
                yield from walk(list(node.orelse), in_function, type_checking)
            else:
                inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(list(ast.iter_child_nodes(node)), inside, type_checking)

    return walk([ast.parse(source)], False, False)


def sources() -> dict[str, str]:
    """Dotted module name -> source, packages with a closing ``.__init__``."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def top(module: str) -> str:
    """The name in the table of layers; the package itself, which only re-exports, has none."""
    return module.split(".")[1] if "." in module else ""


def problems(tree: Mapping[str, str]) -> list[str]:
    """What the modules of the tree do against the rules, one line each."""
    modules = {name.removesuffix(".__init__") for name in tree}
    found: list[str] = []
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, source in tree.items():
        module = name.removesuffix(".__init__")
        if module != "stubsim" and top(module) not in RANK:
            found.append(f"{module}: in no layer")
            continue
        for statement in imports(source, module, package=name.endswith(".__init__")):
            if statement.on_load and SLOW & {statement.names[0], statement.names[-1].split(".")[0]}:
                slow = statement.names[0 if statement.names[0] in SLOW else -1]
                found.append(f"{module}:{statement.line}: {slow} imported at module level")
            target = next((candidate for candidate in statement.names if candidate in modules), None)
            if target is None:
                continue
            # The package is the public face, and no part of a circle for its types.
            if not (statement.type_checking and module == "stubsim"):
                edges[module].add(target)
            # The package is the public face: it names things of every layer, so it may only do that lazily.
            if module == "stubsim":
                if statement.on_load and target != "stubsim.version":
                    found.append(f"{module}:{statement.line}: {target} imported at module level")
            elif target == "stubsim" or (top(target) in RANK and RANK[top(target)] > RANK[top(module)]):
                found.append(f"{module}:{statement.line}: imports upwards: {target}")
    cycle = find_cycle(edges)
    if cycle:
        found.append("cycle: " + " -> ".join(cycle))
    return found


def find_cycle(edges: Mapping[str, set[str]]) -> list[str]:
    """One cycle as the path that closes it, from its first name in the alphabet; or an empty list."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            ring = path[path.index(node) :]
            turn = ring.index(min(ring))
            return [*ring[turn:], *ring[:turn], ring[turn]]
        if node in done:
            return []
        for following in sorted(edges.get(node, ())):
            cycle = visit(following, [*path, node])
            if cycle:
                return cycle
        done.add(node)
        return []

    for start in sorted(edges):
        cycle = visit(start, [])
        if cycle:
            return cycle
    return []


def test_the_project_keeps_to_its_layers():
    tree = sources()
    assert "stubsim.errors" in tree
    assert problems(tree) == []


BASE = {
    "stubsim.__init__": (
        "if TYPE_CHECKING:\n    from stubsim.simulation import boot\nfrom stubsim.version import __version__\n"
    ),
    "stubsim.version": "__version__ = '1'\n",
    "stubsim.errors": "",
    "stubsim.formats.__init__": "",
    "stubsim.formats.pe": "from stubsim.errors import StubsimError\ndef f():\n    import pefile\n",
    "stubsim.uki": "from stubsim.formats import pe\n",
    "stubsim.simulation": "from .uki import Uki\n",
    "stubsim.cli.__init__": "",
    "stubsim.cli.boot": "from stubsim.version import __version__\ndef f():\n    from stubsim.simulation import boot\n",
}


def test_a_tree_without_faults_has_none():
    assert problems(BASE) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("stubsim.errors", "import stubsim.simulation", "stubsim.errors:1: imports upwards: stubsim.simulation"),
        ("stubsim.errors", "from . import uki", "stubsim.errors:1: imports upwards: stubsim.uki"),
        ("stubsim.errors", "from stubsim import simulation", "stubsim.errors:1: imports upwards: stubsim.simulation"),
        ("stubsim.errors", "from stubsim import Uki", "stubsim.errors:1: imports upwards: stubsim"),
        ("stubsim.formats.pe", "from ..uki import Uki", "stubsim.formats.pe:1: imports upwards: stubsim.uki"),
        ("stubsim.formats.__init__", "from ..uki import Uki", "stubsim.formats:1: imports upwards: stubsim.uki"),
        ("stubsim.uki", "def f():\n    import stubsim.cli.boot", "stubsim.uki:2: imports upwards: stubsim.cli.boot"),
        (
            "stubsim.uki",
            "if TYPE_CHECKING:\n    import stubsim.simulation",
            "stubsim.uki:2: imports upwards: stubsim.simulation",
        ),
        ("stubsim.views.text", "import rich.table", "stubsim.views.text:1: rich.table imported at module level"),
        (
            "stubsim.uki",
            "try:\n    from elftools import elf\nexcept ImportError:\n    pass",
            "stubsim.uki:2: elftools imported at module level",
        ),
        ("stubsim.uki", "from typing import NamedTuple", "stubsim.uki:1: typing.NamedTuple imported at module level"),
        ("stubsim.uki", "class A:\n    import cryptography", "stubsim.uki:2: cryptography imported at module level"),
        (
            "stubsim.uki",
            "if TYPE_CHECKING:\n    pass\nelse:\n    import pefile",
            "stubsim.uki:4: pefile imported at module level",
        ),
        (
            "stubsim.__init__",
            "from stubsim.simulation import boot",
            "stubsim:1: stubsim.simulation imported at module level",
        ),
        ("stubsim.helpers", "", "stubsim.helpers: in no layer"),
    ],
)
def test_a_fault_is_found(module: str, source: str, expected: str):
    assert expected in problems({**BASE, module: source})


def test_an_upward_import_that_closes_a_circle_is_a_cycle_too():
    found = problems({**BASE, "stubsim.formats.pe": "def f():\n    from stubsim.uki import Uki\n"})
    assert "cycle: stubsim.formats.pe -> stubsim.uki -> stubsim.formats.pe" in found


def test_a_cycle_within_a_layer_is_found_also_where_only_types_close_it():
    circle = ["cycle: stubsim.formats.fdt -> stubsim.formats.pe -> stubsim.formats.fdt"]
    pair = {"stubsim.formats.pe": "from . import fdt\n", "stubsim.formats.fdt": "from stubsim.formats import pe\n"}
    assert problems({**BASE, **pair}) == circle
    pair["stubsim.formats.fdt"] = "if TYPE_CHECKING:\n    from stubsim.formats import pe\n"
    assert problems({**BASE, **pair}) == circle
