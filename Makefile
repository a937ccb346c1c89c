# `make demo` and `make test` do everything, set-up included.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BUILT := $(VENV)/.built
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name Cargo.toml)

.PHONY: help demo test test-rust test-python lint lint-rust lint-python clean

help:
	@echo "make demo   build, install into $(VENV), and digest this repository with examples/digest.py"
	@echo "make test   the Rust and the Python tests"
	@echo "make lint   formatting, clippy, rustdoc, ruff, mypy"
	@echo "make test-python PYTHON=python3.12 VENV=.venvs/3.12   the Python tests on another interpreter"

demo: $(BUILT)
	$(BIN)/saburo run examples/digest.py .

test: test-rust test-python

test-rust:
	cargo test -p saburo-core
	RUSTFLAGS="--cfg saburo_polling" cargo test -p saburo-core --target-dir target/polling

test-python: $(BUILT)
	$(BIN)/python -m pytest tests

lint: lint-rust lint-python

lint-rust: $(READY)
	cargo fmt --all --check
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --workspace --all-targets -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

lint-python: $(BUILT)
	$(BIN)/ruff check python examples
	$(BIN)/ruff format --check python examples
	$(BIN)/mypy -p saburo

$(READY): pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) needs its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(BUILT): $(READY) $(SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet
	touch $@

clean:
	rm -rf target .venv .venvs
