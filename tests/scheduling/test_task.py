"""Tasks: what they are given, what they give back, and what a coroutine may yield to them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import threading
import types
import weakref
from collections.abc import Generator
from typing import Any

import pytest
from support.both_loops import Kind, comparable, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


async def value(result: Any) -> Any:
    return result


async def later(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def fail(error: BaseException) -> None:
    raise error


def test_a_task_is_one_of_asyncios(loop: Loop) -> None:
    task = loop.create_task(value(1))
    assert isinstance(task, asyncio.Task)
    assert isinstance(task, asyncio.Future)
    assert asyncio.isfuture(task)
    assert not asyncio.iscoroutine(task)
    assert asyncio.ensure_future(task) is task
    assert task.get_loop() is loop
    assert loop.run_until_complete(task) == 1


@pytest.mark.parametrize(
    "result",
    [None, 0, (), (1, 2), ((),), ValueError("v"), StopIteration(1), StopIteration, BaseException],
    ids=repr,
)
@pytest.mark.parametrize("how", [value, later])
def test_any_object_can_be_a_result(loop: Loop, result: Any, how: Any) -> None:
    """A tuple or an exception must not be unpacked or raised on its way through StopIteration."""

    async def outer() -> Any:
        return [await how(result), await loop.create_task(how(result))]

    inner, task = loop.run_until_complete(outer())
    assert inner is result
    assert task is result
    assert loop.run_until_complete(how(result)) is result


def test_the_exception_that_ends_a_task_is_what_its_waiter_gets(loop: Loop) -> None:
    error = LookupError("the very same")

    async def outer() -> None:
        task = loop.create_task(fail(error))
        with pytest.raises(LookupError) as caught:
            await task
        assert caught.value is error
        assert task.exception() is error

    loop.run_until_complete(outer())


def test_a_stop_iteration_cannot_leave_a_coroutine(loop: Loop) -> None:
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        loop.run_until_complete(fail(StopIteration(1)))


def test_a_generator_that_raises_stop_iteration_ends_with_a_value(loop: Loop) -> None:
    @types.coroutine
    def old() -> Generator[Any, Any, str]:
        yield
        yield
        return "returned"

    async def outer() -> str:
        return await old()

    assert loop.run_until_complete(outer()) == "returned"


def test_a_bare_yield_gives_the_others_a_turn(loop: Loop) -> None:
    seen: list[str] = []

    @types.coroutine
    def pause() -> Generator[None, None, None]:
        yield

    async def walk(name: str) -> None:
        for _ in range(2):
            seen.append(name)
            await pause()

    async def outer() -> None:
        await asyncio.gather(walk("a"), walk("b"))

    loop.run_until_complete(outer())
    assert seen == ["a", "b", "a", "b"]


@pytest.mark.parametrize("count", [1, 3])
def test_bad_yields_are_refused_as_in_asyncio(loop: Loop, count: int) -> None:
    @types.coroutine
    def bad(what: Any) -> Generator[Any, Any, None]:
        for _ in range(count):
            try:
                yield what
            except RuntimeError as error:
                errors.append(error)

    async def outer(loop: Loop) -> None:
        await bad(42)
        await bad("text")
        await bad(loop.create_future())  # yielded without `await`
        await bad(value)

    results = []
    reference = asyncio.new_event_loop()
    for each in (loop, reference):
        errors: list[RuntimeError] = []
        each.run_until_complete(outer(each))
        results.append([comparable(str(error)) for error in errors])
    reference.close()
    assert results[0] == results[1]
    assert len(results[0]) == 4 * count


def test_a_task_cannot_wait_for_itself(loop: Loop) -> None:
    async def outer() -> None:
        task = asyncio.current_task()
        assert task
        await task

    with pytest.raises(RuntimeError, match=r"^Task cannot await on itself: <Task "):
        loop.run_until_complete(outer())


def test_a_future_of_another_loop_is_refused(loop: Loop) -> None:
    other = asyncio.new_event_loop()
    future: asyncio.Future[None] = other.create_future()

    async def outer() -> None:
        await future

    with pytest.raises(RuntimeError, match=r"got Future .* attached to a different loop"):
        loop.run_until_complete(outer())
    other.close()


def test_results_cannot_be_set_from_outside(loop: Loop) -> None:
    task = loop.create_task(value(1))
    with pytest.raises(RuntimeError, match="^Task does not support set_result operation$"):
        task.set_result(2)
    with pytest.raises(RuntimeError, match="^Task does not support set_exception operation$"):
        task.set_exception(ValueError())
    loop.run_until_complete(task)


def test_tasks_have_names(loop: Loop) -> None:
    one, two = loop.create_task(value(1)), loop.create_task(value(2))
    named = loop.create_task(value(3), name="worker")
    odd = loop.create_task(value(4), name=42)  # type: ignore[arg-type]
    numbers = [int(task.get_name().removeprefix("Task-")) for task in (one, two)]
    assert numbers[0] < numbers[1]
    assert named.get_name() == "worker"
    assert odd.get_name() == "42"
    named.set_name("renamed")
    assert named.get_name() == "renamed"
    named.set_name(7)
    assert named.get_name() == "7"
    loop.run_until_complete(asyncio.gather(one, two, named, odd))


def test_tasks_of_different_threads_have_different_names(kind: Kind) -> None:
    names: list[str] = []

    def run() -> None:
        loop = kind.new_loop()
        names.append(loop.create_task(value(1)).get_name())
        turn(loop, 2)
        loop.close()

    for _ in range(3):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(set(names)) == 3


def test_a_task_knows_its_coroutine(loop: Loop) -> None:
    coroutine = value(1)
    task = loop.create_task(coroutine)
    assert task.get_coro() is coroutine
    loop.run_until_complete(task)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context is of 3.12")
def test_a_task_knows_its_context(loop: Loop) -> None:
    context = contextvars.copy_context()
    task = loop.create_task(value(1), context=context)
    assert task.get_context() is context  # type: ignore[attr-defined]
    loop.run_until_complete(task)


def test_the_first_step_comes_in_the_next_turn(loop: Loop) -> None:
    seen: list[str] = []

    async def step() -> None:
        seen.append("step")

    task = loop.create_task(step())
    assert seen == []
    turn(loop)
    assert seen == ["step"]
    assert task.done()


def test_stack_and_print_stack(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    async def wait(future: asyncio.Future[None]) -> None:
        await future

    future = loop.create_future()
    task = loop.create_task(wait(future))
    turn(loop)
    (frame,) = task.get_stack()
    assert frame.f_code.co_name == "wait"
    task.print_stack(file=sys.stdout)
    assert "in wait" in capsys.readouterr().out
    future.set_result(None)
    loop.run_until_complete(task)
    assert task.get_stack() == []
    failed = loop.create_task(fail(ValueError("no luck")))
    with pytest.raises(ValueError, match="no luck"):
        loop.run_until_complete(failed)
    assert failed.get_stack()[-1].f_code.co_name == "fail"
    failed.print_stack(file=sys.stdout)
    assert "ValueError: no luck" in capsys.readouterr().out


def test_the_representation_is_that_of_asyncio(loop: Loop) -> None:
    async def wait(future: asyncio.Future[None]) -> None:
        await future

    def representations(loop: Loop) -> list[str]:
        texts = []
        future = loop.create_future()
        task = loop.create_task(wait(future), name="waiter")
        texts.append(repr(task))
        turn(loop)
        texts.append(repr(task))
        task.add_done_callback(print)
        texts.append(repr(task))
        task.cancel("enough")
        texts.append(repr(task))
        turn(loop)
        texts.append(repr(task))
        done = loop.create_task(value("result"))
        failed = loop.create_task(fail(ValueError("no luck")))
        turn(loop)
        texts += [repr(done), repr(failed)]
        assert failed.exception()
        return [comparable(text) for text in texts]

    reference = asyncio.new_event_loop()
    assert representations(loop) == representations(reference)
    reference.close()


def test_a_task_can_be_referenced_weakly_and_carry_attributes(loop: Loop) -> None:
    task = loop.create_task(value(1))
    task.mark = "mine"  # type: ignore[attr-defined]
    ref = weakref.ref(task)
    assert ref() is task
    loop.run_until_complete(task)
    del task
    gc.collect()
    assert ref() is None


def test_a_non_coroutine_is_refused_and_nothing_is_left(loop: Loop) -> None:
    for wrong in (42, None, value, loop.create_future(), [], iter(())):  # type: ignore[var-annotated]
        with pytest.raises(TypeError, match="^a coroutine was expected, got "):
            loop.create_task(wrong)  # type: ignore[arg-type]
    assert asyncio.all_tasks(loop) == set()


def test_any_object_with_the_coroutine_protocol_will_do(loop: Loop) -> None:
    import collections.abc

    class Countdown(collections.abc.Coroutine):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.left = 3
            self.closed = False

        def send(self, _value: Any) -> None:
            self.left -= 1
            if not self.left:
                raise StopIteration("done")

        def throw(self, *error: Any) -> None:
            raise error[0]

        def close(self) -> None:
            self.closed = True

        def __await__(self) -> Any:
            return self

    assert loop.run_until_complete(loop.create_task(Countdown())) == "done"
    cancelled = loop.create_task(Countdown())
    turn(loop)
    cancelled.cancel()
    turn(loop)
    assert cancelled.cancelled()


def test_an_async_generators_anext_is_awaitable_in_a_task(loop: Loop) -> None:
    async def numbers() -> Any:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def outer() -> list[int]:
        generator = numbers()
        seen = [await anext(generator), await generator.__anext__()]
        seen += [number async for number in generator]
        assert await anext(generator, "end") == "end"
        return seen

    assert loop.run_until_complete(outer()) == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_is_kept_in_the_task_and_leaves_the_loop(
    loop: Loop, error: type[BaseException]
) -> None:
    task = loop.create_task(fail(error("now")))
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    with pytest.raises(error, match="now"):
        loop.run_forever()
    assert task.done()
    assert isinstance(task.exception(), error)
    turn(loop)
    assert seen == [1]


def test_other_base_exceptions_stay_in_the_task(loop: Loop) -> None:
    class Odd(BaseException):
        pass

    task = loop.create_task(fail(Odd()))
    with pytest.raises(Odd):
        loop.run_until_complete(task)


def test_a_task_that_raises_cancelled_error_is_cancelled(loop: Loop) -> None:
    task = loop.create_task(fail(asyncio.CancelledError("by itself")))
    turn(loop)
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError, match="by itself"):
        task.result()


def test_a_pending_task_that_is_destroyed_is_reported(kind: Kind, loop: Loop) -> None:
    """When its loop is closed and gone, nothing can ever finish it."""
    messages: list[str] = []
    other = kind.new_loop()
    # Not the context itself: it would bring the task back.
    other.set_exception_handler(lambda _loop, context: messages.append(context["message"]))

    async def hang() -> None:
        await other.create_future()  # noqa: F821  (deleted below, after this has run)

    task = other.create_task(hang())
    turn(other)
    other.close()
    ref = weakref.ref(task)
    del task, other
    gc.collect()
    assert ref() is None
    assert messages == ["Task was destroyed but it is pending!"]


def test_the_task_factory_makes_the_tasks(loop: Loop) -> None:
    calls: list[tuple[Loop, dict[str, Any]]] = []

    def factory(loop: Loop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        calls.append((loop, options))
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    task = loop.create_task(value(1), name="named")
    assert type(task) is asyncio.Task
    assert task.get_name() == "named"
    assert loop.run_until_complete(task) == 1
    context = contextvars.copy_context()
    loop.run_until_complete(loop.create_task(value(2), context=context))
    assert [each for each, _ in calls] == [loop, loop]
    assert calls[1][1]["context"] is context
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    for wrong in (1, "factory"):
        with pytest.raises(TypeError, match="^task factory must be a callable or None$"):
            loop.set_task_factory(wrong)  # type: ignore[arg-type]


def test_the_task_factory_gets_what_asyncio_gives_it(loop: Loop) -> None:
    def record(loop: Loop) -> list[list[str]]:
        calls: list[list[str]] = []

        def factory(loop: Loop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            calls.append([f"{name}={options[name]!r}" for name in sorted(options)])
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(factory)
        loop.run_until_complete(loop.create_task(value(1)))
        loop.run_until_complete(loop.create_task(value(1), name="n"))
        loop.run_until_complete(loop.create_task(value(1), context=None))
        return calls

    reference = asyncio.new_event_loop()
    assert record(loop) == record(reference)
    reference.close()


def test_a_user_subclass_of_asyncios_task_works(loop: Loop) -> None:
    class Mine(asyncio.Task):  # type: ignore[type-arg]
        pass

    loop.set_task_factory(lambda loop, coroutine, **options: Mine(coroutine, loop=loop, **options))

    async def outer() -> Any:
        inner = asyncio.create_task(later("inner"))
        assert type(inner) is Mine
        assert inner in asyncio.all_tasks()
        assert type(asyncio.current_task()) is Mine
        results = await asyncio.gather(inner, later("gathered"))
        return [*results, await asyncio.wait_for(later("waited"), 10)]

    assert loop.run_until_complete(outer()) == ["inner", "gathered", "waited"]


def test_deep_chains_of_awaits_work(loop: Loop) -> None:
    async def down(depth: int) -> int:
        if not depth:
            await asyncio.sleep(0)
            return 0
        return 1 + await down(depth - 1)

    assert loop.run_until_complete(down(300)) == 300


def test_long_chains_of_tasks_work(loop: Loop) -> None:
    """Each waits for the one before it: finishing, and freeing, must not use the C stack."""

    async def follow(previous: asyncio.Task[int] | None) -> int:
        return 0 if previous is None else 1 + await previous

    task = None
    for _ in range(20_000):
        task = loop.create_task(follow(task))
    assert task
    assert loop.run_until_complete(task) == 19_999


@pytest.mark.many_objects
def test_ten_thousand_tasks_at_once(loop: Loop) -> None:
    async def outer() -> int:
        return sum(await asyncio.gather(*(later(number) for number in range(10_000))))

    assert loop.run_until_complete(outer()) == 49_995_000


def test_task_groups(loop: Loop) -> None:
    seen: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(0 if name == "bad" else 3600)
        except asyncio.CancelledError:
            seen.append(f"{name} cancelled")
            raise
        raise ValueError(name)

    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("a"))
            group.create_task(child("bad"))
            group.create_task(child("b"))

    with pytest.raises(ExceptionGroup) as caught:
        loop.run_until_complete(outer())
    assert [str(error) for error in caught.value.exceptions] == ["bad"]
    assert sorted(seen) == ["a cancelled", "b cancelled"]


def test_locks_queues_events_and_conditions(loop: Loop) -> None:
    async def outer() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        lock, event = asyncio.Lock(), asyncio.Event()
        condition, limit = asyncio.Condition(), asyncio.Semaphore(2)
        barrier = asyncio.Barrier(2)
        seen: list[int] = []

        async def put() -> None:
            for number in range(5):
                async with lock, limit:
                    await queue.put(number)
            event.set()
            await barrier.wait()
            async with condition:
                condition.notify_all()

        async def get() -> None:
            while len(seen) < 5:
                seen.append(await queue.get())
                queue.task_done()
            await event.wait()
            async with condition:
                waiter = asyncio.create_task(barrier.wait())
                await condition.wait()
            await waiter

        async with asyncio.TaskGroup() as group:
            group.create_task(put())
            group.create_task(get())
        await queue.join()
        return seen

    assert loop.run_until_complete(outer()) == [0, 1, 2, 3, 4]


def test_create_task_has_asyncios_signature(loop: Loop) -> None:
    reference = asyncio.new_event_loop()
    coroutine = value(1)
    for bad in ({"nonsense": 1}, {"coro": coroutine}):
        outcomes = []
        for each in (loop, reference):
            with pytest.raises(TypeError) as caught:
                each.create_task(coroutine, **bad)
            outcomes.append(type(caught.value))
        assert outcomes[0] is outcomes[1]
    coroutine.close()
    for each in (loop, reference):
        with pytest.raises(TypeError):
            each.create_task()  # type: ignore[call-arg]
    reference.close()
    assert inspect.signature(type(reference).create_task)


def test_a_task_finished_past_its_coroutine_is_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    """The step that finds it done is no reason for the loop to stop running."""
    coroutine = later("never")
    task = loop.create_task(coroutine)
    super(type(task), task).set_result("spam")
    assert loop.run_until_complete(task) == "spam"
    turn(loop)
    (report,) = reports
    assert isinstance(report["exception"], asyncio.InvalidStateError)
    assert "step(): already done" in str(report["exception"])
    assert asyncio.all_tasks(loop) == set()
    coroutine.close()


def test_a_context_that_is_none_is_refused_where_it_is_given(kind: Kind, loop: Loop) -> None:
    if not kind.has_native_tasks and sys.version_info < (3, 15):
        pytest.skip("asyncio looks at it from 3.15 on")
    coroutine = value(1)
    with pytest.raises(TypeError, match=r"^a contextvars\.Context was expected, got str$"):
        loop.create_task(coroutine, context="tea")  # type: ignore[arg-type]
    coroutine.close()
    assert asyncio.all_tasks(loop) == set()


def test_a_closed_loop_lists_no_task_that_it_has_refused(kind: Kind, loop: Loop) -> None:
    task_class: Any = type(loop.create_task(value(0)))
    turn(loop, 2)
    loop.close()
    coroutine = value(1)
    for make in (
        lambda: loop.create_task(coroutine),
        lambda: task_class(coroutine, loop=loop),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed") as caught:
            make()
        del caught
        assert asyncio.all_tasks(loop) == set()
    coroutine.close()
