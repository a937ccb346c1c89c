"""Names that others go by: of coroutines never awaited, of transports left open, of threads.

Test suites look for leaks and hide warnings by the names that asyncio gives to things, so
everything here is compared with what asyncio's own loop says at the same point.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import re
import socket
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.both_loops import Kind, comparable
from support.network import client_context, server_context
from support.waiting import wait

Run = Callable[..., Any]


def coroutine_methods() -> list[str]:
    return sorted(
        name
        for name, value in inspect.getmembers(asyncio.SelectorEventLoop)
        if inspect.iscoroutinefunction(value) and not name.startswith("_")
    )


def given(function: Any) -> list[None]:
    """A None for each argument that must be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [None for p in parameters if p.kind in kinds and p.default is p.empty]


def complaint(function: Any, *args: Any) -> list[str]:
    """What is said of a coroutine that nobody awaits, after its name."""
    coroutine = function(*args)
    said = [coroutine.__name__]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del coroutine
        gc.collect()
    return said + [str(warning.message).splitlines()[0] for warning in seen]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", coroutine_methods())
def test_a_coroutine_of_the_loop_that_nobody_awaits_is_called_as_in_asyncio(
    loop: asyncio.AbstractEventLoop, name: str, debug: bool
) -> None:
    loop.set_debug(debug)
    theirs = getattr(asyncio.SelectorEventLoop, name)
    expected = f"coroutine '{theirs.__qualname__}' was never awaited"
    assert complaint(getattr(loop, name), *given(theirs)) == [name, expected]


def test_wrong_arguments_are_told_with_asyncios_names(loop: asyncio.AbstractEventLoop) -> None:
    for name in coroutine_methods():
        theirs = getattr(asyncio.SelectorEventLoop, name)
        if inspect.getfullargspec(theirs).varkw:
            continue
        expected = f"{theirs.__qualname__}() got an unexpected keyword argument 'no'"
        with pytest.raises(TypeError, match=re.escape(expected)):
            getattr(loop, name)(*given(theirs), no=1)


def test_wrong_arguments_of_transports_are_told_with_asyncios_names(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def told(transport: Any, *names: str) -> None:
            for name in names:
                with pytest.raises(TypeError, match=rf"^{name}\(\) "):
                    getattr(transport, name.rpartition(".")[2])(1, 2, 3, 4)
            transport.abort() if hasattr(transport, "abort") else transport.close()

        ours, theirs = socket.socketpair()
        stream, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        told(
            stream,
            "_SelectorSocketTransport.write",
            "_SelectorSocketTransport.set_protocol",
            "_FlowControlMixin.set_write_buffer_limits",
            "BaseTransport.get_extra_info",
        )
        theirs.close()

        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_context())
        secure, _ = await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname(), ssl=client_context()
        )
        told(
            secure,
            "_SSLProtocolTransport.write",
            "_SSLProtocolTransport.writelines",
            "_SSLProtocolTransport.set_protocol",
            "_SSLProtocolTransport.set_write_buffer_limits",
            "_SSLProtocolTransport.set_read_buffer_limits",
            "_SSLProtocolTransport.get_extra_info",
        )
        server.close()

        endpoint, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0)
        )
        told(
            endpoint,
            "_SelectorTransport.set_protocol",
            "_FlowControlMixin.set_write_buffer_limits",
            "BaseTransport.get_extra_info",
        )

        out, into = os.pipe()
        reading, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(out, "rb", 0))
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(into, "wb", 0))
        told(reading, "_UnixReadPipeTransport.set_protocol")
        told(writing, "_UnixWritePipeTransport.write", "_UnixWritePipeTransport.set_protocol")
        await asyncio.sleep(0)

    run(main())


@pytest.mark.saburo_only
def test_wrong_arguments_of_a_loop_are_told_with_its_own_name(kind: Kind) -> None:
    import saburo

    with pytest.raises(TypeError, match=r"^Loop\.__init__\(\) got an unexpected keyword"):
        saburo.Loop(selector=None)  # type: ignore[call-arg]


