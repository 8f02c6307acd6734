# Everything runs in .venv. TORCH picks another build, for example TORCH="torch==2.13.0 --index-url ...".
PYTHON ?= python3
TORCH ?= torch==2.13.0
# Test processes; a file's tests stay together, since they share what they train.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# The versions of lm-eval that the tasks and scorers are tested with, without Axolotl. Axolotl pins the
# oldest that is supported, 0.4.11, so all other tests run with that one.
LM_EVAL ?= 0.4.13
VENV := .venv
BIN := $(VENV)/bin
STUDY_ROWS := --math 8000 --code 2000 --general 8000 --test 200
# A folder with the published files of GSM8K, Code Alpaca, HumanEval, Open-Assistant and IFEval.
DATA ?=
FROM := $(if $(DATA),--data $(DATA))
EVAL_TESTS := tests/evaluation/test_asking.py tests/evaluation/test_without_axolotl.py \
  tests/cli/test_evaluate_models.py tests/scoring/test_eval_tasks.py tests/scoring/test_math.py
QUIET := AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1
# A model this small gains nothing from more than four threads.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
THREADS ?= $(shell echo $$(($(CORES) > 4 ? 4 : $(CORES))))
# The quickstart shows the stages, without warnings of other libraries, progress bars and losses.
CALM := AXOLOTL_DMT_QUIET=1 TQDM_DISABLE=1 LOG_LEVEL=ERROR TORCH_LOGS=-torch.utils._pytree

.PHONY: help test-eval setup quickstart real study study-data study-sizes study-beyond study-solve study-pretrained test test-long test-slow lint format types docs docs-reference check soak mutants clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# torch first, on its own: left to the resolver, it would take the newest build.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

setup: $(VENV)/ready ## Make .venv with everything in it

quickstart: $(VENV)/ready ## Train a tiny model through both stages on the CPU, score it, report
	$(CALM) $(BIN)/python -m axolotl_dmt.toy outputs/quickstart-data
	PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) $(CALM) OMP_NUM_THREADS=$(THREADS) \
	  $(BIN)/axolotl train yaml_templates/quickstart.yaml --launcher python

real: $(VENV)/ready ## Train SmolLM2-135M on real data on the CPU; DATA=FOLDER in place of the hub
	$(CALM) $(BIN)/python -m axolotl_dmt.toy.pretrained outputs/real $(FROM)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(DATA),$(QUIET),AXOLOTL_DO_NOT_TRACK=1) $(CALM) \
	  OMP_NUM_THREADS=$(CORES) \
	  $(BIN)/axolotl train yaml_templates/smollm2.yaml --launcher python

# The data of each seed of the tiny studies, with further options.
study_data = for seed in 1 2 3 4 5; do \
  $(BIN)/python -m axolotl_dmt.toy outputs/studies/data-$$seed --seed $$seed $(STUDY_ROWS) $(1) || exit 1; \
  done

study-data: $(VENV)/ready
	$(call study_data)

study: study-data ## Compare the paper's strategies and values of k on the tiny model, about an hour
	PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=1 $(BIN)/axolotl dmt study \
	  yaml_templates/studies/tiny/reproduction.yaml --jobs 2 --launcher-args '--launcher python'

study-sizes: $(VENV)/ready ## Compare tiny models of four sizes on the same data, about an hour
	$(call study_data,--every-size)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=1 $(BIN)/axolotl dmt study \
	  yaml_templates/studies/tiny/rq1_sizes.yaml --jobs 2 --launcher-args '--launcher python'

study-beyond: study ## Then judge what goes beyond the paper: which rows to replay, merges
	for seed in 1 2 3 4 5; do \
	  run=outputs/studies/reproduction/runs/mixed_sequential.1-specialise/seed-$$seed; \
	  losses=outputs/studies/data-$$seed/row_losses.parquet; \
	  test -e $$losses || $(QUIET) $(BIN)/axolotl dmt row-losses $$run/config.yaml --domains math,code \
	    --model $$run/stages/01-specialise --output $$losses || exit 1; \
	done
	PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=1 $(BIN)/axolotl dmt study \
	  yaml_templates/studies/tiny/beyond.yaml --jobs 2 --launcher-args '--launcher python'

