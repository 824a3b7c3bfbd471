# `make help` lists the targets. Everything runs from .venv, which the first target that needs it makes.
PYTHON ?= python3
RUN := .venv/bin
STAMP := .venv/installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help demo test test-browser test-all lab student build site bench check lock picture

$(STAMP): requirements.lock pyproject.toml tools/install.py
	@$(PYTHON) -c 'import sys; sys.exit("needs Python 3.11 or newer, found %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(RUN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(RUN)/python tools/install.py
	@touch $@

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

demo: $(STAMP)  ## build lab 3, grade a sample class on it, print the gradebook
	@$(RUN)/autograder demo

test: $(STAMP)  ## the test suite
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m "not full and not browser"

test-browser: $(STAMP)  ## JupyterLab in a real browser
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m browser

test-all: test test-browser  ## both, then what takes an hour: every hint under Validate, faults, real training
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m full

lab: $(STAMP)  ## open JupyterLab on a copy of the labs in work/
	@$(RUN)/autograder lab

student: $(STAMP)  ## what a class gets: student/ for nbgrader's exchange, student.zip for a learning-management system
	@$(RUN)/autograder term pack

build: $(STAMP)  ## labs, their hints and lectures from solutions/labNN.py and course/NN_topic.py
	@$(RUN)/autograder build

site: $(STAMP)  ## lectures, executed, and labs as pages with search and mathematics: site/index.html
	$(RUN)/python tools/website.py

bench: $(STAMP)  ## every figure beside a peer's, measured in one run: models, tokenizers, grading
	@for file in bench/*.py; do $(RUN)/python $$file || exit 1; done

check: $(STAMP)  ## format and lint, code and authored notebooks
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .

lock: $(STAMP)  ## renew requirements.lock from pyproject.toml
	$(RUN)/python tools/lock.py

picture: $(STAMP)  ## draw the README's pictures again: the gradebook and three widgets
	@$(RUN)/autograder demo --picture gradebook.svg
	@LECTUREKIT_SHOTS=work/pictures $(RUN)/python -m pytest -q -m browser tests/browser/test_widgets.py
	@mkdir -p course/pictures && cd work/pictures && cp sampling-moved.png ../../course/pictures/sampling.png && \
	  cp attention-moved.png ../../course/pictures/attention.png && cp beam.png ../../course/pictures/beam.png
