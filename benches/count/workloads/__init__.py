"""The workloads, by what they exercise. Importing this fills `benches.count.workload.WORKLOADS`."""

# The order of the imports is the order of the record. Threads come last: what they leave must not
# run while something else is counted.
from benches.count.workloads import engine  # noqa: F401, I001
from benches.count.workloads import scheduling  # noqa: F401
from benches.count.workloads import crowds  # noqa: F401
from benches.count.workloads import timers  # noqa: F401
from benches.count.workloads import protocols  # noqa: F401
from benches.count.workloads import streams  # noqa: F401
from benches.count.workloads import sockets  # noqa: F401
from benches.count.workloads import tls  # noqa: F401
from benches.count.workloads import threads  # noqa: F401
