# make demo   the first notebook, from an empty machine to a picture
# make test   lint, unit tests and every notebook
# make lab    JupyterLab on the course
# make test-lowest   unit tests on the lowest versions that pyproject.toml allows, on Python 3.11

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-lowest lab lint clean

demo: .venv/installed
	$(BIN)/python tools/run_notebook.py notebooks/01_vanilla_gan.ipynb --output build

test: .venv/installed lint
	GAN_BUDGET=smoke $(BIN)/python -m pytest --nbval -n 2 --dist loadfile

test-lowest:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/uv/bin/python tools/check_versions.py lowest --json build/versions.json

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lab: .venv/installed
	$(BIN)/jupyter lab notebooks

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), 'The course needs Python 3.11 to 3.13; this is ' + sys.version.split()[0] + '. Name another one: make demo PYTHON=python3.12'"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf .venv build
