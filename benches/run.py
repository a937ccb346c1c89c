"""One run: every chosen case on every loop there is, and the report of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

import benches.cases  # noqa: F401  (fills CASES)
from benches import environment, folder, goals, record, terminal
from benches.case import CASES
from benches.child import Failure, Lacking
from benches.goals import Goals
from benches.interleave import turns
from benches.loops import Contender
from benches.options import Options, parse
from benches.report import Report, compile_report
from benches.rows import Cell, Cells
from benches.worker import Greeting, Worker


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 unless a case failed. A goal that was missed does not fail a run."""
    options = parse(arguments)
    wanted = goals.load()
    if options.only_list:
        list_cases(options, wanted)
        return 0
    for name, why in options.left_out.items():
        print(f"left out: {name}, {why}", file=sys.stderr)
    try:
        with folder.made():
            report = measure(options, wanted)
    except KeyboardInterrupt:
        return 130
    if report is None:
        return 2
    terminal.show(report)
    if options.json is not None:
        options.json.write_text(record.as_json(report), "utf-8")
    if options.record:
        print("recorded in", *record.keep(report, options.groups))
    return 1 if report.failures else 0


def list_cases(options: Options, wanted: Goals) -> None:
    width = max(map(len, CASES))
    for case in options.cases:
        goals_of_case = (wanted.of.get((case.name, measure)) for measure in case.measures)
        texts = [str(goal) for goal in goals_of_case if goal is not None]
        title = case.title + (" (slow)" if case.slow else "")
        print(f"{case.group:11} {case.name:{width}} {title:55} {', '.join(texts)}".rstrip())


def measure(options: Options, wanted: Goals) -> Report | None:
    """None, after a word about it, if there is nothing to measure or a loop named is missing."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        greetings: dict[str, Greeting] = {}
        for loop in options.loops:
            worker = stack.enter_context(Worker(loop))
            try:
                greetings[loop.name] = _greet(loop, worker)
            except Failure as failure:
                print(f"left out: {loop.name}, {failure}", file=sys.stderr)
                if options.loops_named:
                    return None
            else:
                workers[loop.name] = worker
        if not options.cases or not workers:
            print("nothing to measure", file=sys.stderr)
            return None
        observed = environment.observe(greetings)
        cells = sample(options, workers)
    return compile_report(
        observed,
        rounds=options.rounds,
        scale=options.scale,
        loops=list(workers),
        cases=options.cases,
        cells=cells,
        goals=wanted,
    )


def sample(options: Options, workers: dict[str, Worker]) -> Cells:
    """The only place where time passes: one sample at a time, in whichever process it is."""
    cells = {(case.name, loop): Cell() for case in options.cases for loop in workers}
    schedule = list(turns(options.cases, list(workers), options.rounds))
    # Without a terminal a line now and then is enough.
    interval = 0.1 if sys.stderr.isatty() else 30
    with tqdm(schedule, mininterval=interval, unit="sample", leave=False) as progress:
        for turn in progress:
            cell = cells[turn.case.name, turn.loop]
            if cell.empty:
                continue
            progress.set_description(f"{turn.case.name} on {turn.loop}", refresh=False)
            try:
                operations = turn.case.scaled(options.scale)
                cell.samples.append(workers[turn.loop].sample(turn.case, operations))
            except Lacking as lacking:
                cell.lacking = str(lacking)
            except Failure as failure:
                cell.failure = str(failure)
    return cells


def _greet(loop: Contender, worker: Worker) -> Greeting:
    if not loop.installed():
        raise Failure("not installed")
    return worker.start()
