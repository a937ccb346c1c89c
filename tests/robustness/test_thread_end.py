"""A daemon thread inside Python code of a loop's when the interpreter is finalized.

Up to 3.13 the interpreter ends such a thread when it comes back for the lock, by unwinding its
stack. The process still ends as its main thread says, wherever the thread was.
"""

from __future__ import annotations

import sys
import textwrap

import pytest
from support.both_loops import Finished, Kind

# Each is a way for a loop to run Python, as the body of a function of `loop`, `block` and the
# classes below. `block` says that the thread is inside of it, and stays there.
WAYS = {
    "a callback": "loop.call_soon(block)",
    "a timer": "loop.call_later(0, block)",
    "a step of a task": """
        async def main(): block()
        loop.create_task(main())""",
    "a step that throws": """
        async def main():
            try: await asyncio.sleep(100)
            finally: block()
        loop.call_soon(loop.create_task(main()).cancel)""",
    "a step of a generator": """
        @types.coroutine
        def step(): yield block()
        async def main(): await step()
        loop.create_task(main())""",
    "the exception handler": """
        loop.set_exception_handler(lambda *_: block())
        loop.call_soon(lambda: 1 / 0)""",
    "the exception handler, from a finalizer": """
        loop.set_exception_handler(lambda *_: block())
        loop.create_future().set_exception(ValueError())""",
    "a task factory": """
        loop.set_task_factory(block)
        loop.create_task(asyncio.sleep(0))""",
    "a conversion to float": "loop.call_at(Odd(), print)",
    "an addition": "loop.call_later(Odd(), print)",
    "a conversion to int": "loop.add_reader(Odd(), print)",
    "a conversion to str": "loop.create_task(asyncio.sleep(0), name=Odd())",
    "a conversion to bool": "loop.create_future()._log_traceback = Odd()",
    "a comparison": """
        future = loop.create_future()
        future.add_done_callback(Odd())
        future.remove_done_callback(Odd())""",
    "a hash": "hash(loop.call_soon(Odd()))",
    "the repr of a result": """
        future = loop.create_future()
        future.set_result(Odd())
        repr(future)""",
    "the repr of a callback": "repr(loop.call_soon(Odd()))",
    "an attribute": """
        class Awaited:
            def __await__(self): yield Odd()
        async def main(): await Awaited()
        loop.create_task(main())""",
    "making an exception": """
        class Made(Exception):
            def __init__(self): block()
        loop.create_future().set_exception(Made)""",
    "a finalizer of a result": "loop.create_future().set_result(Final())",
    "a finalizer of an argument": "loop.call_soon(lambda _: None, Final())",
    "a finalizer of a cancelled argument": "loop.call_later(100, print, Final()).cancel()",
    "a finalizer of an exception": """
        error = ValueError()
        error.final = Final()
        future = loop.create_future()
        future.set_exception(error)
        future.exception()
        del error, future""",
    "a finalizer of an attribute": "loop.create_future().attribute = Final()",
    "a finalizer of a local variable": """
        async def main(): final = Final()
        loop.create_task(main())""",
    "a finalizer of a context variable": """
        variable = contextvars.ContextVar("variable")
        context = contextvars.Context()
        context.run(variable.set, Final())
        loop.call_soon(int, context=context)
        del context""",
    "a finalizer at the end of a long chain": """
        link = Final()
        for _ in range(200):
            future = loop.create_future()
            future.set_result(link)
            link = future
        del link, future""",
    "the callback of a weak reference": """
        future = loop.create_future()
        loop.reference = weakref.ref(future, block)
        del future""",
    "a warning": """
        warnings.showwarning = block
        warnings.simplefilter("always", ResourceWarning)
        async def main():
            here, loop.there = socket.socketpair()
            here.setblocking(False)
            await loop.create_connection(asyncio.Protocol, sock=here)
        loop.run_until_complete(main())
        gc.collect()
        raise SystemExit(block())""",
    "a job": """
        pool = concurrent.futures.ThreadPoolExecutor(1)
        loop.run_in_executor(pool, threading.Event().set)
        loop.call_soon(block)""",
    "receiving": """
        class Protocol(asyncio.Protocol):
            def data_received(self, data): block()
        loop.there = connect(Protocol)
        loop.there.send(b"x")""",
    "receiving into a buffer": """
        class Protocol(asyncio.BufferedProtocol):
            def get_buffer(self, hint): block()
        loop.there = connect(Protocol)
        loop.there.send(b"x")""",
    "the end of the stream": """
        class Protocol(asyncio.Protocol):
            def eof_received(self): block()
        connect(Protocol).close()""",
    "the end of a connection": """
        class Protocol(asyncio.Protocol):
            def connection_lost(self, error): block()
        connect(Protocol).close()""",
    "the beginning of a connection": """
        class Protocol(asyncio.Protocol):
            def connection_made(self, transport): block()
        loop.there = connect(Protocol)""",
    "pausing the writer": """
        class Protocol(asyncio.Protocol):
            def connection_made(self, transport): transport.write(bytes(10_000_000))
            def pause_writing(self): block()
        loop.there = connect(Protocol)""",
    "a datagram": """
        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data, address): block()
        async def main():
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            await loop.create_datagram_endpoint(Protocol, sock=here)
            there.send(b"x")
            await asyncio.sleep(100)
        loop.create_task(main())""",
    "the limit of a reader": """
        streams.StreamReader(limit=Odd(), loop=loop)""",
    "the iterator of many pieces": """
        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                transport.writelines(block() for _ in range(1))
        loop.there = connect(Protocol)""",
}
if sys.version_info >= (3, 12):
    WAYS["lending a buffer"] = """
        class Lender:
            def __buffer__(self, flags): block()
        async def main():
            here, there = socket.socketpair()
            here.setblocking(False)
            await loop.sock_recv_into(here, Lender())
        loop.create_task(main())"""

