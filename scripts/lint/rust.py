"""The modules of a crate and the paths between them, read from its source.

A module is a tuple of names: `("task", "step")` is `crate::task::step`. A path that ends in a name
which a module has by a `use` counts for the module that the name comes from. What is compiled for
tests only is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Module: TypeAlias = tuple[str, ...]
Segments: TypeAlias = tuple[str, ...]

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<text>[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|[^'\\])')
    |(?P<word>'?\w+|::|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Mention:
    """A path as it is written: in this line of a file, which is in this module."""

    file: Path
    line: int
    module: Module
    segments: Segments


@dataclass(frozen=True)
class Use:
    """One module has a path into another."""

    file: Path
    line: int
    user: Module
    used: Module


@dataclass
class Crate:
    """What stands in the files below `src`."""

    modules: set[Module] = field(default_factory=set)
    # The nearest module that has a file of its own.
    files: set[Module] = field(default_factory=set)
    paths: list[Mention] = field(default_factory=list)
    # What each module calls by another module's name for it.
    names: dict[tuple[Module, str], Segments] = field(default_factory=dict)

    def uses(self) -> Iterator[Use]:
        """Every path from one file into another."""
        for path in self.paths:
            used = self.look_up(path.module, path.segments)
            if used is None:
                continue
            user, used = self._with_file(path.module), self._with_file(used)
            if user != used:
                yield Use(path.file, path.line, user, used)

    def look_up(self, module: Module, segments: Segments, depth: int = 0) -> Module | None:
        """The module that has what a path names; None if it is in another crate."""
        first, *rest = segments
        if first == "crate":
            module = ()
        elif first == "super":
            module = module[:-1]
        elif first != "self":
            if (*module, first) not in self.modules:
                return None
            module = (*module, first)
        for index, name in enumerate(rest):
            if name == "super":
                module = module[:-1]
            elif (*module, name) in self.modules:
                module = (*module, name)
            elif (module, name) in self.names and depth < 8:
                came_from = self.look_up(module, self.names[module, name], depth + 1)
                if came_from is None:
                    return module
                after = tuple(rest[index + 1 :])
                return self.look_up(came_from, ("self", *after), depth + 1)
            else:
                return module
        return module

    def _with_file(self, module: Module) -> Module:
        while module not in self.files:
            module = module[:-1]
        return module


def read_crate(src: Path) -> Crate:
    crate = Crate()
    for file in sorted(src.rglob("*.rs")):
        module = file.relative_to(src).with_suffix("").parts
        if module[-1] in ("mod", "lib", "main"):
            module = module[:-1]
        crate.modules.add(module)
        crate.files.add(module)
        _Reader(crate, file, module).read()
    return crate


class _Reader:
    """Reads one file into a crate."""

    def __init__(self, crate: Crate, file: Path, module: Module) -> None:
        self.crate, self.file = crate, file
        self.tokens = list(tokens(file.read_text()))
        self.at = 0
        # The module at each open brace, the file's own at the bottom.
        self.scopes = [module]

    def read(self) -> None:
        while self.at < len(self.tokens):
            word = self._word()
            if word == "#" and self._is_for_tests():
                self._skip_item()
            elif word == "use":
                line = self.tokens[self.at][1]
                self.at += 1
                self._use_tree((), line)
            elif word in ("crate", "super", "self") and self._word(1) == "::":
                self._path()
            else:
                self._brace(word)
                self.at += 1

    def _word(self, ahead: int = 0) -> str:
        index = self.at + ahead
        return self.tokens[index][0] if index < len(self.tokens) else ""

    def _brace(self, word: str) -> None:
        if word == "{":
            module = self.scopes[-1]
            if self.at >= 2 and self.tokens[self.at - 2][0] == "mod":
                module = (*module, self.tokens[self.at - 1][0])
                self.crate.modules.add(module)
            self.scopes.append(module)
        elif word == "}":
            self.scopes.pop()

    def _is_for_tests(self) -> bool:
        words = [self._word(ahead) for ahead in range(12)]
        if words[1:4] != ["[", "cfg", "("] or "]" not in words:
            return False
        inside = words[4 : words.index("]")]
        return "test" in inside and "not" not in inside[: inside.index("test")]

    def _skip_item(self) -> None:
        """Goes past an item with its attributes: to its `;` or over its braces."""
        depth = 0
        while self.at < len(self.tokens):
            word = self._word()
            self.at += 1
            if word in ("(", "[", "{"):
                depth += 1
            elif word in (")", "]", "}"):
                depth -= 1
                if word == "}" and depth == 0:
                    return
            elif word == ";" and depth == 0:
                return

    def _path(self) -> None:
        line = self.tokens[self.at][1]
        segments = [self._word()]
        self.at += 1
        while self._word() == "::" and re.fullmatch(r"\w+", self._word(1)):
            segments.append(self._word(1))
            self.at += 2
        self._add(tuple(segments), line)

    def _use_tree(self, prefix: Segments, line: int) -> None:
        """Reads `a::{b, c as d}`, which may stand in another such tree."""
        segments = prefix
        while True:
            word = self._word()
            self.at += 1
            if word == "{":
                while self._word() != "}":
                    self._use_tree(segments, line)
                    if self._word() == ",":
                        self.at += 1
                self.at += 1
                return
            if word == "*":
                self._add(segments, line)
                return
            if word != "::":  # which also stands before the name of another crate
                segments = (*segments, word)
            if word != "::" and self._word() != "::":
                break
        if segments[-1] == "self" and len(segments) > 1:
            segments = segments[:-1]
        name = segments[-1]
        if self._word() == "as":
            name = self._word(1)
            self.at += 2
        self._add(segments, line)
        self.crate.names.setdefault((self.scopes[-1], name), segments)

    def _add(self, segments: Segments, line: int) -> None:
        self.crate.paths.append(Mention(self.file, line, self.scopes[-1], segments))


def tokens(source: str) -> Iterator[tuple[str, int]]:
    """The words and signs of a Rust source with their lines, without comments and texts."""
    line = 1
    for match in TOKEN.finditer(source):
        if match["word"]:
            yield match["word"], line
        line += match[0].count("\n")
