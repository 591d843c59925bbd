"""Makes the edition for students, in the format of nbgrader: exercises with stubs and checkers, without solutions.

    python tools/student.py notebooks/*.ipynb              # what `make student` does
    python tools/student.py notebooks/*.ipynb --variant 1  # with other numbers where an exercise has some

In build/student, `source` holds the assignments as a teacher keeps them, with solutions, and `release` what students
get. What they hand in goes to submitted/STUDENT/LESSON/LESSON.ipynb, and then, in that folder:

    GAN_BUDGET=smoke nbgrader autograde 02_non_saturating_loss
    nbgrader generate_feedback 02_non_saturating_loss
    nbgrader export

**How an exercise becomes an assignment.** Between "**Exercise n (m minutes).**" and the cell tagged `solution` stand a
stub, perhaps helpers, and the cell that prints what the checker says of the answer.

- The stub becomes an nbgrader solution cell; the notebook's own solution stands below the stub, where nbgrader cuts it
  out.
- The cell that calls the checker becomes a locked grade cell with as many points as the exercise has minutes. Students
  see the checker and its hints. A hidden test runs the exercise's helpers and checker once more, so that nobody gains
  by redefining them, and asserts that the checker says "Right."
- All other code cells between are locked. The worked solution and its prose are left out.

**Variants.** The metadata `variants` of the cell with the exercise's text is a list of replacements, each a dictionary
from numbers, or other pieces of text, as they are written to others. `--variant n` takes the n-th, in all cells of that
exercise, the solution too; 0 is the notebook as it is. class/tests/test_variants.py checks that each solution is right
for its own numbers, and that the notebook's is not.
"""

import argparse
import ast
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXERCISE = re.compile(r"\*\*Exercise (\d) \((\d+) minutes\)\.\*\*")
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "gan"
c.ClearSolutions.code_stub = {"python": ""}  # the stubs of the exercises are enough
# Seconds, for a machine that has other work: for a cell, for the start of a kernel, for output after a cell's end.
c.Execute.timeout = 1800
c.Execute.startup_timeout = 600
c.Execute.iopub_timeout = 300
"""


@dataclasses.dataclass
class Exercise:
    """Where an exercise stands in its notebook, by indices of cells."""

    number: int
    points: int
    text: int
    stubs: list[int]
    helpers: list[int]
    check: int
    prose: int | None  # of the solution
    solution: int


def find_exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, in their order.

    Raises:
        ValueError: an exercise has no checker that prints what it says of an answer, or none of its stubs is filled.
    """
    cells, found, start = notebook.cells, [], None
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown" and EXERCISE.search(cell.source):
            start = index
        if "solution" not in cell.metadata.get("tags", []):
            continue
        number, points = map(int, EXERCISE.search(cells[start].source).groups())
        code = [place for place in range(start, index) if cells[place].cell_type == "code"]
        name, _ = called(cell.source)
        check = next((place for place in code if called(cells[place].source)[0] == name), None)
        if check is None:
            raise ValueError(f"Exercise {number}: no cell prints {name}(…) of an answer, as its solution does.")
        wanted = {ast.unparse(argument) for argument in called(cells[check].source)[1]}
        stubs = [place for place in code if wanted & defined(cells[place].source)]
        if wanted - set().union(*(defined(cells[place].source) for place in stubs)):
            raise ValueError(f"Exercise {number}: no stub for one of {', '.join(sorted(wanted))}.")
        helpers = [place for place in code if place not in (*stubs, check)]
        prose = [place for place in range(check, index) if cells[place].source.startswith("<details>")]
        found.append(Exercise(number, points, start, stubs, helpers, check, prose[0] if prose else None, index))
    return found


def called(source: str) -> tuple[str, list[ast.expr]]:
    """Name and arguments of the checker in `print(check_…(…))`, the last one of a cell, or ("", [])."""
    for node in reversed(ast.parse(source).body):
        match node:
            case ast.Expr(ast.Call(ast.Name("print"), [ast.Call(ast.Name(name), arguments)])) if name.startswith(
                "check"
            ):
                return name, arguments
    return "", []


