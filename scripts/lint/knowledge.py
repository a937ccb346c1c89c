"""What a crate must not know, it does not depend on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

MUST_NOT_KNOW = {
    "saburo-core": ("pyo3", "saburo"),  # neither Python nor who runs it
    "saburo-python": ("saburo-bridge",),
}
"""For each crate, how the names begin of those it may not depend on."""


def problems(root: Path) -> Iterator[str]:
    for crate, unknown in MUST_NOT_KNOW.items():
        manifest = root / "crates" / crate / "Cargo.toml"
        for name in sorted(dependencies(tomllib.loads(manifest.read_text()))):
            if name.startswith(unknown):
                yield f"{manifest.relative_to(root)}: {crate} must not know `{name}`"


def dependencies(manifest: dict[str, object]) -> set[str]:
    """The crates of all the tables of dependencies, those for some platforms included."""
    found: set[str] = set()
    for key, value in manifest.items():
        if not isinstance(value, dict):
            continue
        if key.endswith("dependencies"):
            found.update(
                str(detail.get("package", name)) if isinstance(detail, dict) else name
                for name, detail in value.items()
            )
        elif key != "workspace":
            found |= dependencies(value)
    return found