def test_coroutines_of_servers_streams_and_processes_are_called_as_in_asyncio(
    run: Run, streams: Any
) -> None:
    async def main() -> list[list[str]]:
        server = await streams.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        said = [complaint(server.start_serving), complaint(server.serve_forever)]
        said.append(complaint(server.wait_closed))
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
        said += [complaint(reader.read), complaint(reader.readline)]
        said += [complaint(reader.readexactly, 1), complaint(reader.readuntil, b"x")]
        said += [complaint(writer.drain), complaint(writer.wait_closed)]
        said.append(complaint(writer.start_tls, None))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        child = await asyncio.create_subprocess_exec("true")
        transport: Any = child._transport  # type: ignore[attr-defined]
        said.append(complaint(transport._wait))
        await child.wait()
        said += [complaint(streams.open_connection), complaint(streams.open_unix_connection)]
        said += [complaint(streams.start_server, None), complaint(streams.start_unix_server, None)]
        return said

    owners = {
        "Server": ["start_serving", "serve_forever", "wait_closed"],
        "StreamReader": ["read", "readline", "readexactly", "readuntil"],
        "StreamWriter": ["drain", "wait_closed", "start_tls"],
        "BaseSubprocessTransport": ["_wait"],
        "": ["open_connection", "open_unix_connection", "start_server", "start_unix_server"],
    }
    assert run(main()) == [
        [name, f"coroutine '{f'{owner}.{name}'.lstrip('.')}' was never awaited"]
        for owner, names in owners.items()
        for name in names
    ]


def plain(text: str) -> str:
    """Without numbers of descriptors and processes, and without ports."""
    return re.sub(r"(\bpid=|\bport=|', )\d+", r"\1N", comparable(text))


def ours_and_theirs(kind: Kind, main: Callable[[], Any]) -> tuple[Any, Any]:
    results = []
    for factory in (kind.new_loop, asyncio.SelectorEventLoop):
        with asyncio.Runner(loop_factory=factory) as runner:
            results.append(runner.run(main()))
    return results[0], results[1]


def test_what_things_are_called_in_reprs(kind: Kind) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        said: list[str] = []

        def note(thing: Any) -> None:
            said.append(f"{type(thing).__name__} {plain(repr(thing))}")

        one, two = socket.socketpair()
        left, _ = await loop.connect_accepted_socket(asyncio.Protocol, one)
        note(left)
        left.write(b"x")
        left.close()
        note(left)
        await asyncio.sleep(0)
        note(left)
        two.close()

        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_context())
        said.append(plain(repr(server)))
        secure, _ = await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname(), ssl=client_context()
        )
        said.append(type(secure).__name__)
        said.append(type(secure._ssl_protocol).__name__)  # type: ignore[attr-defined]
        secure.abort()
        server.close()
        await asyncio.sleep(0)
        note(server)

        endpoint, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0)
        )
        note(endpoint)
        endpoint.close()
        note(endpoint)

        for connect, end in ((loop.connect_read_pipe, 0), (loop.connect_write_pipe, 1)):
            ends = os.pipe()
            pipe = os.fdopen(ends[end], "rb" if end == 0 else "wb", 0)
            transport, _ = await connect(asyncio.Protocol, pipe)
            note(transport)
            transport.close()
            await asyncio.sleep(0)
            note(transport)
            os.close(ends[1 - end])

        process, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "cat", stdout=asyncio.subprocess.PIPE, stderr=None
        )
        note(process)
        for piped in process._pipes.values():  # type: ignore[attr-defined]
            note(piped)
        process.get_pipe_transport(0).close()  # type: ignore[union-attr]
        await wait(process._wait())  # type: ignore[attr-defined]
        note(process)
        process.close()
        note(process)

        for handle in (loop.call_soon(print, 1), loop.call_later(900, print, 2)):
            handle.cancel()
            said.append(re.sub(r"when=\S+", "when", plain(repr(handle))))
        future = loop.create_future()
        said.append(plain(repr(future)))
        future.cancel()
        said.append(plain(repr(future)))
        return said

    ours, theirs = ours_and_theirs(kind, main)
    assert ours == theirs


