"""A blocking function in a web handler, as FastAPI does it: `def` handlers go to a thread.

A tiny router stands for the framework. Handlers that are coroutine functions run on the loop;
plain functions may block, so each runs in a thread and no request waits for another. Context
variables (here: whose request it is) travel into the thread.
"""

import asyncio
import contextvars
import inspect
import time
from collections.abc import Callable
from typing import Any

user: contextvars.ContextVar[str] = contextvars.ContextVar("user")


async def fast() -> str:
    return f"{user.get()}: at once"


def slow_query() -> str:
    time.sleep(0.3)  # a database driver that blocks
    return f"{user.get()}: after the query"


async def request(who: str, handler: Callable[[], Any]) -> None:
    user.set(who)
    if inspect.iscoroutinefunction(handler):
        response = await handler()
    else:
        response = await asyncio.to_thread(handler)
    print(response)


async def main() -> None:
    await asyncio.gather(
        request("Ichiro", slow_query),
        request("Jiro", fast),
        request("Saburo", fast),
    )


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
