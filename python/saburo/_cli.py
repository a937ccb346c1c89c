"""The command `saburo`.

`saburo run` becomes the program it runs, as `python FILE` would: a `__main__` of its own that stays
in sys.modules, its arguments, its exit code, its tracebacks. The one difference is what
`saburo.install()` puts in asyncio's place. Processes that the program starts anew are its own
affair: they run on asyncio's loop.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, ModuleType
from typing import Any, NamedTuple, TypeVar

from . import __version__
from ._compat import main_names
from ._install import install
from ._traceback import show_without_us

_T = TypeVar("_T")

USAGE = """\
usage: saburo run FILE [ARGUMENT ...]
       saburo run -m MODULE [ARGUMENT ...]
       saburo --version

Runs a program on saburo instead of asyncio's own event loop. FILE may also be a folder or a zip
archive with a __main__.py. Everything after FILE or MODULE is the program's.

  -m MODULE      run a module, as python -m does
  -h, --help     show this text
  -V, --version  show the versions of saburo and Python, the platform and the features
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, by default with the arguments of the process; returns the exit code.

    What the program raises passes through, SystemExit included.

    >>> from saburo._cli import main
    >>> main(["--help"]) == 0
    usage: saburo run FILE [ARGUMENT ...]
    ...
    True
    """
    try:
        return _command(list(sys.argv[1:] if arguments is None else arguments))
    except _Refused as refused:
        print(refused, file=sys.stderr)
        return 2


class _Refused(Exception):
    """What was asked for cannot be done; the text is the line to print."""


class _Program(NamedTuple):
    code: CodeType
    module: ModuleType


def _command(arguments: list[str]) -> int:
    match arguments:
        case ["-h" | "--help", *_] | ["run", "-h" | "--help", *_]:
            print(USAGE, end="")
        case ["-V" | "--version", *_]:
            print("\n".join(_versions()))
        case ["run", "--", file, *rest]:
            _run(file, rest, is_module=False)
        case ["run", "-m", module, *rest]:
            _run(module, rest, is_module=True)
        case ["run", "-m"]:
            raise _Refused("saburo run: -m needs the name of a module; see saburo --help")
        case ["run", option, *_] if option.startswith("-"):
            raise _Refused(f"saburo run: unknown option {option!r}; see saburo --help")
        case ["run", file, *rest]:
            _run(file, rest, is_module=False)
        case ["run"]:
            raise _Refused("saburo run: a FILE or -m MODULE is missing; see saburo --help")
        case [option, *_] if option.startswith("-"):
            raise _Refused(f"saburo: unknown option {option!r}; see saburo --help")
        case [command, *_]:
            raise _Refused(f"saburo: unknown command {command!r}; see saburo --help")
        case _:
            raise _Refused("saburo: a command is missing; see saburo --help")
    return 0


def _run(name: str, arguments: list[str], *, is_module: bool) -> None:
    install()
    sys.argv[:] = ["-m" if is_module else name, *arguments]
    try:
        program = _module(name) if is_module else _file(name)
        # The program stays `__main__` to the very end: threads, atexit and pickle look it up there.
        sys.modules["__main__"] = program.module
        exec(program.code, program.module.__dict__)
    except (SystemExit, _Refused):
        raise
    except BaseException as error:
        # It passes on to the interpreter, which knows what becomes of the process (Ctrl-C ends it
        # by the signal itself). Only what is shown of it leaves us out.
        show_without_us(error)
        raise


def _file(name: str) -> _Program:
    path = os.path.join(os.getcwd(), name)
    archive = importlib.machinery.PathFinder.find_spec("__main__", [path])
    if archive is not None:
        _put_first_on_path(path)
        return _from_spec(archive)
    if os.path.isdir(path):
        raise _Refused(f"saburo: can't find '__main__' module in {name!r}")
    _put_first_on_path(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        compiled = importlib.machinery.SourcelessFileLoader("__main__", path)
        code = _or_refuse(path, lambda: compiled.get_code("__main__"))
        if code is None:
            raise _Refused(f"saburo: no code in {path!r}")
        return _program(code, compiled, path, spec=None)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    source = _or_refuse(path, lambda: loader.get_data(path))
    return _program(loader.source_to_code(source, path), loader, path, spec=None)


def _module(name: str) -> _Program:
    if name.startswith("."):
        raise _Refused(f"saburo: relative module names are not supported: {name!r}")
    _put_first_on_path(os.getcwd())
    spec = _find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        package, name = name, f"{name}.__main__"
        spec = _find(name)
        if spec is None:
            raise _Refused(
                f"saburo: no module named {name!r}; {package!r} is a package "
                "and cannot be directly executed"
            )
    if spec is None:
        raise _Refused(f"saburo: no module named {name!r}")
    program = _from_spec(spec)
    sys.argv[0] = spec.origin or name
    return program


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        # Imports the packages above it, whose errors are the program's.
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        return None
    except ValueError:
        # No name at all, or that of a module that was made without a spec.
        return None


def _from_spec(spec: importlib.machinery.ModuleSpec) -> _Program:
    # Loaders of extension modules have code, but none that could be run twice: they give None.
    get_code = getattr(spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None else None
    if code is None:
        raise _Refused(f"saburo: no code object available for {spec.name}")
    return _program(code, spec.loader, spec.origin, spec)


def _program(
    code: CodeType, loader: Any, path: str | None, spec: importlib.machinery.ModuleSpec | None
) -> _Program:
    """With the names in `__main__` that the interpreter itself would put there."""
    module = ModuleType("__main__")
    module.__dict__.update(
        main_names(spec),
        __builtins__=builtins,
        __file__=path,
        __loader__=loader,
        __package__=None if spec is None else spec.parent,
        # None for a file: this is how multiprocessing tells files and modules apart.
        __spec__=spec,
    )
    return _Program(code, module)


def _put_first_on_path(folder: str) -> None:
    # In place of the command's own folder, which the interpreter put there; with -P it did not.
    if not sys.flags.safe_path:
        sys.path[:1] = [folder]


def _or_refuse(path: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        raise _Refused(f"saburo: can't open file {path!r}: {reason}") from None


def _versions() -> Iterator[str]:
    import platform

    yield f"saburo {__version__}"
    yield f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    yield platform.platform()
    yield (
        "features: tasks, futures, timers, executors, signals, sock_*, transports, servers, "
        "streams, TLS, pipes, subprocesses, debug mode, install(), tasks='stdlib'"
    )
