"""CPython's own ``test.test_asyncio``, run on saburo.

Nothing of CPython's tests is kept here: they are taken from the interpreter that runs them, so
each CPython brings the tests that belong to it. ``python -m tests.stdlib`` from the repository's
root runs them all and ends with one line of counts; ``expected_differences.toml`` names every
test that may fail, with the reason, and an entry that passes is as much an error as a failure
without an entry.

How a test reaches saburo is told in ``stage``; what counts as "ran on saburo" in ``touch``.
``SABURO_STDLIB_ON=asyncio`` runs the same harness on the standard library, where everything must
pass: a failure there is the harness's.
"""
