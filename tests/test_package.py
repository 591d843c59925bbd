"""The package as text: small enough to read in an hour, and documented where a student looks."""

import ast
import pathlib
import statistics
import subprocess
import sys

import keras
import pytest

import gan_utils

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


def test_is_read_in_an_hour():
    """Docstrings and all. Blank lines take no time, and the command line is no part of the course."""
    read = [path for path in PATHS if path.stem != "__main__"]
    lines = [line for path in read for line in path.read_text("utf-8").splitlines()]
    assert sum(bool(line.strip()) for line in lines) <= 2200


def test_functions_are_short():
    lengths = [code_lines(function) for path in PATHS for function in functions(path)]
    assert max(lengths) <= 50
    assert statistics.median(lengths) <= 12


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


def test_arrows_point_one_way():
    imports = {
        path.stem: {
            alias.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module == "gan_utils"
            for alias in node.names
        }
        for path in PATHS
    }
    assert imports["training"] == {"data", "losses", "plotting"}  # and Checkpoint
    assert imports["checkpoints"] == {"files"}
    assert not imports["checks"]
    assert imports["models"] == {"data"}
    assert imports["metrics"] == {"data", "models"}
    for name in ("budgets", "data", "faces", "files", "latent", "losses", "plotting"):
        assert not imports[name], f"{name} imports {imports[name]}"


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
