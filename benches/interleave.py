"""The order of the samples.

Samples that are compared stand side by side in time, so that what a shared machine does to one it
likely does to all; and the loops take turns at being first, so that none always follows the same
state of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benches.case import Case


class Turn(NamedTuple):
    """One sample to take."""

    round: int
    case: Case
    loop: str


def turns(cases: Sequence[Case], loops: Sequence[str], rounds: int) -> Iterator[Turn]:
    """Every round goes through all cases, every case through all loops."""
    for round_ in range(rounds):
        for position, case in enumerate(cases):
            if case.rounds is not None and round_ >= case.rounds:
                continue
            first = (round_ + position) % len(loops)
            for loop in (*loops[first:], *loops[:first]):
                yield Turn(round_, case, loop)
