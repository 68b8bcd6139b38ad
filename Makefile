# `make demo` scores the samples; `make test` runs all that must pass. Both work on a fresh clone.
# PYTHON=python3.12 chooses another Python, WORKERS=4 more processes for the tests.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DEMO ?= demo_result
NEWEST ?= .venv-newest
BIN = $(VENV)/bin
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
PIP = $(BIN)/python $(PIP_INSTALL)

.PHONY: demo test newest lint kernels pages pictures notebooks site clean python

demo: $(VENV)/.installed
	$(BIN)/pdl1quant score sample_slides/ihc sample_slides/phantoms -o $(DEMO) --overwrite
	@echo
	@echo "What was counted as what:   $(DEMO)/overlays/fhl2_colon.png"
	@echo "The scores:                 $(DEMO)/scores.csv (docs/columns.md explains each column)"
	@echo "What was drawn in phantoms: sample_slides/README.md"

test: $(VENV)/.installed-dev
	$(MAKE) --jobs=2 lint kernels
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests
	$(BIN)/python -m pytest -n $(WORKERS) --nbmake notebooks

# compiled once, on the other processor while mypy reads: else each process of the tests compiles them for itself
kernels: $(VENV)/.installed-dev
	$(BIN)/python tests/compile_kernels.py

# the core as a newcomer has it: no more than what it needs, and pandas 3, which the packages of some extras still refuse
newest: $(NEWEST)/.installed
	$(NEWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile tests/test_pipeline.py tests/test_classify.py tests/test_positivity.py \
	  tests/test_outputs_tables.py tests/test_batch.py tests/test_report.py tests/test_cli.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/columns.md and docs/configuration.md, from the code
pages: $(VENV)/.installed
	$(BIN)/python docs/make_pages.py

# docs/images, from the results of the demonstration and from rendered cells
pictures: demo $(VENV)/.installed-dev
	$(BIN)/pdl1quant figures $(DEMO) -q
	$(BIN)/python docs/make_pictures.py $(DEMO)
	$(BIN)/python docs/make_figures.py
	$(BIN)/python docs/make_notebook_pictures.py
	xvfb-run -a -s "-screen 0 1600x1200x24" $(BIN)/python docs/make_screenshots.py $(DEMO)

# notebooks/*.ipynb, without outputs, from the .py beside them
notebooks: $(VENV)/.installed-dev
	cd notebooks && ../$(BIN)/jupytext --to ipynb --update-metadata '{"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}' 0*.py

# the pages as a site that can be read from disk: site/index.html
site: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

$(VENV)/.installed: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.installed

$(NEWEST)/.installed: pyproject.toml | python
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python $(PIP_INSTALL) "pandas>=3" hypothesis pytest pytest-xdist --editable .
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pdl1quant needs Python 3.11 or newer; pass PYTHON=python3.12, say")'

clean:
	rm -rf $(VENV) $(NEWEST) $(DEMO) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
