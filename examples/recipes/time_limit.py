"""A time limit: wait_for cancels a coroutine that takes too long, which can still tidy up."""

import asyncio
import time


async def endless() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled, tidying up")
        raise


async def main() -> None:
    try:
        await asyncio.wait_for(endless(), timeout=0.2)
    except TimeoutError:
        print("gave up waiting")


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
