"""The process behind a server case: `python -m benches.server LOOP CASE`.

Says where it listens, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys
from typing import IO

import benches.cases  # noqa: F401  (fills CASES)
from benches.case import CASES
from benches.child import answer, pipes_of_our_own
from benches.door import Door
from benches.loops import CONTENDERS, Contender
from benches.traffic import ServerCase


def main(loop: Contender, case: ServerCase) -> None:
    allow_many_descriptors()
    # Read before the case's code: some loops change what asyncio's names mean.
    factory = loop.factory()
    commands, answers = pipes_of_our_own()
    with commands, answers, asyncio.Runner(loop_factory=factory) as runner:
        try:
            runner.run(_serve(loop, case, answers))
        except NotImplementedError as error:
            answer(answers, lacking=f"NotImplementedError: {error}".removesuffix(": "))
        except BaseException as error:  # some loops raise panics that are no Exception
            answer(answers, failure=f"{type(error).__name__}: {error}")


async def _serve(loop: Contender, case: ServerCase, answers: IO[str]) -> None:
    door = Door(
        case.entrance,
        lambda address: answer(answers, address=address),
        secure=case.secure,
        module=importlib.import_module(loop.name) if case.native_streams else asyncio,
    )
    await case.serve(door)
    await door.stay_open()


def allow_many_descriptors() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    chosen = CASES[sys.argv[2]]
    assert isinstance(chosen, ServerCase)
    main(CONTENDERS[sys.argv[1]], chosen)
