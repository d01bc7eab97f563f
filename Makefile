# Two commands do everything, set-up included: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs
KILLS ?= 200
KILL_SEED ?= 0
REPORTS ?= reports

.PHONY: help env demo figures results docs test lint types unit bench torture clean

help:
	@echo "make demo      six seeds of the small budget study on the embedded corpus, then its figures"
	@echo "make figures   the report of every experiment below RUNS=$(RUNS)"
	@echo "make results   the pages of the published studies below results/, from their tables"
	@echo "make docs      the documentation as a site, site/index.html, with the notebooks executed (their runs first: a quarter of an hour)"
	@echo "make test      lint, types, tests"
	@echo "make torture   KILLS=$(KILLS) kills over all tasks, a fault at every write, 1,000 odd command lines, 500 odd files"
	@echo "make bench     training speed beside the machine's matrix-multiply rate and a compiled transformers model"

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[dev,notebooks,launchers]"
	@touch $@

demo: env
	$(BIN)/python -m trajlab experiment=tinystories_budget_small data.source=embedded seed=0..5 -m \
	    runs_dir=$(RUNS) hydra/launcher=joblib hydra.launcher.n_jobs=2
	$(BIN)/python -m trajlab report $(RUNS)/tinystories_budget_small --out $(REPORTS)/tinystories_budget_small

figures: env
	@for experiment in $(RUNS)/*/; do \
	    $(BIN)/python -m trajlab report $$experiment --out $(REPORTS)/$$(basename $$experiment) || exit 1; \
	done

results: env
	$(BIN)/python -m trajlab.analysis results results

docs: env
	$(BIN)/python -m docs.execute_notebooks build/notebooks
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

torture: env
	$(BIN)/python -m tests.torture.kills --kills $(KILLS) --seed $(KILL_SEED) --seconds 3600
	$(BIN)/python -m tests.torture.faults
	$(BIN)/python -m tests.torture.fuzz --lines 1000 --files 500

test: lint types unit

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

unit: env
	$(BIN)/python -m pytest -n 2

bench: env
	$(BIN)/python -m tests.benchmarks.training_speed

clean:
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
