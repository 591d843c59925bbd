"""Tests of tools/stamp.py: what it writes, what it leaves alone, and that a stamped notebook really installs gan_utils.

All but the last need no network; the last one, `test_stamped_cell_installs`, says what it does instead of GitHub.
"""

import doctest
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import types
import venv
from collections.abc import Iterator
from typing import Any

import nbformat
import packaging.requirements
import pytest
import rehearse_colab
import stamp

ADDRESS = rehearse_colab.ADDRESS
README = "# A course\n\nBefore.\n\n<!-- colab -->\nNothing yet.\n<!-- /colab -->\n\nAfter.\n"
BAD_ADDRESSES = [
    "",
    "gan-course",
    "ada/",
    "/gan-course",
    "ada/gan/course",
    "ada /gan",
    "-ada/gan",
    "ada/..",
    "ada/gan.git",
    "ada/gan\n",
    "https://github.com/ada/gan",
]


@pytest.fixture
def course(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkout without an address: the real pyproject.toml and notebooks, a short README, and one small notebook."""
    root = tmp_path / "course"
    shutil.copytree(stamp.ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".*", "build"))
    pyproject = (stamp.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (root / "pyproject.toml").write_text(
        re.sub(r"(?m)^(Repository|Documentation) = .*\n", "", pyproject), encoding="utf-8"
    )
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.0.1\n", encoding="utf-8")
    write_notebook(root / "notebooks" / "99_small.ipynb")
    return root


def write_notebook(path: pathlib.Path) -> None:
    """A notebook with a title, a setup cell, and outputs and metadata that must survive."""
    output = nbformat.v4.new_output("display_data", {"text/plain": "−log 4 ≈ −1.386"}, metadata={"width": 3})
    work = nbformat.v4.new_code_cell("1 + 1", execution_count=2, outputs=[output], metadata={"tags": ["b", "a"]})
    cells = [
        nbformat.v4.new_markdown_cell("# 99 · Small\n\nWhat it is about."),
        nbformat.v4.new_code_cell("import gan_utils", execution_count=1),
        work,
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def snapshot(root: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def read_notebook(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def first_source(notebook: dict[str, Any], kind: str) -> str:
    return "".join(next(cell for cell in notebook["cells"] if cell["cell_type"] == kind)["source"])


def test_pyproject_holds_the_address(course: pathlib.Path) -> None:
    before = tomllib.loads((course / "pyproject.toml").read_text(encoding="utf-8"))
    stamp.stamp(course, ADDRESS)
    after = tomllib.loads((course / "pyproject.toml").read_text(encoding="utf-8"))
    assert after["project"]["urls"].pop("Repository") == f"https://github.com/{ADDRESS}"
    assert after["project"]["urls"].pop("Documentation") == "https://ada-lovelace.github.io/gan-course/"
    before["project"].setdefault("urls", {})
    assert after == before
    assert stamp.read_project(course) == (ADDRESS, before["project"]["version"])


def test_readme_has_one_button_for_the_first_notebook_and_the_install_line(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    readme = (course / "README.md").read_text(encoding="utf-8")
    version = stamp.read_project(course)[1]
    first = min(path.name for path in (course / "notebooks").glob("*.ipynb"))
    url = f"https://colab.research.google.com/github/{ADDRESS}/blob/v{version}/notebooks/{first}"
    assert readme.count("colab.research.google.com/github") == readme.count(f"({url})") == 1
    assert f"`pip install git+https://github.com/{ADDRESS}@v{version}`" in readme
    assert "Nothing yet." not in readme
    assert readme.startswith("# A course\n\nBefore.\n\n<!-- colab -->\n")
    assert readme.endswith("\n<!-- /colab -->\n\nAfter.\n")


def test_readme_leads_to_the_site_to_kaggle_and_to_a_download(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    readme = (course / "README.md").read_text(encoding="utf-8")
    version = stamp.read_project(course)[1]
    first = min(path.name for path in (course / "notebooks").glob("*.ipynb"))
    page = f"https://github.com/{ADDRESS}/blob/v{version}/notebooks/{first}"
    assert "(https://ada-lovelace.github.io/gan-course/)" in readme
    assert f"(https://kaggle.com/kernels/welcome?src={page})" in readme
    assert f"(https://github.com/{ADDRESS}/archive/refs/tags/v{version}.zip)" in readme


def test_citation_says_where_the_course_is(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    citation = (course / "CITATION.cff").read_text(encoding="utf-8")
    assert citation == (
        "cff-version: 1.2.0\nversion: 0.0.1\n"
        f"repository-code: https://github.com/{ADDRESS}\nurl: https://ada-lovelace.github.io/gan-course/\n"
    )


def test_a_lesson_can_be_opened_on_colab_and_kaggle_and_downloaded() -> None:
    places = stamp.launches("05_latent_arithmetic.ipynb", ADDRESS, "1.0.0")
    assert list(places) == ["Colab", "Kaggle", "Download"]
    assert all(url.startswith("https://") and f"{ADDRESS}" in url and "v1.0.0" in url for url, _ in places.values())
    assert all(url.endswith("notebooks/05_latent_arithmetic.ipynb") for url, _ in places.values())


def test_readme_without_markers_gets_the_block_at_its_end(course: pathlib.Path) -> None:
    (course / "README.md").write_text("# A course\n", encoding="utf-8")
    stamp.stamp(course, ADDRESS)
    readme = (course / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# A course\n\n<!-- colab -->\n")
    assert readme.endswith("\n<!-- /colab -->\n")
    assert stamp.stamp(course, ADDRESS) == []


@pytest.mark.parametrize("readme", ["<!-- colab -->\n", "<!-- /colab -->\n<!-- colab -->\n", README + README])
def test_readme_with_markers_that_do_not_match_is_refused(course: pathlib.Path, readme: str) -> None:
    (course / "README.md").write_text(readme, encoding="utf-8")
    before = snapshot(course)
    with pytest.raises(ValueError, match="expected each once, in this order"):
        stamp.stamp(course, ADDRESS)
    assert snapshot(course) == before


def test_notebooks_have_the_setup_cell_and_the_badge(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    version = stamp.read_project(course)[1]
    for path in (course / "notebooks").glob("*.ipynb"):
        notebook = read_notebook(path)
        assert first_source(notebook, "code") == stamp.setup_cell(ADDRESS, version)
        title, blank, badge, *_ = first_source(notebook, "markdown").splitlines()
        assert title.startswith("# ")
        assert blank == ""
        page = f"https://colab.research.google.com/github/{ADDRESS}/blob/v{version}/notebooks/{path.name}"
        assert badge == f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({page})"


def test_everything_else_in_a_notebook_stays(course: pathlib.Path) -> None:
    before = {path: read_notebook(path) for path in (course / "notebooks").glob("*.ipynb")}
    stamp.stamp(course, ADDRESS)
    for path, old in before.items():
        text = path.read_text(encoding="utf-8")
        new = json.loads(text)
        assert text == json.dumps(new, indent=1, ensure_ascii=False) + "\n"
        for kind in ("code", "markdown"):
            for notebook in (old, new):
                next(cell for cell in notebook["cells"] if cell["cell_type"] == kind).pop("source")
        assert json.dumps(new) == json.dumps(old)  # as text, so that the order of the keys counts


def test_text_below_the_title_stays(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    text = first_source(read_notebook(course / "notebooks" / "99_small.ipynb"), "markdown")
    assert re.fullmatch(r"# 99 · Small\n\n\[!\[Open in Colab\].*\n\nWhat it is about\.", text)


def test_stamping_twice_is_stamping_once(course: pathlib.Path) -> None:
    assert course / "README.md" in stamp.stamp(course, ADDRESS)
    once = snapshot(course)
    assert stamp.stamp(course, ADDRESS) == []
    assert stamp.stamp(course) == []
    assert snapshot(course) == once


def test_another_address_replaces_the_first(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    once = snapshot(course)
    stamp.stamp(course, "grace/networks.that_play")
    assert not any(ADDRESS.encode() in content for content in snapshot(course).values())
    stamp.stamp(course, ADDRESS)
    assert snapshot(course) == once


def test_a_new_version_is_stamped_without_naming_the_address(course: pathlib.Path) -> None:
    stamp.stamp(course, ADDRESS)
    pyproject = course / "pyproject.toml"
    text = re.sub(r'(?m)^version = ".*"$', 'version = "12.3.4"', pyproject.read_text(encoding="utf-8"))
    pyproject.write_text(text, encoding="utf-8")
    stamp.stamp(course)
    source = f"git+https://github.com/{ADDRESS}@v12.3.4"
    assert source in (course / "README.md").read_text(encoding="utf-8")
    notebook = read_notebook(course / "notebooks" / "99_small.ipynb")
    assert source in first_source(notebook, "code")
    assert "/blob/v12.3.4/" in first_source(notebook, "markdown")


def test_without_an_address_only_setup_cells_are_written(course: pathlib.Path) -> None:
    before = snapshot(course)
    changed = stamp.stamp(course)
    assert course / "notebooks" / "99_small.ipynb" in changed
    assert {path.suffix for path in changed} == {".ipynb"}
    assert {path for path, content in snapshot(course).items() if content != before[path]} == set(changed)
    for path in (course / "notebooks").glob("*.ipynb"):
        assert first_source(read_notebook(path), "code") == stamp.setup_cell(None, "0")


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_address_changes_nothing(course: pathlib.Path, address: str) -> None:
    before = snapshot(course)
    with pytest.raises(ValueError, match="expected OWNER/REPO"):
        stamp.stamp(course, address)
    assert snapshot(course) == before


@pytest.mark.parametrize(
    ("number", "source", "advice"), [(0, "No title.", "Begin it with"), (1, "1 + 1", "Put 'import")]
)
def test_a_notebook_of_another_shape_changes_nothing(
    course: pathlib.Path, number: int, source: str, advice: str
) -> None:
    path = course / "notebooks" / "99_small.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[number].source = source
    nbformat.write(notebook, path)
    before = snapshot(course)
    with pytest.raises(ValueError, match=f"99_small.ipynb .*{advice}"):
        stamp.stamp(course, ADDRESS)
    assert snapshot(course) == before


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["stamp.py", *arguments])
    stamp.main()


def test_command_line(
    course: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(monkeypatch, "--root", str(course))
    assert "No address is set" in capsys.readouterr().out
    run_main(monkeypatch, ADDRESS, "--root", str(course))
    out = capsys.readouterr().out
    assert "Wrote README.md.\n" in out
    assert f"The address is {ADDRESS}." in out
    with pytest.raises(SystemExit, match="2"):
        run_main(monkeypatch, "https://github.com/ada/gan", "--root", str(course))
    assert "expected OWNER/REPO" in capsys.readouterr().err


def test_citation_names_the_version_of_the_package() -> None:
    citation = (stamp.ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {stamp.read_project()[1]}\n" in citation


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(stamp)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("address", [None, ADDRESS])
def test_setup_cell_does_nothing_where_gan_utils_is(
    address: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("gan_utils")
    monkeypatch.setitem(sys.modules, "gan_utils", module)
    names: dict[str, Any] = {"__builtins__": __builtins__}
    exec(stamp.setup_cell(address, "0.1.0"), names)
    assert names.keys() == {"__builtins__", "gan_utils"}
    assert names["gan_utils"] is module
    assert capfd.readouterr() == ("", "")


def test_setup_cell_without_an_address_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gan_utils", None)  # makes the import fail
    with pytest.raises(ModuleNotFoundError, match=r"gan_utils.*make lab.*pip install -e \."):
        exec(stamp.setup_cell(None, "0.1.0"), {})


def test_setup_cell_holds_pip_to_the_versions_that_are_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")]
    commands: list[list[str]] = []

    def install(command: list[str]) -> None:
        commands.append(command)
        module = types.ModuleType("gan_utils")
        module.__version__ = "0.1.0"
        monkeypatch.setitem(sys.modules, "gan_utils", module)

    monkeypatch.setitem(sys.modules, "gan_utils", None)
    monkeypatch.setattr(subprocess, "check_call", install)
    exec(stamp.setup_cell(ADDRESS, "0.1.0"), {})
    source = f"git+https://github.com/{ADDRESS}@v0.1.0"
    assert commands == [[sys.executable, "-m", "pip", "install", "-qq", source, *keep]]
    assert capsys.readouterr().out == f"Installed gan_utils 0.1.0. Left unchanged: {', '.join(keep)}.\n"


def test_setup_cell_leaves_a_tensorflow_that_pip_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as tensorflow-cpu: pip would write another TensorFlow over its files, so the cell must stop before pip."""

    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    calls: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "gan_utils", None)
    monkeypatch.setattr(importlib.metadata, "version", unknown)
    monkeypatch.setattr(subprocess, "check_call", calls.append)
    with pytest.raises(importlib.metadata.PackageNotFoundError, match="tensorflow"):
        exec(stamp.setup_cell(ADDRESS, "0.1.0"), {})
    assert calls == []


