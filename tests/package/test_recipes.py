"""Every recipe does what it says, in the order and about the time it says, on both loops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.both_loops import Kind

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"

# What each prints, and how long its own clock says it took: never less than its sleeps add up to,
# and less than it would take one after the other where that is the point (tests share machines,
# so the upper bounds are generous).
EXPECTED: dict[str, tuple[list[str], float, float]] = {
    "hello": (["hello", "world"], 0.2, 10),
    "three_hellos": (
        ["hello Saburo", "hello Jiro", "hello Ichiro", "['Ichiro', 'Jiro', 'Saburo']"],
        0.6,
        10,
    ),
    "unpacked_list": (["[0, 1, 4, 9, 16] ... 9801"], 0.2, 10),
    "all_results": (["6.0", "ZeroDivisionError('division by zero')", "2.0"], 0.2, 10),
    "first_error": (["gather raised: no luck", "Ichiro finished", "Jiro finished"], 0.6, 10),
    "fire_and_forget": (
        [
            "main goes on at once",
            "letter to Ichiro sent",
            "letter to Jiro sent",
            "0 letters under way",
        ],
        0.4,
        10,
    ),
    "time_limit": (["cancelled, tidying up", "gave up waiting"], 0.2, 10),
    "shielded": (["gave up waiting, cancelled: False", "work done", "its result"], 0.4, 10),
    "beside_a_thread": (["tick 0", "tick 1", "tick 2", "from the thread"], 0.6, 10),
    "thread_pool": (["[0, 10, 20, 30]"], 0.4, 10),
    "process_pool": (
        [
            "168 primes below 1000, elsewhere: True",
            "1229 primes below 10000, elsewhere: True",
            "2262 primes below 20000, elsewhere: True",
        ],
        0.0,
        60,
    ),
    "progress_bar": (["hello Saburo", "hello Jiro", "hello Ichiro"], 0.6, 10),
    "web_handler": (["Jiro: at once", "Saburo: at once", "Ichiro: after the query"], 0.3, 10),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_prints_what_it_promises(kind: Kind, name: str) -> None:
    program = kind.run_program(str(RECIPES / f"{name}.py"))
    assert program.returncode == 0, program.stderr
    *lines, took = program.stdout.splitlines()
    expected, least, most = EXPECTED[name]
    assert lines == expected
    check_time(took, least, most)
    if name == "progress_bar":
        assert "3/3" in program.stderr
    else:
        assert program.stderr == ""


def test_the_debug_recipe_names_the_callback_that_blocks(kind: Kind) -> None:
    program = kind.run_program(str(RECIPES / "who_blocks.py"))
    assert program.returncode == 0, program.stderr
    named, took = program.stdout.splitlines()
    assert re.fullmatch(
        r"Executing <Handle blocking\(\) at \S+who_blocks\.py:\d+ "
        r"created at \S+who_blocks\.py:\d+> took \d+\.\d\d\d seconds",
        named,
    )
    check_time(took, 0.3, 10)


def test_every_recipe_is_tested_and_listed() -> None:
    recipes = {path.stem for path in RECIPES.glob("*.py")}
    assert recipes == {*EXPECTED, "who_blocks"}
    index = (RECIPES / "README.md").read_text()
    assert recipes == set(re.findall(r"\((\w+)\.py\)", index))


def check_time(took: str, least: float, most: float) -> None:
    found = re.fullmatch(r"took (\d+\.\d) s", took)
    assert found
    assert least <= float(found[1]) < most
