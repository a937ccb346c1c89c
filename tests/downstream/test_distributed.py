"""Dask's distributed: a Client on our loop, its cluster in processes or on the same loop."""

from __future__ import annotations

import asyncio
import operator
import os

import pytest
from distributed import Client, LocalCluster, as_completed
from distributed.utils import _offload_executor

from .conftest import Run


@pytest.fixture(scope="module", autouse=True)
def thread_of_the_process() -> None:
    """The one that distributed keeps for all its clusters: no test is to blame for it."""
    _offload_executor.submit(int).result()


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("processes", [False, True], ids=["on the same loop", "in processes"])
def test_a_client_computes(run: Run, processes: bool) -> None:
    async def main() -> None:
        async with (
            LocalCluster(
                n_workers=2,
                threads_per_worker=2,
                processes=processes,
                dashboard_address="127.0.0.1:0",
                asynchronous=True,
            ) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            assert await client.submit(square, 7) == 49
            futures = client.map(square, range(200))
            assert sum(await client.gather(futures)) == sum(map(square, range(200)))
            assert await client.submit(sum, futures) == sum(map(square, range(200)))
            done = [await future async for future in as_completed(client.map(square, range(20)))]
            assert sorted(done) == [square(number) for number in range(20)]
            with pytest.raises(ZeroDivisionError):
                await client.submit(operator.truediv, 1, 0)
            assert len(await client.scatter([b"x" * 1_000_000] * 5)) == 5
            pids = set((await client.run(os.getpid)).values())
            assert len(pids) == 2 if processes else pids == {os.getpid()}

    run(main())


def test_an_executor_for_run_in_executor(run: Run) -> None:
    """How a program outgrows one machine: `run_in_executor` with somebody else's workers."""

    def start() -> LocalCluster:
        return LocalCluster(
            n_workers=1, threads_per_worker=4, processes=False, dashboard_address="127.0.0.1:0"
        )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        cluster = await asyncio.to_thread(start)
        client = await asyncio.to_thread(Client, cluster)
        executor = client.get_executor()
        calls = [loop.run_in_executor(executor, square, number) for number in range(100)]
        assert await asyncio.gather(*calls) == [square(number) for number in range(100)]
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, operator.truediv, 1, 0)
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(cluster.close)

    run(main())
