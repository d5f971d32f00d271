# The few targets that matter; `make help` lists them. Everything lives in .venv/ and var/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export UV_CACHE_DIR ?= $(CURDIR)/var/cache/uv
# Bytecode goes below var/ too, and must be written: XGBoost alone takes 2 s longer to import without.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/var/cache/bytecode

.PHONY: help run runs models costs new-model preflight gate deploy up metrics down airflow score test test-newest test-fastf1 test-cluster chaos bench check lock clean requirements.txt
help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# uv: the one on PATH, or one that pip puts into the environment.
UV = $(shell command -v uv || echo $(BIN)/uv)
$(BIN)/python:
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "error: $(PYTHON) is not on PATH; install Python 3.11 or set PYTHON=" >&2; exit 69; }
	@$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet --no-cache-dir --disable-pip-version-check uv

# One stamp a lock: the environment is what the lock says, and installed once.
$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing the environment (once)"
	@$(UV) pip install --quiet -r requirements/run.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "installing the tools of tests and checks (once)"
	@$(UV) pip install --quiet -r requirements/dev.txt
	@touch $@

run: $(VENV)/.run ## train one model end to end, or MODEL=all of them: LAPS=path ENGINE= WORKERS= DEVICE= ROUNDS= EARLY_STOPPING= RUN_ID= DRY_RUN=1
	@exec $(BIN)/python -m composer.local.run --laps "$(LAPS)" --model "$(or $(MODEL),tire_degradation)" --engine "$(ENGINE)" \
	  --workers "$(WORKERS)" --device "$(or $(DEVICE),cpu)" --rounds "$(ROUNDS)" --run-id "$(RUN_ID)" \
	  --early-stopping "$(EARLY_STOPPING)" --seed "$(or $(SEED),2024)" --dry-run "$(DRY_RUN)" --port "$(PORT)"

runs: $(VENV)/.run ## attempts of the newest runs, why each failed, what was decided: LAST=10 (AIRFLOW_URL= AIRFLOW_TOKEN=)
	@exec $(BIN)/python -m composer.runs --last "$(or $(LAST),10)"

models: $(VENV)/.run ## versions of every model, which serves, how good each is: MODEL= LAST=10 URI=gs://bucket/models
	@exec $(BIN)/python -m composer.models --uri "$(URI)" --model "$(MODEL)" --last "$(or $(LAST),10)"

costs: $(VENV)/.run ## what a weekly run of each model is estimated to cost: URI=gs://bucket/models
	@exec $(BIN)/python -m composer.costs --uri "$(URI)"

new-model: $(VENV)/.run ## a commented file for one more model: NAME= TARGET=column FEATURES=column,column ENGINE= FOLDER=
	@exec $(BIN)/python -m composer.new_model --name "$(NAME)" --target "$(TARGET)" --features "$(FEATURES)" --engine "$(ENGINE)" \
	  --folder "$(FOLDER)"

preflight: $(VENV)/.run ## whether a deployment can train, check by check: MODEL= ENGINE= DEVICE= (AIRFLOW_URL= AIRFLOW_TOKEN=)
	@exec $(BIN)/python -m composer.preflight --model "$(MODEL)" --engine "$(ENGINE)" --device "$(DEVICE)"

gate: $(VENV)/.run ## who closed a model's gate, and opening it: ACTION=history|open|close REASON= MODEL= FORCE=1 (AIRFLOW_URL= AIRFLOW_TOKEN=)
	@exec $(BIN)/python -m composer.gate --action "$(or $(ACTION),history)" --model "$(or $(MODEL),all)" --reason "$(REASON)" --force "$(FORCE)"

# uv publishes the wheel: the one on PATH, or the environment's.
deploy: $(VENV)/.run ## the plan of a deployment onto Cloud Composer; APPLY=1 does it, ROLLBACK=1 undoes it: PROJECT= ENVIRONMENT= REGION= ARGS=
	@PATH="$$PATH:$(CURDIR)/$(BIN)" exec $(BIN)/python -m composer.deploy --project "$(PROJECT)" --environment "$(ENVIRONMENT)" \
	  --region "$(or $(REGION),europe-west4)" $(if $(APPLY),--apply) $(if $(ROLLBACK),--rollback) $(ARGS)

up: $(VENV)/.run ## Airflow, the stand-ins and a dashboard in the background, to look at; PORT=8080
	@.ci/prometheus
	@exec $(BIN)/python -m composer.local.up up --port "$(or $(PORT),8080)"

metrics: $(VENV)/.run ## Prometheus' metrics of what trains on what `make up` started
	@exec $(BIN)/python -m composer.local.metrics

down: ## stop what `make up` started
	@test ! -x $(BIN)/python || exec $(BIN)/python -m composer.local.up down

