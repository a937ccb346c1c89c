"""As many coroutines as there is work for: make a list, unpack it into gather."""

import asyncio
import time


async def square(number: int) -> int:
    await asyncio.sleep(0.2)
    return number * number


async def main() -> None:
    coroutines = [square(number) for number in range(100)]
    squares = await asyncio.gather(*coroutines)
    print(squares[:5], "...", squares[-1])


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
