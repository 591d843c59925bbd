"""A file is replaced at once, or not at all."""

import pytest

from gan_utils import files


class Killed(BaseException):
    pass


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs" / "log.csv"
    files.replace(path, lambda partial: partial.write_text("whole"))
    return path


def test_a_new_file_is_there_and_nothing_else(path):
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [Killed, OSError("no space left on the disk")])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(path, error):
    def broken(partial):
        assert partial.suffix == path.suffix
        partial.write_text("ha")
        raise error

    with pytest.raises((Killed, OSError)):
        files.replace(path, broken)
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_of_a_file_is_no_hindrance(path):
    path.with_name("log.partial.csv").write_text("half of an earlier one, which was longer")
    files.replace(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new"
