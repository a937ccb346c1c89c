"""The ways to start: saburo.run, asyncio.Runner, policies; and the module's own names."""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any

import pytest
from support.both_loops import TESTS_ON, Kind, comparable, outcome


@pytest.fixture
def run_function(kind: Kind) -> Any:
    """`asyncio.run` and ours, which must be alike."""
    if kind.is_saburo:
        import saburo

        return saburo.run
    return asyncio.run


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def fail(error: BaseException) -> None:
    raise error


def test_run_returns_the_result(run_function: Any) -> None:
    assert run_function(value(3)) == 3


def test_run_raises_the_error(run_function: Any) -> None:
    with pytest.raises(LookupError, match="not there"):
        run_function(fail(LookupError("not there")))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError("c")])
def test_run_lets_exits_through(run_function: Any, error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_function(fail(error))


def test_run_makes_a_loop_of_its_kind_and_closes_it(kind: Kind, run_function: Any) -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = run_function(main())
    assert loop.is_closed()
    assert type(loop).__module__.startswith("saburo") is kind.is_saburo


def test_run_refuses_what_cannot_be_run(run_function: Any) -> None:
    """With the error of asyncio 3.14, which takes any awaitable."""
    for wrong in (42, None, value, lambda: None):
        expected = ("TypeError", "An asyncio.Future, a coroutine or an awaitable is required")
        if run_function is asyncio.run and sys.version_info < (3, 14):
            expected = ("ValueError", comparable(f"a coroutine was expected, got {wrong!r}"))
        assert outcome(lambda wrong=wrong: run_function(wrong)) == expected  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_run_refuses_to_nest(run_function: Any) -> None:
    async def main() -> None:
        inner = value(1)
        with pytest.raises(
            RuntimeError, match=r"asyncio.run\(\) cannot be called from a running event loop"
        ):
            run_function(inner)
        inner.close()

    run_function(main())


def test_run_takes_debug(run_function: Any) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run_function(main(), debug=True) is True
    assert run_function(main(), debug=False) is False


@pytest.mark.skipif(sys.version_info < (3, 12), reason="loop_factory is of 3.12")
def test_run_takes_a_loop_factory(kind: Kind, run_function: Any) -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(kind.new_loop())
        return made[0]

    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert run_function(main(), loop_factory=factory) is made[0]


@pytest.mark.saburo_only
def test_saburos_run_takes_a_loop_factory_on_every_version(run_function: Any) -> None:
    import saburo

    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(saburo.Loop(tasks="stdlib"))
        return made[0]

    async def main() -> Any:
        return type(asyncio.current_task())

    assert run_function(main(), loop_factory=factory) is asyncio.Task
    assert made[0].is_closed()


def test_a_runner_runs_several_times_in_one_context(kind: Kind) -> None:
    import contextvars

    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def count() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    with asyncio.Runner(loop_factory=kind.new_loop) as runner:
        assert [runner.run(count()) for _ in range(3)] == [1, 2, 3]
        assert runner.get_loop().is_closed() is False
    assert variable.get() == 0


def test_run_cancels_what_is_left_and_reports_its_failures(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("cancelled")
            raise LookupError("while being cancelled")

    async def main() -> None:
        main.task = asyncio.create_task(background())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=kind.new_loop) as runner:
        runner.run(main())
    assert seen == ["cancelled"]
    assert "unhandled exception during asyncio.run() shutdown" in caplog.text


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="policies are gone")
def test_an_event_loop_policy(kind: Kind) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if kind.is_saburo:
            import saburo

            policy: asyncio.AbstractEventLoopPolicy = saburo.EventLoopPolicy()
        else:
            policy = asyncio.DefaultEventLoopPolicy()
        loop = policy.new_event_loop()
        assert type(loop).__module__.startswith("saburo") is kind.is_saburo
        policy.set_event_loop(loop)
        assert policy.get_event_loop() is loop
        policy.set_event_loop(None)
        loop.close()
        asyncio.set_event_loop_policy(policy)
        try:
            found = asyncio.run(get_loop())
            assert type(found).__module__.startswith("saburo") is kind.is_saburo
        finally:
            asyncio.set_event_loop_policy(None)


async def get_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.mark.saburo_only
@pytest.mark.skipif(
    not (3, 14) <= sys.version_info < (3, 16), reason="policies are deprecated in 3.14 and 3.15"
)
def test_the_policy_is_deprecated_where_asyncios_are(kind: Kind) -> None:
    import saburo

    assert kind.is_saburo
    with pytest.warns(DeprecationWarning, match="EventLoopPolicy"):
        saburo.EventLoopPolicy()


@pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")
def test_importing_saburo_patches_nothing() -> None:
    import subprocess

    check = """
import asyncio, sys, threading
def picture():
    modules = [m for name, m in sorted(sys.modules.items())
               if name.split(".")[0] in ("asyncio", "_asyncio", "selectors", "signal", "threading")]
    return [(m.__name__, k, id(v)) for m in modules for k, v in sorted(vars(m).items())
            if callable(v) and not k.startswith("__")]
import asyncio.events, concurrent.futures.thread
before = picture()
import saburo
assert picture() == before
print("clean")
"""
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, check=False
    )
    assert program.stdout == "clean\n", program.stderr


@pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")
def test_the_module_has_the_promised_names() -> None:
    import saburo

    for name in ("run", "new_event_loop", "Loop", "Future", "Task", "Handle", "TimerHandle"):
        assert hasattr(saburo, name)
        assert name in saburo.__all__
    assert issubclass(saburo.InternalError, RuntimeError)
    assert isinstance(saburo.__version__, str)
    with pytest.raises(AttributeError, match="no_such_name"):
        saburo.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")
def test_a_loop_takes_only_known_task_kinds() -> None:
    import saburo

    with pytest.raises((TypeError, ValueError)):
        saburo.Loop(tasks="nonsense")  # type: ignore[arg-type]
    for kind in ("native", "stdlib"):
        saburo.Loop(tasks=kind).close()


@pytest.mark.saburo_only("asyncio fails with whatever attribute it misses first")
def test_a_loop_that_init_has_not_seen_refuses_to_work(kind: Kind) -> None:
    assert kind.is_saburo
    import saburo

    class Forgetful(saburo.Loop):
        def __init__(self) -> None:
            self._signal_handlers = {}  # close() looks at them

    loop = Forgetful()
    coroutine = value(1)
    for call in (
        loop._run,
        lambda: loop.call_soon(print),
        lambda: loop.call_later(1, print),
        lambda: loop.add_reader(0, print),
        lambda: loop.create_task(coroutine),
    ):
        with pytest.raises(
            RuntimeError, match=r"^Loop.__init__\(\) was not called: a class .* must call super"
        ):
            call()
    coroutine.close()
    loop.close()
