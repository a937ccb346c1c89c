"""The checks of `make lint` that no other tool has: `python -m scripts.lint`."""
