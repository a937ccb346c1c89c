"""A child process and its pipes, as a transport for asyncio's SubprocessProtocol.

The rule: each event of the child or of a pipe becomes a callback of the protocol that is queued at
once. Before `connection_made` these callbacks are kept, in their order.
"""

from __future__ import annotations

import asyncio
import asyncio.base_subprocess
import functools
import signal
import warnings

from ._asyncio_names import take_names
from ._child_watch import watch_child
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import Any

    from ._child import Child
    from ._loop import Loop


class _UnixSubprocessTransport(asyncio.SubprocessTransport):
    """What `subprocess_exec` returns. Semantics: asyncio of Python 3.15, on every version.

    The class and those of its pipes are named as asyncio's, because the names appear in reprs and
    in filters of warnings.
    """

    # None after connection_lost(), as the protocol is.
    _loop: Loop | None
    _proc: subprocess.Popen[bytes] | None

    def __init__(
        self,
        loop: Loop,
        protocol: asyncio.BaseProtocol,
        process: subprocess.Popen[bytes],
        connected: asyncio.Future[None],
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Begins to connect the pipes; `connected` is done when they are."""
        super().__init__({**(extra or {}), "subprocess": process})
        self._loop = loop
        self._protocol: Any = protocol
        self._proc = process
        self._pid = process.pid
        self._returncode: int | None = None
        self._closed = False
        pipes = enumerate((process.stdin, process.stdout, process.stderr))
        # For each of the child's descriptors that is a pipe; None until it is connected.
        self._pipes: dict[int, WriteSubprocessPipeProto | None] = {
            fd: None for fd, pipe in pipes if pipe is not None
        }
        # Callbacks to be queued after connection_made(); None from then on.
        self._held_back: list[functools.partial[object]] | None = []
        # connection_lost() is queued, or was called.
        self._finished = False
        # Of each call of _wait() as long as the code is not known.
        self._exit_waiters: set[asyncio.Future[int]] = set()
        self._child: Child = watch_child(loop, process, self._process_exited)
        if self._pipes:
            loop.create_task(self._connect(loop, process, connected))
        else:
            # In the same turn as with pipes, where a task does it.
            loop.call_soon(self._connected, connected)

    def __repr__(self) -> str:
        info = [type(self).__name__]
        if self._closed:
            info.append("closed")
        info.append(f"pid={self._pid}")
        info.append("running" if self._returncode is None else f"returncode={self._returncode}")
        names = {0: "stdin", 1: "stdout", 2: "stderr"}
        for fd, pipe in self._pipes.items():
            if pipe is not None:
                info.append(f"{names[fd]}={pipe.pipe}")
        return f"<{' '.join(info)}>"

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Makes `protocol` hear what happens from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol; None after its connection_lost()."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_pid(self) -> int:
        """The id of the process, also after its end."""
        return self._pid

    def get_returncode(self) -> int | None:
        """The exit code, -N if signal N ended the process; None as long as it is not known."""
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        """The transport of the pipe to the child's descriptor `fd`; None if there is no pipe."""
        pipe = self._pipes.get(fd)
        return None if pipe is None else pipe.pipe

    def send_signal(self, signal: int) -> None:
        """Sends signal number `signal`; does nothing if the process has ended.

        Raises ProcessLookupError after connection_lost(), and PermissionError if the process now
        runs as another user.
        """
        if self._proc is None:
            raise ProcessLookupError
        if self._returncode is None:
            self._child.send_signal(signal)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def is_closing(self) -> bool:
        """Has close() been called?"""
        return self._closed

    def close(self) -> None:
        """Closes the pipes, and kills the process if it is still running. May be called again."""
        if self._closed:
            return
        self._closed = True
        loop, process = self._loop, self._proc
        if loop is None or process is None:
            return
        if not loop.is_closed() and not self._child.is_inherited:
            for pipe in self._pipes.values():
                if pipe is not None:
                    pipe.pipe.close()
        if self._returncode is not None or not self._child.is_running():
            return
        if loop.get_debug():
            logger.warning("Close running child process: kill %r", self)
        try:
            process.kill()
        except (ProcessLookupError, PermissionError):
            pass  # it has just ended, or now runs as another user

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not self._closed:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.close()

    async def _connect(
        self, loop: Loop, process: subprocess.Popen[bytes], connected: asyncio.Future[None]
    ) -> None:
        try:
            for fd, pipe in enumerate((process.stdin, process.stdout, process.stderr)):
                if pipe is None:
                    continue
                protocol: WriteSubprocessPipeProto
                if fd == 0:
                    _, protocol = await loop.connect_write_pipe(
                        lambda: WriteSubprocessPipeProto(self, 0), pipe
                    )
                else:
                    factory = functools.partial(ReadSubprocessPipeProto, self, fd)
                    _, protocol = await loop.connect_read_pipe(factory, pipe)
                self._pipes[fd] = protocol
                if self._closed:
                    # close() did not know of this pipe, whose other end a grandchild may keep open.
                    protocol.pipe.close()
            self._connected(connected)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            for end in self._pipes.values():
                if end is not None:
                    end.pipe.close()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            if not connected.done():
                connected.set_exception(error)

    def _connected(self, connected: asyncio.Future[None]) -> None:
        loop = self._loop
        assert loop is not None
        loop.call_soon(self._protocol.connection_made, self)
        held_back, self._held_back = self._held_back or (), None
        for call in held_back:
            loop.call_soon(call.func, *call.args)
        if not connected.done():
            connected.set_result(None)

    async def _wait(self) -> int:
        """The exit code, once it is known."""
        if self._returncode is not None:
            return self._returncode
        assert self._loop is not None
        waiter = self._loop.create_future()
        self._exit_waiters.add(waiter)
        try:
            code: int = await waiter
            return code
        finally:
            self._exit_waiters.discard(waiter)

    def _process_exited(self, returncode: int) -> None:
        assert self._loop is not None
        assert self._returncode is None, self._returncode
        if self._loop.get_debug():
            logger.info("%r exited with return code %r", self, returncode)
        self._returncode = returncode
        try:
            self._tell(self._protocol.process_exited)
            self._try_finish()
        finally:
            # Also if the protocol lacks the method: the start that fails for it waits for the end.
            for waiter in self._exit_waiters:
                if not waiter.done():
                    waiter.set_result(returncode)

    def _pipe_data_received(self, fd: int, data: bytes) -> None:
        self._tell(self._protocol.pipe_data_received, fd, data)

    def _pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._tell(self._protocol.pipe_connection_lost, fd, exc)
        self._try_finish()

    def _tell(self, callback: Callable[..., object], *args: Any) -> None:
        if self._held_back is not None:
            self._held_back.append(functools.partial(callback, *args))
        else:
            assert self._loop is not None
            self._loop.call_soon(callback, *args)

    def _try_finish(self) -> None:
        """The connection is lost with the process and all of its pipes."""
        if self._finished or self._returncode is None:
            return
        for pipe in self._pipes.values():
            if pipe is None or not pipe.is_lost:
                return
        self._finished = True
        self._tell(self._connection_lost)

    def _connection_lost(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._loop = self._proc = self._protocol = None


take_names(_UnixSubprocessTransport, asyncio.base_subprocess.BaseSubprocessTransport)


class WriteSubprocessPipeProto(asyncio.BaseProtocol):
    """The protocol of the pipe to the child's standard input."""

    __slots__ = ("_fd", "_process", "is_lost", "pipe")

    # A transport, from connection_made() on.
    pipe: Any

    def __init__(self, process: _UnixSubprocessTransport, fd: int) -> None:
        self._process: _UnixSubprocessTransport | None = process
        self._fd = fd
        self.pipe = None
        self.is_lost = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} pipe={self.pipe!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipe = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        process, self._process = self._process, None
        if process is not None:
            process._pipe_connection_lost(self._fd, exc)

    def pause_writing(self) -> None:
        if self._process is not None:
            self._process._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._process is not None:
            self._process._protocol.resume_writing()


class ReadSubprocessPipeProto(WriteSubprocessPipeProto, asyncio.Protocol):
    """The protocol of a pipe from the child's standard output or error."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        if self._process is not None:
            self._process._pipe_data_received(self._fd, data)