study-solve: study-data ## Find the mix for floors of -0.05 on each seed, beside a sweep and random search
	for seed in 1 2 3 4 5; do \
	  out=outputs/studies/solve/seed-$$seed; mkdir -p $$out; \
	  { sed "s/{seed}/$$seed/g; s|k: 1/16|val_rows: 100\n  keep: {math: -0.05, code: -0.05}|" \
	      yaml_templates/studies/tiny/base.yaml; \
	    echo "seed: $$seed"; echo "output_dir: $$out"; } > $$out.yaml; \
	  PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=1 $(BIN)/axolotl dmt solve $$out.yaml \
	    --jobs 2 --nearest --train --launcher-args '--launcher python' || echo "seed $$seed: exit code $$?"; \
	done
	PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=1 $(BIN)/python benchmarks/solver.py \
	  outputs/studies/solve/seed-[1-5].yaml --picture outputs/studies/solve/mixes.png

study-pretrained: $(VENV)/ready ## The strategies and k on SmolLM2-135M and real data, for a GPU
	$(BIN)/python -m axolotl_dmt.toy.pretrained outputs/pretrained $(FROM)
	for seed in 0 1 2 3 4 5; do \
	  $(BIN)/python -m axolotl_dmt.toy.pretrained outputs/pretrained/seed-$$seed --no-model \
	    --seed $$seed --general 170 --held-out 100 $(FROM) || exit 1; \
	done
	for study in losses scores; do \
	  PATH="$(CURDIR)/$(BIN):$$PATH" $(QUIET) OMP_NUM_THREADS=$(CORES) $(BIN)/axolotl dmt study \
	    yaml_templates/studies/pretrained/$$study.yaml --launcher-args '--launcher python' || exit 1; \
	done

test: $(VENV)/ready ## Run the fast tests
	$(QUIET) $(BIN)/python -m pytest $(PARALLEL)

test-long: $(VENV)/ready ## Run the tests of about half a minute, most of which train
	$(QUIET) $(BIN)/python -m pytest $(PARALLEL) -m 'long and not slow'

test-slow: $(VENV)/ready ## Run every test
	$(QUIET) $(BIN)/python -m pytest $(PARALLEL) -m 'slow or not slow'

# Each version has an environment of its own, into which the wheel is installed as users install it.
test-eval: ## Test the tasks and scorers with lm-eval alone, in its newest version
	for version in $(LM_EVAL); do \
	  env=.venv-eval-$$version; \
	  test -e $$env/ready || { $(PYTHON) -m venv $$env && $$env/bin/pip install -q $(TORCH) && \
	    $$env/bin/pip install -q '.[eval]' "lm-eval==$$version" pytest hypothesis && \
	    touch $$env/ready; } || exit 1; \
	  (cd $$env && bin/python -c 'from lm_eval.tasks import TaskManager as T; \
	    assert "dmt_suite" in T().all_tasks, "lm-eval does not find dmt_suite"') || exit 1; \
	  $(QUIET) $$env/bin/python -m pytest $(EVAL_TESTS) || exit 1; \
	done

lint: $(VENV)/ready ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/ready ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/ready ## Check the types
	$(BIN)/mypy

docs: $(VENV)/ready ## Build the site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-reference: $(VENV)/ready ## Regenerate docs/yaml_reference.md
	$(BIN)/python docs/reference.py > docs/yaml_reference.md

check: lint types docs test test-long test-eval ## All of CI

soak: $(VENV)/ready ## Kill 100 trainings at random moments, resume them, compare how they end
	$(BIN)/python benchmarks/soak.py

mutants: $(VENV)/ready ## Put faults into the package plan and count those that its tests notice
	$(BIN)/pip install -q -e '.[mutants]'
	nice $(BIN)/python tests/mutants.py --at-least 95

clean: ## Remove what was made here
	rm -rf $(VENV) .venv-eval-* outputs last_run_prepared dist build site
