"""Run test modules in processes of their own, judge the tests, count them, tell the tale."""

from __future__ import annotations

import concurrent.futures
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import differences
from .differences import label_of
from .modules import FOREIGN, RUN, Job, installed, jobs
from .stage import under_test

ROOT = Path(__file__).parents[2]

# What can become of a test, in the order of the printed columns.
PASSED = "passed"
UNTOUCHED = "untouched"
EXPECTED = "expected differences"
FAILED = "failed"
SKIPPED = "skipped"
OUTCOMES = (PASSED, UNTOUCHED, EXPECTED, FAILED, SKIPPED)

# A worker that crashes is started again behind the test that crashed it, this often at most.
RESTARTS = 20


@dataclass
class Verdict:
    """One test's outcome after the record of expected differences was asked."""

    test: str
    outcome: str
    detail: str
    kind: str = ""


@dataclass
class ModuleReport:
    job: Job
    verdicts: list[Verdict] = field(default_factory=list)
    stderr: str = ""

    @property
    def counts(self) -> Counter[str]:
        return Counter(verdict.outcome for verdict in self.verdicts)

    @property
    def kinds(self) -> Counter[str]:
        """The expected differences, by kind."""
        return Counter(verdict.kind for verdict in self.verdicts if verdict.kind)

    @property
    def failures(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.outcome == FAILED]


@dataclass(frozen=True)
class Limits:
    # Also for what a test case does between two tests.
    seconds_per_test: float = 30
    seconds_per_module: float = 600


def unknown_modules() -> list[str]:
    """Modules of this interpreter that are neither run nor left out for a reason."""
    left_out = differences.of(under_test()).modules_left_out
    return [name for name in installed() or () if name not in RUN and name not in left_out]


def stray_entries() -> list[str]:
    """What the record says of modules that this interpreter does not have or that are not run."""
    record = differences.of(under_test())
    labels = {job.label for job in jobs()}
    present = set(installed() or ())
    stray = [pattern for pattern in record.patterns() if label_of(pattern) not in labels]
    names = (*record.classes_left_out, *record.tests_left_out)
    stray += [name for name in names if label_of(name) not in labels]
    return stray + [name for name in record.modules_left_out if name not in present]


def run_all(
    wanted_jobs: Iterable[Job],
    *,
    parallel: int = 2,
    limits: Limits = Limits(),
    wanted: tuple[str, ...] = (),
    tell: Callable[[ModuleReport], None] = lambda report: None,
) -> list[ModuleReport]:
    """Run `wanted_jobs`, at most `parallel` at a time, telling each report as it is complete."""
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        running = [pool.submit(run_module, job, limits, wanted) for job in wanted_jobs]
        for done in concurrent.futures.as_completed(running):
            tell(done.result())
        return [future.result() for future in running]


def run_module(job: Job, limits: Limits = Limits(), wanted: tuple[str, ...] = ()) -> ModuleReport:
    """Run one module to its end, over crashes and exceeded limits, and judge every test."""
    report = ModuleReport(job)
    with tempfile.TemporaryDirectory(prefix="saburo-stdlib-") as folder:
        lines_path = Path(folder, "report")
        for _ in range(RESTARTS):
            before = len(_read(lines_path))
            ending = _run_worker(job, limits, lines_path, Path(folder), wanted, report)
            if ending is None:
                break
            _write_casualty(lines_path, before, ending, report.stderr)
            if _read(lines_path)[-1].get("finished"):
                break
        else:
            report.verdicts.append(
                Verdict(job.label, FAILED, f"given up after {RESTARTS} broken workers")
            )
        lines = _read(lines_path)
    record = differences.of(under_test())
    report.verdicts += [
        judge(line, record)
        for line in lines
        # On CPython's loops only our classes are looked at; the rest belongs to the full round.
        if "outcome" in line and (line["touched"] or job.round != FOREIGN)
    ]
    if not wanted:
        report.verdicts += without_test(job, lines, record)
    return report


def without_test(
    job: Job, lines: list[dict[str, Any]], record: differences.Record
) -> Iterator[Verdict]:
    """A failure for every entry of the record about this job that stands for no test."""
    detail = f"stands in {differences.PATH.name}, and is the name of nothing"
    tests = {line["test"] for line in lines if "outcome" in line}
    for pattern in record.patterns():
        if label_of(pattern) == job.label and not fnmatch.filter(tests, pattern):
            yield Verdict(pattern, FAILED, detail)
    found = {
        name for line in lines for key in ("classes", "left_out") for name in line.get(key, ())
    }
    for name in (*record.classes_left_out, *record.tests_left_out):
        if label_of(name) == job.label and name not in found:
            yield Verdict(name, FAILED, detail)


