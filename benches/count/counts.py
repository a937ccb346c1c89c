"""What was counted of one operation."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """Averages over some hundred operations: what comes every 61 turns counts as a sixty-first."""

    instructions: float
    system_calls: float
    allocations: float

    def least(self, other: Counts) -> Counts:
        """Of two layouts of memory, the one with fewer instructions: collisions only add."""
        return self if self.instructions <= other.instructions else other
