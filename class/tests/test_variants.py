"""Exercises with other numbers: each solution passes its own checker, and the notebook's solution does not."""

import ast
import builtins
import copy
import dis
import types

import nbformat
import pytest
import student


def all_variants():
    """Each variant of each exercise of each lesson: path, number of the exercise, number of the variant."""
    for path in sorted((student.ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for exercise in student.find_exercises(notebook):
            for variant in range(1, len(notebook.cells[exercise.text].metadata.get("variants", [])) + 1):
                yield pytest.param((path, exercise.number, variant), id=f"{path.stem[:2]}-{exercise.number}-{variant}")


def names(source, *operations):
    """The global names with which a cell, and what it defines, does such operations of Python's bytecode."""
    pending, found = [compile(source, "cell", "exec")], set()
    while pending:
        part = pending.pop()
        found |= {step.argval for step in dis.get_instructions(part) if step.opname in operations}
        pending += [constant for constant in part.co_consts if isinstance(constant, types.CodeType)]
    return found


def given(source):
    return names(source, "STORE_NAME")


def read(source):
    return names(source, "LOAD_NAME", "LOAD_GLOBAL") - given(source) - set(dir(builtins))


def needed(sources, wanted):
    """Of the cells before an exercise those that give these names, or what these cells need, in their order."""
    chosen = []
    for source in reversed(sources):
        if given(source) & wanted:
            chosen.insert(0, source)
            wanted = (wanted - given(source)) | read(source)
    return chosen


@pytest.fixture(params=all_variants())
def case(request, monkeypatch):
    """The notebook as it is, the exercise's place in it, and its cells with the variant's numbers."""
    path, number, variant = request.param
    monkeypatch.setenv("GAN_BUDGET", "smoke")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    exercise = next(one for one in student.find_exercises(notebook) if one.number == number)
    varied = copy.deepcopy(notebook.cells)
    student.change_numbers(varied[exercise.text : exercise.solution + 1], variant)
    return notebook, exercise, varied, variant


def marks(case, solution):
    """What the variant's checker says of a solution: run after the cells of the lesson that both need."""
    notebook, exercise, varied, _ = case
    own = [varied[place].source for place in (*exercise.helpers, exercise.check)]
    wanted = set().union(*map(read, [*own, solution]))
    before = [cell.source for cell in notebook.cells[: exercise.text] if cell.cell_type == "code"]
    stubs = [varied[place].source for place in exercise.stubs]
    asked = [ast.unparse(argument) for argument in student.called(varied[exercise.check].source)[1]]
    there = {}
    for source in [*needed(before, wanted), *stubs, *own, student.answer_of(solution, asked)]:
        exec(source, there)
    return eval(f"{student.called(own[-1])[0]}({', '.join(asked)})", there)


def test_the_solution_of_a_variant_is_right_and_that_of_the_notebook_is_not(case):
    notebook, exercise, varied, _ = case
    assert marks(case, varied[exercise.solution].source).startswith("Right.")
    assert not marks(case, notebook.cells[exercise.solution].source).startswith("Right.")


def test_each_number_that_a_variant_changes_is_there_and_the_text_says_another_one(case):
    notebook, exercise, varied, variant = case
    cells = notebook.cells[exercise.text : exercise.solution + 1]
    for number, other in cells[0].metadata["variants"][variant - 1].items():
        changed = copy.deepcopy(cells)
        changed[0].metadata["variants"] = [{number: other}]
        student.change_numbers(changed, 1)
        assert [cell.source for cell in changed] != [cell.source for cell in cells], number
    assert varied[exercise.text].source != notebook.cells[exercise.text].source
