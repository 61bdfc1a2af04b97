# Two commands for a fresh clone: `make demo` and `make test`. Both fill .venv first, once.
PYTHON ?= python3
VENV := .venv
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
READY := $(VENV)/.installed
empty :=
space := $(empty) $(empty)
comma := ,
CASES ?= 1000
N ?= 50
OUT ?= kills.json

# Where Python is told to keep no compiled code, each start would compile PyTorch anew, for ten seconds.
export PYTHONDONTWRITEBYTECODE :=

# A local wheel folder that pip knows of serves uv as well; elsewhere this is empty.
FIND_LINKS = $(subst $(space),$(comma),$(strip $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))))
WITH_LINKS = $(if $(FIND_LINKS),UV_FIND_LINKS=$(FIND_LINKS))

.PHONY: demo test test-lowest test-newest docs style lint format bench fuzz kills pins clean

demo: $(READY)  ## Train a small SASRec + CVA on the bundled synthetic data and print the result.
	$(VENV)/bin/python run_recbole_video.py --model=SASRec --item_encoder=CVA --epochs=5 \
		--hidden_size=64 --inner_size=256 --encoder_latent_dim=64 --encoder_depth=2
	@echo 'Next:'
	@echo '  source .venv/bin/activate                              # once per terminal'
	@echo '  python run_recbole_video.py                            # the same at the size of the paper, in minutes'
	@echo "  recbole-video recommend $$(ls -td saved/SASRec-CVA-microvideo-demo-* | head -n 1) --history=\"v0001 v0105\"  # use the model"
	@echo '  python run_recbole_video.py --item_encoder=ID          # ids in place of content'
	@echo '  python run_recbole_video.py --model=MostPopular        # a control: what needs no training'
	@echo '  python -m recbole_video.dataset_tools generic --help   # a csv of your own'

# Types are checked beside the tests: in a fresh clone mypy keeps one core busy for a minute.
test: style  ## Lint, check types, run all tests.
	$(VENV)/bin/mypy & types=$$!; \
	$(WITH_LINKS) PATH="$(abspath $(dir $(UV))):$$PATH" $(VENV)/bin/python -m pytest; tests=$$?; \
	wait $$types && exit $$tests

# Each in an environment of its own, made anew; PYTHON chooses the interpreter, PYTEST adds options of pytest's.
test-lowest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-lowest: ## Run all tests under the lowest versions that pyproject.toml allows.
test-newest: ## Run all tests under the newest versions that pyproject.toml allows.
test-lowest test-newest: test-%: | $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) $(VENV)-$*
	$(WITH_LINKS) $(UV) pip install --quiet --python $(VENV)-$*/bin/python --resolution $(RESOLUTION) --editable '.[test]'
	$(UV) pip list --python $(VENV)-$*/bin/python
	$(WITH_LINKS) PATH="$(abspath $(dir $(UV))):$$PATH" $(VENV)-$*/bin/python -m pytest $(PYTEST)

docs: $(READY)  ## Build the documentation site into site/; a warning is an error.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -W ignore -m mkdocs build --strict
	@echo 'Open site/index.html; to search as well: $(VENV)/bin/python -m http.server --directory site --bind 127.0.0.1'

style: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

lint: style
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(READY)  ## Measure speed and memory beside RecBole; writes benchmarks/results.
	$(VENV)/bin/python benchmarks/run.py

fuzz: $(READY)  ## Try CASES odd inputs of each kind, new ones each time; SEED=n repeats a run, ONLY=expression selects.
	FUZZ_CASES=$(CASES) $(VENV)/bin/python -m pytest tests/fuzz --hypothesis-seed=$(or $(SEED),$(shell date +%s)) $(if $(ONLY),-k '$(ONLY)')

kills: $(READY)  ## Kill runs N times by each signal, resume them, compare; ONLY="training sweep" selects, OUT=file.json goes on.
	$(VENV)/bin/python -m tests.kills --n=$(N) --seed=$(or $(SEED),0) --out=$(OUT) $(if $(ONLY),--only $(ONLY))

$(READY): pyproject.toml constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(WITH_LINKS) $(UV) pip install --quiet --python $(VENV)/bin/python --constraint constraints.txt --editable '.[test,lint]'
	touch $@

.uv/bin/uv:
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "pip is missing: install python3-pip, or uv"; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv 'uv>=0.5'

# What CUDA builds of PyTorch bring along is theirs to choose. What uv wrote is read when uv has ended well: at the end of
# a pipe nobody would know that it failed.
pins: | $(UV)  ## Renew constraints.txt: the newest versions of the ranges for each Python. Test them before they are kept.
	$(UV) pip compile --quiet pyproject.toml --all-extras --universal --no-header --no-annotate >constraints.found \
		&& sed -E "/^(cuda|nvidia|triton)/d; /== 'emscripten'/d; /python_full_version/!s/ ;.*//" constraints.found >constraints.new \
		&& mv constraints.new constraints.txt; made=$$?; rm -f constraints.found constraints.new; exit $$made

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest .uv build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
