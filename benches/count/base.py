"""Another commit's saburo, built to be counted beside this one's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from benches.count.measure import ROOT, CannotCount

# What was taken from the history. Where there is no git, as in the sid folder, it must have been
# taken before.
EXPORTED = ROOT / "target" / "count-base"


def build(commit: str | None) -> tuple[str, Path]:
    """The name of the commit, the parent's if None, and the folder to import its saburo from."""
    name, source = _source(commit)
    package = source / "python"
    place = Path(sys.prefix, "count-base", name)
    if not place.exists():
        print(f"count: building {name}")
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target" / "count"), "base")
        options = ["--release", "--locked", "--quiet", "--target-dir", str(target)]
        _run("cargo", "build", "-p", "saburo-python", *options, folder=source)
        # The last one only: whoever wants another has it built.
        shutil.rmtree(place.parent, ignore_errors=True)
        shutil.copytree(package, place)
        library = f"_saburo{sysconfig.get_config_var('EXT_SUFFIX')}"
        shutil.copy(target / "release" / "lib_saburo.so", place / "saburo" / library)
    return name, place


def _source(commit: str | None) -> tuple[str, Path]:
    """The name and the source of a commit."""
    if shutil.which("git") is None:
        exported = sorted(EXPORTED.glob("*/"))
        if len(exported) != 1:
            raise CannotCount("there is no git here: run `make count-base` outside first")
        return exported[0].name, exported[0]
    if commit is None:
        changed = _run(
            "git", "status", "--porcelain", "--untracked-files=no", "--", "crates", "python"
        )
        commit = "HEAD" if changed else "HEAD^"
    name = _run("git", "rev-parse", "--verify", f"{commit}^{{commit}}")[:12]
    source = EXPORTED / name
    if not source.exists():
        shutil.rmtree(EXPORTED, ignore_errors=True)
        source.mkdir(parents=True)
        archive = EXPORTED / "source.tar"
        _run("git", "archive", f"--output={archive}", name)
        _run("tar", "-xf", str(archive), "-C", str(source))
        archive.unlink()
    return name, source


def _run(*command: str, folder: Path = ROOT) -> str:
    environment = {**os.environ, "PYO3_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise CannotCount(f"`{' '.join(command)}` failed")
    return done.stdout.strip()


if __name__ == "__main__":
    # For where there is no git: take the parent's source out of the history.
    print(_source(sys.argv[1] if len(sys.argv) > 1 else None)[0])
