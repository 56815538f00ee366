# Each target sets itself up: all it needs is make and a Python of 3.11 or later.
# Another Python than python3: make PYTHON=python3.13 ...

PYTHON ?= python3
BIN := .venv/bin
MAKEFLAGS += --no-print-directory

.PHONY: run test check lint types contracts wheel bench soak clean

run: .venv/.installed  ## example tasks and the service, until Ctrl-C or for TICKWORK_RUN_SECONDS
	$(BIN)/python -m examples.main_job

# Two workers, since most tests wait for servers and processes; what is named is one plain process.
test: .venv/.installed  ## one file: make test ARGS=tests/unit/test_cron.py
	$(BIN)/python -m pytest $(or $(ARGS),-n 2)

check:  ## exactly what CI runs
	$(MAKE) lint
	$(MAKE) types
	$(MAKE) contracts
	$(MAKE) test
	$(MAKE) wheel

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.installed
	$(BIN)/mypy

contracts: .venv/.installed
	$(BIN)/lint-imports --no-logo

# The built wheel, installed without extras and used where the source tree can't be imported.
wheel: .venv/.installed
	@set -e; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; trap 'exit 1' INT TERM; \
	echo "building the wheel and trying it in an environment of its own"; \
	$(BIN)/python -m build --outdir "$$folder/dist" . >"$$folder/log" 2>&1 || { cat "$$folder/log"; exit 1; }; \
	$(BIN)/python -m venv "$$folder/venv"; \
	"$$folder/venv/bin/python" -m pip install -q "$$folder"/dist/*.whl; \
	cp tests/wheel_smoke.py "$$folder"; cd "$$folder"; unset PYTHONPATH; \
	venv/bin/python -m tickwork preview "0 8 * * mon-fri"; \
	venv/bin/python wheel_smoke.py

# Each peer has an environment of its own: APScheduler 3 and 4 can't be in one.
PEERS := $(patsubst bench/peers/%.txt,.venv-bench/peers/%/.installed,$(wildcard bench/peers/*.txt))

bench: .venv-bench/.installed $(PEERS)  ## compare with other schedulers, 45 minutes; make bench ARGS=--quick
	.venv-bench/bin/python -m bench $(ARGS)

soak: .venv/.installed  ## the long tests
	$(BIN)/python -m pytest -m soak $(ARGS)

clean:  ## back to a fresh clone: environments, caches and the example's data go
	rm -rf .venv .venv-bench .demo build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find bench examples tests tickwork -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: extra := dev
.venv-bench/.installed: extra := bench

.venv/.installed .venv-bench/.installed: %/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo 'tickwork needs Python 3.11 or later; "$(PYTHON)" is not. Name another: make PYTHON=python3.13 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo '"$(PYTHON)" cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install -q -e '.[$(extra)]'
	@touch $@

.venv-bench/peers/%/.installed: bench/peers/%.txt | .venv-bench/.installed
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	@touch $@
