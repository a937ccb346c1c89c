"""`python -m scripts.lint`: what `make lint` asks of the house as a whole and no other tool knows.

Prints one line per problem, and ends with 1 if there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.lint import circles, knowledge, layers, unrun_tests

CHECKS = (layers, circles, knowledge, unrun_tests)


def main() -> int:
    root = Path(__file__).parent.parent.parent
    found = dict.fromkeys(line for check in CHECKS for line in check.problems(root))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
