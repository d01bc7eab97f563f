# Two commands do everything, set-up included: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs
KILLS ?= 200
KILL_SEED ?= 0
REPORTS ?= reports

.PHONY: help env demo figures test lint types unit bench torture clean

help:
	@echo "make demo      six seeds of the small budget study on the embedded corpus, then its figures"
	@echo "make figures   the report of every experiment below RUNS=$(RUNS)"
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
	$(BIN)/python -m analysis report $(RUNS)/tinystories_budget_small --out $(REPORTS)/tinystories_budget_small

figures: env
	@for experiment in $(RUNS)/*/; do \
	    $(BIN)/python -m analysis report $$experiment --out $(REPORTS)/$$(basename $$experiment) || exit 1; \
	done

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
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
