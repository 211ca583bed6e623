# Two commands for a newcomer: `make study` and `make test`. Everything runs inside .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install study test lint test-harness test-slow test-oldest campaign test-gpu bench docs notebooks pictures site clean

help:             ## list the commands
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Images for containers often forbid it, and then every process would compile what it imports anew, for a quarter of a minute.
unexport PYTHONDONTWRITEBYTECODE

# A newer pip than the one that Python brings takes half as long. --no-compile: Python compiles what it imports, once; all
# 24,000 modules would be a third of the installation.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.venv/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "formers needs Python 3.11 or newer; set PYTHON=python3.11 or the like")'
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --upgrade pip
	touch $@

.venv/lab: pyproject.toml constraints.txt | .venv/pip
	$(BIN)/python $(PIP_INSTALL) -e ".[lab]"
	touch $@

.venv/installed: pyproject.toml constraints.txt | .venv/pip
	$(BIN)/python $(PIP_INSTALL) -e ".[lab,adapt,cluster,slurm,search,retrieval,control,mujoco,oracles,site,notebooks,dev]"
	touch .venv/lab $@

# lm-evaluation-harness brings pandas and scikit-learn, which every import of transformers would load and take half as
# long again: it has an environment of its own, on top of the other, whose pip it uses.
.venv/harness/installed: .venv/installed
	$(PYTHON) -m venv --without-pip .venv/harness
	.venv/harness/bin/python -c 'import pathlib, sys, sysconfig; here = pathlib.Path(sysconfig.get_path("purelib")); below = pathlib.Path(sys.prefix).parent / here.relative_to(sys.prefix); (here / "below.pth").write_text(f"import site; site.addsitedir({str(below)!r})")'
	.venv/harness/bin/python $(PIP_INSTALL) -e ".[eval]"
	touch $@

install: .venv/installed  ## make the environment with everything that the tests and examples need

study: .venv/lab          ## the default study: Tiny Shakespeare, six ways to mix tokens, one report (under 5 minutes)
	$(BIN)/formers ablate shakespeare

lint: .venv/installed     ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/installed  ## style, types and all tests but the slow and the GPU ones
	$(MAKE) --jobs=2 --output-sync lint test-harness  # beside each other: one checks while the other downloads
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-harness: .venv/harness/installed
	OMP_NUM_THREADS=1 .venv/harness/bin/python -m pytest -m harness tests/evaluation

test-slow: .venv/installed  ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

# torch is not among the oldest: see constraints-oldest.txt. An environment of its own, in a folder that may be anywhere.
OLDEST ?= .venv-oldest
OLDEST_TORCH ?= 2.13.0
OLDEST_TESTS := tests/ops/sparse_attention/test_varlen.py tests/models/test_model_with_head.py \
  tests/models/test_causal_lm.py tests/models/test_saving.py tests/models/test_config.py \
  tests/adapt/test_use_attention.py tests/lab/test_run_search.py tests/lab/study/test_search_space.py \
  tests/lab/report/test_sampled_search.py

test-oldest:      ## a fast part of the tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt "torch==$(OLDEST_TORCH)" -e ".[lab,adapt,search]" pytest hypothesis
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest $(OLDEST_TESTS)

campaign: .venv/installed ## malformed input through every way in, and kills: half an hour, into docs/reliability.md
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m campaign --workers 2 --write

test-gpu:         ## the tests that need a CUDA device; PYTHON=... needs torch, transformers and pytest alone
	PYTHONPATH=src $(PYTHON) -m pytest -m gpu tests/gpu

bench: .venv/installed    ## every benchmark, one after the other, into docs/benchmarks.md
	$(BIN)/python -m benchmarks

docs: .venv/installed     ## the parts of the docs that are made from the code
	$(BIN)/python docs/generate.py

notebooks: .venv/installed ## execute the notebooks in docs/notebooks, a few minutes
	$(BIN)/python docs/notebooks/run.py

pictures: .venv/installed ## the pictures of pages in docs/images, by chromium
	$(BIN)/python docs/pictures.py

site: .venv/installed     ## the documentation as a site, with a page for every part, into site/
	$(BIN)/mkdocs build --strict --quiet

clean:            ## remove the environment and caches
	rm -rf .venv .venv-oldest site .pytest_cache .mypy_cache .ruff_cache .hypothesis
