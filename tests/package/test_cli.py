"""`saburo run` is `python` with another loop: same arguments, output, exit code and traceback."""

from __future__ import annotations

import os
import py_compile
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest
from support.both_loops import PATIENCE, TESTS_ON, Finished, Kind, finished
from support.signals import press_ctrl_c

needs_saburo = pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys; print('package', sys.argv[1:], __name__)")
    (package / "module.py").write_text(
        dedent(
            """
            import asyncio, sys
            from . import __name__ as parent
            async def main():
                print("module", parent, __name__, __package__, sys.argv[1:])
            asyncio.run(main())
            """
        )
    )
    return tmp_path


def alike(kind: Kind, folder: Path, *arguments: str, **options: object) -> Finished:
    """Runs the command line on this kind's runner and on python, and compares everything."""
    ours = kind.run_program(*arguments, cwd=folder, **options)
    theirs = finished([sys.executable, *arguments], {"cwd": folder, **options})
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr
    assert traceback_of_the_program(ours.stderr) == traceback_of_the_program(theirs.stderr)
    return ours


def traceback_of_the_program(text: str) -> str:
    """Without the frames inside asyncio and saburo, which are bound to differ."""
    kept, own = [], True
    for line in text.splitlines():
        if line.startswith("  File "):
            own = not re.search(r'File "[^"]*(/asyncio/|/saburo/)', line)
        elif not line.startswith("    "):
            own = True
        if own:
            kept.append(line)
    return "\n".join(kept)


def write(folder: Path, source: str, name: str = "program.py") -> str:
    (folder / name).write_text(dedent(source))
    return name


def test_argv_main_and_paths_are_those_of_python(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        """
        import sys
        print(__name__, __file__, __package__, __spec__, __doc__, sys.argv)
        print(sys.modules["__main__"].__dict__ is globals())
        print(sorted(name for name in globals() if not name.startswith("__")))
        print(sys.path[0])
        import package.module
        """,
    )
    alike(kind, folder, program, "one", "--two", "-m", "--version", "--", "")


@pytest.mark.parametrize(
    "arguments", [["package"], ["package.module", "a", "-b"], ["package", "--help"]]
)
def test_modules_run_as_with_python(kind: Kind, folder: Path, arguments: list[str]) -> None:
    program = alike(kind, folder, "-m", *arguments)
    assert program.returncode == 0


def test_a_program_in_another_folder_finds_its_neighbours(kind: Kind, folder: Path) -> None:
    write(folder, "VALUE = 'neighbour'", "neighbour.py")
    program = write(folder, "import neighbour; print(neighbour.VALUE)")
    elsewhere = folder / "package"
    done = kind.run_program(str(folder / program), cwd=elsewhere)
    assert done.stdout == "neighbour\n", done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError('at the top')",
        "import sys; sys.exit(7)",
        "import sys; sys.exit('a message')",
        "import sys; sys.exit(None)",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "import os; os._exit(9)",
        "1 +",
        "def f():\n    return 1 / 0\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise LookupError('second') from e",
        "raise ExceptionGroup('group', [ValueError(1), TypeError(2)])",
        "import no_such_module_at_all",
        "print('no newline', end='')",
        "import atexit; atexit.register(print, 'at exit')",
        "import warnings; warnings.warn('a warning')",
        "",
    ],
)
def test_ends_and_tracebacks_are_those_of_python(kind: Kind, folder: Path, source: str) -> None:
    alike(kind, folder, write(folder, source))


@pytest.mark.parametrize(
    "main",
    [
        "raise LookupError('in a task')",
        "import sys; sys.exit(5)",
        "await asyncio.gather(fail(), fail())",
        "await asyncio.wait_for(asyncio.sleep(10), 0.001)",
        "asyncio.create_task(fail()); await asyncio.sleep(0.001)",
        "print('fine')",
        "raise KeyboardInterrupt",
    ],
)
def test_errors_inside_asyncio_run_look_the_same(kind: Kind, folder: Path, main: str) -> None:
    program = write(
        folder,
        f"""
        import asyncio
        async def fail():
            raise ValueError("no luck")
        async def main():
            {main}
        asyncio.run(main())
        """,
    )
    alike(kind, folder, program)


