"""One of three fails and the other two finish: return_exceptions makes its error a result."""

import asyncio
import time


async def divide(dividend: int, divisor: int) -> float:
    await asyncio.sleep(0.2)
    return dividend / divisor


async def main() -> None:
    results = await asyncio.gather(divide(6, 1), divide(6, 0), divide(6, 3), return_exceptions=True)
    for result in results:
        print(repr(result))


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
