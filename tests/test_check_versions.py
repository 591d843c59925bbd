"""The check of other versions: what does not pass is written down, and a page says what the record says."""

import json
import pathlib
import sys
import tomllib

import check_versions
import pytest

ROOT = pathlib.Path(__file__).parent.parent
RUN = {"set": "lowest", "python": "3.11.7", "tensorflow": "2.18.0", "keras": "3.7.0", "numpy": "1.26.0"}
PASSED = {**RUN, "passed": 5, "failed": 0, "skipped": 0, "failures": [], "seconds": 1.0}
FAILED = {**RUN, "passed": 3, "failed": 2, "skipped": 1, "failures": ["tests.test_losses::test_sign"], "seconds": 1.0}
MISSING = {"set": "newest", "python": "3.11", "problem": "No interpreter found for Python 3.11"}


@pytest.fixture
def record():
    return json.loads(check_versions.RESULTS.read_text("utf-8"))


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def bound(project, name):
    return next(line for line in project["dependencies"] if line.startswith(name)).removeprefix(f"{name}>=")


def test_the_page_shows_the_record(record):
    _, _, rest = (ROOT / "docs" / "versions.md").read_text("utf-8").partition("<!-- versions -->\n")
    assert rest.partition("\n<!-- /versions -->")[0].strip() == check_versions.table(record)


def test_the_lowest_set_is_the_lower_bound(record, project):
    lowest = record["runs"][0]
    for name in check_versions.PACKAGES:
        assert lowest[name].startswith(bound(project, name))


def test_all_that_is_allowed_was_checked_and_passed(record):
    assert [run["set"] for run in record["runs"]] == list(check_versions.SETS)
    assert all(check_versions.passed(run) for run in record["runs"])
    minors = {name: {run[name].rpartition(".")[0] for run in record["runs"]} for name in ("python", "tensorflow")}
    assert minors == {"python": {"3.11", "3.12", "3.13"}, "tensorflow": {"2.18", "2.19", "2.20", "2.21"}}


def test_tests_are_counted_and_those_that_failed_named(tmp_path, monkeypatch):
    (tmp_path / "gan_utils").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_three.py").write_text(
        "import pytest\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert False\n"
        "def test_absent(): pytest.skip()\n"
        "def test_broken(none_such): pass\n"
    )
    monkeypatch.setattr(check_versions, "ROOT", tmp_path)
    run = check_versions.run_tests(sys.executable, tmp_path / "report.xml")
    assert (run["passed"], run["failed"], run["skipped"]) == (1, 2, 1)
    assert run["failures"] == ["tests.test_three::test_broken", "tests.test_three::test_wrong"]
    assert run["python"] == ".".join(map(str, sys.version_info[:3]))


def test_tests_that_cannot_start_are_a_problem(tmp_path, monkeypatch):
    (tmp_path / "gan_utils").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text("import none_such\n")
    monkeypatch.setattr(check_versions, "ROOT", tmp_path)
    run = check_versions.run_tests(sys.executable, tmp_path / "report.xml")
    assert "No module named 'none_such'" in run["problem"]
    assert not check_versions.passed(run)


def test_an_environment_that_cannot_be_made_is_a_problem():
    run = check_versions.check("newest", sys.executable)  # which is not uv, and fails
    assert (run["set"], run["python"]) == ("newest", "3.13")
    assert "venv" in run["problem"]


def test_the_results_of_other_sets_are_kept(tmp_path, monkeypatch, capsys):
    path = tmp_path / "build" / "versions.json"
    monkeypatch.setattr(check_versions, "find_uv", lambda: "uv")
    for name, run, status in [("newest", MISSING, 1), ("lowest", FAILED, 1), ("lowest", PASSED, 0)]:
        monkeypatch.setattr(check_versions, "check", lambda name, uv, run=run: run)
        with pytest.raises(SystemExit) as exit:
            check_versions.main([name, "--json", str(path)])
        assert exit.value.code == status
    assert json.loads(path.read_text("utf-8"))["runs"] == [PASSED, MISSING]
    assert capsys.readouterr().out.endswith(
        "| lowest | 3.11.7 | 2.18.0 | 3.7.0 | 1.26.0 | 5 passed |\n"
        "| newest | 3.11 | – | – | – | not run: No interpreter found for Python 3.11 |\n"
    )


def test_failures_stand_in_the_table():
    assert check_versions.outcome(FAILED) == "3 passed, 2 failed, 1 skipped"


def test_a_misspelt_set_is_refused_and_the_right_ones_are_named(capsys):
    with pytest.raises(SystemExit):
        check_versions.main(["oldest"])
    assert "Got the sets ['oldest'], expected some of lowest, keras-3." in capsys.readouterr().err


def test_without_uv_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/none/such/python")
    with pytest.raises(FileNotFoundError, match="pip install uv"):
        check_versions.find_uv()
