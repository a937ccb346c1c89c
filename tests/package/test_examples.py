"""digest.py against sha256sum, on both loops: on a tree full of names and files that hurt."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.both_loops import PATIENCE, Kind

DIGEST = str(Path(__file__).parents[2] / "examples" / "digest.py")

NASTY = [
    b"plain",
    b"with space",
    b" leading and trailing ",
    b"new\nline",
    b"\nonly newlines\n",
    b"back\\slash",
    b"\\n is not a newline",
    b"tab\there",
    b"quote'\"`$(false)",
    b"-option",
    b"*",
    b"#comment",
    b"\xff\xfe not utf-8",
    "三郎".encode(),
    b"\x1b[31mred",
    b"n" * 255,
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    folder = os.fsencode(root)
    for below in (b"", b"/sub", b"/sub/a\nfolder", b"/sub/a\nfolder/deep"):
        os.mkdir(folder + below)
        for name in NASTY:
            Path(os.fsdecode(folder + below + b"/" + name)).write_bytes(name * 3)
    (root / "empty").touch()
    (root / "two chunks").write_bytes(os.urandom((2 << 20) + 1))
    (root / "empty folder").mkdir()
    return root


def sha256sum(root: Path) -> bytes:
    """What sha256sum itself says of the tree, in the order of the paths' bytes."""
    found = subprocess.run(
        ["find", root, "-type", "f", "-print0"], stdout=subprocess.PIPE, check=True
    )
    paths = sorted(path for path in found.stdout.split(b"\0") if path)
    return subprocess.run(["sha256sum", "--", *paths], stdout=subprocess.PIPE, check=True).stdout


def digest(kind: Kind, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        kind.command(DIGEST, *map(str, arguments)),
        capture_output=True,
        check=False,
        timeout=PATIENCE * 4,
    )


def test_the_output_is_that_of_sha256sum(kind: Kind, tree: Path) -> None:
    program = digest(kind, tree)
    assert program.stderr == b""
    assert program.returncode == 0
    assert program.stdout == sha256sum(tree)


def test_sha256sum_accepts_the_report_written_to_a_file(kind: Kind, tree: Path) -> None:
    report = tree.parent / "report"
    assert digest(kind, tree, "-o", report, "--big", "1000000").returncode == 0
    assert report.read_bytes() == sha256sum(tree)
    subprocess.run(["sha256sum", "--check", "--status", "--strict", report], check=True)
    assert [path.name for path in tree.parent.iterdir()] == ["tree", "report"]


def test_one_file_can_be_digested(kind: Kind, tree: Path) -> None:
    program = digest(kind, tree / "empty")
    assert program.stdout.startswith(b"e3b0c44298fc1c149afbf4c8996fb924")


def test_an_empty_folder_gives_an_empty_report(kind: Kind, tree: Path) -> None:
    program = digest(kind, tree / "empty folder")
    assert (program.returncode, program.stdout, program.stderr) == (0, b"", b"")


