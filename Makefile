# Every command begins with `make setup`, which ends at once when nothing changed.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON_IN_VENV := .venv/bin/python

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## .venv from requirements.lock, Java, Delta's jars (PYTHON=... chooses the interpreter)
	@PYTHON="$(PYTHON)" scripts/setup.sh

.PHONY: neural
neural: setup ## PyTorch into .venv, for the neural models; gigabytes on Linux
	@scripts/install.sh $(PYTHON_IN_VENV) <requirements-neural.lock

.PHONY: demo
demo: setup ## the whole pipeline on synthetic ratings, in a minute
	@scripts/demo.sh

.PHONY: test
test: setup pack cluster-jars ## every test, two at a time; PYTEST_ARGS="-k name" for some
	@$(PYTHON_IN_VENV) -m pytest tests --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: coverage
coverage: ## as `make test`, and which lines no test has run; it takes half as long again
	@$(MAKE) test PYTEST_ARGS="--cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)"

.PHONY: check
check: setup ## the fast tests only: no cluster, no processes, no JVM
	@$(PYTHON_IN_VENV) -m pytest tests/unit -q $(PYTEST_ARGS)

.PHONY: lint
lint: setup ## style, types, layers, shell scripts, Dockerfile
	@scripts/lint.sh

.PHONY: format
format: setup ## let ruff mend what it can
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format .

.PHONY: lock
lock: setup ## requirements*.lock from pyproject.toml (LOCK_ARGS=--upgrade moves versions on)
	@scripts/lock.sh $(LOCK_ARGS)

.PHONY: conf
conf: setup ## conf/base.toml from the sections of the settings
	@$(PYTHON_IN_VENV) -m recpipe.settings > conf/base.toml

.PHONY: jars
jars: setup ## fetch Delta's jars again, where set-up could not
	@scripts/setup.sh again

.PHONY: cluster-jars
cluster-jars: ## jars of a real HDFS and YARN for tests/cluster, by Maven
	@scripts/cluster-jars.sh

.PHONY: pack
pack: setup ## build/pack: our code and its native dependencies, for the executors of a cluster
	@scripts/pack.sh

.PHONY: quality
quality: neural ## every model under three splits of RECPIPE_MOVIELENS, and on synthetic ratings
	@$(PYTHON_IN_VENV) benchmarks/quality.py --input "$(RECPIPE_MOVIELENS)" --work build/quality
	@$(PYTHON_IN_VENV) benchmarks/quality.py --synthetic 1000000 --work build/quality-synthetic \
		--splits global_time

.PHONY: quality-peers
quality-peers: setup ## our models against the same methods elsewhere, on RECPIPE_MOVIELENS: docs/results.md
	@$(PYTHON_IN_VENV) benchmarks/quality_peers.py --input "$(RECPIPE_MOVIELENS)"

.PHONY: bench
bench: setup ## ours against others', small sizes, minutes; then docs/benchmarks.md
	@scripts/bench.sh small

.PHONY: bench-full
bench-full: setup ## the same at the sizes of docs/benchmarks.md; hours
	@scripts/bench.sh full

.PHONY: doctor
doctor: setup ## what this machine has and lacks
	@.venv/bin/recpipe doctor

.PHONY: clean
clean: ## remove what was made here, but .venv and the cache
	@rm -rf build dist .demo .coverage .coverage.* .*_cache .hypothesis
	@find recpipe jobs tests scripts -name __pycache__ -prune -exec rm -rf {} +
