"""The command `saburo`.

`saburo run` runs a program as `python FILE` does: with a `__main__` of its own that stays in
sys.modules, its arguments, its exit code, its tracebacks. The one difference is what
`saburo.install()` puts in asyncio's place. A Python process that the program starts runs on
asyncio's loop.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import os
import stat
import sys
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import NamedTuple

from . import __version__, _saburo
from ._compat import main_names
from ._install import install
from ._traceback import show_without_our_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        return refused.code


class _Refused(Exception):
    """The command cannot be run: the line to print, and the exit code."""

    def __init__(self, line: str, code: int = 2) -> None:
        super().__init__(line)
        self.code = code


class _NotFound(Exception):
    """There is no such module, or none that can be run; the text is runpy's."""


class _Source(NamedTuple):
    """A program that is text: where it is read, and what its file is called."""

    fd: int
    name: bytes


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
        case ["run", option, *_] if option.startswith("-") and option != "-":
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
        # No frame here may hold the module `__main__`: an error may keep the frames alive, and then
        # the interpreter would clear the module at exit, before the objects in it are finalized.
        if isinstance(program, _Source):
            _saburo.run_file(*program, vars(sys.modules["__main__"]))
        else:
            exec(program, vars(sys.modules["__main__"]))
    except (SystemExit, _Refused):
        raise
    except BaseException as error:
        # The interpreter ends the process as it does for any program (after Ctrl-C by the signal).
        # Only the traceback that it shows is changed.
        show_without_our_frames(error)
        raise


def _file(name: str) -> CodeType | _Source:
    if name == "-":
        _put_first_on_path("")
        _become_main(importlib.machinery.BuiltinImporter, "<stdin>")
        return _Source(0, b"<stdin>")
    path = os.getcwd() if name == "." else os.path.join(os.getcwd(), name)
    importlib.machinery.PathFinder.find_spec("__main__", [path])
    if sys.path_importer_cache.get(path) is not None:
        # A folder or an archive: Python looks for a module in it, also if there is none.
        _put_first_on_path(path, always=True)
        return _from_spec(*_details("__main__"))
    _put_first_on_path(os.path.dirname(os.path.realpath(path)))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        begins = os.pread(fd, 2, 0) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        raise _Refused(f"saburo: can't open file {path!r}: {reason}", 2) from None
    if path.endswith(".pyc") or begins == importlib.util.MAGIC_NUMBER[:2]:
        with open(fd, "rb") as file:
            code = _unpacked(file.read())
        _become_main(importlib.machinery.SourcelessFileLoader("__main__", path), path)
        return code
    _become_main(importlib.machinery.SourceFileLoader("__main__", path), path)
    return _Source(fd, os.fsencode(path))


def _module(name: str) -> CodeType:
    _put_first_on_path(os.getcwd())
    spec, code = _details(name)
    sys.argv[0] = spec.origin or name
    return _from_spec(spec, code)


def _details(name: str) -> tuple[ModuleSpec, CodeType]:
    """What `python -m` finds by a name, with its warnings; `__main__` is looked for on the path."""
    import runpy

    try:
        if name == "__main__":
            _, spec, code = vars(runpy)["_get_main_module_details"](_NotFound)
        else:
            _, spec, code = vars(runpy)["_get_module_details"](name, _NotFound)
    except _NotFound as error:
        raise _Refused(f"saburo: {error}", 1) from None
    return spec, code


def _unpacked(source: bytes) -> CodeType:
    """The code in the bytes of a .pyc file."""
    import marshal

    if source[:4] != importlib.util.MAGIC_NUMBER:
        raise RuntimeError("Bad magic number in .pyc file")
    try:
        code = marshal.loads(source[16:])
    except Exception:
        code = None
    if not isinstance(code, CodeType):
        raise RuntimeError("Bad code object in .pyc file")
    return code


def _from_spec(spec: ModuleSpec, code: CodeType) -> CodeType:
    _become_main(spec.loader, spec.origin, spec)
    return code


def _become_main(loader: object, path: str | None, spec: ModuleSpec | None = None) -> None:
    """Makes `__main__` a module with the names that the interpreter itself would put there."""
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
    # The program stays `__main__` to the very end: threads, atexit and pickle look it up there.
    sys.modules["__main__"] = module


def _put_first_on_path(folder: str, *, always: bool = False) -> None:
    # In place of the command's own folder, which the interpreter put there; with -P it did not.
    if not sys.flags.safe_path:
        sys.path[:1] = [folder]
    elif always:
        sys.path.insert(0, folder)


def _versions() -> Iterator[str]:
    import platform

    yield f"saburo {__version__}"
    yield f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    yield platform.platform()
    yield (
        "features: tasks, futures, timers, executors, signals, sock_*, transports, servers, "
        "streams, TLS, pipes, subprocesses, debug mode, install(), tasks='stdlib'"
    )
