"""Executes notebooks from start to finish, with progress in the terminal.

    python tools/run_notebook.py notebooks/01_vanilla_gan.ipynb --output build   # a copy, its page, its films
    python tools/run_notebook.py notebooks/*.ipynb                               # in place: stores the outputs

The environment variable GAN_BUDGET chooses the budget, as in the notebooks. Stored outputs hold no stderr, because
progress bars and the log of TensorFlow differ from run to run.
"""

import argparse
import base64
import copy
import html
import io
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import latex2mathml.converter
import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from PIL import Image


class TalkingClient(NotebookClient):
    """Says which cell runs, and passes on what it prints while it runs."""

    last_progress = 0.0

    def process_message(self, message: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        if message["msg_type"] == "stream":
            self._pass_on(**message["content"])
        return super().process_message(message, cell, cell_index)

    def _pass_on(self, name: str, text: str) -> None:
        """Prints stdout; of stderr only progress bars, which draw over themselves. TensorFlow's log is no news."""
        if name == "stdout" or ("\r" in text and sys.stdout.isatty()):
            print(text, end="", flush=True)
        elif "\r" in text and time.monotonic() - self.last_progress > 15:  # into a file: now and then a line
            self.last_progress = time.monotonic()
            print(text.split("\r")[-1].strip(), flush=True)


def execute(path: pathlib.Path, folder: pathlib.Path) -> nbformat.NotebookNode:
    """Runs every cell with `folder` as working directory. Raises nbclient's CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    code_cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    begin = time.perf_counter()

    def announce(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell_index in code_cells:
            place = f"{code_cells.index(cell_index) + 1}/{len(code_cells)}, {time.perf_counter() - begin:.0f} s"
            print(f"\n[{place}] {_heading(notebook, cell_index)}")

    client = TalkingClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=announce,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(stderr=subprocess.DEVNULL)  # of the kernel's own process: log lines of C++ libraries
    return clean(notebook)


def to_html(notebook: nbformat.NotebookNode) -> str:
    """The notebook as a page that needs no network: formulas as MathML, where nbconvert would load MathJax.

    A page cannot fold code, so the cells of solutions are left out; their prose folds. What a picture shows, for
    readers who do not see it, is the metadata "alt" of its cell.
    """
    page = copy.deepcopy(notebook)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\$\$(.+?)\$\$|\$([^$]+?)\$", _to_mathml, cell.source, flags=re.DOTALL)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):  # nbconvert's own page would leave out what the picture shows
                told = html.escape(cell.metadata.get("alt", ""))
                output.data = {
                    "text/html": f'<img alt="{told}" src="data:image/png;base64,{output.data["image/png"]}">'
                }
    exporter = HTMLExporter()
    exporter.register_preprocessor(TagRemovePreprocessor(remove_cell_tags={"solution"}), enabled=True)
    return exporter.from_notebook_node(page)[0]


def _to_mathml(match: re.Match[str]) -> str:
    block, inline = match.groups()
    formula = (block or inline).replace(r"\log ", r"\log\, ")  # MathML sets "log 4" without a space
    return latex2mathml.converter.convert(formula, display="block" if block else "inline")


def budget_in_force() -> str:
    """What `gan_utils.budget_name` says, asked in another process: importing TensorFlow here would print its log."""
    question = "import gan_utils; print(gan_utils.budget_name())"
    command = [sys.executable, "-c", question]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Removes stderr and what else differs between two runs of the same notebook, and makes its pictures small."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "gan_budget": budget_in_force(),
    }
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:03d}"
        if cell.cell_type == "code":
            # A widget lives as long as its kernel; what stays is the picture in the cell before it.
            cell.outputs = [output for output in cell.outputs if not (is_stderr(output) or is_widget(output))]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = shrink_png(output.data["image/png"])
    return notebook


def is_stderr(output: nbformat.NotebookNode) -> bool:
    return output.get("name") == "stderr"


def is_widget(output: nbformat.NotebookNode) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def shrink_png(encoded: str) -> str:
    """A picture with a palette of 256 colors: a third of the size, and nobody sees the difference in a plot."""
    small = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def _heading(notebook: nbformat.NotebookNode, cell_index: int) -> str:
    lines = [
        line
        for cell in notebook.cells[:cell_index]
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
    ]
    return next((line.lstrip("# ") for line in reversed(lines) if line.startswith("#")), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="folder for an executed copy and its HTML page")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        if arguments.output is None:
            nbformat.write(execute(path, path.parent), path)
            continue
        arguments.output.mkdir(parents=True, exist_ok=True)
        begin = time.time()
        notebook = execute(path, arguments.output.parent)
        result = arguments.output / path.name
        nbformat.write(notebook, result)
        result.with_suffix(".html").write_text(to_html(notebook), encoding="utf-8")
        films = sorted(film for film in arguments.output.glob("*.gif") if film.stat().st_mtime >= begin)
        print(f"\nDone in {time.time() - begin:.0f} s. Look at:")
        for file in (result, result.with_suffix(".html"), *films):
            print(f"  {file}")


if __name__ == "__main__":
    main()
