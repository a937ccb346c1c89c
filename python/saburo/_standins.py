"""Stand-ins: asyncio's own pipe transports, until `setup`'s file of this name is here."""

from __future__ import annotations

import asyncio
from asyncio import unix_events

from . import _saburo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class StandIns(_saburo.Loop):
    """The makers of pipe transports."""

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
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
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.WriteTransport:
        transport: asyncio.WriteTransport = vars(unix_events)["_UnixWritePipeTransport"](
            self, pipe, protocol, waiter, extra
        )
        return transport

    async def connect_read_pipe(
        self, protocol_factory: Callable[[], Any], pipe: Any
    ) -> tuple[asyncio.ReadTransport, Any]:
        """A transport that reads from `pipe`."""
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport = self._make_read_pipe_transport(pipe, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def connect_write_pipe(
        self, protocol_factory: Callable[[], Any], pipe: Any
    ) -> tuple[asyncio.WriteTransport, Any]:
        """A transport that writes to `pipe`."""
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport = self._make_write_pipe_transport(pipe, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    def _add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self.add_reader(fd, callback, *args)

    def _add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self.add_writer(fd, callback, *args)

    def _remove_reader(self, fd: int) -> bool:
        return self.remove_reader(fd)

    def _remove_writer(self, fd: int) -> bool:
        return self.remove_writer(fd)
