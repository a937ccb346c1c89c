"""What the documentation shows is what happens: every example in it runs here.

Docstrings, the native classes' included, are run as doctests, each in a namespace of its own, so an
example imports what it uses. Python blocks of the Markdown files are run as programs.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.both_loops import TESTS_ON

if TESTS_ON == "asyncio":
    pytest.skip("SABURO_TESTS_ON=asyncio", allow_module_level=True)

import saburo

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for folder in (".", "docs") for page in ROOT.glob(f"{folder}/*.md"))
OTHER_PAGES = [ROOT / "benches" / "README.md", ROOT / "examples" / "recipes" / "README.md"]


def modules() -> Iterator[ModuleType]:
    yield saburo
    for module in pkgutil.iter_modules(saburo.__path__, "saburo."):
        if module.name != "saburo.__main__":
            yield importlib.import_module(module.name)


def loop_methods() -> Iterator[tuple[str, Any]]:
    for name, value in vars(saburo.Loop).items():
        if inspect.isfunction(value) and value.__module__ == "saburo._loop":
            yield f"saburo.Loop.{name}", value


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in modules() for test in finder.find(module, globs={})]
    # The finder takes them for another module's, because Loop says that it is of `saburo`.
    for name, method in loop_methods():
        found += finder.find(method, name, globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_examples_in_the_docstrings_run(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


def test_every_public_name_has_an_example() -> None:
    with_example = {test.name for test in examples()}
    missing = [name for name in public_names() if name not in with_example]
    assert missing == []


def public_names() -> Iterator[str]:
    """What a user may call, by the name the examples are found under."""
    for name in saburo.__all__:
        thing = getattr(saburo, name)
        if inspect.isfunction(thing):
            yield f"{thing.__module__}.{name}"
        if inspect.isclass(thing):
            yield f"saburo.{name}"
    # Those that stand in other files were among the functions there.
    for method, value in vars(saburo.Loop).items():
        if not method.startswith("_") and inspect.isfunction(value):
            of_class = value.__module__ == "saburo._loop"
            yield f"saburo.Loop.{method}" if of_class else f"{value.__module__}.{method}"


def blocks(page: Path, language: str) -> list[str]:
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return block.findall(page.read_text("utf-8"))


PROGRAMS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"), start=1)
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_in_the_pages_run(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^.*# prints: (.*)$", program, re.MULTILINE)
    assert done.stdout.splitlines() == promised


def test_links_within_the_repository_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page in PAGES + OTHER_PAGES
        for target, anchor in link.findall(page.read_text("utf-8"))
        if "://" not in target and not leads_somewhere(page, target, anchor)
    ]
    assert broken == []


def leads_somewhere(page: Path, target: str, anchor: str) -> bool:
    path = page.parent / target if target else page
    return path.exists() and (not anchor or anchor in anchors(path))


def anchors(page: Path) -> list[str]:
    """The names that a link can end in: those of headings, as GitHub makes them, and `id`s."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return names + re.findall(r'<a id="([^"]*)">', text)


def test_every_difference_from_asyncio_can_be_linked_to() -> None:
    page = ROOT / "docs" / "compatibility.md"
    _, *sections = page.read_text("utf-8").split("\n## ")
    differences = [line for section in sections[1:] for line in section.splitlines()]
    rows = [line for line in differences if re.match(r"\| (?!what |as in )|- ", line)]
    assert [row for row in rows if not re.match(r'(\||-) <a id="[a-z0-9-]+"></a>', row)] == []
    names = anchors(page)
    assert sorted(set(names)) == sorted(names)
