# make demo   the first notebook, from an empty machine to a picture
# make test   lint, unit tests and every notebook
# make lab    JupyterLab on the course

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lab lint clean

demo: .venv/installed
	$(BIN)/python tools/run_notebook.py notebooks/01_vanilla_gan.ipynb --output build

test: .venv/installed lint
	GAN_BUDGET=smoke $(BIN)/python -m pytest --nbval

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
