# Three commands need nothing but Python >= 3.11: `make demo`, `make test`, `make lint`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export TOKENIZERS_PARALLELISM = false
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-slow lint format clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar off --constraint constraints.txt --editable '.[dev,app,reconstruction,retrieval,export]'
	touch $@

demo: $(STAMP)  ## rooms -> questions -> fine-tuning -> benchmark -> an answer about photos
	$(BIN)/python -m app.demo --out demo_output

test: $(STAMP)  ## the test suite without the slow marks
	$(BIN)/python -m pytest -q -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf demo_output build .pytest_cache .mypy_cache .ruff_cache
