"""The notebooks as files: what a reader meets, and what CI compares. `pytest --nbval` runs them."""

import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest
import run_notebook
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
        if "base64" not in text:  # which has slashes
            assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|content|usr)/|[A-Z]:\\", text), text[:300]


def test_at_least_half_of_the_code_cells_are_compared(notebook):
    compared = [cell for cell in code_cells(notebook) if not tags(cell) & IGNORED]
    assert len(compared) >= len(code_cells(notebook)) / 2


def test_many_cells_print_what_is_compared(notebook):
    # A cell that shows only a picture is never compared: PNG differs from machine to machine.
    printing = [
        cell
        for cell in code_cells(notebook)
        if not tags(cell) & IGNORED
        and any(output.output_type == "stream" or "text/markdown" in output.get("data", {}) for output in cell.outputs)
    ]
    assert len(printing) >= len(code_cells(notebook)) / 3


def test_cells_are_short(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= 25
    assert statistics.median(lengths) <= 8


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_every_picture_has_a_text_of_its_own_for_those_who_do_not_see_it(notebook):
    told = []
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            told.append(cell.metadata.get("alt", f"none in {cell.id}: {cell.source[:60]}"))
    assert not [text for text in told if text.startswith("none in")]
    assert min(map(len, told)) >= 40
    assert len(set(told)) == len(told)


def test_pictures_have_the_style_of_the_course(notebook):
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert 'plt.style.use("gan_utils.course")' in code_cells(notebook)[1].source
    assert set(re.findall(r'color="(\w+)"', code)) <= {"black", "gray", "lightgray", "white"}  # others: plotting.COLORS
    assert not re.findall(r'"(?:tab:\w+|C\d|#[0-9a-fA-F]{6})"|fontsize="\w*small"', code)
    wide = [float(width) for width in re.findall(r"(?:figsize=|new_axes\(.*size=)\(([\d.]+),", code)]
    assert max(wide, default=0) <= 9  # wider ones are made small on a page, and their letters with them


def test_mentions_only_notebooks_that_are_there(notebook):
    there = {path.stem[:2] for path in PATHS}
    mentioned = re.findall(r"\*\*(\d\d)\*\*|[Nn]otebooks? (\d\d)|(\d\d)_\w+\.ipynb", prose(notebook))
    assert {number for group in mentioned for number in group if number} <= there


def test_links_lead_somewhere(notebook):
    for target in re.findall(r"\]\(([^)#:]+\.ipynb)", prose(notebook)):
        assert (ROOT / "notebooks" / target).is_file(), target


@pytest.mark.parametrize("index", range(len(PATHS)))
def test_leads_to_the_lessons_before_and_after(index):
    beginning = nbformat.read(PATHS[index], as_version=4).cells[0].source
    for neighbour in (index - 1, index + 1):
        if 0 <= neighbour < len(PATHS):
            assert f"({PATHS[neighbour].name})" in beginning


def test_formulas_have_braces_where_the_offline_page_needs_them(notebook):
    assert not re.findall(r"\\math(?:bb|cal|bf|rm|it|sf) ?[A-Za-z]", prose(notebook))


def test_prose_comes_before_code(notebook):
    follows = [
        before.cell_type == "markdown"
        for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False)
        if cell.cell_type == "code"
    ]
    assert statistics.mean(follows) >= 0.9


def test_begins_with_title_setup_and_parameters(notebook):
    assert notebook.cells[0].source.startswith("# ")
    for word in ("You will learn", "core route", "Time", "Before you start", "The paper"):
        assert word in notebook.cells[0].source
    setup, parameters = code_cells(notebook)[:2]
    assert setup.source == stamp.setup_cell(*stamp.read_project(ROOT))
    assert "gan_utils.budget(smoke=" in parameters.source


def test_has_exercises_with_a_folded_solution_that_its_checker_accepts(notebook):
    exercises = len(re.findall(r"\*\*Exercise \d \(\d+ minutes\)\.\*\*", prose(notebook)))
    assert exercises == prose(notebook).count("**Exercise ")
    recap = re.split(r"\n## |\*\*Exercise", prose(notebook).split("Recap")[-1])[0]
    assert len(re.findall(r"^(?:- |\d\. )", recap, flags=re.MULTILINE)) >= 4
    solutions = [cell for cell in code_cells(notebook) if "solution" in tags(cell)]
    assert 3 <= exercises <= 6
    assert len(solutions) == exercises
    for cell in solutions:
        assert cell.metadata["jupyter"]["source_hidden"]
        assert cell.outputs[0].text.startswith("Right.")


ANSWER = re.compile(
    r"<details><summary>([a-d])\) (\S[^<]*)</summary><b>(Right|Not so)\.</b> (\S[^<]*)</details>"
)  # opens where it is shown: in Jupyter, on Colab, on the site


def test_ends_with_a_quiz_of_five_questions_that_says_of_each_answer_whether_it_is_right_and_why(notebook):
    (quiz,) = [cell.source for cell in notebook.cells if cell.source.startswith("## Quiz")]
    assert re.fullmatch(r"## Quiz \(\d+ minutes\)", quiz.splitlines()[0])
    questions = re.split(r"(?m)^\*\*(\d)\.\*\* ", quiz)[1:]
    assert questions[::2] == list("12345")
    places = []
    for question in questions[1::2]:
        asked, *answers = question.strip().splitlines()
        assert asked.endswith(("?", ".")), asked
        found = [ANSWER.fullmatch(line).groups() for line in answers if line]
        assert [letter for letter, *_ in found] == list("abcd")[: len(found)], asked
        assert len(found) >= 3, asked
        assert [verdict for _, _, verdict, _ in found].count("Right") == 1, asked
        assert len({why for *_, why in found}) == len(found), asked
        places.append([verdict for _, _, verdict, _ in found].index("Right"))
    assert max(map(places.count, places)) <= 3  # nobody passes by choosing the same letter


def test_has_questions_for_a_discussion(notebook):
    (discussion,) = [cell.source for cell in notebook.cells if cell.source.startswith("## Discussion")]
    assert re.fullmatch(r"## Discussion \(\d+ minutes\)", discussion.splitlines()[0])
    assert re.findall(r"(?m)^(\d)\. \S", discussion) == list("123")


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


def test_a_page_has_the_words_for_its_pictures_and_formulas_without_a_network():
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    code = nbformat.v4.new_code_cell("1", outputs=[picture], metadata={"alt": "D & G meet."})
    page = run_notebook.to_html(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("$\\log 4$"), code]))
    assert 'alt="D &amp; G meet."' in page
    assert "<math" in page
