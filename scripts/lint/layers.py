"""saburo-python's rooms stand in layers: each uses what is below it, and nothing above.

A room is a file or a folder right below `src`. What it must tell the rooms above it goes through a
trait that it declares itself, or through a table that is filled at import.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scripts.lint.graph import Exempt
from scripts.lint.rust import read_crate

SOURCE = "crates/saburo-python/src"

ORDER = (
    "streams",
    "tls",
    "transport",
    "sock",
    "pool",
    "task",
    "coroutine",
    "future",
    "handle",
    "event_loop",
    "callable",
    "running",
    "thrown",
    "names",
    "ffi",
)
"""From the highest room to the lowest. Those in one line of the same height still have an order."""

EXEMPT: tuple[Exempt, ...] = ()
"""The arrows that point up all the same. One that is no longer there is an error, too."""


def problems(
    root: Path, order: tuple[str, ...] = ORDER, exempt: tuple[Exempt, ...] = EXEMPT
) -> Iterator[str]:
    source = root / SOURCE
    crate = read_crate(source)
    rooms = {module[0] for module in crate.files if module}
    for room in sorted(rooms - {*order}):
        yield f"{SOURCE}: `{room}` has no place in ORDER of scripts/lint/layers.py"
    for room in sorted({*order} - rooms):
        yield f"scripts/lint/layers.py: `{room}` of ORDER is not in {SOURCE}"

    height = {room: -index for index, room in enumerate(order)}
    reasons = {(one.user, one.used) for one in exempt}
    needed = set()
    for use in crate.uses():
        if not use.user or not use.used:  # lib.rs knows every room
            continue
        user, used = use.user[0], use.used[0]
        if user not in height or used not in height or height[user] >= height[used]:
            continue
        needed.add((user, used))
        if (user, used) not in reasons:
            place = use.file.relative_to(root)
            yield f"{place}:{use.line}: `{user}` uses `{used}`, which is above it"
    for user, used in sorted(reasons - needed):
        yield f"scripts/lint/layers.py: `{user}` no longer uses `{used}`: take it out of EXEMPT"
