"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations

from benches.case import Measure

MISSING = "–"


def quantity(value: float | None, measure: Measure) -> str:
    """What one operation took, by what was measured."""
    if value is None:
        return MISSING
    return f"{value:,.0f} B" if measure is Measure.MEMORY else seconds(value)


def seconds(value: float) -> str:
    """
    >>> seconds(0.00000123), seconds(0.0456), seconds(60)
    ('1.23 µs', '45.6 ms', '60 s')
    """
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def ratio(value: float | None) -> str:
    """
    >>> ratio(0.987), ratio(12.34), ratio(None)
    ('0.99', '12.3', '–')
    """
    if value is None:
        return MISSING
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"
