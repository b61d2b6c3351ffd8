# Everything starts from a bare machine with Python 3.11+: what is missing is set up first, said aloud, and kept.
# ARGS go to the command: make test ARGS="tests/unit -k breaker", make demo ARGS=--serve

BIN := .venv/bin
PYTHON ?= python3
PYTHON_FILES := . hack/chart hack/clients/ensure hack/compile hack/english hack/pins hack/sizes hack/translation $(wildcard hack/catalogue)

# Tests share the processors: each file is run by one process.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: demo test fuzz cover compiled check bench flame bench-control-plane soak faults failover tenants full crds chart pins image cluster cluster-down e2e fmt clean help

demo: .venv/.ready ## simulated models, the router, a model that dies; ends with a summary (ARGS=--serve keeps it up)
	@$(BIN)/weir demo $(ARGS)

# Tests that are named need the API server only if they are those of tests/kube, and the clients of tests/clients.
NAMED := $(filter tests/%,$(ARGS))
KUBE := $(if $(NAMED),$(findstring tests/kube,$(NAMED)),all)
CLIENTS := $(if $(NAMED),$(findstring tests/clients,$(NAMED)),all)

test: .venv/.ready ## all tests; builds a real kube-apiserver and etcd beside them the first time (minutes)
ifdef ARGS
	@$(if $(KUBE),PYTHON=$(BIN)/python hack/kube/ensure api helm helm3 kubeconform promtool >/dev/null)
	@$(if $(CLIENTS),$(BIN)/python hack/clients/ensure >/dev/null || true)
	@$(BIN)/pytest $(ARGS)
else
	@hack/test $(PARALLEL)
endif

fuzz: .venv/.ready ## random HTTP, bodies, answers, streams, tokens, manifests, reports and reviews, with new seeds (MINUTES=5)
	@hack/fuzz $(MINUTES)

cover: .venv/.ready ## breaker, balancer, limits, budget and queue: every branch is tested, in virtual time
	@$(BIN)/coverage run --rcfile=/dev/null --branch --source=weir_router.admit,weir_router.decide,weir_router.health \
	  -m pytest -q tests/unit/admit tests/unit/decide tests/unit/health
	@$(BIN)/coverage report --rcfile=/dev/null --show-missing --skip-covered --fail-under=100

# Folders of unit tests that import what may be compiled; the others would only prove the same again.
COMPILED = $(shell grep -rlE 'weir_router\.(admit|call|decide|dialects|estimate|header|health|identify|record|serve)' tests/unit \
  --include='*.py' | xargs -n1 dirname | sort -u)

compiled: .venv/.ready ## the router's hot modules as the image has them, in build/compiled, and its tests on those; needs a C compiler
	@$(BIN)/python hack/compile
	@PYTHONPATH=build/compiled $(BIN)/pytest -q $(PARALLEL) $(COMPILED) tests/faults

check: .venv/.ready ## lint, format, types, layers, generated files, plain English, and sizes of modules and functions
	@$(BIN)/ruff check $(PYTHON_FILES)
	@$(BIN)/ruff format --check $(PYTHON_FILES)
	@$(BIN)/mypy
	@cd hack/kube && ../../$(BIN)/mypy --strict --config-file= *.py
	@$(BIN)/lint-imports
	@$(BIN)/python -m weir_operator.kinds.crdgen --check crds
	@$(BIN)/python hack/chart --check
	@PYTHONPATH=router $(BIN)/python hack/translation --check
	@hack/helm-lint
	@$(BIN)/python hack/english
	@$(BIN)/python hack/sizes

bench: .venv/.ready ## the router beside nginx and Envoy on the same work, as ratios, and what its life is like (PEERS=1: other gateways too)
	@$(BIN)/python hack/compile
	@$(BIN)/python -m bench $(ARGS)

flame: .venv/.ready ## where a request's time goes, by py-spy: bench/results/flame.svg (ARGS=--streams: a stream's)
	@$(BIN)/python -m bench.flame $(ARGS)

bench-control-plane: .venv/.ready ## kubectl apply to the last of 100 routers, with 1,200 objects in a real API server; 10 minutes (docs/scale.md)
	@PYTHON=$(BIN)/python hack/kube/ensure api helm >/dev/null
	@$(BIN)/python -m bench.control_plane $(ARGS)

soak: .venv/.ready ## a million requests while faults go on and off and neighbours attack: memory stays, honest callers are served (ARGS="--requests 5000 --rounds 7 --faults 4")
	@$(BIN)/python -m bench.soak $(ARGS)

faults: .venv/.ready ## a simulated fleet falls ill in every way, under load: goals kept or not (SEEDS, RATE, PEERS=1, ARGS="--row silent")
	@for gateway in $(if $(PEERS),litellm portkey) weir; do \
	  $(BIN)/python -m bench.faults --gateway $$gateway $(if $(SEEDS),--seeds $(SEEDS)) $(if $(RATE),--rate $(RATE)) $(ARGS) \
	    || exit; done

failover: .venv/.ready ## sixteen ways in which a provider misbehaves, one primary and one backup, 20 runs; five minutes (ARGS="--runs 1")
	@$(BIN)/python -m bench.failover $(ARGS)

tenants: .venv/.ready ## honest callers beside hostile neighbours and beside honest ones, the router on one core: latency, turns of its loop, memory; a minute
	@$(BIN)/python hack/compile
	@$(BIN)/python -m bench.tenants $(ARGS)

full: ## what takes too long for every change: long runs of clients, fuzzing, failures, attacks, soak and benchmarks; one to two hours
	@WEIR_CLIENT_TURNS=20 WEIR_CONVERSATIONS=200 $(MAKE) test ARGS=tests/clients
	@$(MAKE) fuzz MINUTES=10
	@$(MAKE) failover ARGS=
	@$(MAKE) tenants ARGS=
	@$(MAKE) soak ARGS="--requests 300000"
	@$(MAKE) faults SEEDS=3 ARGS=
	@$(MAKE) bench ARGS=
	@$(MAKE) bench-control-plane ARGS=

crds: .venv/.ready ## crds/*.yaml and the chart's copy from weir_operator.kinds
	@$(BIN)/python -m weir_operator.kinds.crdgen crds
	@$(BIN)/python hack/chart

chart: .venv/.ready ## the chart's README, schema and CRDs, after a change of its values
	@$(BIN)/python hack/chart

pins: .venv/.ready ## exact versions and hashes of what is installed and what the image runs on, after a change of pyproject.toml
	@$(BIN)/python hack/pins > requirements-dev.txt
	@hack/lock

image: ## the image, with docker, podman or buildah (IMAGE=localhost/weir:VERSION, BASE=python:3.x-slim)
	@hack/image/build

cluster: ## a whole one-node Kubernetes on this machine: Linux, root; about 10 minutes the first time, then 11 seconds
	@$(PYTHON) hack/kube/cluster.py up
	@$(PYTHON) hack/kube/cluster.py metrics

cluster-down: ## ends it and removes everything it made
	@$(PYTHON) hack/kube/cluster.py down

e2e: .venv/.ready ## the scenarios of tests/e2e, on a cluster of their own or on that of KUBECONFIG
	@hack/e2e $(ARGS)

fmt: .venv/.ready ## format, and fix what the linter can fix
	@$(BIN)/ruff check --fix $(PYTHON_FILES)
	@$(BIN)/ruff format $(PYTHON_FILES)

clean: ## remove caches and build outputs (not .venv, nor the Kubernetes binaries in the user's cache)
	@rm -rf build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find bench cli hack operator router tests -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: requirements-dev.txt pyproject.toml hack/bootstrap
	@hack/bootstrap
