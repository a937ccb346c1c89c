"""Whole lives: of a loop, of a process, and of a process with very many tasks."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from benches.case import Measure, Sample, WrongResult, factory_case, process_case
from benches.cases.tasks import trivial
from benches.loops import Contender, LoopFactory

HELLO = """\
import asyncio, {module} as chosen
async def main():
    await asyncio.sleep(0)
    print("hello, world")
with asyncio.Runner(loop_factory=chosen.new_event_loop) as runner:
    runner.run(main())
"""


@factory_case("new loop, run, close", operations=2_000)
def new_loop(operations: int, factory: LoopFactory) -> int:
    """Make a loop, run a trivial coroutine to its end, close the loop."""
    seen = 0
    for _ in range(operations):
        loop = factory()
        try:
            seen += loop.run_until_complete(trivial())
        finally:
            loop.close()
    return seen


@process_case(
    "import and hello world, whole process", operations=10, measures=(Measure.CPU, Measure.WALL)
)
def hello_world(operations: int, loop: Contender) -> Sample:
    """From starting the interpreter to its end, importing the loop and printing one line."""
    command = [sys.executable, "-c", HELLO.format(module=loop.name)]
    wall, cpu = time.perf_counter(), _children_cpu()
    for _ in range(operations):
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        if output.strip() != b"hello, world":
            raise WrongResult(f"the program printed {output!r}")
    wall, cpu = time.perf_counter() - wall, _children_cpu() - cpu
    return Sample(wall / operations, cpu / operations)


def _children_cpu() -> float:
    # Not os.times(), which counts in hundredths of a second.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


SLEEPERS = (Measure.CPU, Measure.MEMORY)


@process_case("100k concurrent sleeps", operations=100_000, measures=SLEEPERS, rounds=3)
def sleepers_100k(operations: int, loop: Contender) -> Sample:
    """A hundred thousand tasks asleep at once, in a process of their own: processor time for their
    whole lives, and resident memory while all sleep."""
    command = [sys.executable, "-m", "benches.sleepers", loop.name, str(operations)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return Sample(**json.loads(output))


@process_case(
    "1M concurrent sleeps",
    operations=1_000_000,
    measures=SLEEPERS,
    rounds=1,
    slow=True,
    patience=900,
)
def sleepers_1m(operations: int, loop: Contender) -> Sample:
    """The same with a million, which takes a minute and up to 3 GB for each loop."""
    return sleepers_100k(operations, loop)
