"""Run one module of CPython's tests in this process and write down what became of each test.

The report has one JSON object a line, written at once, so that it tells up to which test a process
came that crashed or was ended. Tests that stand in it already are not run again: after a crash the
suite starts a new worker on the same report, which goes on behind the test that crashed.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import signal
import sys
import time
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from . import differences, stage
from .modules import FULL, PACKAGE, Job
from .touch import touch, watch_test_methods

# Tests that need resources beyond this machine are skipped, as regrtest does when not told else.
ABSENT_RESOURCES = frozenset({"audio", "gui", "network", "urlfetch"})

# Up to 3.13 a test of these leaves a pipe open, whose warning the next one that listens would hear.
LEAVES_RESOURCES = frozenset({"test_subprocess"})

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Report(unittest.TestResult):
    """Writes a line when a test starts and one with its outcome when it ends."""

    def __init__(self, job: Job, lines: IO[str], seconds_per_test: float) -> None:
        super().__init__()
        self.job = job
        self.lines = lines
        self.seconds_per_test = seconds_per_test
        self.current: dict[str, Any] = {}
        self.started = 0.0

    def write(self, **line: Any) -> None:
        print(json.dumps(line), file=self.lines, flush=True)

    def name(self, test: unittest.TestCase) -> str:
        _, _, rest = test.id().partition(f"{PACKAGE}.{self.job.module}.")
        return f"{self.job.label}.{rest or test.id()}"

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.current = {"test": self.name(test), "outcome": "passed", "detail": ""}
        self.write(running=self.current["test"])
        if self.job.module in LEAVES_RESOURCES:
            gc.collect()
        touch.forget()
        self.started = time.perf_counter()
        faulthandler.dump_traceback_later(self.seconds_per_test, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        # Anew: what a test case does behind its test can hang as well.
        faulthandler.dump_traceback_later(self.seconds_per_test, exit=True)
        self.current["touched"] = touch.seen
        self.current["seconds"] = round(time.perf_counter() - self.started, 3)
        self.write(**self.current)
        self.current = {}

    def settle(self, test: unittest.TestCase, outcome: str, detail: str) -> None:
        if self.current:
            self.current["outcome"] = outcome
            self.current["detail"] += detail
        else:  # setUpModule, tearDownClass and their like fail outside any test
            self.write(
                test=f"{self.job.label}.{test.id()}",
                outcome=outcome,
                detail=detail,
                touched=True,
                seconds=0,
            )

    def fail_with(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        self.settle(test, "failed", "".join(traceback.format_exception(*err)))

    def addError(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        self.fail_with(test, err)

    def addFailure(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        self.fail_with(test, err)

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: ErrorInfo | None
    ) -> None:
        if err is not None:
            self.fail_with(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        if not self.current or self.current["outcome"] == "passed":
            self.settle(test, "skipped", reason)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.settle(test, "failed", "unexpected success")

    def addDuration(self, test: unittest.TestCase, elapsed: float) -> None:
        """Asked for since 3.12; `stopTest` writes its own."""


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def load(job: Job) -> list[unittest.TestCase]:
    """Set the stage and load the module's tests."""
    support = importlib.import_module("test.support")
    resources = importlib.import_module("test.libregrtest.cmdline").ALL_RESOURCES
    usable = [name for name in resources if name not in ABSENT_RESOURCES]
    vars(support)["use_resources"] = usable
    implementation = stage.IMPLEMENTATIONS[stage.under_test()]()
    if job.round == FULL:
        stage.install_loop(implementation)
    stage.install_classes(implementation)
    if implementation.package is not None:
        stage.share_names(implementation.package)
    module = importlib.import_module(f"{PACKAGE}.{job.module}")
    stage.watch_tests(module, implementation)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    return list(tests_of(suite))


def class_of(job: Job, test: unittest.TestCase) -> str:
    return f"{job.module}.{type(test).__name__}"


def already_run(report: Path) -> set[str]:
    """The tests a former worker on this report started, the one that ended it included."""
    if not report.exists():
        return set()
    lines = map(json.loads, report.read_text("utf-8").splitlines())
    return {test for line in lines if (test := line.get("running") or line.get("test"))}


def main(label: str, report_path: str, seconds_per_test: str, *wanted: str) -> None:
    faulthandler.enable()
    # Some tests interrupt themselves; a shell that runs us in the background has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = Job.of_label(label)
    done = already_run(Path(report_path))
    record = differences.of(stage.under_test())
    with open(report_path, "a", encoding="utf-8") as lines:
        report = Report(job, lines, float(seconds_per_test))
        loaded = load(job)
        report.write(
            classes=sorted({class_of(job, test) for test in loaded}),
            left_out=sorted({report.name(test) for test in loaded} & record.tests_left_out.keys()),
        )
        tests = [
            test
            for test in loaded
            if class_of(job, test) not in record.classes_left_out
            and report.name(test) not in record.tests_left_out
            and report.name(test) not in done
            and (not wanted or any(part in report.name(test) for part in wanted))
        ]
        watch_test_methods()
        unittest.TestSuite(tests).run(report)
        report.write(finished=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
