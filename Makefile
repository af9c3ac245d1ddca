# Everything happens in .venv. Two commands suffice: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := moase_edge tests benchmarks scripts

# Tests and demo start many processes, and PyTorch and timm take twice as long to import where nothing compiled is kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo check test coverage format constraints clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make .venv with everything that development needs

# uv rather than pip: on some machines pip takes a CPU-only torch for which no torchvision exists.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## Export, stream and adapt on data that ships with the package
	$(BIN)/moase-edge demo --force

check: $(STAMP)  ## Format, lint, types and import rules
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process a core, four at most; a file stays in one process, which makes its fixtures once.
test: $(STAMP)  ## The default tests: CPU, offline
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

coverage: $(STAMP)  ## The default tests with line coverage
	$(BIN)/pytest --cov=moase_edge --cov-report=term-missing:skip-covered

format: $(STAMP)  ## Let ruff format and fix
	$(BIN)/ruff format $(PACKAGES)
	$(BIN)/ruff check --fix $(PACKAGES)

constraints: $(STAMP)  ## Pin every package again, for all Pythons and platforms
	$(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --no-emit-index-url \
		--python-version 3.10 --extra cpu --extra gpu --extra tensorrt-rtx --extra adapt --extra plot \
		--extra web --extra export --extra bench --extra dev pyproject.toml -o constraints.txt

clean:  ## Remove .venv and what the tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
