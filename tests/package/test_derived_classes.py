"""A program's own class, derived from a task, a future, a handle or a stream.

`isinstance` takes its instances for asyncio's, as other libraries need, and to the program
`self.__class__` is its own class.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind

Loop = asyncio.AbstractEventLoop


class Closed(asyncio.Transport):
    def is_closing(self) -> bool:
        return True


# For each class: an instance.
MAKERS: dict[str, Callable[[Any, Loop], Any]] = {
    "Future": lambda cls, loop: cls(loop=loop),
    "Task": lambda cls, loop: cls(asyncio.sleep(0), loop=loop),
    "Handle": lambda cls, loop: cls(print, (), loop),
    "TimerHandle": lambda cls, loop: cls(1.0, print, (), loop),
    "StreamReader": lambda cls, loop: cls(loop=loop),
    "StreamWriter": lambda cls, loop: cls(Closed(), None, None, loop),
    "StreamReaderProtocol": lambda cls, loop: cls(asyncio.StreamReader(loop=loop), loop=loop),
}

pytestmark = pytest.mark.parametrize("name", MAKERS)


def derived(kind: Kind, name: str) -> Any:
    base: Any = getattr(kind.streams, name)

    class Mine(base):  # type: ignore[misc]
        LIMIT = 5
        made = 0

        def limit(self) -> int:
            return self.__class__.LIMIT

        def count(self) -> int:
            self.__class__.made += 1
            return type(self).made

        def named(self) -> str:
            return f"<{self.__class__.__name__}>"

        def another(self, loop: Loop) -> Any:
            return MAKERS[name](self.__class__, loop)

    return Mine


@pytest.fixture
def made(kind: Kind, loop: Loop, name: str) -> Any:
    """An instance of a derived class."""
    instance = MAKERS[name](derived(kind, name), loop)
    yield instance
    finish(instance, loop)


def finish(instance: Any, loop: Loop) -> None:
    if isinstance(instance, asyncio.Task):
        loop.run_until_complete(instance)


def test_its_own_code_finds_its_own_class(made: Any, loop: Loop, name: str) -> None:
    assert made.limit() == 5
    assert [made.count(), made.count()] == [1, 2]
    assert made.named() == "<Mine>"
    other = made.another(loop)
    assert type(other) is type(made)
    finish(other, loop)
    assert made.__class__ == type(made)  # noqa: E721
    assert type(made) == made.__class__  # noqa: E721
    assert made.__class__ == other.__class__
    assert hash(made.__class__) == hash(type(made))
    assert {type(made): 1}[made.__class__] == 1
    assert {made.__class__: 1}[type(made)] == 1
    assert repr(made.__class__) == repr(type(made))
    assert made.__class__.__mro__ == type(made).__mro__
    assert dir(made.__class__) == dir(type(made))
    assert made.__class__.__module__ == __name__
    assert inspect.isclass(made.__class__)
    cls: Any = made.__class__
    del cls.made
    assert "made" not in vars(type(made))


def test_others_take_it_for_asyncios(made: Any, kind: Kind, name: str) -> None:
    theirs = getattr(asyncio, name)
    assert isinstance(made, theirs)
    assert isinstance(made, getattr(kind.streams, name))
    assert isinstance(made, type(made))
    assert isinstance(made, made.__class__)
    assert issubclass(made.__class__, theirs)
    assert issubclass(made.__class__, made.__class__)
    assert issubclass(type(made), made.__class__)
    assert not isinstance(made, asyncio.Event)
    assert not isinstance(asyncio.Event(), made.__class__)
    match made:
        case theirs():
            pass
        case _:
            pytest.fail("not matched")


def test_functions_are_dispatched_on_either_class(made: Any, name: str) -> None:
    what: Any = functools.singledispatch(lambda _object: "object")
    assert what(made) == "object"
    what.register(getattr(asyncio, name))(lambda _object: "theirs")
    assert what(made) == "theirs"
    what.register(type(made))(lambda _object: "mine")
    assert what(made) == "mine"


def test_a_class_that_derives_further_is_another(kind: Kind, loop: Loop, name: str) -> None:
    mine = derived(kind, name)

    class Further(mine):  # type: ignore[misc, valid-type]
        LIMIT = 6

        def limit(self) -> int:
            return super().limit() + 1  # type: ignore[no-any-return]

    one, two = MAKERS[name](mine, loop), MAKERS[name](Further, loop)
    assert (one.limit(), two.limit()) == (5, 7)
    assert one.__class__ != two.__class__
    assert two.__class__.__bases__ == (mine,)
    assert isinstance(two, one.__class__)
    assert not isinstance(one, two.__class__)
    assert issubclass(two.__class__, one.__class__)
    assert isinstance(two, getattr(asyncio, name))
    for instance in (one, two):
        finish(instance, loop)


class Pickled:
    """Pickled by its class."""

    def __reduce__(self) -> Any:
        return _name_of, (self.__class__,)


def _name_of(cls: type) -> str:
    return cls.__name__


def test_its_class_can_be_pickled_and_copied(
    kind: Kind, loop: Loop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = type("Mine", (Pickled, getattr(kind.streams, name)), {"__module__": __name__})
    monkeypatch.setitem(globals(), "Mine", mine)
    made = MAKERS[name](mine, loop)
    assert pickle.loads(pickle.dumps(made.__class__)) is mine
    assert pickle.loads(pickle.dumps(made)) == "Mine"
    assert copy.copy(made) == "Mine"
    assert copy.deepcopy(made.__class__) == mine
    finish(made, loop)


@pytest.mark.saburo_only
def test_a_class_and_its_face_go_together(kind: Kind, loop: Loop, name: str) -> None:
    import gc
    import weakref

    mine = derived(kind, name)
    made = MAKERS[name](mine, loop)
    ref = weakref.ref(mine)
    assert made.__class__ is made.__class__
    finish(made, loop)
    del made, mine
    gc.collect()
    gc.collect()
    assert ref() is None


def test_exact_instances_have_the_class_of_asyncio(kind: Kind, loop: Loop, name: str) -> None:
    made = MAKERS[name](getattr(kind.streams, name), loop)
    assert made.__class__ is getattr(asyncio, name)
    finish(made, loop)
