"""saburo imported more than once in a process: anew, reloaded, in another interpreter.

There is one set of native classes per process. A second import in the same interpreter gets them as
they are, and the first goes on working; another interpreter is refused before anything is changed.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest
from support.both_loops import Kind, finished

pytestmark = pytest.mark.saburo_only

# What a program does with a loop; `Future` and `native` are of the first import.
USE = """
import asyncio, gc, sys, importlib, os
import saburo
first = saburo
native = {name: getattr(saburo._saburo, name) for name in dir(saburo._saburo) if name[0] != "_"}
Future = saburo.Future

async def work():
    loop = asyncio.get_running_loop()
    assert type(loop.create_future()) is Future
    assert type(asyncio.current_task()) is native["Task"]
    future = Future(loop=loop)
    handle = loop.call_soon(future.set_result, 1)
    assert type(handle) is native["Handle"]
    got = [await future, await asyncio.create_task(asyncio.sleep(0, 2))]
    got.append(await asyncio.to_thread(lambda: 3))
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        got.append(await reader.read())
        writer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return got

def works(loop):
    assert loop.run_until_complete(work()) == [1, 2, 3, b""]

def ends(loop):
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

loop = saburo.new_event_loop()
early = loop.create_future()
"""

AFTER = """
works(loop)
early.set_result(4)
assert loop.run_until_complete(early) == 4
other = first.new_event_loop()
works(other)
ends(other)
ends(loop)
gc.collect()
print("works")
"""


def check(kind: Kind, head: str, source: str, *flags: str) -> None:
    program = kind.run_script(USE + head + textwrap.dedent(source) + AFTER, *flags)
    assert (program.stdout, program.stderr) == ("works\n", "")


FORGET = """
def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "saburo"]:
        del sys.modules[name]
"""


def test_a_second_import_has_the_same_classes(kind: Kind) -> None:
    check(
        kind,
        FORGET,
        """
        for _ in range(3):
            forget()
            import saburo
            assert saburo is not first
            for name, value in native.items():
                if isinstance(value, type):
                    assert getattr(saburo._saburo, name) is value, name
            again = saburo.new_event_loop()
            assert type(again) is saburo.Loop
            works(again)
            works(loop)
            ends(again)
            with saburo.install():
                asyncio.run(work())
            saburo.run(work())
        assert asyncio.new_event_loop is not saburo.new_event_loop
        """,
    )


def test_all_tasks_finds_those_of_both(kind: Kind) -> None:
    check(
        kind,
        FORGET,
        """
        task = loop.create_task(asyncio.sleep(0, "old"))
        forget()
        import saburo
        again = saburo.new_event_loop()
        young = again.create_task(asyncio.sleep(0, "young"))
        assert asyncio.all_tasks(loop) == {task}
        assert asyncio.all_tasks(again) == {young}
        assert loop.run_until_complete(task) == "old"
        assert again.run_until_complete(young) == "young"
        ends(again)
        """,
    )


def test_a_forked_child_is_told_to_loops_of_both(kind: Kind) -> None:
    check(
        kind,
        FORGET,
        """
        forget()
        import saburo
        again = saburo.new_event_loop()
        descriptors = [loop._signal_fd(), again._signal_fd()]
        calls = []
        for each in (loop, again):
            genuine = each._after_fork
            each._after_fork = lambda genuine=genuine: (calls.append(1), genuine())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert len(calls) == 2, calls
                for each in (loop, again):
                    assert each.run_until_complete(asyncio.sleep(0.001, 5)) == 5
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        ends(again)
        """,
        "-W",
        "ignore::DeprecationWarning",
    )


def test_a_second_import_while_a_loop_runs(kind: Kind) -> None:
    check(
        kind,
        FORGET,
        """
        async def main():
            task = asyncio.current_task()
            forget()
            import saburo
            assert asyncio.current_task() is task
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)
            return await work()
        assert loop.run_until_complete(main()) == [1, 2, 3, b""]
        """,
    )


def test_it_can_be_reloaded(kind: Kind) -> None:
    check(
        kind,
        "",
        """
        importlib.reload(saburo._saburo)
        importlib.reload(saburo)
        for name, value in native.items():
            if isinstance(value, type):
                assert getattr(saburo._saburo, name) is value, name
        """,
    )


INTERPRETERS = """
REFUSED = "module saburo._saburo does not support loading in subinterpreters"
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def create(legacy):
    if sys.version_info >= (3, 13):
        return interpreters.create("legacy" if legacy else "isolated")
    return interpreters.create(isolated=not legacy)

