"""The checks of `scripts/lint` find what they are for, in made-up houses and not in this one."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from scripts.lint import circles, knowledge, layers, unrun_tests
from scripts.lint.graph import Exempt

ROOT = Path(__file__).parent.parent.parent
DOOR = "crates/saburo-python/src"
CORE = "crates/saburo-core/src"


class House:
    """A folder that gets the files a check looks at, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (DOOR, CORE, "python/saburo"):
            (root / folder).mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    def layers(self, *order: str, exempt: tuple[Exempt, ...] = ()) -> list[str]:
        return list(layers.problems(self.root, order, exempt))

    def circles(self, *exempt: Exempt) -> list[str]:
        return list(circles.problems(self.root, exempt))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("check", [layers, circles, knowledge, unrun_tests])
def test_this_house_is_in_order(check: object) -> None:
    assert list(check.problems(ROOT)) == []  # type: ignore[attr-defined]


# ---- layers ----


def test_an_arrow_down_is_right(house: House) -> None:
    house.write(f"{DOOR}/lib.rs", "mod high; mod low;")
    house.write(f"{DOOR}/high.rs", "use crate::low::Low;")
    house.write(f"{DOOR}/low.rs", "pub(crate) struct Low;")
    assert house.layers("high", "low") == []


@pytest.mark.parametrize(
    "source",
    [
        "use crate::high::High;",
        "use crate::{\n    high::{self as other, High},\n};",
        "use super::high;",
        "fn f() { crate::high::call() }",
        "mod inner { use super::super::high::High; }",
        "macro_rules! m { () => { $crate::high::call() } }",
        "#[cfg(not(test))] use crate::high::High;",
    ],
)
def test_an_arrow_up_is_found_however_it_is_written(house: House, source: str) -> None:
    house.write(f"{DOOR}/high/mod.rs", "pub(crate) struct High;")
    house.write(f"{DOOR}/low.rs", source)
    problems = house.layers("high", "low")
    assert problems
    for problem in problems:
        assert problem.startswith(f"{DOOR}/low.rs:")
        assert problem.endswith("`low` uses `high`, which is above it")


@pytest.mark.parametrize(
    "source",
    [
        "// use crate::high::High;\n/* crate::high::call() */",
        'const TEXT: &str = "crate::high::call()";',
        'const RAW: &str = r#"use crate::high::High;"#;',
        "#[cfg(test)]\nmod tests {\n    use crate::high::High;\n}",
        "#[cfg(test)]\nuse crate::high::High;",
        "use other::high::High;",
        "fn f<'a>(quote: char) -> bool { quote == '\"' || quote == '{' }",
    ],
)
def test_comments_texts_and_tests_are_no_arrows(house: House, source: str) -> None:
    house.write(f"{DOOR}/high.rs", "pub(crate) struct High;")
    house.write(f"{DOOR}/low.rs", source)
    assert house.layers("high", "low") == []


def test_a_name_counts_for_the_room_that_it_comes_from(house: House) -> None:
    house.write(f"{DOOR}/lib.rs", "mod high; mod low; use high::High;")
    house.write(f"{DOOR}/high.rs", "pub(crate) struct High;")
    house.write(f"{DOOR}/low.rs", "use crate::High;")
    assert house.layers("high", "low") == [f"{DOOR}/low.rs:1: `low` uses `high`, which is above it"]


def test_every_room_has_its_place_in_the_order(house: House) -> None:
    house.write(f"{DOOR}/new.rs", "")
    problems = house.layers("gone")
    assert len(problems) == 2
    assert "`new` has no place" in problems[0]
    assert "`gone` of ORDER is not in" in problems[1]


def test_an_exempt_arrow_must_be_there(house: House) -> None:
    house.write(f"{DOOR}/high.rs", "pub(crate) struct High;")
    house.write(f"{DOOR}/low.rs", "use crate::high::High;")
    exempt = (Exempt("low", "high", "for now"),)
    assert house.layers("high", "low", exempt=exempt) == []
    house.write(f"{DOOR}/low.rs", "")
    (problem,) = house.layers("high", "low", exempt=exempt)
    assert "`low` no longer uses `high`" in problem


# ---- circles ----


def test_a_circle_in_the_core_is_found(house: House) -> None:
    house.write(f"{CORE}/lib.rs", "mod a; mod b; mod c;")
    house.write(f"{CORE}/a.rs", "use crate::b::B; pub struct A;")
    house.write(f"{CORE}/b.rs", "pub struct B(crate::c::C);")
    house.write(f"{CORE}/c.rs", "use super::a::A; pub struct C;")
    assert house.circles() == [f"{CORE}: a circle: a -> b -> c -> a"]
    assert house.circles(Exempt("c", "a", "for now")) == []


def test_a_circle_in_a_folder_of_the_core_is_found(house: House) -> None:
    house.write(f"{CORE}/core/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;")
    house.write(f"{CORE}/core/a.rs", "use super::B; pub struct A;")
    house.write(f"{CORE}/core/b.rs", "use super::A; pub struct B;")
    assert house.circles() == [f"{CORE}/core: a circle: a -> b -> a"]


