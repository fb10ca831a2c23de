# Every target sets up what it needs; a fresh machine needs Python >= 3.11, make and the C library that wheels expect.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check format bench lock clean
run: .venv/installed        ## Serve on embedded Postgres and print what to try
	@$(BIN)/keepsay serve
test: .venv/installed       ## Run every test
	$(BIN)/python -m pytest
check: .venv/installed      ## Format, lint, strict types, import contracts
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
format: .venv/installed     ## Rewrite the files as `check` wants them
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
bench: .venv/installed      ## Measure bytes on disk and WAL per turn
	$(BIN)/python -m bench.storage
lock: .venv/installed       ## Resolve the dependencies anew into requirements/
	$(BIN)/python -m pip install -q uv && $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --all-extras --group dev pyproject.toml -o requirements/dev.txt
clean:                      ## Forget the environment
	rm -rf .venv

.venv/installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
