"""Command line: ``python -m tests.stdlib [--only MODULE]… [--test PART]… [--json PATH]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import Counter
from pathlib import Path

from . import modules, suite
from .stage import under_test


def main() -> int:
    options = _options()
    if modules.installed() is None:
        return without_tests()
    if unknown := suite.unknown_modules():
        print(f"stdlib: neither run nor left out by the record: {', '.join(unknown)}")
        return 1
    if stray := suite.stray_entries():
        print(f"stdlib: the record names modules that are not run here: {', '.join(stray)}")
        return 1
    jobs = [job for job in modules.jobs() if not options.only or _chosen(job, options.only)]
    print(f"stdlib: test.test_asyncio of CPython {platform.python_version()} on {_subject()}")
    print(f"{'':32}" + "".join(f"{name:>11}" for name in _HEADINGS), flush=True)
    reports = suite.run_all(
        jobs,
        parallel=options.jobs,
        limits=suite.Limits(options.seconds_per_test, options.seconds_per_module),
        wanted=tuple(options.test),
        tell=lambda report: tell(report, verbose=options.verbose),
    )
    total = suite.totals(reports)
    print(row("total", total))
    if options.json:
        tale = suite.as_json(reports, _version())
        Path(options.json).write_text(json.dumps(tale, indent=2) + "\n", "utf-8")
    kinds = ", ".join(f"{count} {kind}" for kind, count in suite.kinds(reports).most_common())
    print(
        f"stdlib: {total[suite.PASSED]} passed, {total[suite.FAILED]} failed,"
        f" {total[suite.EXPECTED]} expected differences{f' ({kinds})' if kinds else ''},"
        f" {total[suite.UNTOUCHED]} untouched, {total[suite.SKIPPED]} skipped by CPython"
    )
    return 1 if total[suite.FAILED] or not total[suite.PASSED] else 0


def without_tests() -> int:
    """This interpreter came without its tests: say so, and fail unless that is allowed."""
    optional = os.environ.get("SABURO_STDLIB_OPTIONAL") == "1"
    print(
        f"stdlib: CPython {platform.python_version()} at {sys.prefix} has no test.test_asyncio"
        " (Debian: libpython3.X-testsuite)" + (", skipped" if optional else "")
    )
    return 0 if optional else 1


_HEADINGS = ("passed", "untouched", "expected", "failed", "skipped")


def row(label: str, counts: Counter[str]) -> str:
    return f"{label:32}" + "".join(f"{counts[outcome]:11}" for outcome in suite.OUTCOMES)


def tell(report: suite.ModuleReport, *, verbose: bool) -> None:
    print(row(report.job.label, report.counts))
    for failure in report.failures:
        print(f"  FAILED {failure.test}")
        lines = failure.detail.rstrip().splitlines()
        for line in lines if verbose else lines[-1:]:
            print(f"    {line}")
    if verbose and report.stderr:
        print(report.stderr)
    sys.stdout.flush()


def _subject() -> str:
    on = under_test()
    return on if on == "asyncio" else f"{on} {_version()}"


def _version() -> str:
    if under_test() == "asyncio":
        return platform.python_version()
    import saburo

    return saburo.__version__


def _chosen(job: modules.Job, only: list[str]) -> bool:
    return job.label in only or job.module in only


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stdlib",
        description="Run CPython's own asyncio tests on saburo.",
        epilog="SABURO_STDLIB_ON=asyncio runs them on the standard library instead.",
    )
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="MODULE", help="e.g. test_tasks@foreign")
    add("--test", action="append", default=[], metavar="PART", help="tests whose name has PART")
    add("--json", metavar="PATH", help="write the counts, by module and in all, to PATH")
    add("--jobs", type=int, default=2, choices=(1, 2), help="modules at a time (default 2)")
    add("--seconds-per-test", type=float, default=suite.Limits.seconds_per_test, metavar="S")
    add("--seconds-per-module", type=float, default=suite.Limits.seconds_per_module, metavar="S")
    add("--verbose", action="store_true", help="whole tracebacks, and what the tests wrote")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
