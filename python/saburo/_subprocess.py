"""subprocess_exec and subprocess_shell: child processes with their pipes connected to the loop.

The child is started by `subprocess.Popen`, so every option of it works, and its errors are raised.
Semantics: asyncio of Python 3.15, on every version.
"""

from __future__ import annotations

import asyncio
import subprocess

from ._process_transport import _UnixSubprocessTransport
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any, Literal, TypeAlias, TypeVar

    from ._loop import Loop

    _P = TypeVar("_P", bound=asyncio.BaseProtocol)
    # What `subprocess.Popen` takes for a standard stream.
    _Stream: TypeAlias = int | IO[Any] | None


async def subprocess_exec(
    self: Loop,
    protocol_factory: Callable[[], _P],
    program: Any,
    *args: Any,
    stdin: _Stream = subprocess.PIPE,
    stdout: _Stream = subprocess.PIPE,
    stderr: _Stream = subprocess.PIPE,
    universal_newlines: Literal[False] = False,
    shell: Literal[False] = False,
    bufsize: Literal[0] = 0,
    encoding: None = None,
    errors: None = None,
    text: Literal[False] | None = None,
    **kwargs: Any,
) -> tuple[asyncio.SubprocessTransport, _P]:
    """Starts `program` with `args`, each a str, bytes or path; returns transport and protocol.

    The protocol is an `asyncio.SubprocessProtocol`. Standard streams are pipes unless the
    arguments say otherwise; they and `kwargs` are those of `subprocess.Popen`, without its text
    mode and buffering. A start that is cancelled kills the child and waits for its end.

    Raises ValueError for text mode, a buffer or a shell, and whatever `Popen` raises:
    FileNotFoundError, PermissionError, `subprocess.SubprocessError`.

    >>> import asyncio, saburo
    >>> class Listener(asyncio.SubprocessProtocol):
    ...     def __init__(self):
    ...         self.said, self.ended = b"", asyncio.Event()
    ...     def pipe_data_received(self, fd, data):
    ...         self.said += data
    ...     def connection_lost(self, exc):
    ...         self.ended.set()
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     transport, listener = await loop.subprocess_exec(Listener, "echo", "tea")
    ...     transport.get_pipe_transport(0).close()
    ...     await listener.ended.wait()
    ...     transport.close()
    ...     return listener.said, transport.get_returncode()
    >>> saburo.run(main())
    (b'tea\\n', 0)
    """
    shell_error = None if not shell else "shell must be False"
    _check(universal_newlines, shell_error, bufsize, text, encoding, errors)
    protocol = protocol_factory()
    # Without the arguments: one may be a password, and there may be very many.
    title = f"execute program {program!r}"
    if self.get_debug():
        logger.debug(_description(title, stdin, stdout, stderr))
    transport = await self._make_subprocess_transport(
        protocol, (program, *args), False, stdin, stdout, stderr, bufsize, **kwargs
    )
    if self.get_debug():
        logger.info("%s: %r", title, transport)
    return transport, protocol


async def subprocess_shell(
    self: Loop,
    protocol_factory: Callable[[], _P],
    cmd: bytes | str,
    *,
    stdin: _Stream = subprocess.PIPE,
    stdout: _Stream = subprocess.PIPE,
    stderr: _Stream = subprocess.PIPE,
    universal_newlines: Literal[False] = False,
    shell: Literal[True] = True,
    bufsize: Literal[0] = 0,
    encoding: None = None,
    errors: None = None,
    text: Literal[False] | None = None,
    **kwargs: Any,
) -> tuple[asyncio.SubprocessTransport, _P]:
    """`subprocess_exec` of the shell with the command line `cmd`, a str or bytes.

    Words from elsewhere that are put into `cmd` must be quoted, with `shlex.quote`. Raises
    ValueError if `cmd` is neither.

    >>> import asyncio, saburo
    >>> async def main():
    ...     process = await asyncio.create_subprocess_shell("exit 7")
    ...     return await process.wait()
    >>> saburo.run(main())
    7
    """
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")
    shell_error = None if shell else "shell must be True"
    _check(universal_newlines, shell_error, bufsize, text, encoding, errors)
    protocol = protocol_factory()
    title = f"run shell command {cmd!r}"
    if self.get_debug():
        logger.debug(_description(title, stdin, stdout, stderr))
    transport = await self._make_subprocess_transport(
        protocol, cmd, True, stdin, stdout, stderr, bufsize, **kwargs
    )
    if self.get_debug():
        logger.info("%s: %r", title, transport)
    return transport, protocol


async def make_subprocess_transport(
    self: Loop,
    protocol: asyncio.BaseProtocol,
    args: Any,
    shell: bool,
    stdin: _Stream,
    stdout: _Stream,
    stderr: _Stream,
    bufsize: int,
    extra: dict[str, Any] | None = None,
    **kwargs: Any,
) -> _UnixSubprocessTransport:
    # What was written before the start is sent before it: the child may depend on it.
    self._send_gathered()
    # It returns when the child runs or has failed to, after a fraction of a millisecond.
    process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: ASYNC220
        args,
        shell=shell,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        bufsize=bufsize,
        **kwargs,
    )
    connected: asyncio.Future[None] = self.create_future()
    transport = _UnixSubprocessTransport(
        self,
        protocol,
        process,
        connected,
        extra,
    )
    if self.get_debug():
        program = args if shell else args[0]
        logger.debug("process %r created: pid %s", program, process.pid)
    try:
        await connected
    except (SystemExit, KeyboardInterrupt):
        raise
    except GeneratorExit:
        # The coroutine is closed, and the loop may be closed too: nothing can be awaited.
        transport.close()
        raise
    except BaseException:
        transport.close()
        # The child has ended when the caller goes on, also if it is cancelled once more.
        await asyncio.shield(transport._wait())
        raise
    return transport


def _check(
    universal_newlines: Any, shell: str | None, bufsize: Any, text: Any, encoding: Any, errors: Any
) -> None:
    """Raises ValueError for options that a transport of bytes does not support."""
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if shell is not None:
        raise ValueError(shell)
    if bufsize != 0:
        raise ValueError("bufsize must be 0")
    if text:
        raise ValueError("text must be False")
    if encoding is not None:
        raise ValueError("encoding must be None")
    if errors is not None:
        raise ValueError("errors must be None")


def _description(title: str, stdin: _Stream, stdout: _Stream, stderr: _Stream) -> str:
    """For the log, in debug mode."""
    info = [title]
    if stdin is not None:
        info.append(f"stdin={_named(stdin)}")
    if stdout is not None and stderr == subprocess.STDOUT:
        info.append(f"stdout=stderr={_named(stdout)}")
    else:
        if stdout is not None:
            info.append(f"stdout={_named(stdout)}")
        if stderr is not None:
            info.append(f"stderr={_named(stderr)}")
    return " ".join(info)


def _named(stream: _Stream) -> str:
    if stream == subprocess.PIPE:
        return "<pipe>"
    if stream == subprocess.STDOUT:
        return "<stdout>"
    return repr(stream)
