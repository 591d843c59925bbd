"""What stands beside the course: workflows, hooks, the changelog, and what the wheel carries."""

import json
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit_and_say_their_version(path):
    for line in re.findall(r"uses: (.*)", path.read_text("utf-8")):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_hooks_have_the_versions_of_the_requirements():
    pinned = re.findall(r'\["(.*?)"\]', (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert pinned
    assert set(pinned) <= set((ROOT / "requirements.txt").read_text("utf-8").splitlines())


def test_the_changelog_has_the_version():
    assert re.search(
        rf"(?m)^## {re.escape(PROJECT['project']['version'])}\b", (ROOT / "CHANGELOG.md").read_text("utf-8")
    )


def test_the_wheel_carries_what_lessons_load_and_nothing_that_only_studies_need():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all(target == f"gan_utils/_{source}" and (ROOT / source).exists() for source, target in included.items())
    sources = [path.read_text("utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")]
    code = [
        "".join(cell["source"]) for text in sources for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"
    ]
    loaded = set(re.findall(r'load_results\("(\w+)"\)', "\n".join(code)))
    assert {pathlib.Path(source).stem for source in included if source.startswith("data/results/")} == loaded
    assert {"data/README.md", "data/manifest.json", "data/mnist.npz", "data/pretrained"} <= set(included)


def test_the_wheel_stays_small():
    names = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    files = [file for name in names for file in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).iterdir())]
    assert sum(file.stat().st_size for file in files) < 45_000_000


def test_the_routes_that_jupyterlab_opens_at_name_every_lesson():
    index = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"| [{path.stem[:2]} · " in index
        assert f"({path.name})" in index
    for target in re.findall(r"\]\(([^)#:]+)\)", index):
        assert (ROOT / "notebooks" / target).exists(), target