LEAKS: dict[str, str] = {
    "a connection": """
        transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
    """,
    "a stream": """
        reader, writer = await streams.open_connection(*listener.getsockname())
    """,
    "a datagram endpoint": """
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0))
    """,
    "a pipe's reading end": """
        ends = os.pipe()
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(ends[0], "rb", 0))
    """,
    "a pipe's writing end": """
        ends = os.pipe()
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(ends[1], "wb", 0))
    """,
    "a child": """
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "true", stdin=None, stdout=None, stderr=None)
        await transport._wait()
    """,
    "a task": """
        task = asyncio.create_task(asyncio.sleep(900), name="sleeper")
        await asyncio.sleep(0)
    """,
    "a failed future": """
        future = loop.create_future()
        future.set_exception(ValueError("no luck"))
    """,
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_leak_is_told_in_asyncios_words(kind: Kind, what: str) -> None:
    if what == "a stream" and not hasattr(asyncio.StreamWriter, "__del__"):
        pytest.skip("early releases of 3.11 let go of a StreamWriter without a word")
    source = """
import gc, os, socket, sys, threading, warnings
streams = sys.modules["saburo" if "saburo" in sys.modules else "asyncio"]
def show(message, category, *_):
    print(category.__name__, message)
warnings.showwarning = show
warnings.simplefilter("always")
listener = socket.create_server(("127.0.0.1", 0))
kept = []
async def main():
    loop = asyncio.get_running_loop()
%s
    kept.append(locals())
loop = new_loop()
loop.set_exception_handler(lambda loop, context: print(
    context["message"], sorted(context)))
main_task = loop.create_task(main())
loop.run_until_complete(main_task)
listener.close()
loop.close()
for thread in set(threading.enumerate()) - {threading.main_thread()}:
    thread.join()  # that of asyncio's child watcher, on some versions
    del thread
del main_task, loop, kept
gc.collect()
"""
    body = "\n".join(" " * 4 + line.strip() for line in LEAKS[what].strip().splitlines())
    ours = kind.run_script(source % body)
    theirs = Kind("asyncio", "asyncio.SelectorEventLoop()").run_script(source % body)

    def said(text: str) -> set[str]:
        # The socket is a Python object in asyncio alone, and complains for itself there.
        lines = (plain(line) for line in text.splitlines())
        return {line for line in lines if "unclosed <socket.socket" not in line}

    assert said(ours.stdout) == said(theirs.stdout)
    assert theirs.stdout, theirs.stderr


def test_every_thread_of_a_loop_is_named_as_asyncios_are(run: Run) -> None:
    before = set(threading.enumerate())

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        await loop.getaddrinfo("localhost", 80)
        await loop.getnameinfo(("127.0.0.1", 80))
        await asyncio.to_thread(int)
        await loop.run_in_executor(None, int)
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
        return [thread.name for thread in set(threading.enumerate()) - before]

    names = run(main())
    # asyncio without pidfds waits for a child in a thread, which may be there yet.
    names = [name for name in names if "waitpid-" not in name]
    assert names
    assert [name for name in names if not re.fullmatch(r"asyncio_\d+", name)] == []
    assert len(names) == len(set(names))


def test_names_are_looked_up_in_few_threads(run: Run) -> None:
    before = set(threading.enumerate())

    async def main() -> int:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[loop.getaddrinfo("localhost", port) for port in range(100)])
        return len(set(threading.enumerate()) - before)

    assert 1 <= run(main()) <= 32


def test_the_thread_that_ends_the_pool_is_named_as_asyncios_is(run: Run) -> None:
    names: list[str] = []

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            names.append(threading.current_thread().name)
            super().shutdown(wait, cancel_futures=cancel_futures)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Pool(1))
        await asyncio.to_thread(int)
        await loop.shutdown_default_executor()

    with contextlib.suppress(asyncio.CancelledError):
        run(main())
    assert re.fullmatch(r"Thread-\d+ \(_do_shutdown\)", names[0])
