"""The edition for students: nbgrader itself makes it, marks three submissions, and writes what each gets back."""

import os
import pathlib
import re
import subprocess
import sys

import nbformat
import pytest
import student
from nbgrader.api import Gradebook

PATHS = sorted((student.ROOT / "notebooks").glob("*.ipynb"))
LESSON = "02_non_saturating_loss"
REGION = re.compile(r"### BEGIN SOLUTION\n(.*?)\n### END SOLUTION", re.DOTALL)
WRONG = [
    "my_shares = [0.5, 0.5]",
    "my_stop = 0.9",
    "def my_sum(logit):\n    return logit",
    'def check_likelihood(loss):\n    return "Right."\n\n\nmy_likelihood_loss = None',  # a checker that is bent
]


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def marked(notebook, key):
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get(key)]


def test_every_exercise_has_an_answer_a_locked_checker_and_its_minutes_as_points(notebook):
    made = student.assignment(notebook)
    minutes = [int(number) for cell in notebook.cells for _, number in student.EXERCISE.findall(cell.source)]
    assert [cell.metadata["nbgrader"]["points"] for cell in marked(made, "grade")] == minutes
    assert sum("### BEGIN SOLUTION" in cell.source for cell in marked(made, "solution")) == len(minutes)
    assert all(cell.metadata["nbgrader"]["locked"] for cell in marked(made, "grade"))
    names = [cell.metadata["nbgrader"]["grade_id"] for cell in made.cells if "nbgrader" in cell.metadata]
    assert len(set(names)) == len(names)


def test_no_worked_solution_is_left(notebook):
    made = student.assignment(notebook)
    assert not [cell for cell in made.cells if "solution" in cell.metadata.get("tags", [])]
    for cell in made.cells:
        assert not re.match(r"<details><summary>(<b>)?Solution", cell.source)


def test_the_numbers_of_other_classes_are_not_given_out(notebook):
    assert not [cell for cell in student.assignment(notebook, variant=1).cells if "variants" in cell.metadata]


def test_an_answer_is_bound_to_the_name_of_the_stub():
    solution = "a = 1\n\n\ndef solution_f(x):\n    return x + a\n\n\nprint(check_f(solution_f, 2 * a))\nprint('more')"
    found = student.answer_of(solution, ["my_f", "my_n"])
    assert found == "a = 1\n\n\ndef solution_f(x):\n    return x + a\n\nmy_f = solution_f\nmy_n = 2 * a"


def test_a_variant_changes_whole_numbers_in_all_cells_of_its_exercise_and_nothing_before():
    cells = [
        nbformat.v4.new_markdown_cell("0.9 before. **Exercise 1 (5 minutes).** Take 0.9, not 0.95, 10.9 or 9."),
        nbformat.v4.new_code_cell("check(0.9, np.log(9))"),
    ]
    cells[0].metadata["variants"] = [{"0.9": "0.8", "9": "4"}]
    student.change_numbers(cells, 0)
    assert cells[1].source == "check(0.9, np.log(9))"
    student.change_numbers(cells, 1)
    assert cells[0].source == "0.9 before. **Exercise 1 (5 minutes).** Take 0.8, not 0.95, 10.9 or 4."
    assert cells[1].source == "check(0.8, np.log(4))"


def nbgrader(folder, *arguments):
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "GAN_BUDGET": "smoke", "PYTHONPATH": str(student.ROOT)}
    command = [sys.executable, "-m", "nbgrader", *arguments, LESSON]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=7200)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course in which three students have handed in one lesson, marked by nbgrader."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "nbgrader_config.py").write_text(student.CONFIG)
    source = student.assignment(nbformat.read(student.ROOT / "notebooks" / f"{LESSON}.ipynb", as_version=4))
    place = pathlib.Path(LESSON, f"{LESSON}.ipynb")
    (folder / "source" / place).parent.mkdir(parents=True)
    nbformat.write(source, folder / "source" / place)
    student.release(folder, LESSON)
    right = [REGION.search(cell.source)[1] for cell in marked(source, "solution")]
    for name, answers in {"right": right, "wrong": WRONG, "empty": []}.items():
        handed_in = nbformat.read(folder / "release" / place, as_version=4)
        for cell, answer in zip(marked(handed_in, "solution"), answers, strict=bool(answers)):
            cell.source += f"\n\n{answer}"
        (folder / "submitted" / name / place).parent.mkdir(parents=True)
        nbformat.write(handed_in, folder / "submitted" / name / place)
    nbgrader(folder, "autograde")
    nbgrader(folder, "generate_feedback")
    return folder


def test_what_students_get_has_stubs_and_no_solution_and_no_hidden_test(course):
    release = nbformat.read(course / "release" / LESSON / f"{LESSON}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in release.cells)
    assert not re.search("BEGIN SOLUTION|HIDDEN TESTS|NotImplementedError|solution_sum", text)
    original = nbformat.read(student.ROOT / "notebooks" / f"{LESSON}.ipynb", as_version=4)
    stubs = [cell.source.strip() for cell in marked(release, "solution")]
    assert all(stub in [cell.source for cell in original.cells] for stub in stubs)


@pytest.mark.parametrize(("name", "score"), [("right", [5, 4, 6, 8]), ("wrong", [0] * 4), ("empty", [0] * 4)])
def test_marks(course, name, score):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook(LESSON, LESSON, name)
        assert notebook.max_score == 23
        marks = {grade.name: grade.score for grade in notebook.grades}
    assert [marks[f"exercise-{number}-check"] for number in range(1, 5)] == score


@pytest.mark.parametrize(("name", "told"), [("right", "23.0 / 23.0"), ("wrong", "0.0 / 23.0"), ("empty", "0.0 / 23.0")])
def test_feedback_tells_the_score(course, name, told):
    page = (course / "feedback" / name / LESSON / f"{LESSON}.html").read_text("utf-8")
    assert f"(Score: {told})" in page
