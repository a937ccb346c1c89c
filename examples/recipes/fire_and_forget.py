"""Fire and forget: create_task starts work, and the program does not wait for it.

asyncio keeps only a weak reference to a task, so portable code keeps a strong one until the task is
done. saburo keeps every unfinished task by itself.
"""

import asyncio
import time

background: set[asyncio.Task[None]] = set()


async def send_letter(receiver: str) -> None:
    await asyncio.sleep(0.2)
    print(f"letter to {receiver} sent")


def fire(receiver: str) -> None:
    task = asyncio.create_task(send_letter(receiver))
    background.add(task)
    task.add_done_callback(background.discard)


async def main() -> None:
    fire("Ichiro")
    fire("Jiro")
    print("main goes on at once")
    await asyncio.sleep(0.4)
    print(f"{len(background)} letters under way")


start = time.perf_counter()
asyncio.run(main())
print(f"took {time.perf_counter() - start:.1f} s")
