"""No circle between saburo-core's files, nor between those of the Python package.

Of Rust files those of one folder are compared, a folder counting as one. What a file has in common
with the folder it is in does not count: a `mod.rs` is the folder's front page.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from scripts.lint.graph import Exempt, Graph, circles, way, without
from scripts.lint.rust import Module, read_crate

CORE = "crates/saburo-core/src"
PACKAGE = "python/saburo"

EXEMPT: tuple[Exempt, ...] = ()
"""The arrows that close a circle all the same. One that closes none is an error, too."""


def problems(root: Path, exempt: tuple[Exempt, ...] = EXEMPT) -> Iterator[str]:
    graphs = {f"{CORE}/{'/'.join(folder)}": graph for folder, graph in files_of_core(root).items()}
    graphs[PACKAGE] = modules_of_package(root)
    for folder, graph in graphs.items():
        for circle in circles(without(graph, exempt)):
            yield f"{folder.rstrip('/')}: a circle: {' -> '.join(circle)}"
    for one in exempt:
        others = tuple(other for other in exempt if other != one)
        if not any(
            one.used in graph.get(one.user, ()) and way(without(graph, others), one.used, one.user)
            for graph in graphs.values()
        ):
            yield (
                f"scripts/lint/circles.py: `{one.user}` -> `{one.used}` closes no circle: "
                "take it out of EXEMPT"
            )


def files_of_core(root: Path) -> dict[Module, Graph]:
    """For each folder, who uses whom of what is right in it."""
    folders: dict[Module, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for use in read_crate(root / CORE).uses():
        for depth, (user, used) in enumerate(zip(use.user, use.used, strict=False)):
            if user != used:
                folders[use.user[:depth]][user].add(used)
                break
    return {**folders}


def modules_of_package(root: Path) -> Graph:
    """Who imports whom, at import or later; imports for the type checker aside."""
    package = root / PACKAGE
    graph: dict[str, set[str]] = {}
    for file in sorted(package.glob("*.py")):
        imports = _Imports()
        imports.visit(ast.parse(file.read_text()))
        graph[file.stem] = imports.found
    # A name that is no module is one of the package's own.
    return {
        user: {used if used in graph else "__init__" for used in uses if used != "_saburo"}
        for user, uses in graph.items()
    }


class _Imports(ast.NodeVisitor):
    """The package's modules that a module imports, wherever in it."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            package, _, module = alias.name.partition(".")
            if package == "saburo":
                self.found.add(module or "__init__")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        package, _, module = (node.module or "").partition(".")
        if node.level == 1:
            package, module = "saburo", node.module or ""
        if package != "saburo":
            return
        if module:
            self.found.add(module)
        else:
            self.found.update(alias.name for alias in node.names)
