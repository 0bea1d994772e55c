# The verbs of everyday work. `make demo` and `make test` need a checkout and Python 3.11, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# pip compiles with one core. The checkout is compiled too: where PYTHONDONTWRITEBYTECODE is set, as in many images,
# every process would do it again. What some packages hold for other Pythons does not compile.
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib robustbench_ms tests >/dev/null || true
DEMO := build/demo
DEMO_MODELS := $(addsuffix @0,digits-resnet8 $(addprefix digits-resnet8-,se eca simam ema dmsca))
# One torch thread a test process: two processes with two threads each get in each other's way on two cores.
TEST_ENV := OMP_NUM_THREADS=1

.PHONY: demo test test-slow test-mmdet test-newest release-check lint format bench leaderboard renew profiles reproduce site docs train-gpu clean

demo: .venv/installed
	$(BIN)/rbms run quick $(addprefix -m ,$(DEMO_MODELS)) --results $(DEMO)/results --cache $(DEMO)/cache

test: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadgroup -p no:benchmark -m "not slow" $(ARGS)

test-slow: .venv/installed-dev # an hour: the whole of what is held to the references
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadgroup -p no:benchmark -m slow $(ARGS)

test-mmdet: .venv/installed-dev # compiles mmcv once a machine, see .ci/mmdet
	packages=$$(.ci/mmdet make) && PYTHONPATH="$$packages" $(TEST_ENV) $(BIN)/python -m pytest -p no:benchmark tests/test_mmdet.py $(ARGS)

test-newest: # on the newest Python here, or PYTHON=, and the newest releases: see .ci/newest
	.ci/newest "$(if $(filter command environment,$(firstword $(origin PYTHON))),$(PYTHON))" $(ARGS)

release-check: # minutes and 6 GB a Python: wheel and archive as strangers meet them, see .ci/release-check
	.ci/release-check $(PYTHONS)

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/installed-dev # make bench FILE=tests/benchmarks/bench_corruptions.py
	$(BIN)/python -m pytest $(or $(FILE),$(wildcard tests/benchmarks/bench_*.py)) -s $(ARGS)

leaderboard: .venv/installed
	$(BIN)/rbms leaderboard --results results -o results/LEADERBOARD.md

# After new weights or records: all that tests hold to them.
renew: .venv/installed-dev leaderboard
	$(BIN)/python -m tests.findings --write
	$(BIN)/python -m tests.models.committed

site: .venv/installed-dev # static pages, opened from the disk
	$(BIN)/rbms site results -o build/site

docs: .venv/installed-dev # build/docs/docs/index.html; every link, anchor and reference in it is held
	$(BIN)/python -m sphinx -b html -W -n --keep-going -q -c docs . build/docs

# On a machine that does nothing else: what others use meanwhile is told in each profile, and a gate takes no such one.
PROFILED := bam cbam coord dmsca eca ema gc nam sa se simam triplet
PROFILED_32 := cbam coord dmsca eca ema long sa se simam triplet wide
profiles: .venv/installed
	$(BIN)/rbms profile imagenet-resnet50 $(addprefix imagenet-resnet50-,$(PROFILED)) --batch 1,8 --results results
	$(BIN)/rbms profile resnet20 resnet32 resnet20-fast $(addprefix resnet20-fast-,$(PROFILED_32)) --batch 1,8 --results results
	$(BIN)/rbms profile --page results/PROFILES.md --results results

# One cell of every record, which its digest chooses, and all of one. Suites whose data are not here are told, and fail.
reproduce: .venv/installed
	@status=0; for suite in $$(ls -d results/*/ | xargs -n 1 basename); do \
	  ls results/$$suite/*.json >/dev/null 2>&1 || continue; \
	  $(BIN)/rbms reproduce $$suite --cells 1 --results results || status=1; done; \
	$(BIN)/rbms reproduce results/quick/digits-resnet8@0.json || status=1; exit $$status

# Small networks leave a GPU idle: AT_ONCE processes share the list, each taking what no other has.
CARDS ?= resnet20-fast $(addprefix resnet20-fast-,cbam coord ema dmsca)
SEEDS ?= 0,1,2
AT_ONCE ?= 4
WEIGHTS ?= build/weights
train-gpu: .venv/installed
	@status=0; pids=; for i in $$(seq $(AT_ONCE)); do \
	  OMP_NUM_THREADS=1 $(BIN)/rbms train $(CARDS) --seeds $(SEEDS) -o $(WEIGHTS) --device cuda & pids="$$pids $$!"; done; \
	for pid in $$pids; do wait $$pid || status=1; done; exit $$status

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e .
	$(COMPILE)
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e ".[test,lint]"
	$(COMPILE)
	touch $@
