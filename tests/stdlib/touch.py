"""Whether a test had anything to do with the loop and classes under test.

A test that passes without having run our loop, or asked for our classes, proves nothing about
them and is counted apart. A loop counts only while the test's own method uses it: what set-up and
tear-down do to a loop is the same for every test. A class counts in set-up, too, where it may be
made into a task factory.
"""

from __future__ import annotations

import functools
import types
import unittest
from collections.abc import Callable
from typing import Any


class Touch:
    """The one record of the process; worker and stage share the instance below."""

    def __init__(self) -> None:
        self.in_method = False
        self.seen = False

    def of_class(self) -> None:
        self.seen = True

    def of_loop(self) -> None:
        if self.in_method:
            self.seen = True

    def forget(self) -> None:
        self.in_method = self.seen = False


touch = Touch()


class WatchedLoop:
    """Mixin of a loop: reaching for its scheduling or configuration is a touch.

    Lookups are watched instead of methods overridden, because a loop may rightly behave
    differently when its methods are overridden. The queries and ``close`` stay out: futures of any
    kind ask ``get_debug`` of a loop they never use.
    """

    _IDLE_QUERIES = frozenset({"close", "get_debug", "is_closed", "time"})

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_" and name not in WatchedLoop._IDLE_QUERIES:
            touch.of_loop()
        return super().__getattribute__(name)


class WatchedAttribute:
    """Descriptor that stands for a class held by a test case: asking for it is a touch."""

    def __init__(self, value: type) -> None:
        self.value = value

    def __get__(self, instance: object, owner: type | None = None) -> type:
        touch.of_class()
        return self.value


def watch_module_attribute(module: types.ModuleType, name: str, value: object) -> None:
    """Put `value` at ``module.name``; every later lookup there is a touch."""

    def look_up(_: types.ModuleType) -> object:
        touch.of_class()
        return value

    # From 3.14 on the interpreter reads such a module's namespace past the property, once the code
    # is warm: the name must not be in there.
    del vars(module)[name]
    kind = type(module.__name__, (type(module),), {name: property(look_up)})
    module.__class__ = kind


def watch_test_case(case: type[unittest.TestCase], classes: tuple[type, ...]) -> None:
    """Make each attribute of `case` that holds one of `classes`, or a subclass, a touch."""
    for name, value in list(vars(case).items()):
        if isinstance(value, type) and issubclass(value, classes):
            setattr(case, name, WatchedAttribute(value))


def watch_test_methods() -> None:
    """Tell `touch` when a test's own method runs."""
    for case in (unittest.TestCase, unittest.IsolatedAsyncioTestCase):
        original: Callable[..., None] = case._callTestMethod  # type: ignore[attr-defined]
        case._callTestMethod = _noting_method(original)  # type: ignore[attr-defined]


def _noting_method(call: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(call)
    def noting_method(*args: Any) -> None:
        touch.in_method = True
        try:
            call(*args)
        finally:
            touch.in_method = False

    return noting_method
