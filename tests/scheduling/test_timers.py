"""Timers: deadlines, their order, and cancellation. Delays here are a few milliseconds at most."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
import weakref
from typing import Any

import pytest
from support.both_loops import PATIENCE, run_until, turn

Loop = asyncio.AbstractEventLoop


def test_deadlines_decide_the_order(loop: Loop) -> None:
    seen: list[int] = []
    now = loop.time()
    order = list(range(200))
    random.Random(1).shuffle(order)
    for number in order:
        loop.call_at(now + number * 1e-5, seen.append, number)
    run_until(loop, lambda: len(seen) == 200)
    assert seen == list(range(200))


@pytest.mark.saburo_only
def test_equal_deadlines_fire_in_insertion_order(loop: Loop) -> None:
    """asyncio leaves this open: its heap is not stable."""
    seen: list[int] = []
    when = loop.time()
    for number in range(200):
        loop.call_at(when, seen.append, number)
    turn(loop)
    assert seen == list(range(200))


@pytest.mark.parametrize("delay", [0, 0.0, -0.0, -1, -math.inf, False])
def test_a_delay_of_nothing_or_less_is_due_at_once(loop: Loop, delay: float) -> None:
    seen: list[int] = []
    loop.call_later(delay, seen.append, 1)
    time.sleep(0.000_001)  # the clock must have moved for zero to be in the past
    turn(loop)
    assert seen == [1]


def test_an_infinite_delay_never_fires_and_keeps_nobody_waiting(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_later(math.inf, seen.append, 1)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert seen == []
    assert handle.when() == math.inf
    handle.cancel()


def test_a_very_long_delay_is_accepted(loop: Loop) -> None:
    handles = [loop.call_later(delay, print) for delay in (1e9, 1e18, 1e300, 10**15)]
    turn(loop)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    for handle in handles:
        handle.cancel()


def test_integers_and_floatables_are_delays(loop: Loop) -> None:
    from decimal import Decimal
    from fractions import Fraction

    seen: list[int] = []
    loop.call_later(0, seen.append, 1)
    loop.call_later(Fraction(1, 1000), seen.append, 2)  # type: ignore[arg-type]
    loop.call_at(int(loop.time()), seen.append, 3)
    with pytest.raises(TypeError):
        loop.call_later(Decimal("0.1"), print)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loop.call_later("1", print)  # type: ignore[arg-type]
    run_until(loop, lambda: len(seen) == 3)


def test_due_timers_run_behind_what_is_ready(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(-1, seen.append, "timer")
    loop.call_soon(seen.append, "ready")
    turn(loop)
    assert seen == ["ready", "timer"]


def test_no_timer_fires_early(loop: Loop) -> None:
    seen: list[float] = []
    for number in range(1, 20):
        due = loop.time() + number * 0.000_37
        loop.call_at(due, lambda due=due: seen.append(loop.time() - due))  # type: ignore[misc]
    run_until(loop, lambda: len(seen) == 19)
    # asyncio fires what is due within the resolution of its clock; a nanosecond on Linux.
    assert min(seen) >= -1e-6


def test_a_cancelled_timer_does_not_fire(loop: Loop) -> None:
    seen: list[int] = []
    handles = [loop.call_later(0.001, seen.append, number) for number in range(10)]
    for handle in handles[::2]:
        handle.cancel()
        assert handle.cancelled()
    run_until(loop, lambda: len(seen) == 5)
    assert sorted(seen) == [1, 3, 5, 7, 9]


def test_a_due_timer_can_still_be_cancelled_by_one_before_it(loop: Loop) -> None:
    seen: list[int] = []
    now = loop.time() - 1
    loop.call_at(now - 1, lambda: second.cancel())  # type: ignore[has-type]
    second = loop.call_at(now, seen.append, 1)
    turn(loop)
    assert seen == []


def test_cancelling_after_it_fired_changes_nothing(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_later(-1, seen.append, 1)
    turn(loop)
    handle.cancel()
    handle.cancel()
    assert seen == [1]


def test_a_cancelled_timer_lets_go_of_its_callback(loop: Loop) -> None:
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    handle = loop.call_later(3600, print, argument)
    del argument
    handle.cancel()
    assert gone() is None


def test_many_cancelled_timers_do_not_stay(loop: Loop) -> None:
    class Callback:
        def __call__(self) -> None:
            pass

    handles = [loop.call_later(3600, Callback()) for _ in range(2000)]
    refs = [weakref.ref(handle) for handle in handles]
    for handle in handles:
        handle.cancel()
    del handle
    handles.clear()
    for _ in range(5):
        turn(loop)
    # asyncio sweeps them out when more than half are cancelled; ours are gone at once.
    assert sum(ref() is not None for ref in refs) <= 100


def test_a_timer_knows_its_deadline(loop: Loop) -> None:
    before = loop.time()
    handle = loop.call_later(5, print)
    assert before + 5 <= handle.when() <= loop.time() + 5
    assert loop.call_at(12.5, print).when() == 12.5


def test_timers_compare_by_deadline(loop: Loop) -> None:
    early, late = loop.call_at(1, print), loop.call_at(2, print)
    assert early < late
    assert early <= late
    assert late > early
    assert late >= early
    assert early != late
    assert early == early
    assert sorted([late, early]) == [early, late]
    same = loop.call_at(1, print)
    assert early == same
    assert hash(early) == hash(same) == hash(1.0)
    assert early != loop.call_at(1, repr)  # type: ignore[arg-type]
    assert early != 1
    with pytest.raises(TypeError):
        early < 1  # type: ignore[operator]  # noqa: B015


def test_the_clock_is_monotonic_seconds(loop: Loop) -> None:
    readings = [loop.time() for _ in range(100)]
    assert readings == sorted(readings)
    assert abs(loop.time() - time.monotonic()) < PATIENCE
    assert isinstance(readings[0], float)


def test_a_timer_set_by_a_timer_fires(loop: Loop) -> None:
    seen: list[int] = []

    def again(left: int) -> None:
        seen.append(left)
        if left:
            loop.call_later(0.0001, again, left - 1)

    loop.call_later(0.0001, again, 20)
    run_until(loop, lambda: len(seen) == 21)


def test_a_timer_that_is_always_due_does_not_starve_the_rest(loop: Loop) -> None:
    seen: list[str] = []

    def again() -> None:
        loop.call_later(-1, again)

    again()
    loop.call_later(0.001, seen.append, "other")
    run_until(loop, lambda: bool(seen))


def test_a_busy_ready_queue_does_not_starve_timers(loop: Loop) -> None:
    def again() -> None:
        loop.call_soon(again)

    again()
    loop.call_later(0.005, loop.stop)
    loop.run_forever()


def test_sleepers_wake_in_the_order_of_their_deadlines(run: Any) -> None:
    seen: list[int] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(number / 1000)
        seen.append(number)

    async def main() -> None:
        await asyncio.gather(*(sleeper(number) for number in (3, 1, 5, 2, 4)))

    run(main())
    assert seen == [1, 2, 3, 4, 5]


def test_a_timeout_cancels_and_says_so(run: Any) -> None:
    async def main() -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(PATIENCE), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(PATIENCE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(PATIENCE)
        async with asyncio.timeout(None):
            await asyncio.sleep(0)
        return "done"

    assert run(main()) == "done"


def test_a_timer_heap_of_random_operations_agrees_with_a_list(loop: Loop) -> None:
    """Insertions and cancellations in random order against a naive model."""
    draw = random.Random(7)
    seen: list[int] = []
    model: dict[int, float] = {}
    handles: dict[int, asyncio.TimerHandle] = {}
    start = loop.time() - 1000  # everything is due already: no waiting
    numbers = itertools.count()
    for _ in range(3000):
        if model and draw.random() < 0.4:
            number = draw.choice(list(model))
            handles.pop(number).cancel()
            del model[number]
        else:
            number = next(numbers)
            when = start + draw.random() * 100
            handles[number] = loop.call_at(when, seen.append, number)
            model[number] = when
    turn(loop)
    assert seen == sorted(model, key=model.__getitem__)


def test_deadlines_before_the_clocks_epoch_fire_in_order(loop: Loop) -> None:
    """What `loop.time() - 1000` is on a machine that was started a moment ago."""
    seen: list[float] = []
    for when in (-1.0, -3.0, -2, -1e300, 0.0):
        loop.call_at(when, seen.append, when)
    turn(loop)
    assert seen == [-1e300, -3.0, -2, -1.0, 0.0]