def test_what_an_error_has_held_is_finalized_while_stdout_is_there(
    kind: Kind, folder: Path
) -> None:
    program = write(
        folder,
        """
        import asyncio
        class Resource:
            def __del__(self):
                print("let go of")
        async def main():
            resource = Resource()
            await asyncio.sleep(0)
            raise LookupError(str(resource is None))
        asyncio.run(main())
        """,
    )
    assert alike(kind, folder, program).stdout == "let go of\n"


def test_python_i_shows_the_errors_after_the_programs_own(kind: Kind, folder: Path) -> None:
    program = write(folder, "def fail(): 1 / 0\nfail()")
    command = [sys.executable, "-i", *kind.command()[1:], program]
    done = finished(command, {"cwd": folder, "input": "[][0]\n"})
    programs, _, typed = done.stderr.partition("ZeroDivisionError: division by zero\n")
    assert (programs.count("in fail"), typed.count("in fail")) == (1, 0), done.stderr
    assert "IndexError: list index out of range" in typed


def test_the_program_reads_stdin(kind: Kind, folder: Path) -> None:
    program = write(folder, "print(input() + '!')")
    assert alike(kind, folder, program, input="hello\n").stdout == "hello!\n"


START = {
    "run": "asyncio.run(main())",
    "Runner": "with asyncio.Runner() as runner: runner.run(main())",
    "new_event_loop": "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); "
    "loop.close()",
    "set_event_loop": "loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop); "
    "asyncio.get_event_loop().run_until_complete(main()); loop.close()",
    "thread": "import threading; t = threading.Thread(target=lambda: asyncio.run(main())); "
    "t.start(); t.join()",
    "IsolatedAsyncioTestCase": """
import unittest
class Test(unittest.IsolatedAsyncioTestCase):
    async def test(self): await main()
unittest.main(argv=["x"])""",
}


