"""No task vanishes while it is unfinished, and none fails in silence."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from support.both_loops import Kind, run_until, turn

Loop = asyncio.AbstractEventLoop


def test_a_forgotten_task_runs_to_its_end(loop: Loop) -> None:
    seen: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        seen.append(1)

    loop.create_task(work())
    gc.collect()
    turn(loop)
    gc.collect()
    run_until(loop, lambda: seen == [1])


@pytest.mark.saburo_only
def test_a_task_that_only_a_cycle_refers_to_is_kept(loop: Loop, reports: list[Any]) -> None:
    """asyncio lets the collector take it in the middle of its work, a well-known trap."""
    seen: list[str] = []
    wake: list[Any] = []

    async def work() -> None:
        future = loop.create_future()
        wake.append(weakref.ref(future))
        await future
        seen.append("woken")

    loop.create_task(work())
    turn(loop)
    gc.collect()
    future = wake[0]()
    assert future is not None
    future.set_result(None)
    del future
    turn(loop, 2)
    assert seen == ["woken"]
    assert reports == []


@pytest.mark.saburo_only
def test_finished_background_tasks_are_let_go(kind: Kind, loop: Loop) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    refs = [weakref.ref(loop.create_task(work())) for _ in range(100)]
    assert all(ref() is not None for ref in refs)
    turn(loop, 4)
    gc.collect()
    assert all(ref() is None for ref in refs)


@pytest.mark.saburo_only
def test_a_failing_background_task_is_reported_when_it_fails(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    """asyncio reports at collection; here nobody refers to the task, which is the usual case."""
    error = LookupError("in the background")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    loop.create_task(fail(), name="worker")
    turn(loop, 4)
    (context,) = reports
    assert context["exception"] is error
    assert context["message"] == "Task exception was never retrieved"
    assert "worker" in repr(context["task" if "task" in context else "future"])


def test_a_failure_nobody_retrieves_is_reported_once_in_the_end(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    async def fail(number: int) -> None:
        raise LookupError(number)

    for number in range(20):
        loop.create_task(fail(number))
    turn(loop, 3)
    gc.collect()
    assert [context["exception"].args[0] for context in reports] == list(range(20))
    gc.collect()
    turn(loop)
    assert len(reports) == 20


def test_a_failure_that_is_awaited_is_not_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        task = asyncio.create_task(fail())
        for _ in range(5):
            await asyncio.sleep(0)
        with pytest.raises(LookupError):
            await task
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        assert isinstance(task.exception(), LookupError)
        del task

    loop.run_until_complete(main())
    gc.collect()
    turn(loop, 2)
    assert reports == []


def test_failures_inside_gather_are_not_reported(loop: Loop, reports: list[dict[str, Any]]) -> None:
    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await asyncio.gather(fail(), fail())
        results = await asyncio.gather(fail(), fail(), return_exceptions=True)
        assert len(results) == 2
        with pytest.raises(LookupError):
            await asyncio.wait_for(fail(), 10)
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())

    loop.run_until_complete(main())
    gc.collect()
    turn(loop, 2)
    assert reports == []


def test_a_cancelled_background_task_is_not_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        task.cancel()

    loop.run_until_complete(main())
    turn(loop, 3)
    gc.collect()
    assert reports == []


def test_the_report_names_the_creation_site_in_debug_mode(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    loop.set_debug(True)

    async def fail() -> None:
        raise LookupError

    loop.create_task(fail())
    turn(loop, 3)
    gc.collect()
    (context,) = reports
    assert context["source_traceback"][-1].name == (
        "test_the_report_names_the_creation_site_in_debug_mode"
    ) or any(
        frame.name == "test_the_report_names_the_creation_site_in_debug_mode"
        for frame in context["source_traceback"]
    )


def test_a_closed_loop_lets_go_of_its_unfinished_tasks(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    """While somebody still has the loop: nothing will ever come of them."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await loop.create_future()
        finally:
            seen.append("finalized")

    reference = weakref.ref(loop.create_task(work()))
    turn(loop)
    loop.close()
    gc.collect()
    assert seen == ["finalized"]
    assert [context["message"] for context in reports] == ["Task was destroyed but it is pending!"]
    reports.clear()  # the report has the task, which is seen once more for that
    gc.collect()
    assert reference() is None
    assert asyncio.all_tasks(loop) == set()


def test_a_closed_loop_lists_the_tasks_that_somebody_has(loop: Loop, reports: list[Any]) -> None:
    async def work() -> None:
        await loop.create_future()

    task = loop.create_task(work())
    turn(loop)
    loop.close()
    gc.collect()
    assert asyncio.all_tasks(loop) == {task}
    assert reports == []
    del task
    gc.collect()
    assert len(reports) == 1
    reports.clear()
    gc.collect()
    assert asyncio.all_tasks(loop) == set()


def test_a_run_ends_its_background_tasks(kind: Kind) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("cancelled at the end")

    async def main() -> None:
        asyncio.create_task(work())
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=kind.new_loop) as runner:
        runner.run(main())
    assert seen == ["cancelled at the end"]