def test_a_folder_and_its_own_files_are_no_circle(house: House) -> None:
    house.write(f"{CORE}/core/mod.rs", "mod turn; pub use turn::turn; pub struct Core;")
    house.write(f"{CORE}/core/turn.rs", "use super::Core; pub fn turn(core: &Core) {}")
    assert house.circles() == []


def test_an_exempt_arrow_must_close_a_circle(house: House) -> None:
    house.write(f"{CORE}/a.rs", "use crate::b::B;")
    house.write(f"{CORE}/b.rs", "pub struct B;")
    (problem,) = house.circles(Exempt("a", "b", "for now"))
    assert "`a` -> `b` closes no circle" in problem


@pytest.mark.parametrize(
    "line",
    [
        "from ._a import thing",
        "from . import _a",
        "from saburo._a import thing",
        "from saburo import _a",
        "import saburo._a",
        "def later(): from ._a import thing",
        "if sys.platform == 'linux': from . import _a",
    ],
)
def test_a_circle_of_imports_is_found(house: House, line: str) -> None:
    house.write("python/saburo/__init__.py", "")
    house.write("python/saburo/_a.py", "from ._b import thing")
    house.write("python/saburo/_b.py", line)
    assert house.circles() == ["python/saburo: a circle: _a -> _b -> _a"]


def test_imports_for_the_type_checker_are_none(house: House) -> None:
    house.write("python/saburo/_a.py", "from ._b import thing")
    house.write("python/saburo/_b.py", "if TYPE_CHECKING:\n    from ._a import A\n")
    assert house.circles() == []


# ---- what a crate knows ----


@pytest.mark.parametrize(
    "lines",
    [
        '[dependencies]\npyo3-ffi = "1"',
        '[dev-dependencies]\npyo3 = "1"',
        "[target.'cfg(unix)'.dependencies]\npyo3 = \"1\"",
        '[dependencies]\nother = { package = "pyo3", version = "1" }',
        "[dependencies]\nsaburo-python.workspace = true",
    ],
)
def test_the_core_may_not_depend_on_python(house: House, lines: str) -> None:
    house.write("crates/saburo-python/Cargo.toml", "")
    house.write("crates/saburo-core/Cargo.toml", f"[package]\nname = 'saburo-core'\n{lines}\n")
    (problem,) = knowledge.problems(house.root)
    assert "saburo-core must not know" in problem


# ---- tests that run ----

MAKEFILE = """
    test-rust:
    \tcargo test -p a
    \tRUSTFLAGS="--cfg loom" cargo test -p b --test one \\
    \t\t--target-dir target/loom
"""


@pytest.mark.parametrize("source", ["#[cfg(test)]\nmod tests {}", "#[test]\nfn f() {}"])
def test_a_test_that_no_command_runs_is_found(house: House, source: str) -> None:
    house.write("Makefile", MAKEFILE)
    house.write("Cargo.toml", '[workspace]\nmembers = ["a", "b", "c"]')
    for name in ("a", "b", "c"):
        house.write(f"{name}/Cargo.toml", f'[package]\nname = "{name}"')
        house.write(f"{name}/src/lib.rs", "\n" + source)
    assert list(unrun_tests.problems(house.root, {})) == [
        "b/src/lib.rs:2: no command runs this test: `make test-rust` does not test b",
        "c/src/lib.rs:2: no command runs this test: `make test-rust` does not test c",
    ]
    exempt = {"b/src/lib.rs": "for now", "c/src/lib.rs": "for now", "a/src/lib.rs": "for now"}
    (problem,) = unrun_tests.problems(house.root, exempt)
    assert "a/src/lib.rs has no unrun test" in problem


def test_a_library_that_is_not_tested_has_no_tests(house: House) -> None:
    house.write("Makefile", MAKEFILE)
    house.write("Cargo.toml", '[workspace]\nmembers = ["a"]')
    house.write("a/Cargo.toml", '[package]\nname = "a"\n[lib]\ntest = false')
    house.write("a/src/lib.rs", "#[test]\nfn f() {}")
    (problem,) = unrun_tests.problems(house.root, {})
    assert problem.endswith("a's Cargo.toml says `test = false`")


# ---- the oldest Rust ----


@pytest.mark.skipif(shutil.which("cargo-clippy") is None, reason="needs clippy")
def test_clippy_finds_what_the_oldest_rust_does_not_have(house: House) -> None:
    workspace = (ROOT / "Cargo.toml").read_text()
    house.write("Cargo.toml", re.sub(r"members = \[.*?\]", 'members = ["newer"]', workspace))
    house.write("clippy.toml", (ROOT / "clippy.toml").read_text())
    house.write(
        "newer/Cargo.toml",
        """
        package = { name = "newer", version = "0.0.0", rust-version.workspace = true }
        lints.workspace = true
        """,
    )
    house.write(
        "newer/src/lib.rs",
        """
        //! Calls what Rust has since 1.91.
        /// An hour.
        pub const HOUR: std::time::Duration = std::time::Duration::from_mins(60);
        """,
    )
    checked = subprocess.run(
        ["cargo", "clippy", "--quiet", "--offline", "--target-dir", house.root / "target"],
        cwd=house.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode != 0
    assert "clippy::incompatible-msrv" in checked.stderr, checked.stderr
