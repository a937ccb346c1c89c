"""The engine without Python: what `engine/src/main.rs` does under these names."""

from __future__ import annotations

from benches.count.workload import ENGINE, Workload, register

for name, few, many, about in (
    ("ready", 1_000, 11_000, "A handle that passes through the queue, a hundred a turn."),
    ("timers_fire", 1_000, 11_000, "A timer that fires, a hundred at once."),
    ("timers_cancel", 1_000, 11_000, "A timer that is cancelled, a hundred at once."),
    ("inbox", 1_000, 11_000, "A post, ten a turn."),
    ("events", 200, 1_200, "News of a descriptor: a wait, and the handle of its reader."),
    ("register", 200, 1_200, "A reader set and removed, with a wait in between."),
    ("writes", 1_000, 11_000, "A piece of 64 bytes, twenty to a flush."),
    ("reads", 200, 2_200, "1 KiB into a stream's buffer and out again in four parts."),
):
    register(Workload(ENGINE + name, about, few, many))
