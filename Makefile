# What a checkout offers. Each target installs what it lacks first; that, `run` and `test` need root.

PYTHON := /usr/bin/python3
VENV := .venv
IN_VENV := $(VENV)/bin/python

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test soak bench lint lock rpm man messages clean root prerequisites packagers nodes readers

help:
	@echo 'make run    three nodes on this machine, virtual IPs that move, the outage of each move'
	@echo 'make test   every test and linter'
	@echo 'make soak   the long tests, hours of them; SEED=7 plays the same faults again'
	@echo 'make bench  speed and size, beside plain keepalived: a table, bench.json (half an hour)'
	@echo 'make lint   the linters alone'
	@echo 'make lock   renew the versions and hashes that these targets install'
	@echo 'make rpm    the package for Fedora and RHEL, in dist/'
	@echo 'make man    the manual pages, in dist/man/'
	@echo 'make messages  docs/messages.md, every sentence that ipfod may say, anew from the code'
	@echo 'make clean  remove what the others left in this directory'

run: root $(VENV)/installed-run
	@$(IN_VENV) -m ipfod.lab

test: root $(VENV)/installed-test | packagers nodes readers
	@tests/all.sh $(IN_VENV)

soak: root $(VENV)/installed-test | packagers nodes readers
	@$(IN_VENV) -m pytest -m soak

bench: root $(VENV)/installed-run
	@PYTHONPATH=tests $(IN_VENV) -m bench $(BENCH)

lint: $(VENV)/installed-test
	@$(IN_VENV) -m pytest tests/test_linters.py

lock:
	@packaging/lock.sh

rpm: $(VENV)/installed-run | packagers
	@PIP=$(VENV)/bin/pip packaging/rpm.sh dist

man: $(VENV)/installed-run
	@PYTHONPATH=packaging $(IN_VENV) -B -m manual dist/man

messages: $(VENV)/installed-run
	@PYTHONPATH=packaging $(IN_VENV) -B -m manual.messages docs/messages.md

clean:
	rm -rf $(VENV) build dist bench.json *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

root:
	@test "$$(id -u)" = 0 || { echo 'make $(MAKECMDGOALS): only root may: it makes network namespaces' >&2; exit 1; }

prerequisites:
	@packaging/prerequisites.sh

packagers:
	@packaging/prerequisites.sh rpm

nodes:
	@packaging/prerequisites.sh nodes

readers:
	@packaging/prerequisites.sh readers

# The distribution's python3 and its packages: the nftables binding is on no index. Everything else in the versions and
# with the hashes of packaging/lock*.txt, see packaging/lock.sh; only ipfod itself is the checkout's.
PIP_INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check
LOCKED := $(PIP_INSTALL) --require-hashes --no-build-isolation --requirement

$(VENV)/installed-run: pyproject.toml packaging/lock-build.txt packaging/lock.txt | prerequisites
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(LOCKED) packaging/lock-build.txt
	$(LOCKED) packaging/lock.txt
	$(PIP_INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed-run pyproject.toml packaging/lock-test.txt | prerequisites
	$(LOCKED) packaging/lock-test.txt
	@touch $@
