"""What the garbage collector has taken."""

from __future__ import annotations

import gc
from typing import Any


def dead(*refs: Any) -> bool:
    """Whether what these weak references were to is gone, after a collection."""
    for _ in range(3):  # what a finalizer brings back for a moment goes the next time
        gc.collect()
    return all(ref() is None for ref in refs)
