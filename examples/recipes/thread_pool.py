"""A thread pool of our own: its size says how many blocking calls run at a time."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def blocking(number: int) -> int:
    time.sleep(0.2)
    return number * 10


async def main() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=2) as pool:
        calls = [loop.run_in_executor(pool, blocking, number) for number in range(4)]
        print(await asyncio.gather(*calls))


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")  # four calls, two at a time
