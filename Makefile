# Every target sets up what it needs. The virtual environment is made once and remade when its inputs change.
# uv is used when it is there; the standard library's venv and pip do the same without it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.installed-demo
DEV    := $(VENV)/.installed-dev
UV     := $(shell command -v uv 2>/dev/null)
XDIST  ?= -n 4 --dist worksteal
ARGS   ?=

# Containers often tell Python to keep no bytecode: then each process of the tests compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all test-others test-thorough test-repeat coverage lint format typecheck check bench bench-editor bench-scale soak clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# $(1): the extra to install
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@printf 'Installing into $(VENV) (a minute, the first time) '; \
	( while :; do sleep 2 >/dev/null 2>&1; printf .; done ) & beat=$$!; \
	trap 'kill $$beat; echo' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	if [ -n "$(UV)" ]; then \
		{ test -x $(BIN)/python || "$(UV)" venv --quiet --python $(PYTHON) $(VENV); } && \
		"$(UV)" pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(1)]'; \
	else \
		{ test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && \
		$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[$(1)]'; \
	fi
	@touch $@
endef

$(VENV)/.installed-demo: pyproject.toml constraints.txt
	$(call install,demo)

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call install,dev)
	@touch $(VENV)/.installed-demo

demo: $(DEMO) ## Run two agents over real photographs on a platform of your own. IMAGES=DIR: yours. ARGS=--keep: to look at; --notifications.
	@echo "Starting a platform, with photographs ..."
	@$(BIN)/python examples/demo.py $(if $(IMAGES),--images "$(IMAGES)") $(ARGS)

test: $(DEV) ## Run the tests.
	@$(BIN)/python -m pytest $(XDIST) $(ARGS)

test-all: $(DEV) ## Run the core tests with every Python there is, and with the oldest libraries that are allowed.
	@$(BIN)/nox --tags tests $(if $(ARGS),-- $(ARGS))

test-others: $(DEV) ## Run some with the newest Python found, some with the oldest libraries, tests/compat with 0.2.10. As CI does.
	@$(BIN)/nox --tags ci -- $(or $(ARGS),quick)

test-thorough: $(DEV) ## Run the tests with all they can try: every point to interrupt at, ten times the examples. An hour.
	@ENCORD_AGENTS_THOROUGH=1 $(BIN)/python -m pytest $(XDIST) $(ARGS)

test-repeat: $(DEV) ## Run all tests N times beside BUSY busy processes, and list what failed. N=10 BUSY=4.
	@$(BIN)/python -m tests.repeat --times $(or $(N),10) --busy $(or $(BUSY),0) -- $(XDIST) $(ARGS)

coverage: $(DEV) ## Run the tests, and tell which lines and branches they reach.
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(XDIST) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: $(DEV) ## Check style.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV) ## Apply the style.
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

typecheck: $(DEV) ## Check types, strictly.
	@$(BIN)/mypy

check: lint typecheck test ## All of the above.

bench: $(DEV) ## Compare with encord-agents 0.2.10, side by side. Takes some minutes.
	@$(BIN)/python -m benchmarks.run $(ARGS)

bench-editor: $(DEV) ## Compare editor agents with those of encord-agents 0.2.10. Takes three minutes.
	@$(BIN)/python -m benchmarks.editor $(ARGS)

bench-scale: $(DEV) ## Measure how cost grows with tasks, workers and batches. Takes a quarter of an hour.
	@$(BIN)/python -m benchmarks.scale $(ARGS)

soak: $(DEV) ## A long run by hand: outages, 100,000 tasks, hundreds of passes.
	@$(BIN)/python -m benchmarks.soak $(ARGS)

clean: ## Remove what the targets made.
	rm -rf $(VENV) .venv-* .demo .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .nox .coverage .coverage.*
