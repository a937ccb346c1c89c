"""How counts are compared and recorded: what `make count` would otherwise get wrong in silence."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.both_loops import TESTS_ON

if TESTS_ON == "asyncio":
    pytest.skip("SABURO_TESTS_ON=asyncio", allow_module_level=True)

import benches.count.workloads  # noqa: F401  (fills WORKLOADS)
from benches.count import record
from benches.count.compare import Verdict, compare, judge
from benches.count.counts import Counts
from benches.count.measure import per_operation, read_dump
from benches.count.record import Record
from benches.count.workload import WORKLOADS

BEFORE = Counts(instructions=10_000, system_calls=2, allocations=3)


@pytest.mark.parametrize("instructions", [9_800, 10_000, 10_200])
def test_two_percent_of_the_instructions_are_no_change(instructions: float) -> None:
    assert judge(BEFORE, BEFORE._replace(instructions=instructions)) is Verdict.SAME


def test_more_than_two_percent_either_way_is_a_change() -> None:
    assert judge(BEFORE, BEFORE._replace(instructions=10_201)) is Verdict.MORE
    assert judge(BEFORE, BEFORE._replace(instructions=9_799)) is Verdict.LESS


@pytest.mark.parametrize("what", ["system_calls", "allocations"])
def test_a_call_more_or_less_in_ten_operations_is_a_change(what: str) -> None:
    before = BEFORE._asdict()[what]
    assert judge(BEFORE, BEFORE._replace(**{what: before + 0.1})) is Verdict.MORE
    assert judge(BEFORE, BEFORE._replace(**{what: before - 0.1})) is Verdict.LESS
    assert judge(BEFORE, BEFORE._replace(**{what: before + 0.02})) is Verdict.SAME


def test_more_of_one_is_more_whatever_there_is_less_of() -> None:
    assert judge(BEFORE, Counts(5_000, 1, 4)) is Verdict.MORE


def test_a_workload_that_was_not_counted_before_is_new_and_one_with_threads_is_only_shown() -> None:
    now = {"new": BEFORE, "threads": BEFORE, "same": BEFORE}
    before = {"threads": Counts(1, 1, 1), "same": BEFORE}
    rows = {row.name: row for row in compare(before, now, judged=["new", "same"])}
    assert rows["new"].verdict is Verdict.NEW
    assert rows["threads"].verdict is Verdict.SHOWN
    assert not any(row.moved() for row in rows.values())


def test_what_does_not_depend_on_the_number_of_operations_is_in_no_operation() -> None:
    workload = WORKLOADS["sleep0_one"]
    few, many = workload.few, workload.many
    totals = {
        "sleep0_one few": (90_000 + 100 * few, 7 + few, 5),
        "sleep0_one many": (90_000 + 100 * many, 7 + many, 5),
    }
    assert per_operation("sleep0_one", totals) == (100, 1, 0)


def test_a_dump_says_what_was_counted_and_how_much() -> None:
    text = "desc: Trigger: Client Request: x few\nevents: Ir sysCount sysTime\ntotals: 70 3 1\n"
    assert read_dump(text) == ("x few", (70, 3))
    # callgrind leaves out zeros at the end.
    assert read_dump(text.replace(" 3 1", "")) == ("x few", (70, 0))


def test_the_least_instructions_of_two_layouts_are_taken_with_what_was_counted_beside_them() -> (
    None
):
    assert Counts(10, 1, 1).least(Counts(9, 1, 2)) == (9, 1, 2)
    assert Counts(9, 1, 2).least(Counts(10, 1, 1)) == (9, 1, 2)


def test_a_record_comes_back_as_it_was_written() -> None:
    written = Record({"python": 'x "y"', "rustc": "1"}, {"a": Counts(1.5, 0.016, 2), "bc": BEFORE})
    assert record.loads(written.dumps()) == written


def test_builds_that_differ_from_the_records_are_named() -> None:
    recorded = Record({"python": "3.11.7", "rustc": "1.95"}, {})
    assert recorded.differences({"python": "3.11.7", "rustc": "1.95", "more": ""}) == []
    assert recorded.differences({"python": "3.11.8", "rustc": "1.95"}) == [
        "python is 3.11.8, in the record 3.11.7"
    ]


def test_the_records_know_every_workload_and_no_other() -> None:
    files = sorted(record.FOLDER.glob("*.toml"))
    assert files
    for file in files:
        version = tuple(map(int, file.stem.removeprefix("cpython").split(".")))
        known = [name for name, workload in WORKLOADS.items() if workload.since <= version]
        assert list(record.loads(file.read_text("utf-8")).counts) == known, file.name


def test_a_commit_is_taken_from_the_history_by_a_python_without_saburo() -> None:
    code = "import sys; sys.modules['saburo'] = None; import benches.count.base"
    subprocess.run([sys.executable, "-c", code], cwd=record.FOLDER.parents[2], check=True)
