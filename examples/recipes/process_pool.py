"""A process pool: pure Python work on every core while the loop stays free.

The processes import this file again, hence the `__main__` guard; the function and its arguments
travel by pickle.
"""

import asyncio
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor


def count_primes(limit: int) -> tuple[int, int]:
    primes = sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))
    return primes, os.getpid()


async def main() -> None:
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=2, mp_context=context) as pool:
        limits = [1_000, 10_000, 20_000]
        calls = [loop.run_in_executor(pool, count_primes, limit) for limit in limits]
        for limit, (primes, process) in zip(limits, await asyncio.gather(*calls), strict=True):
            print(f"{primes} primes below {limit}, elsewhere: {process != os.getpid()}")


if __name__ == "__main__":
    start = time.perf_counter()
    asyncio.run(main())
    print(f"took {time.perf_counter() - start:.1f} s")
