"""The cases, by what they exercise. Importing this package fills `benches.case.CASES`."""

# The order of the imports is the order of the tables.
from benches.cases import callbacks  # noqa: F401, I001
from benches.cases import tasks  # noqa: F401
from benches.cases import many  # noqa: F401
from benches.cases import waiting  # noqa: F401
from benches.cases import timers  # noqa: F401
from benches.cases import primitives  # noqa: F401
from benches.cases import processes  # noqa: F401
from benches.cases import threads  # noqa: F401
from benches.cases import protocols  # noqa: F401
from benches.cases import streams  # noqa: F401
from benches.cases import sockets  # noqa: F401
from benches.cases import bulk  # noqa: F401
from benches.cases import idle  # noqa: F401
from benches.cases import clients  # noqa: F401
from benches.cases import tls  # noqa: F401
from benches.cases import subprocesses  # noqa: F401
from benches.cases import programs  # noqa: F401
