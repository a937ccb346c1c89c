"""Without return_exceptions the first error comes out of gather at once; the others still run on.

To stop them instead, use an `asyncio.TaskGroup`.
"""

import asyncio
import time


async def work(name: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    print(f"{name} finished")


async def fail(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise ValueError("no luck")


async def main() -> None:
    others = [asyncio.create_task(work("Ichiro", 0.4)), asyncio.create_task(work("Jiro", 0.6))]
    try:
        await asyncio.gather(*others, fail(0.2))
    except ValueError as error:
        print(f"gather raised: {error}")
    await asyncio.wait(others)


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
