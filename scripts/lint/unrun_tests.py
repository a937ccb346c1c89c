"""Rust tests are where `make test-rust` runs them: a test that no command runs proves nothing."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.lint.rust import tokens

EXEMPT: dict[str, str] = {}
"""Files whose tests may stand unrun for now, and why. One that has none is an error, too."""


def problems(root: Path, exempt: Mapping[str, str] = EXEMPT) -> Iterator[str]:
    found = dict(unrun(root))
    for place, why in found.items():
        if place.rpartition(":")[0] not in exempt:
            yield f"{place}: no command runs this test: {why}"
    for file in sorted({*exempt} - {place.rpartition(":")[0] for place in found}):
        yield f"scripts/lint/unrun_tests.py: {file} has no unrun test: take it out of EXEMPT"


def unrun(root: Path) -> Iterator[tuple[str, str]]:
    """The places of tests that no command runs, and why none does."""
    run = crates_run(root)
    workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
    for member in workspace["members"]:
        manifest = tomllib.loads((root / member / "Cargo.toml").read_text())
        name = manifest["package"]["name"]
        if name not in run:
            why = f"`make test-rust` does not test {name}"
            folder = root / member
        elif manifest.get("lib", {}).get("test") is False:
            why = f"{name}'s Cargo.toml says `test = false`"
            folder = root / member / "src"
        else:
            continue
        for file in sorted(folder.rglob("*.rs")):
            for line in tests_in(file):
                yield f"{file.relative_to(root)}:{line}", why


def crates_run(root: Path) -> set[str]:
    """The packages whose every test `make test-rust` runs, from its recipe."""
    recipe = re.search(
        r"^test-rust:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.MULTILINE
    )
    if recipe is None:
        raise ValueError("the Makefile has no test-rust")
    found: set[str] = set()
    for command in recipe[1].replace("\\\n", " ").splitlines():
        words = shlex.split(command)
        if "test" in words and "--test" not in words and "--lib" not in words:
            found.update(
                words[at + 1] for at, word in enumerate(words) if word in ("-p", "--package")
            )
    return found


def tests_in(file: Path) -> Iterator[int]:
    """The lines of `#[test]` and of `#[cfg(test)]`, the latter's content included."""
    found = list(tokens(file.read_text()))
    for at, (word, line) in enumerate(found):
        if word == "#" and [each for each, _ in found[at : at + 2]] == ["#", "["]:
            attribute = [each for each, _ in found[at + 2 : at + 12]]
            if "]" not in attribute:
                continue
            attribute = attribute[: attribute.index("]")]
            if attribute == ["test"] or (
                attribute[0] in ("cfg", "cfg_attr") and "test" in attribute
            ):
                yield line
