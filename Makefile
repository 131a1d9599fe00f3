# make run     install what is missing, and show OTP supervisors restart Python engines
# make test    every test, against the BEAMs of this machine;  make test ARGS="-k ticker -m 'not slow'"
# make check   lint and test: what CI runs
.DEFAULT_GOAL := help
.PHONY: help setup run test oracle test-otp-matrix lint format check screenshots bench clean

BIN := .venv/bin
PYTHON ?=
ARGS ?=
OTP ?=
export PYTHON

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup:  ## .venv with pyanoma on it, and the system packages that are missing
	@bash scripts/setup.sh

run: setup  ## the demo: a BEAM supervises Python engines
	@$(BIN)/pyanoma demo $(ARGS)

test: setup  ## all tests; ARGS go to pytest
	@bash scripts/test.sh $(ARGS)

oracle: setup  ## random runs of the ordering engines against sequential replay; ARGS="--runs 1000 --seed 7"
	@$(BIN)/python -m tests.property.ordering.oracle $(ARGS)

test-otp-matrix: setup  ## as root: the BEAM tests with Debian's later releases, in folders of their own; OTP=27 for one
	@bash scripts/otp_matrix.sh $(OTP) -- $(ARGS)

lint: setup  ## style, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup  ## let ruff lay out the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

check: lint test  ## lint and test

screenshots: setup  ## docs/images: what the tests see of observer
	@bash scripts/screenshots.sh $(ARGS)

bench: setup  ## our numbers beside OTP's, in one run
	@$(BIN)/python -m bench $(ARGS)

clean:  ## remove everything that make has made
	rm -rf .venv .otp build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