@pytest.mark.parametrize("start", START)
def test_whatever_starts_a_loop_gets_ours(kind: Kind, folder: Path, start: str) -> None:
    program = write(
        folder,
        "import asyncio\n"
        "async def main():\n"
        "    print(type(asyncio.get_running_loop()).__module__.split('.')[0])\n" + START[start],
    )
    done = kind.run_program(program, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["saburo" if kind.is_saburo else "asyncio"]


def test_a_loop_factory_of_the_programs_own_wins(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        """
        import asyncio
        async def main():
            print(type(asyncio.get_running_loop()).__module__)
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(main())
        """,
    )
    assert kind.run_program(program, cwd=folder).stdout == "asyncio.unix_events\n"


def test_interpreter_flags_reach_the_program(kind: Kind, folder: Path) -> None:
    program = write(folder, "import sys; print(sys.flags.dev_mode, sys.flags.optimize)")
    command = [sys.executable, "-X", "dev", "-O", *kind.command()[1:], program]
    assert finished(command, {"cwd": folder}).stdout == "True 1\n"


def test_no_warning_appears_that_python_does_not_give(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        "import asyncio\nasync def main(): print('clean')\nasyncio.run(main())",
    )
    command = [sys.executable, "-W", "error", *kind.command()[1:], program]
    done = finished(command, {"cwd": folder})
    assert (done.stdout, done.stderr, done.returncode) == ("clean\n", "", 0)


def test_ctrl_c_ends_the_program_as_it_ends_python(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        """
        import asyncio
        async def main():
            print("ready", flush=True)
            await asyncio.sleep(3600)
        asyncio.run(main())
        """,
    )
    child = subprocess.Popen(
        kind.command(program), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    press_ctrl_c(child, kind)
    _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_multiprocessing_by_spawn_finds_the_programs_functions(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        """
        import asyncio, multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        def double(number):
            return number * 2
        async def main():
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                print(await asyncio.get_running_loop().run_in_executor(pool, double, 21))
        if __name__ == "__main__":
            asyncio.run(main())
        """,
    )
    done = kind.run_program(program, cwd=folder)
    assert done.stdout == "42\n", done.stderr


def test_pickles_of_the_programs_classes_name_main(kind: Kind, folder: Path) -> None:
    program = write(
        folder,
        """
        import pickle, inspect
        class Thing: pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, inspect.getsource(Thing))
        """,
    )
    alike(kind, folder, program)


# --- Every way to name a program, and to end it: what python does with the same words. ---

SHOW = """
import sys
print(__name__, __file__, __package__, __spec__ and __spec__.name, __doc__, sys.argv, sys.path[0])
print(globals().get("__cached__", "none"), type(__loader__), __builtins__, sorted(globals()))
print(sys.modules["__main__"].__dict__ is globals(), sys.flags)
"""

FINALIZED = """
import asyncio, logging, sys
class Told:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        print("gone:", self.name, sys and sys.modules is not None, flush=True)
_private, public, cycle = Told("_private"), Told("public"), [Told("cycle")]
cycle.append(cycle)
"""

FILES: dict[str, str | bytes] = {
    "show.py": SHOW,
    "package/__init__.py": "print('init', __name__)",
    "package/__main__.py": SHOW,
    "package/module.py": SHOW,
    "package/broken.py": "import no_such_module",
    "no_main/__init__.py": "",
    "namespace/module.py": SHOW,
    "early/__init__.py": "from . import module",
    "early/module.py": "print('module', __name__)",
    "failing/__init__.py": "1 / 0",
    "failing/module.py": "",
    "folder/__main__.py": SHOW,
    "folder_of_errors/__main__.py": "import no_such_module",
    "empty/other.py": "",
    "bad.pyc": b"abcdefghijklmnopqrstuvwxyz",
    "latin.py": b"x = 1\nprint('\xff')\n",
    "latin_comment.py": b"# caf\xe9 au lait\n\nprint(1)\n",
    "declared.py": b"# coding: latin-1\nprint('\xff')\n",
    "unknown_coding.py": b"# coding: nonsense\nprint(1)\n",
    "utf16.py": "print(1)".encode("utf-16"),
    "bom.py": b"\xef\xbb\xbfprint(1)\n",
    "nul.py": b"print(1)\nprint('a\0b')\n",
    "returns.py": "return 1\n",
    "indented.py": "def f():\n  x\n y\n",
    "warned.py": "assert (1, 2)\nprint(1 is 1)\n",
    "forgetful.py": "import sys; del sys.excepthook; print([][0])",
    "hooked.py": "import sys; sys.excepthook = lambda *_: print('hook'); print([][0])",
    "stack.py": "def f():\n    f_code = 1\n    raise ValueError\ntry:\n    f()\n"
    "except ValueError:\n    import traceback; traceback.print_exc()\n",
    "finalized.py": FINALIZED,
    "finalized_failing.py": FINALIZED + "raise LookupError('at the end')",
    "kept_error.py": FINALIZED + "async def fail():\n    raise ValueError\ntry:\n"
    "    asyncio.run(fail())\nexcept ValueError as error:\n    logging.kept = error\n",
    "kept_frame.py": FINALIZED + "logging.kept = sys._getframe()\n",
    "late.py": "import asyncio\nasync def fail():\n    raise ValueError\n"
    "async def main():\n    global kept\n    kept = asyncio.create_task(fail())\n"
    "    await asyncio.sleep(0)\nasyncio.run(main())\n",
    "at_exit.py": "import atexit, threading, time\natexit.register(print, 'at exit')\n"
    "thread = threading.Thread(target=lambda: (time.sleep(0.1), print('thread')))\n"
    "thread.start()\nprint('end')\n",
    "methods.py": "import multiprocessing\ndef double(x):\n    return 2 * x, __name__\n"
    "if __name__ == '__main__':\n    for method in ('fork', 'spawn', 'forkserver'):\n"
    "        with multiprocessing.get_context(method).Pool(1) as pool:\n"
    "            print(method, pool.map(double, [2]))\n",
    "full.py": "print('x')",
}

# Arguments of the interpreter, before `--`, and those after it; then what is typed.
COMMANDS: list[tuple[str, str]] = [
    ("-- show.py a -m --", ""),
    ("-- ./show.py", ""),
    ("-- link.py", ""),
    ("-I -- show.py", ""),
    ("-P -- show.py", ""),
    ("-OO -u -B -s -E -- show.py", ""),
    ("-- -m package x", ""),
    ("-- -m package.module", ""),
    ("-P -- -m package.module", ""),
    ("-- -m package.broken", ""),
    ("-- -m package.nothing", ""),
    ("-- -m nothing", ""),
    ("-- -m nothing.module", ""),
    ("-- -m show.py", ""),
    ("-- -m .relative", ""),
    ("-- -m sys", ""),
    ("-- -m no_main", ""),
    ("-- -m namespace", ""),
    ("-- -m namespace.module", ""),
    ("-- -m early.module", ""),
    ("-W error -- -m early.module", ""),
    ("-- -m failing.module", ""),
    ("-- folder a", ""),
    ("-P -- folder", ""),
    ("-- folder/", ""),
    ("-- folder_of_errors", ""),
    ("-- empty", ""),
    ("-- .", ""),
    ("-- archive.zip a", ""),
    ("-- empty.pyz", ""),
    ("-- compiled.pyc a", ""),
    ("-- compiled.other", ""),
    ("-- bad.pyc", ""),
    ("-- cut.pyc", ""),
    ("-- latin.py", ""),
    ("-- latin_comment.py", ""),
    ("-- declared.py", ""),
    ("-- unknown_coding.py", ""),
    ("-- utf16.py", ""),
    ("-- bom.py", ""),
    ("-- nul.py", ""),
    ("-- returns.py", ""),
    ("-- indented.py", ""),
    ("-- warned.py", ""),
    ("-- nothing.py", ""),
    ("-- - a b", SHOW),
    ("-- -", "def f():\n    1 / 0\nf()\n"),
    ("-- -", "1 +\n"),
    ("-i -- full.py", "print(__name__)\n"),
    ("-- forgetful.py", ""),
    ("-- hooked.py", ""),
    ("-- stack.py", ""),
    ("-- finalized.py", ""),
    ("-- finalized_failing.py", ""),
    ("-- kept_error.py", ""),
    ("-- kept_frame.py", ""),
    ("-X dev -- late.py", ""),
    ("-- at_exit.py", ""),
    ("-- methods.py", ""),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "link.py").symlink_to("folder/__main__.py")
    compiled = folder / "compiled.pyc"
    py_compile.compile(str(folder / "show.py"), cfile=str(compiled))
    (folder / "compiled.other").write_bytes(compiled.read_bytes())
    (folder / "cut.pyc").write_bytes(compiled.read_bytes()[:40])
    for name, inside in (("archive.zip", "__main__.py"), ("empty.pyz", "other.py")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(inside, SHOW)
    return folder


@needs_saburo
@pytest.mark.parametrize(("command", "typed"), COMMANDS)
def test_it_is_what_python_does(programs: Path, command: str, typed: str) -> None:
    flags, arguments = (part.split() for part in command.split("--", 1))
    results = []
    for runner in (["-m", "saburo", "run"], []):
        done = finished(
            [sys.executable, *flags, *runner, *arguments],
            {"cwd": programs, "input": typed, "errors": "surrogateescape"},
        )
        named = re.sub(f"^({re.escape(sys.executable)}|saburo): ", "python: ", done.stderr)
        results.append((done.returncode, done.stdout, told_by_python(named)))
    assert results[0] == results[1]


def told_by_python(text: str) -> str:
    # Frames of runpy are there or not, with their text on a debug build, where it is not frozen.
    # The loop makes its reports in a place of its own.
    text = re.sub(r'  File "(<frozen runpy>|\S+/runpy\.py)".*\n(    .*\n)*', "", text)
    text = re.sub(r"created at \S+/\w+\.py:\d+", "created", text)
    return traceback_of_the_program(text)


# --- The command itself. ---


def saburo(*arguments: str, **options: object) -> Finished:
    return finished([sys.executable, "-m", "saburo", *arguments], dict(options))


@needs_saburo
def test_the_version_is_told_with_features() -> None:
    import saburo as package

    done = saburo("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"saburo {package.__version__}")
    assert "CPython" in done.stdout
    assert done.stderr == ""


@needs_saburo
def test_help_is_given() -> None:
    done = saburo("--help")
    assert done.returncode == 0
    assert "run" in done.stdout


@needs_saburo
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["run"],
        ["run", "--nonsense", "program.py"],
        ["run", "-x", "program.py"],
        ["run", "-m"],
        ["run", "no_such_file.py"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_a_wrong_command_line_gets_one_clear_line_and_code_2(
    tmp_path: Path, arguments: list[str]
) -> None:
    write(tmp_path, "print('ran')")
    done = saburo(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(("saburo: ", "saburo run: "))


@needs_saburo
def test_the_console_command_is_the_module() -> None:
    command = Path(sys.executable).with_name("saburo")
    if not command.exists():
        pytest.skip("saburo is on the path only, not installed")
    assert finished([str(command), "--version"], {}).stdout == saburo("--version").stdout


@needs_saburo
def test_an_unreadable_program_gets_one_clear_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "loop.py").symlink_to("loop.py")
        name = "loop.py"
    else:
        name = write(tmp_path, "print('ran')")
        (tmp_path / name).chmod(0)
    done = saburo("run", name, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