def test_links_fifos_and_sockets_are_skipped_and_listed(kind: Kind, tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    os.mkfifo(root / "fifo")
    (root / "file").touch()
    (root / "link").symlink_to("file")
    (root / "loop").symlink_to(root)
    (root / "dangling\n").symlink_to("nothing")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # the address of a socket must be short
        listener.bind("socket")
        os.chdir(here)
        program = digest(kind, root, "-o", root / "report")
        again = digest(kind, root, "-o", root / "report")
    assert program.returncode == 0
    assert again.returncode == 0
    listed = [line.removeprefix(f"digest: skipped: {root}/") for line in lines(program)]
    assert listed == [
        "dangling\\n: symbolic link",
        "fifo: FIFO",
        "link: symbolic link",
        "loop: symbolic link",
        "socket: socket",
    ]
    assert f"digest: skipped: {root}/report: the report itself" in lines(again)
    assert len((root / "report").read_bytes().splitlines()) == 1


def test_unreadable_files_are_listed_and_the_others_digested(kind: Kind, tree: Path) -> None:
    unreadable = tree / "no entry"
    unreadable.write_text("secret")
    unreadable.chmod(0)
    closed = tree / "closed"
    closed.mkdir(mode=0)
    as_nobody = kind.command(DIGEST, str(tree))
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and setpriv is missing to be somebody else")
        # Root without the right to read everything; the interpreter may lie in root's home.
        as_nobody = [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
            "--",
            *as_nobody,
        ]
        closed.chmod(0)
    try:
        program = subprocess.run(as_nobody, capture_output=True, check=False, timeout=PATIENCE * 4)
    finally:
        closed.rmdir()
        unreadable.unlink()
    assert program.returncode == 1
    assert lines(program) == [
        f"digest: unreadable: {closed}: Permission denied",
        f"digest: unreadable: {unreadable}: Permission denied",
    ]
    assert program.stdout == sha256sum(tree)


def test_a_file_that_cannot_be_read_to_its_end_is_listed(kind: Kind) -> None:
    program = digest(kind, "/proc/self/mem")  # a regular file by its type, an error by its nature
    assert program.returncode == 1
    assert program.stdout == b""
    assert lines(program) == ["digest: unreadable: /proc/self/mem: Input/output error"]


def test_the_time_limit_holds_for_threads_and_processes(kind: Kind, tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as large:
        large.truncate(1 << 33)  # sparse: takes no room, but long to read
    for big in ("1000", str(1 << 40)):
        program = digest(kind, tmp_path, "--timeout", "0.05", "--big", big)
        assert program.returncode == 1
        assert lines(program) == [f"digest: unreadable: {tmp_path}/large: not read within 0.05 s"]


def test_files_that_vanish_under_our_hands_are_listed(kind: Kind, tmp_path: Path) -> None:
    code = f"""
    import os, runpy, sys
    sys.argv = ["digest", {str(tmp_path)!r}]
    digest = runpy.run_path({DIGEST!r})
    survey = digest["look_around"]
    def look_and_remove(*arguments):
        found = survey(*arguments)
        os.unlink({str(tmp_path / "gone")!r})
        os.unlink({str(tmp_path / "fifo now")!r})
        os.mkfifo({str(tmp_path / "fifo now")!r})
        return found
    digest["main"].__globals__["look_around"] = look_and_remove
    sys.exit(digest["main"]())
    """
    for name in ("gone", "fifo now", "stays"):
        (tmp_path / name).touch()
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text("\n".join(line[4:] for line in code.splitlines()))
    program = subprocess.run(
        kind.command(str(script)), capture_output=True, check=False, timeout=PATIENCE * 4
    )
    assert lines(program) == [
        f"digest: unreadable: {tmp_path}/fifo now: no longer a regular file",
        f"digest: unreadable: {tmp_path}/gone: No such file or directory",
    ]
    assert program.stdout.endswith(b"/stays\n")


def test_progress_and_heartbeat_go_to_stderr(kind: Kind, tree: Path) -> None:
    pytest.importorskip("tqdm", reason="tqdm is optional, also for this program")
    program = digest(kind, tree, "--progress", "--heartbeat", "0.001")
    assert b"/66 " in program.stderr
    assert b"MB so far" in program.stderr
    assert program.stdout == sha256sum(tree)


def test_without_tqdm_one_line_says_so(kind: Kind, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "tqdm.py").write_text("raise ImportError")
    program = subprocess.run(
        kind.command(DIGEST, str(tree), "--progress"),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=PATIENCE * 4,
    )
    assert lines(program) == ["digest: no progress bar: tqdm is not installed (pip install tqdm)"]
    assert program.stdout == sha256sum(tree)


@pytest.mark.parametrize(
    "arguments",
    [[], ["/no/such/path"], ["/", "--jobs", "0"], ["/", "-o", "/no/such/folder/report"]],
    ids=["nothing", "missing", "no jobs", "no folder"],
)
def test_a_wrong_command_line_ends_with_code_2(kind: Kind, arguments: list[str]) -> None:
    program = digest(kind, *arguments)
    assert program.returncode == 2
    assert program.stdout == b""
    assert b"digest: error: " in program.stderr
    assert b"Traceback" not in program.stderr


@pytest.mark.parametrize("big", ["1", str(1 << 40)], ids=["processes", "threads"])
def test_ctrl_c_while_reading_leaves_the_old_report(kind: Kind, tmp_path: Path, big: str) -> None:
    root, report = tmp_path / "tree", tmp_path / "report"
    root.mkdir()
    with open(root / "large", "wb") as large:
        large.truncate(1 << 36)
    report.write_text("old")
    program = start(kind, root, "-o", report, "--big", big, "--heartbeat", "0.2")
    assert program.stderr
    program.stderr.readline()  # the first heartbeat
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=PATIENCE)
    assert errors.splitlines()[-1] == b"digest: interrupted"
    assert b"Traceback" not in errors
    assert program.returncode == 130
    assert report.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "tree"]


def test_ctrl_c_at_any_moment_leaves_the_old_report_or_the_new_one(kind: Kind, tree: Path) -> None:
    report = tree.parent / "report"
    new = sha256sum(tree)
    for tenth in range(0, 10, 2):
        report.write_bytes(b"old")
        program = start(kind, tree, "-o", report, "--heartbeat", "0.001")
        assert program.stderr
        program.stderr.readline()  # it is running
        time.sleep(tenth / 100)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=PATIENCE)
        assert report.read_bytes() in (b"old", new)
        if program.returncode == 0:
            assert report.read_bytes() == new


def test_ctrl_c_while_writing_waits_for_the_report(kind: Kind, tmp_path: Path) -> None:
    """The write is held up until the signal has been sent: a FIFO stands in for a slow disk."""
    (tmp_path / "file").touch()
    gate = tmp_path.parent / f"{tmp_path.name}.gate"
    os.mkfifo(gate)
    report = tmp_path.parent / f"{tmp_path.name}.report"
    report.write_text("old")
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(
        f"""import runpy, sys
sys.argv = ["digest", {str(tmp_path)!r}, "-o", {str(report)!r}]
digest = runpy.run_path({DIGEST!r})
write_all = digest["write_all"]
def slow_write(*arguments):
    print("writing", flush=True)
    with open({str(gate)!r}) as held_up:
        held_up.read()
    write_all(*arguments)
digest["main"].__globals__["write_all"] = slow_write
sys.exit(digest["main"]())
"""
    )
    program = subprocess.Popen(
        kind.command(str(script)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout
    assert program.stdout.readline() == b"writing\n"
    program.send_signal(signal.SIGINT)
    time.sleep(0.05)
    gate.write_bytes(b"go on")
    _, errors = program.communicate(timeout=PATIENCE)
    assert errors == b"digest: interrupted\n"
    assert program.returncode == 130
    assert report.read_bytes().endswith(b"/file\n")


def test_a_report_cannot_destroy_a_device(kind: Kind, tree: Path) -> None:
    assert digest(kind, tree, "-o", "/dev/null").returncode == 0
    assert not Path("/dev/null").is_file()


def test_the_example_needs_nothing_but_asyncio() -> None:
    source = Path(DIGEST).read_text()
    assert "import asyncio\n" in source
    assert "import saburo" not in source
    assert asyncio.__name__ in sys.modules


def start(kind: Kind, *arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        kind.command(DIGEST, *map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def lines(program: subprocess.CompletedProcess[bytes]) -> list[str]:
    return program.stderr.decode(errors="surrogateescape").splitlines()
