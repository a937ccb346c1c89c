"""Stand-ins: asyncio's own transports behind the loop's private makers, until native ones come.

The makers have asyncio's names and signatures, those of Python 3.15 on every version. The rule:
whoever sets up a connection knows the makers and nothing of what is behind them, so that each
stand-in can go when its native class has come.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import weakref
from asyncio import selector_events, sslproto, unix_events

from . import _saburo
from ._report import Reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias, TypeVarTuple

    from _typeshed import FileDescriptorLike

    from ._server import Server

    _Ts = TypeVarTuple("_Ts")
    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]
    _Waiter: TypeAlias = asyncio.Future[None] | None


class StandIns(Reporting):
    """The makers of transports, and who uses which descriptor."""

    # Transports by descriptor; one that is closing no longer counts. This one stays empty: it is
    # what loops have whose __init__ was not called.
    _transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # noqa: RUF012
    _polled: _Polled
    # What asyncio's transports show in their repr comes from here; None once the loop is closed.
    _selector: _Polled | None

    def _prepare_standins(self) -> None:
        self._transports = weakref.WeakValueDictionary()
        self._selector = self._polled = _Polled()

    def _close(self) -> None:
        super()._close()
        self._selector = None

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Server | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
        context: Context | None = None,
    ) -> asyncio.Transport:
        """The same with TLS; `waiter` gets its result, or the error, after the handshake."""
        self._ensure_fd_no_transport(rawsock)
        tls = self._make_ssl_protocol(
            protocol,
            sslcontext,
            waiter,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=call_connection_made,
        )
        self._make_socket_transport(rawsock, tls, None, extra=extra, server=server, context=context)
        transport: asyncio.Transport = tls._app_transport
        return transport

    def _make_ssl_protocol(
        self,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
    ) -> Any:
        """What speaks TLS between a transport, whose protocol it is, and `protocol`."""
        return sslproto.SSLProtocol(
            self,  # type: ignore[arg-type]  # every instance is a saburo.Loop
            protocol,
            sslcontext,  # type: ignore[arg-type]  # None: a default one is made
            waiter,  # type: ignore[arg-type]
            server_side,
            server_hostname,
            call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        self._ensure_fd_no_transport(sock)
        make: Any = _SelectorDatagramTransport
        transport: asyncio.DatagramTransport = make(self, sock, protocol, address, waiter, extra)
        return transport

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.ReadTransport:
        transport: asyncio.ReadTransport = vars(unix_events)["_UnixReadPipeTransport"](
            self, pipe, protocol, waiter, extra
        )
        return transport

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.WriteTransport:
        transport: asyncio.WriteTransport = vars(unix_events)["_UnixWritePipeTransport"](
            self, pipe, protocol, waiter, extra
        )
        return transport

    def _leave_socket(self, sock: socket.socket) -> None:
        """Ends the transport over `sock`, which stays open: it is its owner's again."""
        transport = self._transport_of(sock.fileno()) or self._transports.get(sock.fileno())
        if transport is not None:
            transport._leave_socket()

    def _ensure_fd_no_transport(self, fd: FileDescriptorLike) -> None:
        """Raises RuntimeError if a transport uses the descriptor, ValueError if it is none."""
        if isinstance(fd, int):
            number = fd
        else:
            try:
                number = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        transport = self._transport_of(number) or self._transports.get(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    def add_reader(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        super().add_reader(fd, callback, *args)

    def add_writer(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        super().add_writer(fd, callback, *args)

    def remove_reader(self, fd: FileDescriptorLike) -> bool:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        return super().remove_reader(fd)

    def remove_writer(self, fd: FileDescriptorLike) -> bool:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        return super().remove_writer(fd)

    def _wait_readable(self, fd: FileDescriptorLike) -> _saburo.Future[None]:
        self._ensure_sock_is_free(fd)
        return super()._wait_readable(fd)

    def _wait_writable(self, fd: FileDescriptorLike) -> _saburo.Future[None]:
        self._ensure_sock_is_free(fd)
        return super()._wait_writable(fd)

    def _ensure_sock_is_free(self, fd: FileDescriptorLike) -> None:
        """For the `sock_*` methods, whose error shows the number and not the socket."""
        if self._transports:
            self._ensure_fd_no_transport(fd if isinstance(fd, int) else fd.fileno())

    # The names below are what asyncio's transports ask of their loop.

    def _add_reader(
        self,
        fd: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> None:
        if context is not None:
            args, callback = (callback, *args), context.run
        super().add_reader(fd, callback, *args)
        self._polled.add(fd, selectors.EVENT_READ)

    def _add_writer(
        self,
        fd: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> None:
        if context is not None:
            args, callback = (callback, *args), context.run
        super().add_writer(fd, callback, *args)
        self._polled.add(fd, selectors.EVENT_WRITE)

    def _remove_reader(self, fd: int) -> bool:
        self._polled.remove(fd, selectors.EVENT_READ)
        return super().remove_reader(fd)

    def _remove_writer(self, fd: int) -> bool:
        self._polled.remove(fd, selectors.EVENT_WRITE)
        return super().remove_writer(fd)


_DatagramTransport: Any = vars(selector_events)["_SelectorDatagramTransport"]


class _SelectorDatagramTransport(_DatagramTransport, asyncio.DatagramTransport):  # type: ignore[misc]
    """asyncio's, on every version a DatagramTransport."""

    _sock: Any

    def _leave_socket(self) -> None:
        self.abort()
        if self._sock is not None:
            self._sock = _NotOurs()


class _NotOurs:
    """In a transport's hands, a socket that its owner has back."""

    def close(self) -> None:
        pass


class _Polled:
    """Which descriptors are polled for what: asyncio's transports show it in their repr."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def add(self, fd: int, event: int) -> None:
        self._events[fd] = self._events.get(fd, 0) | event

    def remove(self, fd: int, event: int) -> None:
        left = self._events.pop(fd, 0) & ~event
        if left:
            self._events[fd] = left

    def get_key(self, fd: int) -> selectors.SelectorKey:
        return selectors.SelectorKey(fd, fd, self._events[fd], None)