def _run_worker(
    job: Job,
    limits: Limits,
    lines_path: Path,
    folder: Path,
    wanted: tuple[str, ...],
    report: ModuleReport,
) -> str | None:
    """Run a worker; None when it came to its end, else what ended it."""
    # -bb and -W default are what CPython's own continuous integration gives its tests.
    command = [sys.executable, "-W", "default", "-bb", "-m", f"{__package__}.worker"]
    command += [job.label, str(lines_path), str(limits.seconds_per_test), *wanted]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_python_path()))
    scratch = Path(folder, "scratch")
    scratch.mkdir(exist_ok=True)
    with open(Path(folder, "stderr"), "w+", encoding="utf-8", errors="replace") as stderr:
        worker = subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = worker.wait(limits.seconds_per_module)
            broken = code != 0
            ending = f"the worker ended with {_name_of_exit(code)}"
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            broken = True
            ending = f"the module took longer than {limits.seconds_per_module:g} s"
        stderr.seek(0)
        report.stderr += stderr.read()
    finished = any(line.get("finished") for line in _read(lines_path))
    return None if finished and not broken else ending


def _python_path() -> list[str]:
    inherited = os.environ.get("PYTHONPATH")
    # The folder this package was imported from, under whichever name.
    above = Path(__file__).parents[len((__package__ or "").split("."))]
    return [str(above), *([inherited] if inherited else [])]


def _name_of_exit(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}" + " (so does a test over its time limit)" * (code == 1)


def _write_casualty(lines_path: Path, before: int, ending: str, stderr: str) -> None:
    """Put the failure of the test that was running into the report, or of what came behind one.

    `before` says how many lines the report had when the worker that broke was started.
    """
    lines = _read(lines_path)
    running = lines[-1].get("running") if lines else None
    last = next((line["test"] for line in reversed(lines) if "test" in line), None)
    line = {
        "test": running or (f"{last}, after it" if last else "start of the worker"),
        "outcome": FAILED,
        "detail": f"{ending}\n{stderr[-4000:]}",
        "touched": True,
    }
    with open(lines_path, "a", encoding="utf-8") as report:
        print(json.dumps(line), file=report)
        # A worker that broke before its first test would break again.
        if not any("test" in line or "running" in line for line in lines[before:]):
            print(json.dumps({"finished": True}), file=report)


def _read(lines_path: Path) -> list[dict[str, Any]]:
    if not lines_path.exists():
        return []
    return [json.loads(line) for line in lines_path.read_text("utf-8").splitlines()]


def judge(line: dict[str, Any], record: differences.Record) -> Verdict:
    """What a line of a worker's report comes to."""
    test, outcome, detail = line["test"], line["outcome"], line["detail"]
    entry = record.difference(test)
    if outcome == PASSED and entry is not None:
        detail = f"passes, but stands in {differences.PATH.name}: {entry.reason}"
        return Verdict(test, FAILED, detail)
    if outcome == PASSED and not line["touched"]:
        return Verdict(test, UNTOUCHED, "")
    if outcome == FAILED and entry is not None:
        return Verdict(test, EXPECTED, detail, entry.kind)
    return Verdict(test, outcome, detail)


def totals(reports: Iterable[ModuleReport]) -> Counter[str]:
    total: Counter[str] = Counter()
    for report in reports:
        total += report.counts
    return total


def kinds(reports: Iterable[ModuleReport]) -> Counter[str]:
    total: Counter[str] = Counter()
    for report in reports:
        total += report.kinds
    return total


def as_json(reports: list[ModuleReport], version: str) -> dict[str, Any]:
    """Everything a page of compatibility wants to quote."""

    def in_full(counts: Counter[str]) -> dict[str, int]:
        return {outcome: counts[outcome] for outcome in OUTCOMES}

    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "on": under_test(),
        "version": version,
        "total": in_full(totals(reports)),
        "expected differences by kind": dict(sorted(kinds(reports).items())),
        "modules": {report.job.label: in_full(report.counts) for report in reports},
        "failures": {v.test: v.detail for report in reports for v in report.failures},
        "untouched": sorted(
            v.test for report in reports for v in report.verdicts if v.outcome == UNTOUCHED
        ),
    }
