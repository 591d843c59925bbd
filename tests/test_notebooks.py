"""The notebooks as files: what a reader meets, and what CI compares. `pytest --nbval` runs them."""

import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest
import stamp

ROOT = pathlib.Path(__file__).parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
IGNORED = {"nbval-ignore-output", "nbval-skip"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def texts(notebook):
    """All text that is stored in outputs."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            yield output.get("text", "")
            for kind, content in output.get("data", {}).items():
                if kind in ("text/plain", "text/html"):
                    yield content


def test_there_are_notebooks():
    assert PATHS


def test_is_valid(notebook):
    nbformat.validate(notebook)


def test_was_executed_from_first_to_last_cell(notebook):
    # nbval compares nothing in a cell without an execution count.
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_stores_outputs_of_a_full_run(notebook):
    assert notebook.metadata.get("gan_budget") in ("cpu", "gpu"), "run tools/run_notebook.py at a full budget"
    assert any("image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs)


def test_stores_no_stderr_error_or_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr"
            assert output.output_type != "error"
    assert not [text for text in texts(notebook) if "Warning" in text or "WARNING" in text]


def test_stores_no_path_of_a_machine(notebook):
    sources = [cell.source for cell in notebook.cells]
    for text in [*texts(notebook), *sources]:
        if not text.startswith("<img"):  # base64 has slashes
            assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|content|usr)/|[A-Z]:\\", text), text[:300]


def test_at_least_half_of_the_code_cells_are_compared(notebook):
    compared = [cell for cell in code_cells(notebook) if not tags(cell) & IGNORED]
    assert len(compared) >= len(code_cells(notebook)) / 2


def test_many_cells_print_what_is_compared(notebook):
    # A cell that shows only a picture is never compared: PNG differs from machine to machine.
    printing = [
        cell
        for cell in code_cells(notebook)
        if not tags(cell) & IGNORED and any(output.output_type == "stream" for output in cell.outputs)
    ]
    assert len(printing) >= len(code_cells(notebook)) / 3


def test_cells_are_short(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert 20 <= len(lengths) <= 40
    assert max(lengths) <= 40
    assert 4 <= statistics.median(lengths) <= 12


def test_prose_comes_before_code(notebook):
    follows = [
        before.cell_type == "markdown"
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False)
        if cell.cell_type == "code"
    ]
    assert statistics.mean(follows) >= 0.9


def test_begins_with_title_setup_and_parameters(notebook):
    assert notebook.cells[0].source.startswith("# ")
    for word in ("You will learn", "Time", "Before you start", "The paper"):
        assert word in notebook.cells[0].source
    setup, parameters = code_cells(notebook)[:2]
    assert setup.source == stamp.setup_cell(*stamp.read_project(ROOT))
    assert "gan_utils.budget(smoke=" in parameters.source


def test_has_exercises_with_a_folded_solution_that_its_checker_accepts(notebook):
    exercises = sum(cell.source.count("**Exercise ") for cell in notebook.cells if cell.cell_type == "markdown")
    solutions = [cell for cell in code_cells(notebook) if "solution" in tags(cell)]
    assert 3 <= exercises <= 6
    assert len(solutions) == exercises
    for cell in solutions:
        assert cell.metadata["jupyter"]["source_hidden"]
        assert cell.outputs[0].text.startswith("Right.")


def test_is_small(notebook):
    assert len(nbformat.writes(notebook)) <= 1_500_000


def test_a_changed_number_in_a_stored_output_is_caught(tmp_path):
    notebook = nbformat.read(PATHS[0], as_version=4)
    notebook.cells = [
        nbformat.v4.new_code_cell(
            f"import math\nprint(round(-math.log({number}), 4))",
            execution_count=number,
            outputs=[nbformat.v4.new_output("stream", text=f"{stored}\n")],
        )
        for number, stored in [(2, -0.6931), (3, -1.0986), (4, -1.3864)]  # the last is −1.3863
    ]
    nbformat.write(notebook, tmp_path / "corrupted.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "--rootdir", ".", "corrupted.ipynb"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed, 2 passed" in result.stdout
    assert "-1.3864" in result.stdout
