"""Who blocks the loop? Debug mode names every callback and every task step that takes too long."""

import asyncio
import logging
import sys
import time

logging.basicConfig(stream=sys.stdout, format="%(message)s")


def blocking() -> None:
    time.sleep(0.2)


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.15
    loop.call_soon(blocking)
    await asyncio.sleep(0.3)


start = time.perf_counter()
asyncio.run(main(), debug=True)
print(f"took {time.perf_counter() - start:.1f} s")
