"""Asynchronous generators: their hooks, and how the loop closes those left open."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.both_loops import turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


async def numbers(seen: list[str], name: str = "generator") -> AsyncIterator[int]:
    try:
        for number in range(100):
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        seen.append(f"{name} closed")


def test_the_hooks_are_ours_only_while_we_run(loop: Loop) -> None:
    before = sys.get_asyncgen_hooks()
    seen: list[Any] = []
    loop.call_soon(lambda: seen.append(sys.get_asyncgen_hooks()))
    turn(loop)
    assert seen[0].firstiter is not None
    assert seen[0].finalizer is not None
    assert sys.get_asyncgen_hooks() == before


def test_foreign_hooks_are_put_back(loop: Loop) -> None:
    def first(_generator: Any) -> None:
        pass

    old = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=first)
    try:
        turn(loop)
        assert sys.get_asyncgen_hooks().firstiter is first
    finally:
        sys.set_asyncgen_hooks(*old)


def test_an_abandoned_generator_is_closed_by_the_loop(loop: Loop) -> None:
    seen: list[str] = []

    async def main() -> None:
        async for _ in numbers(seen):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == ["generator closed"]


def test_shutdown_closes_what_is_still_open(loop: Loop) -> None:
    seen: list[str] = []
    kept: list[Any] = []

    async def main() -> None:
        for name in ("one", "two"):
            generator = numbers(seen, name)
            kept.append(generator)
            await anext(generator)

    loop.run_until_complete(main())
    assert seen == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert sorted(seen) == ["one closed", "two closed"]


def test_a_generator_that_fails_to_close_is_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    async def failing() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise LookupError("while closing")

    async def main() -> Any:
        generator = failing()
        await anext(generator)
        return generator

    generator = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    (context,) = reports
    assert isinstance(context["exception"], LookupError)
    assert context["asyncgen"] is generator
    assert context["message"].startswith("an error occurred during closing of asynchronous gen")


def test_a_generator_first_used_after_the_shutdown_is_warned_of(loop: Loop) -> None:
    async def main() -> None:
        await loop.shutdown_asyncgens()
        generator = numbers([])
        with pytest.warns(ResourceWarning, match=r"asynchronous generator .* was scheduled after"):
            await anext(generator)
        await generator.aclose()  # type: ignore[attr-defined]

    loop.run_until_complete(main())


def test_a_run_closes_generators(run: Any) -> None:
    seen: list[str] = []

    async def main() -> None:
        main.generator = numbers(seen)  # type: ignore[attr-defined]
        await anext(main.generator)  # type: ignore[attr-defined]

    run(main())
    assert seen == ["generator closed"]


def test_shutdown_without_generators_is_quick(loop: Loop) -> None:
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_asyncgens())


def test_a_generator_dropped_when_its_loop_is_closed_does_no_harm(new_loop: Any) -> None:
    loop = new_loop()
    seen: list[str] = []

    async def main() -> Any:
        generator = numbers(seen)
        await anext(generator)
        return generator

    generator = loop.run_until_complete(main())
    loop.close()
    del generator
    gc.collect()
    assert seen == []
