"""Futures: states, callbacks, awaiting, and mixing with asyncio's own and foreign ones."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import gc
import pickle
import sys
import weakref
from typing import Any

import pytest
from support.both_loops import WRAPS_STOP_ITERATION, comparable, outcome, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop
Future = asyncio.Future[Any]


def test_a_new_future_is_pending(loop: Loop) -> None:
    future = loop.create_future()
    assert not future.done()
    assert not future.cancelled()
    assert future.get_loop() is loop
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert asyncio.ensure_future(future) is future
    with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not set\.$"):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match=r"^Exception is not set\.$"):
        future.exception()


def test_a_result_is_kept(loop: Loop) -> None:
    future = loop.create_future()
    value = object()
    future.set_result(value)
    assert future.done()
    assert not future.cancelled()
    assert future.result() is value
    assert future.exception() is None


def test_an_exception_is_kept_and_is_the_same_object_each_time(loop: Loop) -> None:
    future = loop.create_future()
    error = ValueError("no luck")
    future.set_exception(error)
    assert future.exception() is error
    for _ in range(3):
        with pytest.raises(ValueError, match="no luck") as caught:
            future.result()
        assert caught.value is error


def test_repeated_results_do_not_pile_up_tracebacks(loop: Loop) -> None:
    future = loop.create_future()
    future.set_exception(ValueError())
    lengths = []
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            future.result()
        lengths.append(len(caught.traceback))
    assert lengths[0] == lengths[1] == lengths[2]


def test_an_exception_class_is_instantiated(loop: Loop) -> None:
    future = loop.create_future()
    future.set_exception(ValueError)
    assert type(future.exception()) is ValueError


def test_cancel_works_once(loop: Loop) -> None:
    future = loop.create_future()
    assert future.cancel("enough")
    assert not future.cancel()
    assert future.cancelled()
    assert future.done()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        future.result()
    with pytest.raises(asyncio.CancelledError):
        future.exception()


def test_a_done_future_refuses_more(loop: Loop) -> None:
    future = loop.create_future()
    future.set_result(1)
    assert not future.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        future.set_result(2)
    with pytest.raises(asyncio.InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_callbacks_run_in_the_next_turn_in_their_order(loop: Loop) -> None:
    future = loop.create_future()
    seen: list[Any] = []
    future.add_done_callback(lambda done: seen.append((1, done)))
    future.add_done_callback(lambda done: seen.append((2, done)))
    future.add_done_callback(lambda done: seen.append((3, done)))
    future.set_result(None)
    assert seen == []
    loop.call_soon(seen.append, "soon")
    turn(loop)
    assert seen == [(1, future), (2, future), (3, future), "soon"]


def test_a_callback_added_when_done_still_runs_soon(loop: Loop) -> None:
    future = loop.create_future()
    future.set_result(None)
    seen: list[Any] = []
    future.add_done_callback(seen.append)
    assert seen == []
    turn(loop)
    assert seen == [future]


def test_removing_callbacks_tells_how_many(loop: Loop) -> None:
    future = loop.create_future()
    seen: list[Any] = []

    def other(_done: Future) -> None:
        seen.append("other")

    append = seen.append
    for callback in (append, other, append, append):
        future.add_done_callback(callback)
    assert future.remove_done_callback(append) == 3
    assert future.remove_done_callback(append) == 0
    future.set_result(None)
    turn(loop)
    assert seen == ["other"]


def test_callbacks_are_compared_by_equality_when_removed(loop: Loop) -> None:
    class Callback:
        def __init__(self, number: int) -> None:
            self.number = number

        def __call__(self, _done: Future) -> None:
            pass

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Callback) and other.number == self.number

        __hash__ = None  # type: ignore[assignment]

    future = loop.create_future()
    future.add_done_callback(Callback(1))
    future.add_done_callback(Callback(2))
    assert future.remove_done_callback(Callback(2)) == 1
    assert future.remove_done_callback(Callback(1)) == 1


def test_a_hostile_comparison_while_removing_is_harmless(loop: Loop) -> None:
    future = loop.create_future()
    armed = [True]

    class Evil:
        def __call__(self, _done: Future) -> None:
            pass

        def __eq__(self, other: object) -> bool:
            if armed and armed.pop():
                future.remove_done_callback(print)
                future.set_result(None)
            return False

        __hash__ = None  # type: ignore[assignment]

    for _ in range(10):
        future.add_done_callback(Evil())
        future.add_done_callback(print)
    future.remove_done_callback(Evil())
    turn(loop)

    class Failing(Evil):
        def __eq__(self, other: object) -> bool:
            raise LookupError("compared")

    future = loop.create_future()
    future.add_done_callback(Failing())
    with pytest.raises(LookupError, match="compared"):
        future.remove_done_callback(Failing())


def test_a_failing_callback_is_reported(loop: Loop, reports: list[dict[str, Any]]) -> None:
    future = loop.create_future()
    future.add_done_callback(lambda _done: 1 / 0)
    future.set_result(None)
    turn(loop)
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_callbacks_run_in_the_context_they_were_added_in(loop: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []
    future = loop.create_future()
    future.add_done_callback(lambda _done: seen.append(variable.get()))
    variable.set("later")
    future.add_done_callback(lambda _done: seen.append(variable.get()))
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    future.add_done_callback(lambda _done: seen.append(variable.get()), context=given)
    future.set_result(None)
    turn(loop)
    assert seen == ["none", "later", "given"]


def test_awaiting_gives_the_result(loop: Loop) -> None:
    async def main() -> list[Any]:
        results = []
        for value in (1, None, (1, 2), ValueError("as a value"), StopIteration(3), [4]):
            future = loop.create_future()
            loop.call_soon(future.set_result, value)
            results.append(await future)
            results.append(await future)  # done: no suspension
        return results

    results = loop.run_until_complete(main())
    assert [comparable(repr(each)) for each in results[::2]] == [
        "1",
        "None",
        "(1, 2)",
        "ValueError('as a value')",
        "StopIteration(3)",
        "[4]",
    ]
    assert all(one is two for one, two in zip(results[::2], results[1::2], strict=True))


def test_awaiting_raises_the_exception(loop: Loop) -> None:
    error = LookupError("the very same")

    async def main() -> None:
        future = loop.create_future()
        loop.call_soon(future.set_exception, error)
        await future

    with pytest.raises(LookupError) as caught:
        loop.run_until_complete(main())
    assert caught.value is error


def test_many_tasks_can_wait_for_one_future(loop: Loop) -> None:
    future = loop.create_future()
    seen: list[int] = []

    async def wait(number: int) -> None:
        await future
        seen.append(number)

    tasks = [loop.create_task(wait(number)) for number in range(50)]
    turn(loop)
    future.set_result(None)
    loop.run_until_complete(asyncio.wait(tasks))
    assert seen == list(range(50))


def test_a_future_driven_by_hand_follows_the_protocol(loop: Loop) -> None:
    future = loop.create_future()
    iterator = iter(future)
    assert future._asyncio_future_blocking is False
    assert next(iterator) is future
    assert future._asyncio_future_blocking is True
    future.set_result((1, 2))
    with pytest.raises(StopIteration) as stopped:
        next(iterator)
    assert stopped.value.value == (1, 2)

    async def wait() -> None:
        await loop.create_future()

    coroutine = wait()
    assert asyncio.isfuture(coroutine.send(None))
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        coroutine.send(None)


def test_a_future_iterator_takes_send_throw_and_close(loop: Loop) -> None:
    future = loop.create_future()
    iterator = future.__await__()
    assert iterator.send(None) is future
    with pytest.raises(ZeroDivisionError):
        iterator.throw(ZeroDivisionError())
    other = loop.create_future().__await__()
    other.send(None)
    other.close()
    for used_up in (iterator, other):
        with pytest.raises(StopIteration):
            next(used_up)
    with pytest.raises(StopIteration):
        done = loop.create_future()
        done.set_result(None)
        done.__await__().send(None)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="generators warn from 3.12 on")
def test_throwing_a_class_and_its_value_apart_is_deprecated(loop: Loop) -> None:
    iterator: Any = loop.create_future().__await__()
    with (
        pytest.raises(LookupError, match="tea"),
        pytest.warns(DeprecationWarning, match="single-arg signature"),
    ):
        iterator.throw(LookupError, LookupError("tea"))


def test_a_future_is_not_mistaken_for_something_else(loop: Loop) -> None:
    import collections.abc
    import inspect

    future = loop.create_future()
    assert inspect.isawaitable(future)
    assert isinstance(future, collections.abc.Awaitable)
    assert not asyncio.iscoroutine(future)
    assert not isinstance(future, collections.abc.Iterator)
    assert not isinstance(future, asyncio.Task)


def test_a_task_of_ours_can_wait_for_a_future_of_asyncios(loop: Loop) -> None:
    async def main() -> Any:
        future: Future = asyncio.Future()
        loop.call_soon(future.set_result, "theirs")
        return await future

    assert loop.run_until_complete(main()) == "theirs"


def test_a_task_of_asyncios_can_wait_for_a_future_of_ours(loop: Loop) -> None:
    async def main() -> Any:
        future = loop.create_future()
        loop.call_soon(future.set_result, "ours")
        return await asyncio.Task(wait(future))

    async def wait(future: Future) -> Any:
        return await future

    assert loop.run_until_complete(main()) == "ours"


def test_a_task_can_wait_for_a_pure_python_future(loop: Loop) -> None:
    from asyncio import futures

    class Python(futures._PyFuture):  # type: ignore[name-defined, misc]
        pass

    async def main() -> tuple[Any, Any]:
        future = Python(loop=loop)
        loop.call_soon(future.set_result, "python's")
        other = Python(loop=loop)
        loop.call_soon(other.cancel)
        return await asyncio.gather(future, other, return_exceptions=True)

    first, second = loop.run_until_complete(main())
    assert first == "python's"
    assert isinstance(second, asyncio.CancelledError)


def test_a_task_can_wait_for_any_object_that_behaves_as_a_future(loop: Loop) -> None:
    class Duck:
        _asyncio_future_blocking = False
        callbacks: list[Any]

        def __init__(self) -> None:
            self.callbacks = []
            self.finished = False

        def get_loop(self) -> Loop:
            return loop

        def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
            self.callbacks.append((callback, context))

        def remove_done_callback(self, _callback: Any) -> int:
            return 0

        def cancel(self, *, msg: Any = None) -> bool:
            self.finish()
            return True

        def result(self) -> str:
            return "quack"

        def finish(self) -> None:
            self.finished = True
            for callback, context in self.callbacks:
                loop.call_soon(callback, self, context=context)

        def __await__(self) -> Any:
            if not self.finished:
                self._asyncio_future_blocking = True
                yield self
            return "quack"

    async def main() -> Any:
        duck = Duck()
        loop.call_soon(duck.finish)
        return await duck

    assert loop.run_until_complete(main()) == "quack"


def test_a_future_that_calls_its_callbacks_itself_finishes_tasks_like_any_other(loop: Loop) -> None:
    class Bare:
        _asyncio_future_blocking = False
        _loop = loop

        def __init__(self) -> None:
            self.callbacks: list[Any] = []

        def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
            self.callbacks.append(callback)

        def cancel(self, *, msg: Any = None) -> bool:
            return False

        def result(self) -> str:
            return "bare"

        def finish(self) -> None:
            for callback in self.callbacks:
                callback(self)

        def __await__(self) -> Any:
            self._asyncio_future_blocking = True
            yield self
            return "bare"

    async def wait_for(bare: Bare, task: list[Any]) -> str:
        result: str = await bare
        task.append(asyncio.current_task())
        return result

    bare = Bare()
    current: list[Any] = []
    task = loop.create_task(wait_for(bare, current))
    turn(loop)
    loop.call_soon(bare.finish)
    assert loop.run_until_complete(task) == "bare"
    assert current == [task]
    gone = weakref.ref(task)
    current.clear()
    bare.callbacks.clear()
    del task
    gc.collect()
    assert gone() is None


def test_a_subclass_of_asyncios_future_is_waited_for_through_its_methods(loop: Loop) -> None:
    seen: list[str] = []

    class Mine(asyncio.Future):  # type: ignore[type-arg]
        def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
            seen.append("add")
            super().add_done_callback(*args, **kwargs)

        def result(self) -> Any:
            seen.append("result")
            return super().result()

    async def main() -> Any:
        future = Mine(loop=loop)
        loop.call_soon(future.set_result, 1)
        return await future

    assert loop.run_until_complete(main()) == 1
    assert seen == ["add", "result"] or seen == ["add", "result", "result"]


def test_an_unretrieved_exception_is_reported_when_the_future_goes(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    future = loop.create_future()
    error = ValueError("unseen")
    future.set_exception(error)
    del future
    gc.collect()
    (context,) = reports
    assert context["message"] == "Future exception was never retrieved"
    assert context["exception"] is error
    assert asyncio.isfuture(context["future"])


@pytest.mark.parametrize("look", ["result", "exception", "await"])
def test_a_retrieved_exception_is_not_reported(
    loop: Loop, reports: list[dict[str, Any]], look: str
) -> None:
    future = loop.create_future()
    future.set_exception(ValueError("seen"))

    async def wait() -> None:
        await future  # noqa: F821  (deleted below, after this has run)

    if look == "exception":
        future.exception()
    else:
        with pytest.raises(ValueError, match="seen"):
            loop.run_until_complete(wait()) if look == "await" else future.result()
    del future, wait
    gc.collect()
    assert reports == []


def test_every_one_of_many_unretrieved_exceptions_is_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    """Objects that are recycled must not lose their finalizer: a free list did that once."""
    for number in range(100):
        future = loop.create_future()
        future.set_exception(ValueError(number))
        del future
    gc.collect()
    assert [context["exception"].args[0] for context in reports] == list(range(100))


def test_log_traceback_can_only_be_switched_off(loop: Loop, reports: list[dict[str, Any]]) -> None:
    future = loop.create_future()
    future.set_exception(ValueError())
    assert future._log_traceback is True
    with pytest.raises(ValueError, match="_log_traceback can only be set to False"):
        future._log_traceback = True  # type: ignore[assignment]
    future._log_traceback = False
    del future
    gc.collect()
    assert reports == []


def test_a_future_can_be_referenced_weakly_and_hashed(loop: Loop) -> None:
    future = loop.create_future()
    ref = weakref.ref(future)
    assert {future: 1}[future] == 1
    assert ref() is future
    del future
    gc.collect()
    assert ref() is None


def test_a_future_can_be_neither_copied_nor_pickled(loop: Loop) -> None:
    future = loop.create_future()
    with pytest.raises(TypeError, match="Future"):
        copy.copy(future)
    with pytest.raises(TypeError, match="Future"):
        pickle.dumps(future)


def test_the_representation_is_that_of_asyncio(loop: Loop) -> None:
    def representations(loop: Loop) -> list[str]:
        def callback(_done: Future) -> None:
            pass

        pending, result, failed, cancelled, one, two, many = (
            loop.create_future() for _ in range(7)
        )
        result.set_result(["value"])
        failed.set_exception(ValueError("no luck"))
        failed.exception()
        cancelled.cancel("enough")
        futures = [(one, 1), (two, 2), (many, 5)]
        for future, count in futures:
            for _ in range(count):
                future.add_done_callback(callback)
        long = loop.create_future()
        long.set_result("x" * 1000)
        every = [pending, result, failed, cancelled, one, two, many, long]
        return [comparable(repr(future)) for future in every]

    reference = asyncio.new_event_loop()
    assert representations(loop) == representations(reference)
    loop.set_debug(True)
    reference.set_debug(True)
    assert representations(loop) == representations(reference)
    reference.close()


def test_chaining_with_concurrent_futures(loop: Loop) -> None:
    theirs: concurrent.futures.Future[int] = concurrent.futures.Future()
    ours = asyncio.wrap_future(theirs, loop=loop)
    assert asyncio.wrap_future(ours) is ours
    theirs.set_result(5)
    assert loop.run_until_complete(ours) == 5

    theirs = concurrent.futures.Future()
    ours = asyncio.wrap_future(theirs, loop=loop)
    ours.cancel()
    turn(loop)
    assert theirs.cancelled()


def test_a_set_result_during_the_callbacks_of_another(loop: Loop) -> None:
    one, two = loop.create_future(), loop.create_future()
    seen: list[str] = []
    one.add_done_callback(lambda _done: (seen.append("one"), two.set_result(2)))
    two.add_done_callback(lambda _done: seen.append("two"))
    one.set_result(1)
    turn(loop, 2)
    assert seen == ["one", "two"]


def test_wrong_uses_fail_as_in_asyncio(loop: Loop) -> None:
    reference = asyncio.new_event_loop()

    def failures(loop: Loop) -> list[tuple[str, str]]:
        done = loop.create_future()
        done.set_result(1)
        pending = loop.create_future()
        calls = [
            lambda: done.set_result(2),
            lambda: done.set_exception(ValueError()),
            lambda: done.exception(),
            lambda: pending.result(),
            lambda: pending.exception(),
            lambda: pending.set_exception(1),  # type: ignore[arg-type]
            lambda: pending.set_exception("text"),  # type: ignore[arg-type]
            lambda: pending.remove_done_callback(None),  # type: ignore[arg-type]
            lambda: pending.get_loop() is loop,
            lambda: pending.cancelled(),
        ]
        if WRAPS_STOP_ITERATION:
            calls += [
                lambda: pending.set_exception(StopIteration()),
                lambda: pending.set_exception(StopIteration),
                lambda: pending.exception(),
            ]
        return [outcome(call) for call in calls]

    assert failures(loop) == failures(reference)
    reference.close()
