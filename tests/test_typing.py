"""Our classes among asyncio's: isinstance, subclassing, weak references, the call graph."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import Any

import pytest
from both_loops import Kind, turn

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def classes(kind: Kind) -> Any:
    """A module with Future and Task: asyncio's or ours."""
    if kind.is_saburo:
        import saburo

        return saburo
    return asyncio


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


def test_isinstance_and_match_see_asyncios_classes(loop: Loop) -> None:
    import functools

    @functools.singledispatch
    def named(_thing: Any) -> str:
        return "something else"

    named.register(asyncio.Future, lambda _thing: "future")
    named.register(asyncio.Task, lambda _thing: "task")
    future, task = loop.create_future(), loop.create_task(value(1))
    assert named(future) == "future"
    assert named(task) == "task"
    match future:
        case asyncio.Task():
            raise AssertionError
        case asyncio.Future():
            pass
        case _:
            raise AssertionError
    loop.run_until_complete(task)


def test_a_future_class_can_be_called_and_subclassed(loop: Loop, classes: Any) -> None:
    class Mine(classes.Future):  # type: ignore[misc]
        def __init__(self, *, loop: Loop, mark: str) -> None:
            super().__init__(loop=loop)
            self.mark = mark

        def set_result(self, result: Any) -> None:
            super().set_result((self.mark, result))

    future = Mine(loop=loop, mark="mine")
    loop.call_soon(future.set_result, 1)
    assert isinstance(future, asyncio.Future)
    assert loop.run_until_complete(future) == ("mine", 1)
    ref = weakref.ref(future)
    del future
    gc.collect()
    turn(loop)
    assert ref() is None


def test_a_task_class_can_be_called_and_subclassed(loop: Loop, classes: Any) -> None:
    seen: list[str] = []

    class Mine(classes.Task):  # type: ignore[misc]
        def cancel(self, msg: Any = None) -> bool:
            seen.append("cancel")
            return bool(super().cancel(msg))

    task = Mine(value(2), loop=loop, name="mine")
    assert isinstance(task, asyncio.Task)
    assert task.get_name() == "mine"
    assert loop.run_until_complete(task) == 2
    sleeper = Mine(asyncio.sleep(3600), loop=loop)
    turn(loop)
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(sleeper)
    assert seen == ["cancel"]


def test_a_future_without_a_loop_belongs_to_the_running_one(loop: Loop, classes: Any) -> None:
    async def main() -> None:
        assert classes.Future().get_loop() is loop
        task = classes.Task(value(1))
        assert task.get_loop() is loop
        await task

    loop.run_until_complete(main())


def test_generic_aliases(classes: Any) -> None:
    assert classes.Future[int]
    assert classes.Task[int]


def test_finalizers_of_subclasses_run(loop: Loop, classes: Any) -> None:
    seen: list[str] = []

    class Mine(classes.Future):  # type: ignore[misc]
        def __del__(self) -> None:
            seen.append("deleted")

    for _ in range(5):
        future = Mine(loop=loop)
        del future
    gc.collect()
    assert seen == ["deleted"] * 5


def test_mixing_classes_of_several_loops_kinds(loop: Loop) -> None:
    async def main() -> list[Any]:
        theirs: asyncio.Future[Any] = asyncio.Future()
        ours = loop.create_future()
        task = asyncio.Task(value("task"))
        loop.call_soon(theirs.set_result, "theirs")
        loop.call_soon(ours.set_result, "ours")
        return await asyncio.gather(theirs, ours, task, value("coroutine"))  # type: ignore[return-value]

    assert loop.run_until_complete(main()) == ["theirs", "ours", "task", "coroutine"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are of 3.14")
def test_the_call_graph_shows_who_waits_for_whom(loop: Loop) -> None:
    graphs: list[str] = []

    async def inner() -> None:
        graphs.append(asyncio.format_call_graph())  # type: ignore[attr-defined]

    async def middle() -> None:
        await inner()

    async def outer() -> None:
        await asyncio.create_task(middle(), name="middle task")

    loop.run_until_complete(loop.create_task(outer(), name="outer task"))
    (graph,) = graphs
    assert "middle task" in graph
    assert "Awaited by" in graph
    assert "outer task" in graph
    assert graph.index("inner") < graph.index("outer task")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are of 3.14")
def test_the_call_graph_passes_through_gather_and_task_groups(loop: Loop) -> None:
    graphs: list[str] = []

    async def look() -> None:
        await asyncio.sleep(0)
        graphs.append(asyncio.format_call_graph())  # type: ignore[attr-defined]

    async def outer() -> None:
        await asyncio.gather(look(), asyncio.sleep(0))
        async with asyncio.TaskGroup() as group:
            group.create_task(look())

    loop.run_until_complete(loop.create_task(outer(), name="outer task"))
    assert len(graphs) == 2
    for graph in graphs:
        assert "outer task" in graph
