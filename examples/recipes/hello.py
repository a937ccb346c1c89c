"""Hello, a pause, world: while `await` waits for the sleep, the loop can run other tasks."""

import asyncio
import time


async def main() -> None:
    print("hello", flush=True)
    await asyncio.sleep(0.2)
    print("world")


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