def run_in(interpreter, source):
    # Before 3.13 what is raised in there is raised here as well, in another form.
    failed = interpreters.run_string(interpreter, source)
    assert failed is None, failed.formatted

ATTEMPT = f'''
import sys
for _ in range(2):
    try:
        import saburo
    except ImportError as error:
        assert str(error) == {REFUSED!r}, error
    else:
        raise AssertionError
assert "asyncio" not in sys.modules
'''
"""


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "isolated"])
def test_another_interpreter_is_refused(kind: Kind, legacy: bool) -> None:
    check(
        kind,
        INTERPRETERS,
        f"""
        interpreter = create({legacy})
        run_in(interpreter, ATTEMPT)
        works(loop)
        run_in(interpreter, ATTEMPT)
        interpreters.destroy(interpreter)
        works(loop)
        gc.collect()
        """,
    )


@pytest.mark.usefixtures("kind")
def test_another_interpreter_may_be_refused_before_the_first_import() -> None:
    source = (
        "import sys\n"
        + INTERPRETERS
        + """
interpreter = create(True)
run_in(interpreter, ATTEMPT)
interpreters.destroy(interpreter)
"""
        + USE
        + AFTER
    )
    program = finished([sys.executable, "-W", "error", "-c", source], {})
    assert (program.stdout, program.stderr) == ("works\n", "")


EMBEDDING = """
#include <Python.h>
int main(void) {
    for (int run = 0; run < 2; run++) {
        Py_Initialize();
        PyRun_SimpleString(
            "import asyncio\\n"
            "try:\\n"
            "    import saburo\\n"
            "    print(saburo.run(asyncio.sleep(0, 'works')))\\n"
            "except ImportError as error:\\n"
            "    print(error)\\n");
        if (Py_FinalizeEx() < 0) return 1;
    }
    return 0;
}
"""


def test_an_interpreter_that_was_ended_and_begun_anew_is_refused(
    kind: Kind, tmp_path: Path
) -> None:
    """By a program that embeds Python: nothing native that saburo holds has outlived the first."""
    if sys.version_info[:2] == (3, 12):
        pytest.skip("the ssl module of 3.12 itself crashes when it is imported once more")
    variables = sysconfig.get_config_vars()
    include, folder = sysconfig.get_path("include"), variables["LIBDIR"]
    compiler = shutil.which("cc")
    if not (variables["Py_ENABLE_SHARED"] and compiler and Path(include, "Python.h").exists()):
        pytest.skip("no compiler, no headers or no library of this Python's")
    source, program = tmp_path / "embedding.c", tmp_path / "embedding"
    source.write_text(EMBEDDING)
    library = f"-lpython{variables['LDVERSION']}"
    flags = [f"-I{include}", f"-L{folder}", f"-Wl,-rpath,{folder}", library, "-o", str(program)]
    built = finished([compiler, str(source), *flags], {})
    assert built.returncode == 0, built.stderr

    import saburo

    environment = os.environ | {"PYTHONPATH": str(Path(saburo.__file__).parent.parent)}
    done = finished([str(program)], {"env": environment})
    refused = "saburo cannot be imported again after the interpreter has been finalized"
    assert (done.stdout.splitlines(), done.stderr) == (["works", refused], "")