COLLECTING = {
    "a finalizer that the collector runs": """
        future = loop.create_future()
        future.itself, future.final = future, Final()
        del future
        gc.collect()""",
    "a finalizer that an allocation runs": """
        future = loop.create_future()
        future.itself, future.final = future, Final()
        del future
        for _ in range(10_000): kept.append(loop.create_future())""",
}
"""These in a process each: while one collects, no other thread does."""

PROGRAM = """
    import concurrent.futures, contextvars, functools, gc, socket, sys, threading, time, types
    import warnings, weakref

    inside = []
    enough = threading.Semaphore(0)
    kept = []

    class Late:
        def __del__(self, sleep=time.sleep):
            sleep(0.1)  # Without the lock, for which the threads come now.

    def thread(way):
        entered = False

        def block(*_, **__):
            nonlocal entered
            if not entered:
                entered = True
                inside.append(way)
                enough.release()
            while True:
                time.sleep(0.001)

        class Odd:
            __float__ = __add__ = __radd__ = __sub__ = __index__ = __str__ = block
            __bool__ = __repr__ = __call__ = __eq__ = __le__ = block
            def __hash__(self): block()
            def fileno(self): block()
            _asyncio_future_blocking = property(block)

        class Final:
            __del__ = block

        def connect(protocol):
            here, there = socket.socketpair()
            here.setblocking(False)
            kept.append(loop.create_task(loop.create_connection(protocol, sock=here)))
            return there

        loop = new_loop()
        kept.append(loop)
        streams = sys.modules[new_loop.__globals__.get("saburo", asyncio).__name__]
        body = {"loop": loop, "block": block, "Odd": Odd, "Final": Final, "connect": connect,
                "streams": streams}
        exec(ways[way], globals() | body)
        loop.run_forever()

    for way in ways:
        threading.Thread(target=thread, args=(way,), daemon=True).start()
    for _ in ways:
        if not enough.acquire(timeout=30):
            print("never inside:", set(ways) - set(inside))
            break
    sys.modules["late"] = Late()
"""


def _run(kind: Kind, ways: dict[str, str]) -> Finished:
    ways = {way: textwrap.dedent(body) for way, body in ways.items()}
    return kind.run_script(f"ways = {ways!r}\n" + textwrap.dedent(PROGRAM), "-W", "default")


@pytest.mark.parametrize(
    "ways",
    [WAYS, *({way: body} for way, body in COLLECTING.items())],
    ids=["any way", *COLLECTING],
)
def test_a_daemon_thread_inside_python_does_not_disturb_the_end(
    kind: Kind, ways: dict[str, str]
) -> None:
    finished = _run(kind, ways)
    if finished.returncode != 0:
        codes = {way: _run(kind, {way: body}).returncode for way, body in ways.items()}
        pytest.fail(f"exit codes: { {way: code for way, code in codes.items() if code} }")
    assert finished.stdout == ""
