"""The process behind the case of very many sleepers: `python -m benches.sleepers LOOP TASKS`.

Prints one Sample as JSON. All tasks must be asleep at the same moment, or the run does not count.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from dataclasses import asdict

from benches.case import Sample, WrongResult
from benches.loops import CONTENDERS

# A task's creation and first step must be over, for all tasks, before the first one wakes.
SECONDS_PER_TASK = 40e-6
SECONDS_AT_LEAST = 0.5


async def main(tasks: int) -> Sample:
    delay = SECONDS_AT_LEAST + SECONDS_PER_TASK * tasks
    loop = asyncio.get_running_loop()
    started = finished = 0
    all_asleep = loop.create_future()

    async def sleeper() -> None:
        nonlocal started, finished
        started += 1
        if started == tasks:
            # One turn later even this last task is asleep.
            loop.call_soon(all_asleep.set_result, None)
        await asyncio.sleep(delay)
        finished += 1

    memory = _resident()
    wall, cpu = time.perf_counter(), time.process_time()
    sleepers = [asyncio.create_task(sleeper()) for _ in range(tasks)]
    await all_asleep
    memory = _resident() - memory
    if finished:
        raise WrongResult(f"{finished} sleepers woke before all were asleep")
    while sleepers:
        await sleepers.pop()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if finished != tasks:
        raise WrongResult(f"{finished} of {tasks} sleepers finished")
    return Sample(wall / tasks, cpu / tasks, memory / tasks)


def _resident() -> int:
    """Bytes of memory this process has now; where /proc is missing, the most it ever had."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    name, tasks = sys.argv[1:]
    with asyncio.Runner(loop_factory=CONTENDERS[name].factory()) as runner:
        print(json.dumps(asdict(runner.run(main(int(tasks))))))
