"""Three hellos at once: they arrive as they are ready, their results in the order of the call."""

import asyncio
import time


async def hello(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    print(f"hello {name}")
    return name


async def main() -> None:
    names = await asyncio.gather(hello("Ichiro", 0.6), hello("Jiro", 0.4), hello("Saburo", 0.2))
    print(names)


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")  # as long as the longest, not as all three
