# make demo   the first notebook, from an empty machine to a picture
# make test   lint, unit tests and every notebook
# make lab    JupyterLab on the course
# make site   the course as a web site, in build/site; `make test-site` tries it in Chromium
# make pdf    the site as one file, build/course.pdf
# make links  asks every web page that the site links to whether it is still there
# make slides   a deck of slides a lesson, in build/slides
# make student  the lessons without solutions, for nbgrader, in build/student; `make test-class` tries both
# make test-lowest   unit tests on the lowest versions that pyproject.toml allows, on Python 3.11

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-lowest test-site site pdf links slides student test-class lab lint clean

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
	$(BIN)/codespell

# Opens at the routes, shown as a page and not as Markdown.
lab: .venv/installed
	mkdir -p .venv/share/jupyter/lab/settings
	cp tools/jupyterlab.json .venv/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab notebooks --LabApp.default_url=/lab/tree/README.md

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), 'The course needs Python 3.11 to 3.13; this is ' + sys.version.split()[0] + '. Name another one: make demo PYTHON=python3.12'"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --editable .
	touch $@

# Notebooks are not executed: the pages show their stored outputs. What the pages load lies beside them (MathJax,
# onnxruntime-web, TensorFlow.js), so that none asks another host.
MODULES := build/node_modules
SPHINX = $(BIN)/sphinx-build -qE --keep-going -c site -d build/site-doctrees
build/site-source: .venv/installed-site FORCE
	rm -rf $@
	mkdir -p $@/notebooks
	cp -p site/*.md $@
	cp -p notebooks/*.ipynb $@/notebooks
	cp -Rp docs $@

site: build/site-source $(MODULES)/.package-lock.json build/explorer/explorer.json
	$(SPHINX) --fail-on-warning build/site-source build/site
	mkdir -p build/site/_static/mathjax/fonts/mathjax-newcm-font build/site/explorer/vendor build/site/game/vendor
	cd $(MODULES)/mathjax && cp -R tex-chtml.js a11y input sre ui ../../site/_static/mathjax
	cp -R $(MODULES)/@mathjax/mathjax-newcm-font/chtml build/site/_static/mathjax/fonts/mathjax-newcm-font
	cp -R site/explorer site/game site/_static/favicon.ico build/site
	cd $(MODULES)/onnxruntime-web/dist && cp ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm \
		../../../site/explorer/vendor
	cp $(MODULES)/@tensorflow/tfjs/dist/tf.es2017.min.js build/site/game/vendor
	cp build/explorer/* build/site/explorer

SHOWN := faces_generator faces_discriminator faces_attributes mnist_generator mnist_discriminator mnist_conditional_generator
build/explorer/explorer.json: .venv/installed-site tools/export_onnx.py $(SHOWN:%=data/pretrained/%.keras) notebooks/05_latent_arithmetic.ipynb
	$(BIN)/python tools/export_onnx.py build/explorer

pdf: site
	$(BIN)/python tools/print_site.py build/site build/course.pdf

links: build/site-source
	$(SPHINX) -b linkcheck build/site-source build/links

test-site: site
	$(BIN)/python -m pytest site/tests

$(MODULES)/.package-lock.json: site/package-lock.json
	mkdir -p build
	cp site/package.json site/package-lock.json build
	npm ci --prefix build --ignore-scripts --no-audit --no-fund

.venv/installed-site: .venv/installed requirements-site.txt
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-site.txt
	touch $@

# Nothing is executed here either. A deck is one file that holds Reveal.js and MathJax.
slides: .venv/installed-class build/class/node_modules/.package-lock.json
	$(BIN)/python tools/slides.py notebooks/*.ipynb

# make student VARIANT=1: the exercises that have other numbers get them
VARIANT ?= 0
student: .venv/installed-class
	$(BIN)/python tools/student.py notebooks/*.ipynb --variant $(VARIANT)

test-class: .venv/installed-class build/class/node_modules/.package-lock.json
	$(BIN)/python -m pytest class/tests

build/class/node_modules/.package-lock.json: class/package-lock.json
	mkdir -p build/class
	cp class/package.json class/package-lock.json build/class
	npm ci --prefix build/class --ignore-scripts --no-audit --no-fund

.venv/installed-class: .venv/installed requirements-class.txt
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-class.txt
	touch $@

FORCE:

clean:
	rm -rf .venv build
