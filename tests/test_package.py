"""The package as text: small enough to read in an hour, and documented where a student looks."""

import ast
import itertools
import pathlib
import statistics
import subprocess
import sys

import keras
import pytest

import gan_utils

# A module imports only those that stand after it.
ORDER = [
    *("__main__", "growing", "augmentation", "games", "diversity", "training", "plumbing", "callbacks", "checkpoints"),
    *("refusals", "metrics"),
    *("models", "vae", "autoregressive", "attention", "normalization", "layers", "penalties", "losses", "devices"),
    *("faces", "latent", "plotting", "data", "budgets", "files", "checks"),
]
PATHS = sorted(pathlib.Path(gan_utils.__file__).parent.glob("*.py"))


def functions(path):
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]


def public_definitions(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def code_lines(function):
    """Lines of a function without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 1


def lines(*names):
    """Lines with text, docstrings and all: blank ones take no time."""
    texts = [PATHS[0].with_name(f"{name}.py").read_text("utf-8") for name in names]
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


def test_what_one_reads_to_understand_the_engine_is_read_in_an_hour():
    assert lines("losses", "penalties", "layers", "models", "training", "callbacks", "games") <= 2300
    assert lines("training") <= 400


def test_functions_are_short():
    lengths = [code_lines(function) for path in PATHS for function in functions(path)]
    assert max(lengths) <= 50
    assert statistics.median(lengths) <= 8


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_public_functions_say_what_they_do_and_show_it(path):
    for node in public_definitions(path):
        docstring = ast.get_docstring(node) or ""
        assert docstring, f"{path.name}: {node.name} has no docstring"
        # Objectives and the NaN guard are shown by the functions that make them and by `GAN.fit`.
        assert ">>> " in docstring or node.name in ("Objective", "StopAtNaN"), f"{path.name}: {node.name}: no example"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_public_functions_are_typed(path):
    for node in public_definitions(path):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            assert node.returns is not None, f"{path.name}: {node.name}"
            assert all(argument.annotation is not None for argument in arguments), f"{path.name}: {node.name}"


def imported(path):
    """The modules of the package that a module imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "gan_utils":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gan_utils."):
            yield node.module.removeprefix("gan_utils.")


def test_arrows_point_one_way():
    imports = {path.stem: set(imported(path)) for path in PATHS}
    for above, below in itertools.combinations(ORDER, 2):
        assert above not in imports[below], f"{below} imports {above}, which stands above it"
    assert {*ORDER} == {*imports} - {"__init__"}


def test_names_are_imported_when_they_are_first_used():
    code = "import sys, gan_utils; assert 'keras' not in sys.modules; gan_utils.GAN; assert 'keras' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert {*gan_utils.__all__} <= {*dir(gan_utils)}
    assert all(getattr(gan_utils, name) for name in gan_utils.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Gan'"):
        gan_utils.Gan  # noqa: B018


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError, match=r"runs on the jax backend.*KERAS_BACKEND=tensorflow"):
        gan_utils.GAN  # noqa: B018
