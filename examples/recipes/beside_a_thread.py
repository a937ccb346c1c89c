"""A blocking function beside coroutines: to_thread keeps it from stopping the loop."""

import asyncio
import time


def blocking() -> str:
    time.sleep(0.6)  # a driver or library that knows nothing of asyncio
    return "from the thread"


async def tick() -> None:
    for number in range(3):
        print(f"tick {number}")
        await asyncio.sleep(0.1)


async def main() -> None:
    result, _ = await asyncio.gather(asyncio.to_thread(blocking), tick())
    print(result)


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
