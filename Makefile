# Every way of working on fanpulse: people and CI call the same commands.

SHELL := /bin/bash
UV    := $(shell command -v uv || echo .uv/bin/uv)
BIN   := .venv/bin

# what each lock file holds
LOCKS    := requirements
worker   := --extra alerts --extra board pyproject.toml
dev      := --all-extras --group dev pyproject.toml
triton   := --group triton
triton-gpu := --group triton-gpu
build    := --group build
training := --group training

.PHONY: help demo bench setup setup-training lock lock-python faults faults-long soak scale dry-run check test clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/installed .venv-triton/installed  ## install everything into .venv and .venv-triton; leaves .venv/bin/fanpulse

setup-training: .venv-training/installed  ## install torch and the rest of training into .venv-training

demo: setup  ## everything on this machine for a minute: three communities, one turns sour
	@$(BIN)/fanpulse demo

test: setup setup-training  ## every test, real services included
	$(BIN)/pytest --ignore=tests/training --ignore=tests/faults/test_scale.py --ignore=tests/deploy/test_dry_run.py
	.venv-training/bin/pytest --confcutdir=tests/training tests/training

bench: setup  ## figures, compared within one run; BENCH="stream-path" for one alone
	$(BIN)/python -m tests.benchmarks $(or $(BENCH),all)

faults: setup  ## break the real stack for three minutes: nothing lost, nothing counted twice (part of `make test`)
	$(BIN)/pytest tests/faults

faults-long: setup  ## the same for MINUTES=60, plan and traffic drawn from SEED, after stock Faust; figures in build/
	$(BIN)/python -m tests.faults --stock --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

soak: setup  ## MINUTES=30 at 80 % of saturation, a rebalance a minute: does anything grow? figures in build/
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30)

scale: setup  ## a Redis Cluster and three brokers lose members under load, small; then with 8 workers, 64 partitions, 2,000 communities
	$(BIN)/pytest tests/faults/test_scale.py
	$(BIN)/python -m tests.faults.scale $(ARGS)

dry-run: setup  ## what the chart renders, taken by a Kubernetes API server that Go builds first: a quarter of an hour, once
	$(BIN)/pytest tests/deploy/test_dry_run.py

check: setup  ## formatting, types, architecture, lock files up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	rm -rf build/requirements && mkdir -p build && cp -r requirements build/requirements
	$(MAKE) --no-print-directory lock-python LOCKS=build/requirements
	diff -r requirements build/requirements

lock: lock-python setup  ## write the lock files anew, Kafka's jars included
	cd deploy/local && ../../$(BIN)/jgo lock

lock-python: | $(UV)
	set -e; $(foreach name,worker dev triton triton-gpu build training, \
		$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			$($(name)) -o $(LOCKS)/$(name).txt;)

clean:  ## delete what setup and the embedded stack made
	rm -rf .venv .venv-triton .venv-training .uv .fanpulse build

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv

.venv/installed: requirements/dev.txt pyproject.toml deploy/local/jgo.lock.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python 3.11 .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	$(BIN)/python -c 'from deploy.local.jars import classpath; classpath()'
	touch $@

.venv-%/installed: requirements/%.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python 3.11 .venv-$*
	$(UV) pip sync --quiet --python .venv-$* --require-hashes requirements/$*.txt
	touch $@
