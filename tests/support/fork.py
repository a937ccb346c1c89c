"""For programs that fork: the source of a function to do it."""

FORK = """
import os, sys
def in_child(work):
    # Runs work in a forked child; what it printed, and how it ended.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
