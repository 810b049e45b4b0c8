# Everything runs from a fresh clone with only Python >= 3.11 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 2
STAMP  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit lint format bench build lock crds clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "WatchBudget needs Python >= 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Start a real control plane, audit three agents, run the operator on them
	$(BIN)/watchbudget demo

test: $(STAMP) ## Run all tests, the ones on the real control plane included, two files at once (WORKERS=0: one)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-unit: $(STAMP) ## Run the tests that need no control plane
	$(BIN)/python -m pytest -m "not cluster"

lint: $(STAMP) ## Check format, style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Run the benchmarks (two hours); tables on the screen, JSON in bench/results/
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/scale_operator.py
	$(BIN)/python bench/admission.py
	$(BIN)/python bench/storm
	$(BIN)/python bench/calibration

build: $(STAMP) ## Build the wheel and the source archive into dist/
	$(BIN)/uv build --no-build-isolation --python $(BIN)/python

crds: $(STAMP) ## Generate crds/ from the models
	$(BIN)/watchbudget crd > crds/watchbudget.io_watchbudgets.yaml

lock: $(STAMP) ## Write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra operator --extra localcluster --group dev --universal --generate-hashes \
	  --python-version 3.11 --no-emit-index-url --quiet --custom-compile-command "make lock" -o requirements.lock

clean: ## Remove what the other targets made (not the control plane's cache)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/results
