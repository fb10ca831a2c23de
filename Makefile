# Every target sets up what it needs. A fresh machine needs Python >= 3.11 and make; the tests also Debian's pgbouncer,
# postgresql-15, curl and jq, or the like (CONTRIBUTING.md).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.PHONY: help run test check format bench lock clean
help:                       ## Say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10
run: .venv/run              ## Serve on embedded Postgres and print what to try
	@$(BIN)/keepsay serve
test: .venv/dev             ## Run every test
	$(BIN)/python -m pytest
check: .venv/dev            ## Format, lint, strict types, import contracts
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
format: .venv/dev           ## Rewrite the files as `check` wants them
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
bench: .venv/dev            ## Measure bytes on disk and in the write-ahead log
	$(BIN)/python -m bench.storage
lock: .venv/dev             ## Resolve the dependencies anew into requirements/
	$(PIP) install -q uv
	$(LOCK) pyproject.toml --extra all -o requirements/run.txt
	$(LOCK) pyproject.toml --all-extras --group dev --group build -o requirements/dev.txt
	$(LOCK) --group build -o requirements/build.txt
clean:                      ## Forget the environment
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv
.venv/run: .venv/bin/python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "installing keepsay and what it needs"
	@$(PIP) install -q --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@
.venv/dev: .venv/bin/python requirements/dev.txt pyproject.toml
	@echo "installing keepsay and what its tests need"
	@$(PIP) install -q --require-hashes -r requirements/dev.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@ .venv/run
