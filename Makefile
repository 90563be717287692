# Works from a fresh clone: every target sets up what it needs in .venv (Python >= 3.11).
# Kept to what GNU make 3.81 knows, which is what macOS ships.

VENV := .venv
BIN := $(VENV)/bin
WIREWORK := $(BIN)/wirework
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready

# One process per core, one thread each; a file's tests stay together and share what they set up.
PYTEST := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

DEMO := runs/demo
TASK := python/single_double_quote

.PHONY: help demo test test-long lint format types docs venv chromium clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\	\2/p' Makefile | expand -t 20

# A bar that is missed stands in the report; the page is drawn all the same.
demo: $(READY) ## train a small model, find a circuit in it, test it, draw it (into runs/demo)
	$(WIREWORK) train tiny --out $(DEMO)/run --resume
	$(WIREWORK) discover $(DEMO)/run $(TASK) --target-loss 0.15 --seeds 3 \
		--out $(DEMO)/quote.circuit --resume
	-$(WIREWORK) validate $(DEMO)/quote.circuit --model $(DEMO)/run --quick --group controls \
		--plot $(DEMO)/report.png --out $(DEMO)/report.json
	$(WIREWORK) explain $(DEMO)/quote.circuit --model $(DEMO)/run --labels
	$(WIREWORK) view $(DEMO)/quote.circuit --model $(DEMO)/run --report $(DEMO)/report.json \
		--export $(DEMO)/quote.html
	$(WIREWORK) view --gallery $(DEMO) --export $(DEMO)/gallery.html
	@echo
	@$(WIREWORK) info $(DEMO)/quote.circuit
	@echo
	@echo "Open $(DEMO)/quote.html in a browser to touch the circuit, $(DEMO)/gallery.html to see all of them."
	@echo "The run is $(DEMO)/run, the circuit $(DEMO)/quote.circuit, its report $(DEMO)/report.json."

test: lint types chromium ## lint, types and all tests but the long ones
	$(PYTEST) -m "not long"

test-long: $(DEV_READY) chromium ## the tests that take minutes
	$(PYTEST) -m long

lint: $(DEV_READY) ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV_READY) ## rewrite the sources in the one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEV_READY) ## check types, strictly
	$(BIN)/mypy

docs: $(DEV_READY) ## rewrite the generated pages: docs/map.md and docs/errors.md
	$(BIN)/python tools/write_docs.py

venv: $(BIN)/python ## only make .venv, for example to put a PyTorch of your own into it

chromium: $(DEV_READY)
	@$(BIN)/python tools/find_chromium.py

clean: ## remove .venv, caches and build folders; runs/ stays
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@PYTHON="$(PYTHON)" sh tools/venv.sh $(VENV)

# The interpreter is order-only: its date says nothing about what is installed.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $(READY) $@
