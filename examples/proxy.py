#!/usr/bin/env python3
"""A TCP and TLS proxy: forwards connections from one address to another.

    python examples/proxy.py :8080 example.org:80                          # TCP to TCP
    python examples/proxy.py :8443 :8080 --cert cert.pem --key key.pem     # TLS in front
    python examples/proxy.py :8080 example.org:443 --tls                   # TLS behind
    saburo run examples/proxy.py :8080 example.org:80                      # the same on saburo

The rule that makes it right: neither side is read faster than the other side is written. `drain`
waits while a peer is slow, so a large file takes no more memory than a small one.

Each connection gets one line on stdout when it ends. Ctrl-C or SIGTERM stops listening, lets the
open connections go on for --grace seconds, and then ends them.

Exit codes: 0 stopped by a signal; 2 a wrong command line, certificates that cannot be read, or an
address that cannot be listened on.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
import time
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from typing import NamedTuple

CHUNK = 1 << 16


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def main(arguments: list[str] | None = None) -> int:
    options = command_line(arguments)
    try:
        asyncio.run(Proxy(options).serve())
    except OSError as error:  # an ssl.SSLError is one, too
        print(f"proxy: cannot listen on {options.listen}: {reason(error)}", file=sys.stderr)
        return 2
    return 0


class Proxy:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.connections: set[asyncio.Task[None]] = set()
        """The open ones. A task that is not in here has closed both sockets."""

    async def serve(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        listen: Address = self.options.listen
        server = await asyncio.start_server(
            self.accepted, listen.host or None, listen.port, ssl=self.options.front
        )
        for listener in server.sockets:
            host, port, *_ = listener.getsockname()
            say(f"listening on {Address(host, port)}")

        await stop.wait()
        server.close()
        if self.connections:
            say(f"stopping: {len(self.connections)} open, up to {self.options.grace:g} s for them")
            await asyncio.wait(self.connections, timeout=self.options.grace)
        for connection in self.connections:
            connection.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)
        await server.wait_closed()
        say("stopped")

    async def accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        # Now, because a closed TLS transport does not know it.
        host, port, *_ = writer.get_extra_info("peername") or ("unknown", 0)
        traffic = Traffic()
        end = "stopped"
        try:
            end = await self.forward(reader, writer, traffic)
        except asyncio.CancelledError:
            pass  # by serve(); streams of early 3.11 would report it as an error
        finally:
            self.connections.discard(task)
            say(f"{Address(host, port)}: {traffic}, {end}")

    async def forward(self, reader: StreamReader, writer: StreamWriter, traffic: Traffic) -> str:
        """One connection from its first byte to its last; returns how it ended."""
        target: Address = self.options.target
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                there_reader, there_writer = await asyncio.open_connection(
                    target.host or "localhost", target.port, ssl=self.options.behind
                )
        except OSError as error:  # a TimeoutError is one, too
            await close(writer)
            return f"cannot connect: {reason(error)}"
        except BaseException:
            writer.close()
            raise
        end = "closed"
        try:
            # One limit for both directions: a download leaves the other direction idle for hours.
            async with asyncio.timeout(self.options.idle) as idle, asyncio.TaskGroup() as group:
                group.create_task(self.pump(reader, there_writer, traffic.sent, idle))
                group.create_task(self.pump(there_reader, writer, traffic.received, idle))
        except* OSError as errors:
            end = "idle" if idle.expired() else f"broken: {reason(errors.exceptions[0])}"
        finally:
            # Both at the same time, because one peer may not answer any more.
            await asyncio.gather(close(writer), close(there_writer))
        return end

    async def pump(
        self, source: StreamReader, sink: StreamWriter, count: Count, idle: asyncio.Timeout
    ) -> None:
        now = asyncio.get_running_loop().time
        while chunk := await source.read(CHUNK):
            count.bytes += len(chunk)
            if not idle.expired():
                idle.reschedule(now() + self.options.idle)
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()  # the other direction goes on, as "nc -N" needs it
        else:
            sink.close()  # TLS cannot end one direction alone


@dataclass
class Count:
    bytes: int = 0


class Traffic:
    """How many bytes a connection has forwarded so far, and since when."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.sent = Count()
        self.received = Count()

    def __str__(self) -> str:
        seconds = time.monotonic() - self.begun
        return f"{self.sent.bytes} bytes out, {self.received.bytes} back, {seconds:.1f} s"


async def close(writer: StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(1):
            await writer.wait_closed()
    except OSError:  # reset by the peer, or a timeout
        writer.transport.abort()


# --- Input and output. ---


def say(line: str) -> None:
    print(line, flush=True)


def reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def address(text: str) -> Address:
    """HOST:PORT, [IPV6]:PORT, or :PORT for every address of this machine."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise ValueError
    return value


def command_line(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="proxy",
        description="Forwards connections to LISTEN on to TARGET, with TLS or without.",
    )
    parser.add_argument("listen", type=address, metavar="LISTEN", help="HOST:PORT or :PORT")
    parser.add_argument("target", type=address, metavar="TARGET", help="HOST:PORT")
    parser.add_argument("--cert", metavar="FILE", help="speak TLS on LISTEN, with this certificate")
    parser.add_argument("--key", metavar="FILE", help="its key, if it is not in the same file")
    parser.add_argument("--tls", action="store_true", help="speak TLS with TARGET")
    parser.add_argument("--ca", metavar="FILE", help="who vouches for TARGET (the system's list)")
    for option, default, text in (
        ("--connect-timeout", 10.0, "time limit for reaching TARGET (10)"),
        ("--idle", 300.0, "end a connection on which nothing moves for so long (300)"),
        ("--grace", 10.0, "how long open connections may go on after Ctrl-C (10)"),
    ):
        parser.add_argument(option, type=seconds, default=default, metavar="SECONDS", help=text)
    options = parser.parse_args(arguments)
    if options.key and not options.cert:
        parser.error("--key needs --cert")

    # Loaded now, so that errors show before the first connection.
    options.front = options.behind = None
    try:
        if options.cert:
            options.front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            options.front.load_cert_chain(options.cert, options.key)
        if options.tls or options.ca:
            options.behind = ssl.create_default_context(cafile=options.ca)
    except OSError as error:
        parser.error(f"cannot use the certificates: {reason(error)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
