"""Subprocesses. Processor time is the parent's alone: the children do the same for every loop."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator

from benches.traffic import KIB, PROCESSES, Work, at_once, client_case

MIB = KIB * KIB


async def one_by_one(number: int, share: int) -> int:
    seen = 0
    for _ in range(share):
        process = await asyncio.create_subprocess_exec("true", stdin=DEVNULL)
        seen += await process.wait() == 0
    return seen


@client_case("subprocesses, one after another", operations=100, group=PROCESSES)
async def subprocess_alone(_: str) -> AsyncIterator[Work]:
    """Start `true` and wait for its end."""

    async def work(operations: int) -> int:
        return await one_by_one(0, operations)

    yield work


@client_case("subprocesses, 20 at once", operations=200, step=20, group=PROCESSES)
async def subprocess_20(_: str) -> AsyncIterator[Work]:
    """The same in twenty tasks."""

    async def work(operations: int) -> int:
        return await at_once(20, operations, one_by_one)

    yield work


async def through_cat(data: bytes) -> bool:
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(data)
    return process.returncode == 0 and out == data


@client_case("subprocess, communicate 64 KiB", operations=100, group=PROCESSES)
async def subprocess_communicate(_: str) -> AsyncIterator[Work]:
    """Start `cat`, send it 64 KiB and read them back, with `communicate`."""
    data = bytes(range(256)) * 256

    async def work(operations: int) -> int:
        return sum([await through_cat(data) for _ in range(operations)])

    yield work


@client_case("subprocess, 16 MiB through cat", operations=5, group=PROCESSES)
async def subprocess_16m(_: str) -> AsyncIterator[Work]:
    """The same with 16 MiB."""
    data = bytes(range(256)) * (16 * MIB // 256)

    async def work(operations: int) -> int:
        return sum([await through_cat(data) for _ in range(operations)])

    yield work
