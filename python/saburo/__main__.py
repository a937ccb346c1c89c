"""`python -m saburo`: the command `saburo`."""

import sys

from ._cli import main

if __name__ == "__main__" and (_code := main()):
    # Not for 0: `python -i` would print the SystemExit as an error.
    sys.exit(_code)
