"""Plain ``pytest`` checks the harness only: ``python -m tests.stdlib`` runs CPython's tests.

``pytest tests/stdlib`` runs these, too, a module a test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    if any(HERE in (path.resolve(), *path.resolve().parents) for path in asked_for):
        return
    kept = [item for item in items if not item.get_closest_marker("cpython_tests")]
    if left := [item for item in items if item not in kept]:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpython_tests: a module of CPython's own tests")
