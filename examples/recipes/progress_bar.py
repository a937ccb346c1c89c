"""A progress bar: as_completed hands out results in the order in which they are ready.

Needs `pip install tqdm`. The bar goes to stderr, the results to stdout.
"""

import asyncio
import time

from tqdm import tqdm


async def hello(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"hello {name}"


async def main() -> None:
    hellos = [hello("Ichiro", 0.6), hello("Jiro", 0.4), hello("Saburo", 0.2)]
    for ready in tqdm(asyncio.as_completed(hellos), total=len(hellos)):
        print(await ready)


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
