"""A time limit for the wait, not for the work: under shield the inner task goes on."""

import asyncio
import time


async def slow() -> str:
    await asyncio.sleep(0.4)
    print("work done")
    return "its result"


async def main() -> None:
    task = asyncio.create_task(slow())
    try:
        await asyncio.wait_for(asyncio.shield(task), timeout=0.2)
    except TimeoutError:
        print(f"gave up waiting, cancelled: {task.cancelled()}")
    print(await task)


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
