"""What a machine lacks is told at once, with one line to run; root on a Debian gets it installed.

The machines are folders of stand-ins, which are all that `scripts/prerequisites` finds on its PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.both_loops import TESTS_ON

if TESTS_ON == "asyncio":
    pytest.skip("SABURO_TESTS_ON=asyncio", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "scripts" / "prerequisites"
TOOLS = ("cut", "dirname", "grep", "head", "ls", "mktemp", "rm", "sed", "sort", "tail", "tr")


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (folder / tool).symlink_to(found)
        self.program("make", "")
        self.program("cc", "")
        self.has("id", says="1000")
        self.has("uname", says="Linux")
        self.has("cargo", says="cargo 1.90.0 (840b83a10 2025-07-30)")
        self.program("python3", f'exec {sys.executable} "$@"')

    def has(self, *programs: str, says: str = "") -> None:
        for name in programs:
            self.program(name, f"echo '{says}'")

    def lacks(self, *programs: str) -> None:
        for name in programs:
            (self.folder / name).unlink()

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def packages(self, **candidates: str) -> None:
        """What apt would install."""
        known = "".join(
            f"{name.replace('_', '-')}) echo '  Candidate: {version}' ;;"
            for name, version in candidates.items()
        )
        self.program("apt-cache", f'case $2 in {known} *) echo "  Candidate: (none)" ;; esac')

    def look(self, *purposes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(SCRIPT), *purposes],
            env={"PATH": str(self.folder), "SSL_CERT_FILE": __file__},
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self) -> tuple[str, str]:
        """What is lacking, and the line to run."""
        done = self.look("build")
        assert done.returncode == 1, done.stderr
        lacking, *rest = done.stderr.splitlines()
        lines = [line.strip() for line in rest if line.startswith("    ")]
        return lacking, "\n".join(lines)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


PYTHON_WITHOUT_PIP = f"""
case $* in *ensurepip*|*pip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""
RUSTUP = (
    'curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . "$HOME/.cargo/env"'
)


def test_where_nothing_is_missing_nothing_is_said(machine: Machine) -> None:
    done = machine.look("build")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_that_is_missing_is_told_at_once(machine: Machine) -> None:
    machine.has("apt-get")
    machine.packages(cargo="0.66.0+ds1-1", cargo_web="1.96.0+dfsg1-1~deb12u2")
    machine.lacks("cc", "cargo")
    machine.program("python3", PYTHON_WITHOUT_PIP)
    lacking, line = machine.told()
    assert lacking == "This machine lacks a C compiler, pip for python3, cargo 1.88 or newer."
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = f"gcc libc6-dev python{version}-venv cargo-web"
    assert line == f"sudo apt-get update && sudo apt-get install -y {packages}"


def test_a_cargo_that_is_too_old_is_told_with_its_version(machine: Machine) -> None:
    machine.has("cargo", says="cargo 1.63.0")
    lacking, line = machine.told()
    old = f"{machine.folder}/cargo is 1.63.0"
    assert lacking == f"This machine lacks cargo 1.88 or newer ({old})."
    assert line == RUSTUP


def test_rustup_is_asked_where_it_is(machine: Machine) -> None:
    machine.has("apt-get", "rustup")
    machine.packages(cargo="1.90.0")
    machine.has("cargo", says="cargo 1.80.0")
    _, line = machine.told()
    assert line == "rustup update stable && rustup default stable"


def test_where_debian_has_no_cargo_of_use_rustup_comes_with_curl(machine: Machine) -> None:
    machine.has("apt-get")
    machine.packages(cargo="1.85.0+ds1-1")
    machine.lacks("cargo")
    _, line = machine.told()
    assert line == f"sudo apt-get update && sudo apt-get install -y curl && {RUSTUP}"


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("dnf", "sudo dnf install -y gcc cargo"),
        ("brew", "xcode-select --install && brew install rust"),
    ],
)
def test_other_systems_get_a_line_of_their_own(machine: Machine, manager: str, line: str) -> None:
    machine.has(manager)
    machine.lacks("cc", "cargo")
    if manager == "brew":
        machine.has("uname", says="Darwin")
    assert machine.told()[1] == line


def test_a_python_that_is_too_old_is_told_with_its_version(machine: Machine) -> None:
    machine.program("python3", 'case $1 in -V) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    lacking, line = machine.told()
    found = "python3 is Python 3.9.2; PYTHON=... names another"
    assert lacking == f"This machine lacks CPython 3.11 or newer ({found})."
    assert line == ""


def test_root_gets_it_installed(machine: Machine) -> None:
    machine.has("id", says="0")
    machine.packages(cargo="1.90.0")
    machine.lacks("cc", "cargo")
    new = machine.folder / "new"
    new.mkdir()
    machine.program("new/cc", "")
    machine.program("new/cargo", "echo cargo 1.90.0")
    mv = shutil.which("mv")
    machine.program("apt-get", f"[ $1 != install ] || {mv} {new}/* {machine.folder}")
    done = machine.look("build")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "prerequisites: installing gcc libc6-dev cargo\n"


def test_root_is_told_the_line_where_it_cannot_be_installed(machine: Machine) -> None:
    machine.has("id", says="0")
    machine.program("apt-get", "echo 'E: no network' >&2; exit 100")
    machine.packages()
    machine.lacks("cc")
    done = machine.look("build")
    assert done.returncode == 1
    assert "E: no network" in done.stderr
    assert "apt-get update && apt-get install -y gcc libc6-dev" in done.stderr
