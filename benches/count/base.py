"""What is counted: this checkout's saburo, and another commit's, built to stand beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from benches.count.measure import ROOT, CannotCount, Subject

# What was taken from the history. Where there is no git, as in the sid folder, it must have been
# taken before.
EXPORTED = ROOT / "target" / "count-base"

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target" / "count"))


def here() -> Subject:
    """This checkout's saburo, of which the environment has the package already."""
    return Subject(None, _cargo(ROOT, TARGET, "saburo-count") / "saburo-count")


def build(commit: str | None) -> tuple[str, Subject]:
    """The name of the commit, the parent's if None, and its saburo."""
    name, source = _source(commit)
    place = Path(sys.prefix, "count-base", name)
    engine = place / "saburo-count"
    if not place.exists():
        print(f"count: building {name}")
        has_engine = (source / "benches" / "count" / "engine").exists()
        crates = ["saburo-python", *(["saburo-count"] if has_engine else [])]
        built = _cargo(source, TARGET / "base", *crates)
        # Only the last one is kept; another is built when it is asked for.
        shutil.rmtree(place.parent, ignore_errors=True)
        shutil.copytree(source / "python", place)
        library = f"_saburo{sysconfig.get_config_var('EXT_SUFFIX')}"
        shutil.copy(built / "lib_saburo.so", place / "saburo" / library)
        if has_engine:
            shutil.copy(built / engine.name, engine)
    return name, Subject(place, engine if engine.exists() else None)


def _cargo(source: Path, target: Path, *crates: str) -> Path:
    options = ["--release", "--locked", "--quiet", "--target-dir", str(target)]
    for crate in crates:
        _run("cargo", "build", "-p", crate, *options, folder=source)
    return target / "release"


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
        # With the present time: by the times of the commits Cargo would not build an older one.
        _run("tar", "-xmf", str(archive), "-C", str(source))
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
