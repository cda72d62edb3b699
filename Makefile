# Everything runs in an environment of its own, in the versions of requirements/*.txt; a second call finds it ready.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := pyproject.toml .ci/install.py $(wildcard requirements/*.txt)

.PHONY: help demo app test attack check format bench docs docs-serve lock latest compatibility audit clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(LOCK) | $(BIN)/python
	$(BIN)/python .ci/install.py
	@touch $@

$(VENV)/.installed-dev: $(LOCK) | $(BIN)/python
	$(BIN)/python .ci/install.py --dev
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed  ## convert a bundled recording to another bundled voice; offline after the installation
	$(BIN)/speechssl demo --output demo

app: $(VENV)/.installed  ## open the front end in the browser; offline after the installation
	$(BIN)/speechssl app --browser

test: $(VENV)/.installed-dev  ## run the tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

attack: $(VENV)/.installed-dev  ## damage files, try odd values, kill at every write, race writers; prints counts
	$(BIN)/python tests/attacks/long_run.py

check: $(VENV)/.installed-dev  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## write the format and the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev  ## print the speed and memory ratios
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: $(VENV)/.installed $(VENV)/docs/.installed  ## build the site into build/site, offline, without a warning
	$(BIN)/python docs/scripts/generate.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build

docs-serve: docs  ## show the site in the browser while its pages are written
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs serve

lock: $(VENV)/tools/bin/uv  ## resolve every dependency anew and write requirements/*.txt
	$(VENV)/tools/bin/python .ci/lock.py

latest:  ## demo and quick tests with the newest version of everything, in a fresh environment
	PYTHON='$(PYTHON)' .ci/fresh.sh

compatibility:  ## demo and quick tests with the lowest and with the newest torch, in fresh environments
	PYTHON='$(PYTHON)' .ci/fresh.sh 'torch==2.9.*' 'torchaudio==2.9.*'
	PYTHON='$(PYTHON)' .ci/fresh.sh

audit: $(VENV)/tools/bin/pip-audit  ## look up known vulnerabilities of the locked versions
	$(VENV)/tools/bin/python .ci/audit.py

# tools that the locked environment does not hold
$(VENV)/tools/bin/uv $(VENV)/tools/bin/pip-audit: | $(BIN)/python
	test -x $(VENV)/tools/bin/python || $(BIN)/python -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet --disable-pip-version-check $(notdir $@)

$(VENV)/docs/.installed: requirements/docs.txt | $(BIN)/python
	test -x $(VENV)/docs/bin/python || $(BIN)/python -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

clean:  ## remove the environment and what the tools left
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
