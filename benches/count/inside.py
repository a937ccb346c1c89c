"""The process in which workloads are counted, one after another: `python -m benches.count.inside`.

Their names are on the input, not among the arguments: those would move what is allocated after
them. It runs below callgrind, with the shims loaded. Only what lies between two calls of the meter
is counted, so imports are not, nor what the first run of a workload finds out. For each run
callgrind leaves a file, and a line on the output says how often memory was asked for.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

import saburo

import benches.count.workloads  # noqa: F401  (fills WORKLOADS)
from benches.count.workload import WORKLOADS, PythonWorkload


def main(names: list[str]) -> None:
    meter = Meter()
    # When the collector runs depends on everything that was ever allocated: it is work of no single
    # operation.
    gc.disable()
    meter.shims.count_start()
    for workload in (WORKLOADS[name] for name in names):
        assert isinstance(workload, PythonWorkload)
        # Threads wait by the kernel's clock.
        meter.shims.count_steady(workload.judged)
        # Fills free lists and caches, and lets the interpreter specialise.
        workload.do(workload.few, saburo.new_event_loop)
        for what, operations in (("few", workload.few), ("many", workload.many)):
            meter.count(workload, what, operations)


class Meter:
    def __init__(self) -> None:
        self.shims = ctypes.CDLL(os.environ["COUNT_SHIMS"])
        self.shims.count_requests.restype = ctypes.c_longlong

    def count(self, workload: PythonWorkload, what: str, operations: int) -> None:
        gc.collect()
        before = self.shims.count_requests()
        self.shims.count_begin()
        workload.do(operations, saburo.new_event_loop)
        self.shims.count_end(f"{workload.name} {what}".encode())
        print(workload.name, what, self.shims.count_requests() - before, flush=True)


if __name__ == "__main__":
    main(sys.stdin.read().split())
