"""The process behind a client case: `python -m benches.client LOOP CASE OPERATIONS ADDRESS`.

Takes the sample itself, for it is what is measured.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from dataclasses import asdict

import benches.cases  # noqa: F401  (fills CASES)
from benches.case import CASES, WrongResult
from benches.child import answer, pipes_of_our_own
from benches.loops import CONTENDERS, Contender
from benches.traffic import ClientCase


def main(loop: Contender, case: ClientCase, operations: int, address: str) -> None:
    factory = loop.factory()
    commands, answers = pipes_of_our_own()
    with commands, answers, asyncio.Runner(loop_factory=factory) as runner:
        try:
            answer(answers, **asdict(runner.run(case.timed(address, operations))))
        except NotImplementedError as error:
            answer(answers, lacking=f"NotImplementedError: {error}".removesuffix(": "))
        except WrongResult as wrong:
            answer(answers, failure=f"wrong result: {wrong}")
        except BaseException as error:  # some loops raise panics that are no Exception
            traceback.print_exc()
            answer(answers, failure=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    chosen = CASES[sys.argv[2]]
    assert isinstance(chosen, ClientCase)
    main(CONTENDERS[sys.argv[1]], chosen, int(sys.argv[3]), sys.argv[4])