# The rest installs gan_utils for real. GitHub is played by a local repository, to which git is redirected by
# environment variables, and Colab by an environment that has all that gan_utils needs but one package, for pip to add.

FIRST_USE = """
import importlib.metadata, json, pathlib, sys
notebook, *packages = sys.argv[1:]
cells = json.loads(pathlib.Path(notebook).read_text(encoding="utf-8"))["cells"]
setup = "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])
exec(setup, {})
exec(setup, {})
import gan_utils, keras, tensorflow, tqdm
images, labels = gan_utils.data.load_mnist("test")
print(json.dumps({
    "file": gan_utils.__file__,
    "images": images.shape,
    "labels": labels.shape,
    "packages": {name: importlib.metadata.version(name) for name in packages},
    "imported": [gan_utils.__version__, keras.__version__, tensorflow.__version__],
}))
"""


@pytest.fixture
def published(tmp_path: pathlib.Path) -> pathlib.Path:
    """A git repository as it would be on GitHub: a copy of this checkout, stamped, committed and tagged."""
    return rehearse_colab.publish(tmp_path / "published")


@pytest.fixture
def colab(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The Python of a new environment that has pip and what gan_utils needs, except tqdm, and nothing else.

    Installing TensorFlow anew takes 90 seconds and 2.1 GB on two busy cores. Linking each file of these packages from
    the environment that runs the test, their records for pip included, takes 4 seconds and no space. Folders are made,
    not linked, so that whatever pip did to a package in there would end at the links.
    """
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    base = {"base": str(folder), "platbase": str(folder)}
    site_packages = pathlib.Path(sysconfig.get_path("purelib", "venv", base))
    for distribution in there().values():
        for file in distribution.files or []:
            if not {"..", "include"} & set(file.parts):  # commands in bin/; C++ headers, two files of three
                (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
                link(site_packages / file, pathlib.Path(distribution.locate_file(file)))
    yield pathlib.Path(sysconfig.get_path("scripts", "venv", base)) / "python"
    shutil.rmtree(folder)  # pytest would keep three of them


def link(path: pathlib.Path, target: pathlib.Path) -> None:
    """A hard link, many times faster to make than a symbolic one, which serves where the file systems differ."""
    try:
        path.hardlink_to(target)
    except OSError:
        path.symlink_to(target)


def there() -> dict[str, importlib.metadata.Distribution]:
    """What the new environment has from the start. tqdm is missing because it is small and needs nothing."""
    found = needed_by("gan_utils", "pip")
    del found["gan-utils"], found["tqdm"]
    return found


def needed_by(*names: str) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions of these names and of all that they require, by normalised name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            requirements = map(packaging.requirements.Requirement, found[name].requires or [])
            waiting += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_stamped_cell_installs(published: pathlib.Path, colab: pathlib.Path) -> None:
    """The setup cell of a stamped notebook, run where gan_utils is not: it comes with its data, and tqdm with it."""
    version = stamp.read_project(published)[1]
    versions = {name: found.version for name, found in there().items()}
    notebook = next((published / "notebooks").glob("*.ipynb"))
    command = [colab, "-c", FIRST_USE, notebook, *versions]
    variables = rehearse_colab.environment(published) | {"PIP_NO_COMPILE": "1"}  # Python compiles the files it imports
    # Outside of the checkout, where gan_utils could be imported from the working directory.
    run = subprocess.run(command, cwd=colab.parent, env=variables, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    line, facts = run.stdout.splitlines()  # the second run of the cell prints nothing
    keep = ", ".join(f"{name}=={versions[name]}" for name in ("tensorflow", "keras", "numpy"))
    assert line == f"Installed gan_utils {version}. Left unchanged: {keep}."
    facts = json.loads(facts)
    assert pathlib.Path(facts["file"]).is_relative_to(colab.parents[1])
    assert facts["images"] == [10_000, 28, 28, 1]
    assert facts["labels"] == [10_000]
    assert facts["packages"] == versions
    assert facts["imported"] == [version, versions["keras"], versions["tensorflow"]]
