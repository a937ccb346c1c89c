"""Handle and TimerHandle as objects: state, representation, what they hold and let go of."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import sys
import weakref
from typing import Any

import pytest
from support.both_loops import Kind, comparable, turn

Loop = asyncio.AbstractEventLoop


def callback(*_args: Any) -> None:
    pass


class Callable:
    def __call__(self) -> None:
        pass

    def method(self) -> None:
        pass

    def __repr__(self) -> str:
        return "a callable"


def test_a_handle_is_one_of_asyncios(loop: Loop) -> None:
    assert isinstance(loop.call_soon(callback), asyncio.Handle)
    assert isinstance(loop.call_soon_threadsafe(callback), asyncio.Handle)
    assert isinstance(loop.call_later(1, callback), asyncio.TimerHandle)
    assert isinstance(loop.call_later(1, callback), asyncio.Handle)
    assert not isinstance(loop.call_soon(callback), asyncio.TimerHandle)


def test_a_cancelled_handle_does_not_run(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_soon(seen.append, 1)
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    turn(loop)
    assert seen == []


def test_a_handle_can_be_cancelled_from_its_own_batch(loop: Loop) -> None:
    seen: list[int] = []
    loop.call_soon(lambda: handle.cancel())  # type: ignore[has-type]
    handle = loop.call_soon(seen.append, 1)
    turn(loop)
    assert seen == []


def test_a_handle_that_cancels_itself_is_harmless(loop: Loop) -> None:
    seen: list[int] = []

    def run() -> None:
        handle.cancel()
        seen.append(1)

    handle = loop.call_soon(run)
    turn(loop)
    assert seen == [1]


def test_cancelling_lets_go_of_callback_and_arguments(loop: Loop) -> None:
    target, argument = Callable(), Callable()
    gone = [weakref.ref(target), weakref.ref(argument)]
    handle = loop.call_soon(target, argument)  # type: ignore[arg-type]
    del target, argument
    handle.cancel()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_a_handle_nobody_keeps_is_gone_after_it_ran(loop: Loop) -> None:
    target = Callable()
    gone = weakref.ref(target)
    loop.call_soon(target)
    loop.call_later(-1, target)
    del target
    turn(loop)
    gc.collect()
    assert gone() is None


def test_a_handle_can_be_referenced_weakly(loop: Loop) -> None:
    handle = loop.call_soon(callback)
    ref = weakref.ref(handle)
    assert ref() is handle
    turn(loop)
    del handle
    gc.collect()
    assert ref() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context is of 3.12")
def test_a_handle_tells_its_context(loop: Loop) -> None:
    context = contextvars.copy_context()
    assert loop.call_soon(callback, context=context).get_context() is context  # type: ignore[attr-defined]
    timer = loop.call_later(1, callback, context=context)
    assert timer.get_context() is context  # type: ignore[attr-defined]
    assert isinstance(loop.call_soon(callback).get_context(), contextvars.Context)  # type: ignore[attr-defined]


def representations(loop: Loop) -> list[str]:
    cancelled = loop.call_soon(callback, 1)
    cancelled.cancel()
    late = loop.call_at(12.25, callback)
    late.cancel()
    handles = [
        loop.call_soon(callback),
        loop.call_soon(callback, 1, "two", [3]),
        loop.call_soon(Callable()),
        loop.call_soon(Callable().method),
        loop.call_soon(functools.partial(callback, 1, a=2)),  # type: ignore[call-arg]
        loop.call_soon(functools.partial(functools.partial(callback, 1), 2), 3),
        loop.call_soon(print, "x"),
        loop.call_soon(lambda: None),
        loop.call_soon([].append, 1),  # type: ignore[arg-type]
        loop.call_at(12.25, callback, 1),
        cancelled,
        late,
    ]
    return [comparable(repr(handle)) for handle in handles]


@pytest.mark.parametrize("debug", [False, True])
def test_the_representation_is_that_of_asyncio(kind: Kind, loop: Loop, debug: bool) -> None:
    reference = asyncio.new_event_loop()
    loop.set_debug(debug)
    reference.set_debug(debug)
    assert representations(loop) == representations(reference)
    reference.close()


def test_the_representation_after_the_run_is_that_of_asyncio(loop: Loop) -> None:
    reference = asyncio.new_event_loop()
    texts = []
    for each in (reference, loop):
        handle = each.call_soon(callback, 1)
        turn(each)
        texts.append(comparable(repr(handle)))
        handle.cancel()
        texts.append(comparable(repr(handle)))
    reference.close()
    assert texts[:2] == texts[2:]


def test_a_handle_made_by_hand_runs_when_asked(loop: Loop) -> None:
    """aiohttp's and others' tests make asyncio.Handle themselves; ours need not allow it."""
    seen: list[int] = []
    asyncio.Handle(seen.append, (1,), loop)._run()
    assert seen == [1]


def test_handles_are_made_with_keywords_as_well(kind: Kind, loop: Loop) -> None:
    classes: Any = asyncio
    if kind.is_saburo:
        import saburo

        classes = saburo
    seen: list[int] = []
    context = contextvars.copy_context()
    handle = classes.Handle(callback=seen.append, args=(1,), loop=loop, context=context)
    timer = classes.TimerHandle(2.5, seen.append, (2,), loop=loop)
    handle._run()
    timer._run()
    assert seen == [1, 2]
    assert timer.when() == 2.5
    if sys.version_info >= (3, 12):
        assert handle.get_context() is context
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'loop'"):
        classes.Handle(callback, ())


def test_private_names_people_use_are_there(loop: Loop) -> None:
    """`_cancelled`, `_run` and `_callback` are read by debuggers and by anyio's tests."""
    handle = loop.call_soon(callback, 1)
    assert handle._cancelled is False
    assert handle._callback is callback  # type: ignore[attr-defined]
    assert handle._args == (1,)
    handle.cancel()
    assert handle._cancelled is True
