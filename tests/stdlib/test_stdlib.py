"""The same run under pytest, one test a module: ``python -m tests.stdlib`` tells more.

Besides, what the harness itself must not get wrong.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Generator
from pathlib import Path

import pytest

from . import differences, modules, stage, suite


@pytest.fixture(autouse=True)
def has_tests() -> None:
    """Fail plainly on an interpreter without its tests, or skip where that is allowed."""
    if modules.installed() is None:
        missing = f"CPython {platform.python_version()} came without test.test_asyncio"
        if os.environ.get("SABURO_STDLIB_OPTIONAL") == "1":
            pytest.skip(missing)
        pytest.fail(missing)


@pytest.mark.cpython_tests
@pytest.mark.timeout(900)
@pytest.mark.parametrize("job", list(modules.jobs()), ids=lambda job: job.label)
def test_module_passes_but_for_the_recorded_differences(job: modules.Job) -> None:
    report = suite.run_module(job)
    failures = [f"{failure.test}\n{failure.detail}" for failure in report.failures]
    assert not failures, "\n\n".join(failures)
    assert report.counts[suite.PASSED], report.stderr


def test_every_module_is_run_or_left_out_for_a_reason() -> None:
    assert suite.unknown_modules() == []
    assert suite.stray_entries() == []


def test_a_recorded_difference_that_passes_is_a_failure(tmp_path: Path) -> None:
    record = differences.of("saburo", (3, 13), _record(tmp_path))
    line = {"test": "test_x.Case.test_odd", "outcome": "passed", "detail": "", "touched": True}
    assert suite.judge(line, record).outcome == suite.FAILED
    line["outcome"] = "failed"
    assert suite.judge(line, record).outcome == suite.EXPECTED


def test_an_entry_that_stands_for_no_test_is_a_failure(tmp_path: Path) -> None:
    record = differences.of("saburo", (3, 13), _record(tmp_path))
    job = modules.Job("test_x", modules.FULL)
    odd = {"test": "test_x.Case.test_odd", "outcome": "skipped"}
    other = {"test": "test_x.Case.test_even", "outcome": "passed"}
    assert not list(suite.without_test(job, [other, odd], record))
    (verdict,) = suite.without_test(job, [other], record)
    assert (verdict.test, verdict.outcome) == ("test_x.*.test_odd", suite.FAILED)
    # It says nothing about other modules.
    assert not list(suite.without_test(modules.Job("test_y", modules.FULL), [other], record))


def test_a_recorded_difference_holds_for_its_versions_and_for_saburo_only(tmp_path: Path) -> None:
    line = {"test": "test_x.Case.test_odd", "outcome": "failed", "detail": "", "touched": True}
    for on, version in (("saburo", (3, 11)), ("saburo", (3, 14)), ("asyncio", (3, 13))):
        record = differences.of(on, version, _record(tmp_path))
        assert suite.judge(line, record).outcome == suite.FAILED


def test_a_test_that_never_touched_the_implementation_has_not_passed(tmp_path: Path) -> None:
    record = differences.of("saburo", (3, 13), _record(tmp_path))
    line = {"test": "test_x.Case.test_even", "outcome": "passed", "detail": "", "touched": False}
    assert suite.judge(line, record).outcome == suite.UNTOUCHED


def test_virtual_time_moves_as_the_plan_says() -> None:
    heard = []

    def plan() -> Generator[float, float, None]:
        heard.append((yield 0))
        heard.append((yield 2))
        yield 3

    loop = stage.IMPLEMENTATIONS[stage.under_test()]().test_loop(plan)
    moments = []

    def second() -> None:
        moments.append(loop.time())
        loop.stop()

    def first() -> None:
        moments.append(loop.time())
        loop.call_later(3, second)

    loop.call_later(2, first)
    loop.run_forever()
    loop.close()
    assert heard == [2, 5]
    assert moments == [2, 5]


def _record(folder: Path) -> Path:
    path = folder / "record.toml"
    path.write_text(
        'left_out = []\n[[difference]]\nkind = "white-box"\nreason = "odd"\n'
        'tests = ["test_x.*.test_odd"]\nsince = "3.12"\nuntil = "3.13"\n',
        "utf-8",
    )
    return path
