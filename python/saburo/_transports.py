"""What a loop's native transports say: to the exception handler, and to asyncio's log.

The transports themselves are native (`_saburo.StreamTransport`); this is called when something goes
wrong, or in debug mode.
"""

from __future__ import annotations

from ._report import Reporting, logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio


class Transports(Reporting):
    """The loop's reports about its transports."""

    def _report_transport(
        self, transport: asyncio.Transport, exc: BaseException, message: str
    ) -> None:
        """A connection ends because of `exc`: the network's fault, or the program's."""
        if isinstance(exc, OSError):
            if self.get_debug():
                logger.debug("%r: %s", transport, message, exc_info=exc)
            return
        self.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": transport,
                "protocol": transport.get_protocol(),
            }
        )

    def _report_throttle(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.BaseProtocol,
        exc: BaseException,
        method: str,
    ) -> None:
        """`pause_writing` or `resume_writing` has raised."""
        self.call_exception_handler(
            {
                "message": f"protocol.{method}() failed",
                "exception": exc,
                "transport": transport,
                "protocol": protocol,
            }
        )

    def _report_callback(self, transport: object, exc: BaseException) -> None:
        """A callback of a transport has raised, and the connection goes on."""
        self.call_exception_handler(
            {
                "message": f"Exception in callback of {transport!r}",
                "exception": exc,
                "transport": transport,
            }
        )

    def _debug_transport(self, transport: object, words: str) -> None:
        logger.debug("%r %s", transport, words)
