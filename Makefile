# Two commands: `make run` sets up and ends with a finished study and its report; `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
STUDY ?= studies/quickstart.yaml
# More for pip, such as PIP_ARGS="--extra-index-url URL" with the URL of torch's CPU wheels, on a machine without a GPU.
PIP_ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: run test test-slow release dist docs audit licences coverage bench check messages translations setup setup-docs clean help

run: setup  ## set up, run the quickstart study (or STUDY=...) and print where its report is
	@$(BIN)/hpo run $(STUDY)

test: check  ## set up, then format, lint, types, floors and the fast tests
	@$(BIN)/python -m compileall -q hpo objectives search_spaces studies  # or each process of the tests would do it
	@$(BIN)/python -m pytest -n 3 --dist loadfile

test-slow: setup-docs  ## the tests that take minutes: kills at random moments, builds
	@$(BIN)/python -m pytest -m slow

release: test translations test-slow docs dist  ## all that a release demands, then the files to hand out, in dist/

dist: setup-docs  ## a wheel and an sdist in dist/; the wheel is built from the sdist alone
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist
	@ls dist

docs: setup-docs  ## the documentation as a site: site/index.html; warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -c docs -d .sphinx . site
	@echo "The documentation is in site/index.html"

audit: setup-docs  ## known weaknesses of the pinned versions (asks pypi.org)
	@$(BIN)/python .ci/audit.py

licences: setup-docs  ## write docs/reference/licences.md, the licences of what hpo stands on
	@$(BIN)/python docs/licences_page.py

coverage: setup  ## the fast tests, and the lines of hpo that they do not reach (much slower than `make test`)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --cov

bench: setup  ## what hpo costs a trial, beside plain Optuna
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/tracking.py

check: setup  ## format, lint, types and floors only
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

messages: setup  ## bring the catalogues of the report's languages up to date with the source
	@$(BIN)/pybabel -q extract --no-default-keywords -k tr -k trn:1,2 -k mark --no-location --sort-output --width 120 \
	  --project hpo --output-file hpo/translation/messages.pot hpo
	@$(BIN)/pybabel -q update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 120 \
	  --locale zh_Hant_TW --input-file hpo/translation/messages.pot --output-file hpo/translation/zh_Hant_TW.po
	@rm hpo/translation/messages.pot

translations: setup  ## list the texts of reports that lack a translation; fails if one does
	@$(BIN)/python -m pytest -q tests/translation/check_translations.py

setup: $(INSTALLED)  ## make the virtual environment with the tested versions

# Installed again only when the project's dependencies or the pinned versions have changed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hpo needs Python 3.11 or newer, $(PYTHON) is %d.%d; try make PYTHON=python3.11" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

setup-docs: $(INSTALLED)-docs  ## more for the documentation, the notebook and releases

$(INSTALLED)-docs: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	@touch $@

clean:  ## remove the virtual environment and the caches; runs/ stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .sphinx site dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## show this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /\1\t/' | expand -t 12
