"""Runs the package's tests on the versions of Python, TensorFlow and Keras that pyproject.toml allows.

    python tools/check_versions.py                every set, one after another
    python tools/check_versions.py lowest         only the lowest versions that pyproject.toml allows

Each set gets a fresh environment, which is removed again. It is made by uv, since only uv can install the lowest
versions: `pip install uv`. An interpreter that is not on the PATH is downloaded, where uv can. The results go to
data/results/versions.json, where those of other sets are kept, and from there as a table into docs/versions.md.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results" / "versions.json"

# Name: (Python, what uv installs beside the package). Every minor version that is allowed is in at least one set.
SETS: dict[str, tuple[str, list[str]]] = {
    "lowest": ("3.11", ["--resolution=lowest-direct"]),
    "keras-3.8": ("3.12", ["tensorflow==2.18.*", "keras==3.8.*"]),
    "keras-3.9": ("3.11", ["tensorflow==2.19.*", "keras==3.9.*"]),
    "keras-3.10": ("3.12", ["tensorflow==2.19.*", "keras==3.10.*"]),
    "keras-3.11": ("3.13", ["tensorflow==2.20.*", "keras==3.11.*"]),
    "keras-3.12": ("3.12", ["tensorflow==2.20.*", "keras==3.12.*"]),
    "keras-3.13": ("3.11", ["tensorflow==2.21.*", "keras==3.13.*"]),
    "keras-3.14": ("3.12", ["tensorflow==2.21.*", "keras==3.14.*"]),
    "newest": ("3.13", []),
}
PACKAGES = ("tensorflow", "keras", "numpy")

# The notebooks as files, pip, and this tool, whose tests read the record that is about to be written.
IGNORED = ("tests/test_notebooks.py", "tests/test_stamp.py", "tests/test_check_versions.py")

VERSIONS = f"""
import importlib.metadata, json, platform
versions = {{name: importlib.metadata.version(name) for name in {PACKAGES}}}
print(json.dumps({{"python": platform.python_version(), **versions}}))
"""


def check(name: str, uv: str) -> dict[str, Any]:
    """Installs one set into a fresh environment and runs the tests there.

    Args:
        name: one of `SETS`.
        uv: the program.

    Returns:
        What `run_tests` returns, or {"set", "python", "problem"}: why there was nothing to run.
    """
    interpreter, requirements = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        environment = pathlib.Path(folder) / "environment"
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        for command in (
            [uv, "venv", "--quiet", "--python", interpreter, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", str(python), "--editable", ".[dev]", *requirements],
        ):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                return {"set": name, "python": interpreter, "problem": one_line(done.stderr.replace(folder, "…"))}
        return {"set": name, **run_tests(python, pathlib.Path(folder) / "report.xml")}


def run_tests(python: pathlib.Path, report: pathlib.Path) -> dict[str, Any]:
    """The versions that `python` imports, and what the tests say of them.

    Args:
        python: the interpreter of an environment in which the package is installed.
        report: where pytest may write its JUnit report.

    Returns:
        {"python", "tensorflow", "keras", "numpy"}: versions; then what `read_report` returns, or {"problem"}: why
        pytest wrote none.
    """
    versions = json.loads(subprocess.check_output([python, "-c", VERSIONS], text=True))
    ignored = [f"--ignore={path}" for path in IGNORED]
    command = [python, "-m", "pytest", "tests", "gan_utils", "-q", "-n2", "--dist=loadfile", *ignored]
    done = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if not report.is_file():
        return {**versions, "problem": one_line(done.stderr)}
    return {**versions, **read_report(report.read_text(encoding="utf-8"))}


def one_line(text: str) -> str:
    """The end of a program's message, where it says what went wrong."""
    return " ".join(text.split())[-300:]


def read_report(report: str) -> dict[str, Any]:
    """Counts the tests in a JUnit report.

    Args:
        report: the text of pytest's file.

    Returns:
        {"passed", "failed", "skipped"}: numbers of tests; "failures": the names of those that failed or broke off;
        "seconds": of them all.

    Example:
        >>> case = '<testcase classname="tests.test_losses" name="test_sign" time="0.25"><failure /></testcase>'
        >>> read_report(f"<testsuites><testsuite>{case}</testsuite></testsuites>")["failures"]
        ['tests.test_losses::test_sign']
    """
    cases = list(xml.etree.ElementTree.fromstring(report).iter("testcase"))
    broken = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    # A test that fails and whose clean-up breaks off as well is listed twice.
    failures = sorted({f"{case.get('classname')}::{case.get('name')}" for case in broken})
    return {
        "passed": len(cases) - len(broken) - len(skipped),
        "failed": len(failures),
        "skipped": len(skipped),
        "failures": failures,
        "seconds": round(sum(float(case.get("time", 0)) for case in cases), 1),
    }


def record(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of data/results/versions.json: the runs, in the order of `SETS`, with what all have in common."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "command": "python tools/check_versions.py",
        "protocol": {"tests": "tests/ and the examples in gan_utils/", "ignored": list(IGNORED)},
        "versions": {"gan_utils": project["version"]},
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "runs": sorted((dict(run) for run in runs), key=lambda run: list(SETS).index(run["set"])),
    }


def table(record: Mapping[str, Any]) -> str:
    """The table of docs/versions.md: a row for each set.

    Args:
        record: the content of data/results/versions.json.

    Example:
        >>> run = {"set": "lowest", "python": "3.11", "problem": "no interpreter found"}
        >>> print(table({"runs": [run]}).splitlines()[-1])
        | lowest | 3.11 | – | – | – | not run: no interpreter found |
    """
    rows = ["| | Python | TensorFlow | Keras | NumPy | tests |", "|---|---|---|---|---|---|"]
    for run in record["runs"]:
        cells = [run["set"], run["python"], *(run.get(name, "–") for name in PACKAGES), outcome(run)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def outcome(run: Mapping[str, Any]) -> str:
    if "problem" in run:
        return f"not run: {run['problem']}"
    counts = [f"{run[kind]} {kind}" for kind in ("passed", "failed", "skipped") if run[kind] or kind == "passed"]
    return ", ".join(counts)


def passed(run: Mapping[str, Any]) -> bool:
    return run.get("failed") == 0 and run["passed"] > 0


def find_uv() -> str:
    """The path of uv, beside this Python or on the PATH.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    folders = [str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")]
    uv = shutil.which("uv", path=os.pathsep.join(folders))
    if uv is None:
        raise FileNotFoundError("uv, which installs the lowest versions, was not found. Install it: pip install uv")
    return uv


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, runs the sets, writes after each, prints the table; status 1 if one did not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"default: all of {', '.join(SETS)}")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS, help="the file of results")
    options = parser.parse_args(arguments)
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"Got the sets {sorted(unknown)}, expected some of {', '.join(SETS)}.")
    uv = find_uv()
    stored = json.loads(options.json.read_text(encoding="utf-8"))["runs"] if options.json.is_file() else []
    runs = {run["set"]: run for run in stored if run["set"] in SETS}
    names = options.sets or list(SETS)
    for name in names:
        runs[name] = check(name, uv)
        print(json.dumps(runs[name]), flush=True)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record(runs.values()), indent=1) + "\n", encoding="utf-8")
    print(table(record(runs.values())))
    sys.exit(not all(passed(runs[name]) for name in names))


if __name__ == "__main__":
    main()
