"""The cases, by what they exercise. Importing this package fills `benches.case.CASES`, in table order."""

from benches.cases import (  # noqa: F401  (imported for their registrations; the order is the table's)
    callbacks,
    tasks,
    many,
    waiting,
    timers,
    primitives,
    processes,
    threads,
)
