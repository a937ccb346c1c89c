"""`python -m saburo`: the command `saburo`."""

import sys

from ._cli import main

if __name__ == "__main__" and (_code := main()):
    # Not with a 0: `python -i` would show that as an error of the program.
    sys.exit(_code)