def defined(source: str) -> set[str]:
    """Names that a cell assigns or defines at its outermost level."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def answer_of(solution: str, names: list[str]) -> str:
    """The code of a solution with its answer bound to the names of the stub, in place of a call of the checker."""
    tree = ast.parse(solution)
    name, arguments = called(solution)
    call = next(node for node in reversed(tree.body) if f"{name}(" in ast.get_source_segment(solution, node))
    before = "\n".join(solution.splitlines()[: call.lineno - 1]).rstrip()
    bound = [f"{to} = {ast.get_source_segment(solution, value)}" for to, value in zip(names, arguments, strict=True)]
    return "\n".join([*([before, ""] if before else []), *bound])


def assignment(notebook: nbformat.NotebookNode, variant: int = 0) -> nbformat.NotebookNode:
    """The notebook as a source assignment of nbgrader, without the cells of solutions."""
    result = nbformat.from_dict(notebook)
    cells = result.cells
    left_out = set()
    for exercise in find_exercises(notebook):
        change_numbers(cells[exercise.text : exercise.solution + 1], variant)
        names = [ast.unparse(argument) for argument in called(cells[exercise.check].source)[1]]
        answer = answer_of(cells[exercise.solution].source, names)
        stub = cells[exercise.stubs[-1]]
        stub.source += f"\n\n\n### BEGIN SOLUTION\n{answer}\n### END SOLUTION"
        key = f"exercise-{exercise.number}"
        for number, index in enumerate(exercise.stubs):
            mark(cells[index], f"{key}-answer{number or ''}", solution=True)
        for number, index in enumerate(exercise.helpers):
            mark(cells[index], f"{key}-helper{number or ''}", locked=True)
        check = cells[exercise.check]
        tools = "\n\n\n".join(cells[index].source for index in [*exercise.helpers, exercise.check])
        call = f"{called(check.source)[0]}({', '.join(names)})"
        check.source += f'\n### BEGIN HIDDEN TESTS\n{tools}\nassert {call}.startswith("Right.")\n### END HIDDEN TESTS'
        mark(check, f"{key}-check", locked=True, grade=True, points=exercise.points)
        left_out |= {exercise.prose, exercise.solution}
        cells[exercise.text].metadata.pop("variants", None)  # the numbers of other classes, and their solutions
    result.cells = [cell for index, cell in enumerate(cells) if index not in left_out]
    for cell in result.cells:
        if cell.cell_type == "markdown":  # each lesson lies in a folder of its own
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](../\1/\1.ipynb", cell.source)
    return result


def change_numbers(cells: list[nbformat.NotebookNode], variant: int) -> None:
    """Writes the numbers of a variant into the cells of an exercise; an exercise that has fewer begins again."""
    choices = [{}, *cells[0].metadata.get("variants", [])]
    numbers = choices[variant % len(choices)]
    if not numbers:
        return
    longest_first = "|".join(map(re.escape, sorted(numbers, key=len, reverse=True)))
    pattern = rf"(?<![\w.])(?:{longest_first})(?!\w|\.\d)"
    start = EXERCISE.search(cells[0].source).end()  # the text before it belongs to the lesson
    for cell in cells:
        kept = cell.source[:start] if cell is cells[0] else ""
        cell.source = kept + re.sub(pattern, lambda match: numbers[match[0]], cell.source[len(kept) :])


def mark(cell: nbformat.NotebookNode, name: str, points: int = 0, **is_a: bool) -> None:
    kinds = {"grade": False, "solution": False, "locked": False, "task": False} | is_a
    cell.metadata["nbgrader"] = {"grade_id": name, "schema_version": 3, "cell_type": "code", **kinds}
    if kinds["grade"]:
        cell.metadata["nbgrader"]["points"] = points


def release(folder: pathlib.Path, name: str) -> None:
    """Lets nbgrader make the students' notebook from the source."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", name, "--force", "--log-level=WARN"]
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"PATH": path})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "student")
    parser.add_argument(
        "--variant", type=int, default=0, help="which numbers the exercises have; 0: the notebook's own"
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    for path in options.notebooks:
        notebook = nbformat.read(path, as_version=4)
        source = options.output / "source" / path.stem / path.name
        source.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(assignment(notebook, options.variant), source)
        release(options.output, path.stem)
        exercises = find_exercises(notebook)
        print(f"{path.stem}: {len(exercises)} exercises, {sum(exercise.points for exercise in exercises)} points")


if __name__ == "__main__":
    main()