airflow: $(VENV)/.run ## Airflow's command line on what `make up` started: ARGS='dags list'
	@exec $(BIN)/python -m composer.local.airflow_cli $(ARGS)

score: $(VENV)/.run ## score the champion on laps it never saw: LAPS=path MODEL=
	@exec $(BIN)/python -m composer.local.score --laps "$(LAPS)" --model "$(or $(MODEL),tire_degradation)"

test: $(VENV)/.dev var/fastf1/venv/.done ## all tests, with line coverage; ARGS= for pytest
	@exec .ci/test $(ARGS)

# The second supported pin set, in an environment of its own.
var/newest/venv/.done: requirements/newest.txt $(VENV)/.dev
	@echo "installing the newest Airflow 3.3 and providers (once)"
	@mkdir -p var/newest && $(UV) venv --quiet --allow-existing --python $(BIN)/python var/newest/venv
	@VIRTUAL_ENV=$(CURDIR)/var/newest/venv $(UV) pip install --quiet -r requirements/newest.txt
	@VIRTUAL_ENV=$(CURDIR)/var/newest/venv $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
test-newest: var/newest/venv/.done ## all tests on the newest Airflow 3.3 and providers; ARGS= for pytest
	@mkdir -p var/tmp && TMPDIR=$(CURDIR)/var/tmp OMP_WAIT_POLICY=PASSIVE \
	  exec var/newest/venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# FastF1 wants an older pandas than Airflow, so its source of laps has an environment of its own.
var/fastf1/venv/.done: requirements/fastf1.txt $(VENV)/.dev
	@echo "installing FastF1 (once)"
	@mkdir -p var/fastf1 && $(UV) venv --quiet --allow-existing --python $(BIN)/python var/fastf1/venv
	@VIRTUAL_ENV=$(CURDIR)/var/fastf1/venv $(UV) pip install --quiet -r requirements/fastf1.txt
	@touch $@
test-fastf1: var/fastf1/venv/.done ## the source of laps from FastF1, on recorded answers of its services
	@mkdir -p var/tmp && TMPDIR=$(CURDIR)/var/tmp exec var/fastf1/venv/bin/python -m pytest tests/unit/data_tables/fastf1 $(ARGS)

test-cluster: $(VENV)/.dev ## what an attempt goes through on your cluster: KUBECONFIG=path F1_TEST_IMAGE=image with python
	@test -n "$$KUBECONFIG" || { echo "error: KUBECONFIG is not set; give the file of a cluster to test on" >&2; exit 64; }
	@test -n "$$F1_TEST_IMAGE" || { echo "error: F1_TEST_IMAGE is not set; give an image with python that it can pull" >&2; exit 64; }
	@exec .ci/test tests/contract/kubernetes/test_attempts.py -m '' $(ARGS)

chaos: $(VENV)/.dev ## every fault of the chaos suite, and a table of what was survived; ARGS= for pytest
	@exec .ci/test tests/chaos tests/integration/jobs tests/integration/test_airflow_killed.py -m '' $(ARGS)

# The peers are installed apart from us: Dask's and Ray's own integrations, and the plain libraries.
var/bench/venv/.done: requirements/bench.txt | $(BIN)/python
	@echo "installing the benchmark's peers (once)"
	@mkdir -p var/bench && $(UV) venv --quiet --allow-existing --python $(BIN)/python var/bench/venv
	@VIRTUAL_ENV=$(CURDIR)/var/bench/venv $(UV) pip install --quiet -r requirements/bench.txt
	@touch $@

bench: $(VENV)/.run var/bench/venv/.done ## measure training beside its peers: FIGURES=name,name SAMPLES=3 SCALE=full|small
	@exec $(BIN)/python -m tests.bench --figures "$(FIGURES)" --samples "$(or $(SAMPLES),3)" --scale "$(or $(SCALE),full)"

# checkov's pins are not those of Airflow, so it has an environment of its own.
var/checkov/venv/.done: requirements/checkov.txt | $(BIN)/python
	@echo "installing checkov (once)"
	@mkdir -p var/checkov && $(UV) venv --quiet --allow-existing --python $(BIN)/python var/checkov/venv
	@VIRTUAL_ENV=$(CURDIR)/var/checkov/venv $(UV) pip install --quiet -r requirements/checkov.txt
	@touch $@

check: $(VENV)/.dev var/checkov/venv/.done ## lint, types, dependency rule, SQL, Dockerfile, Terraform, locks
	@exec .ci/check

lock: | $(BIN)/python ## pin every requirement again (needs the package index)
	@.ci/lock

clean: down ## remove the environment and everything that runs left behind
	@rm -rf $(VENV) var build dist *.egg-info plugins/*.egg-info
