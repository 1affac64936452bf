# The only door to the project's chores; `make` prints this list.
PYTHON ?= python
N ?= 300
RATIO ?= 0.25
REST = slow or fuzz or corpus
PYTEST = $(PYTHON) -m pytest -n $(JOBS)
# Processes that share the tests; each computes with one thread, as the others have the other cores.
JOBS ?= auto
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo install test thorough lint types size fuzz files corpus golden mutants cov zoo docs check clean

help:  ## print this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' \
		| while IFS='|' read -r name words; do printf '  make %-10s %s\n' "$$name" "$$words"; done

demo:  ## set up, make the carried model half as fast again, compare accuracy and speed
	$(PYTHON) -m pip install --quiet -e '.[cpu,test]'
	mkdir -p build
	$(PYTHON) -m spa prune models/fashion.onnx --speedup 1.5 --calib models/fashion_calib.npz --threads 1 --force -o build/fashion.spa.onnx
	$(PYTHON) scripts/benchmarks/evaluate.py models/fashion.onnx build/fashion.spa.onnx --data models/fashion_eval.npz

install:  ## editable, with onnxruntime (CPU) and everything for development
	$(PYTHON) -m pip install -e '.[cpu,test,dev]'

test:  ## every promise once: minutes
	$(PYTEST) -m "not ($(REST))"

thorough:  ## what takes longer: random networks, the corpus of node tests, kills, sabotage
	$(PYTEST) -m "$(REST)"

lint:  ## ruff: rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:  ## mypy, strict
	$(PYTHON) -m mypy

size:  ## lines per file and function; fails above the cap
	$(PYTHON) scripts/checks/size.py spa

fuzz:  ## N random networks, pruned and compared (make fuzz N=2000)
	SPA_FUZZ=$(N) $(PYTEST) -m fuzz

files:  ## N files that are broken in every way (make files N=2000)
	$(PYTHON) scripts/checks/fuzz_files.py 0 $(N)

corpus:  ## every node test that ships with onnx, against our rules
	$(PYTEST) -m corpus

golden:  ## rewrite the golden files and show what changed
	SPA_GOLDEN=update $(PYTHON) -m pytest -m golden
	git --no-pager diff --stat -- tests/golden

mutants:  ## sabotage the rules one line at a time; the tests must notice
	$(PYTHON) scripts/checks/mutants.py

cov:  ## all tests with branch coverage
	$(PYTEST) --cov --cov-report=term-missing

zoo:  ## fetch the real models of models/zoo.toml, prune each by RATIO=0.25, print the table
	$(PYTHON) scripts/release/fetch_models.py
	-$(PYTHON) -m spa zoo models/zoo.toml -d build/zoo --ratio $(RATIO) --timeout 900 --accept unchanged --accept refused
	@cat build/zoo/summary.md

docs:  ## write the reference from the code, build the site into build/site
	$(PYTHON) -m pip install --quiet -e '.[docs]'
	$(PYTHON) scripts/docs/reference.py
	$(PYTHON) -m mkdocs build --strict

check: lint types size test thorough  ## what must pass before a change is handed in

clean:  ## remove what tools left behind
	rm -rf build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find spa tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
