"""What is logged and reported of transports, which are native and call these functions by name."""

from __future__ import annotations

import errno

from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ._loop import Loop


def report_transport(
    self: Loop, transport: asyncio.Transport, exc: BaseException, message: str
) -> None:
    """A connection ends because of `exc`: an OSError of the network, or an error of the program."""
    _report(self, transport, exc, message, debug_only=isinstance(exc, OSError))


def report_read_pipe(self: Loop, transport: asyncio.ReadTransport, exc: OSError) -> None:
    """Reading has failed; with EIO also from a terminal whose other end is closed."""
    message = "Fatal read error on pipe transport"
    _report(self, transport, exc, message, debug_only=exc.errno == errno.EIO)


def report_throttle(
    self: Loop,
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


def log_accepted(self: Loop, server: object, peer: object, sock: object) -> None:
    logger.debug("%r got a new connection from %r: %r", server, peer, sock)


def log_closed_by_peer(self: Loop, transport: object) -> None:
    logger.info("%r was closed by peer", transport)


def debug_transport(self: Loop, transport: object, words: str) -> None:
    logger.debug("%r %s", transport, words)


def _report(
    loop: Loop,
    transport: asyncio.Transport | asyncio.ReadTransport,
    exc: BaseException,
    message: str,
    *,
    debug_only: bool,
) -> None:
    if not debug_only:
        loop.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": transport,
                "protocol": transport.get_protocol(),
            }
        )
    elif loop.get_debug():
        logger.debug("%r: %s", transport, message, exc_info=exc)
