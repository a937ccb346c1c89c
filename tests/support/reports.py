"""What reaches a loop's exception handler."""

from __future__ import annotations

import asyncio
from typing import Any

Reports = list[dict[str, Any]]


def collect_reports() -> Reports:
    """The contexts that reach the running loop's exception handler from now on."""
    reports: Reports = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    return reports
