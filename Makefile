# Every target works from a fresh clone with nothing but Python, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all check format docs wheel packages coverage test-lowest release-check clean

demo: $(VENV)/.demo
	$(BIN)/tobias-aug demo -o demo

# What a change needs, in minutes.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m "not slow"

# The rest: kills, corpora, Ray, trainings, benchmarks.
test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tools.language

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: packages

# Wheel and sdist, each installed and used in an environment with the core dependencies alone.
packages: $(VENV)/.python
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m tools.packages $(PACKAGES)
	@ls dist

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=xml:build/coverage.xml

# The lowest versions of the core dependencies that pyproject.toml declares; needs a Python they have wheels for: 3.10-3.12.
test-lowest: $(VENV)-lowest/.dev
	$(VENV)-lowest/bin/python -m pytest

# Every step before a release, up to the first that fails. It takes about an hour.
release-check: $(VENV)/.dev $(VENV)/.docs
	$(BIN)/python -m tools.release_check

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist demo site *.egg-info

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

$(VENV)-lowest/.dev: pyproject.toml tools/lowest.py
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) -m tools.lowest > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $(VENV)-lowest/constraints.txt --editable ".[dev]"
	touch $@
