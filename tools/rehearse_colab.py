"""Rehearses a reader's first minute on Colab, on this machine: how long until the first picture?

    python tools/rehearse_colab.py                        # notebooks 01 and 05
    python tools/rehearse_colab.py notebooks/*.ipynb --python python3.12

An empty environment in build/colab gets what Colab has, in Colab's versions, and nothing of the course; that takes some
minutes the first time and is not counted. The checkout is copied to a git repository, stamped and tagged as it would be
on GitHub, and git finds it there instead of at the stamped address. Each notebook then starts a kernel outside of the
checkout and runs, its setup cell first, until a cell shows a picture. The clock starts with the kernel. Seconds of CPU
say what a machine would need that has nothing else to do.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import nbformat
import stamp
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parent.parent
ADDRESS = "ada-lovelace/gan-course"  # nobody is asked for it
GOAL = 60  # seconds
# From github.com/googlecolab/backend-info, pip-freeze.txt of 19 August 2026; there with Python 3.13.
COLAB = [
    "imageio==2.37.4",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "keras==3.13.2",
    "matplotlib==3.10.0",
    "numpy==2.1.3",
    "pillow==11.3.0",
    "pip==24.1.2",
    "scikit-learn==1.6.1",
    "scipy==1.16.3",
    "setuptools==75.2.0",
    "tensorflow==2.20.0",
    "threadpoolctl==3.6.0",
    "tqdm==4.67.3",
]


def publish(root: pathlib.Path) -> pathlib.Path:
    """A git repository as it would be on GitHub: a copy of this checkout in the new folder, stamped and tagged."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", *(name.strip("/") for name in ignored)))
    stamp.stamp(root, ADDRESS)
    version = stamp.read_project(root)[1]
    for command in ["init", "add --all", "commit --message stamped", f"tag v{version}"]:
        subprocess.run(["git", *command.split()], cwd=root, env=environment(root), check=True, capture_output=True)
    return root


def environment(published: pathlib.Path) -> dict[str, str]:
    """Environment variables under which git finds `published` at the stamped address, and no settings of the user."""
    config = {
        f"url.{published.as_uri()}.insteadOf": f"https://github.com/{ADDRESS}",
        "user.name": "Ada Lovelace",
        "user.email": "ada@example.com",
    }
    # A git hook that runs the tests sets GIT_DIR and others, which would lead git to this repository instead.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHON"))}
    kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3"}


def install(python: str, folder: pathlib.Path) -> pathlib.Path:
    """The Python of an environment that has what Colab has, made unless it is there, and without the course."""
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "installed").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([inside, "-m", "pip", "install", "--quiet", *COLAB], check=True)
        (folder / "installed").touch()
    return inside


def until_picture(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook up to the first cell whose stored outputs have a picture.

    Raises:
        ValueError: it has none.
    """
    for index, cell in enumerate(notebook.cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            return nbformat.v4.new_notebook(cells=notebook.cells[: index + 1], metadata=notebook.metadata)
    raise ValueError("Got a notebook without a stored picture, expected one that was executed.")


def rehearse(path: pathlib.Path, python: pathlib.Path, variables: dict[str, str]) -> list[tuple[str, float]]:
    """Seconds until the kernel ran, until the course was installed, and until the picture was there.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        RuntimeError: the last cell showed no picture.
    """
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "gan_utils"], check=True)
    notebook = until_picture(nbformat.read(path, as_version=4))
    setup = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    times = []
    with tempfile.TemporaryDirectory() as folder:
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel = pathlib.Path(folder, "kernels", "colab", "kernel.json")
        kernel.parent.mkdir(parents=True)
        kernel.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}), encoding="utf-8")
        os.environ |= variables | {"JUPYTER_PATH": folder}
        begin = time.perf_counter()

        def note(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
            times.append((cell_index, time.perf_counter() - begin))

        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="colab",
            resources={"metadata": {"path": folder}},
            on_notebook_start=lambda **_: times.append((-1, time.perf_counter() - begin)),
            on_cell_executed=note,
        )
        client.execute(stderr=subprocess.DEVNULL)
    if not any("image/png" in output.get("data", {}) for output in notebook.cells[-1].outputs):
        raise RuntimeError(f"Expected a picture of the last cell that {path.name} ran, got none.")
    print("".join(output.get("text", "") for output in notebook.cells[setup].outputs).strip())
    seconds = dict(times)
    return [
        ("the kernel runs", seconds[-1]),
        ("the course is installed", seconds[setup]),
        ("the first picture", times[-1][1]),
    ]


def main() -> None:
    """Reads the command line, rehearses, and prints seconds. A notebook without its picture ends it with an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    first = [ROOT / "notebooks" / name for name in ("01_vanilla_gan.ipynb", "05_latent_arithmetic.ipynb")]
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, default=first)
    parser.add_argument("--python", default=sys.executable, help="of the environment; Colab's is 3.13")
    options = parser.parse_args()
    begin = time.perf_counter()
    python = install(options.python, ROOT / "build" / "colab")
    print(f"Colab's packages are there after {time.perf_counter() - begin:.0f} s; TensorFlow and its like.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        published = publish(pathlib.Path(folder) / "published")
        for path in options.notebooks:
            before = os.times()
            times = rehearse(published / "notebooks" / path.name, python, environment(published))
            after = os.times()
            used = sum(after[2:4]) - sum(before[2:4])  # of the kernel and of pip
            verdict = "within" if times[-1][1] <= GOAL else "over"
            print(f"{path.name}: {', '.join(f'{what} after {seconds:.0f} s' for what, seconds in times)}")
            print(f"  {verdict} the goal of {GOAL} s; {used:.0f} s of CPU; load of the machine: {load()}", flush=True)


def load() -> str:
    """What else ran in the last minute: processes that were ready, and cores."""
    ready = f"{os.getloadavg()[0]:.1f} processes" if hasattr(os, "getloadavg") else "unknown"
    return f"{ready} on {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
