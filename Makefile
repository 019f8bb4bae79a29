# make train and make test do all set-up on a fresh machine; a second call does not set up again.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/.ready  ## the environment in .venv, with the exact versions of constraints.txt

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

train: setup  ## train model=hybrid_deep on the embedded synthetic faces (ARGS='...' adds overrides)
	$(BIN)/python -m fer_lightning.train experiment=try_out model=hybrid_deep $(ARGS)

# Two processes with one thread each: threads of several processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test: setup  ## the quick tests (ARGS='tests/test_hog.py -x')
	$(PYTEST) $(if $(filter tests/%,$(ARGS)),,--ignore=tests/integration) $(ARGS)

test-integration: setup  ## tests with browsers, databases, forks, kills and whole commands
	$(PYTEST) tests/integration $(ARGS)

coverage: setup  ## all tests with their branch coverage of the package, which must be 90 % or more
	$(PYTEST) --cov --cov-report=term --cov-fail-under=90 $(ARGS)

reliability: setup  ## runs killed and resumed, 20,000 mutated inputs of each kind, mutants noticed: about an hour
	@for name in kills stops fuzz mutants; do \
	  echo "== benchmarks/reliability/$$name.py"; $(BIN)/python benchmarks/reliability/$$name.py || exit; done

check: setup lint test test-integration  ## lint, types and all tests, as CI runs them

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

size: setup  ## files and lines of the package, modules that an image passes
	$(BIN)/python benchmarks/size.py

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## the quick benchmarks (15 minutes or less on two cores), each beside its baseline: benchmarks/results.json
	$(BIN)/python benchmarks $(or $(ARGS),quick)

bench-long: setup  ## the long ones: time to accuracy, how cost grows, many machines, pruning
	$(BIN)/python benchmarks $(or $(ARGS),long)

tensorboard: setup  ## the dashboard on runs/
	$(BIN)/tensorboard --logdir runs

demo: setup  ## a page for photos, a camera and videos on http://127.0.0.1:7860 (ARGS='--port 8000')
	$(BIN)/python -m fer_lightning.demo $(ARGS)

report: setup  ## one page of figures and tables from the runs in runs/: runs/report/report.html
	$(BIN)/python -m fer_lightning.report runs

STUDY ?= $(firstword $(shell ls -t runs/*/study.db runs/*/study.journal 2> /dev/null))
dashboard: setup  ## the newest search of runs/ in optuna-dashboard (STUDY=runs/.../study.db, or the URL of a database)
	@test -n '$(STUDY)' || { echo "error: no search in runs/; give STUDY=FOLDER/study.db, or the URL of a database" >&2; exit 2; }
	$(BIN)/optuna-dashboard $(if $(filter %.db,$(STUDY)),sqlite:///)$(STUDY)

.PHONY: help setup train test test-integration coverage reliability check lint size format bench bench-long tensorboard demo report dashboard
