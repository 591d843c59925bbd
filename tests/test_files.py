"""A file is replaced at once, or not at all."""

import errno
import os
import pathlib
import tempfile

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


@pytest.mark.parametrize("name", ["film.gif", "new/folder/film.gif", "film.GIF"])
def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path, name):
    files.check_writable(tmp_path / name, (".gif", ".png"))
    files.check_writable(str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_as_it_was(path):
    before = path.stat()
    files.check_writable(path, (".csv",))
    assert path.read_text() == "whole"
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert list(path.parent.iterdir()) == [path]


def test_a_path_in_the_folder_where_one_is_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.check_writable("film.gif", (".gif",))
    files.check_writable("a/b/film.gif", (".gif",))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["film.mp4", "film", "gif", ".gif", "film.gif.part"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"Got path='.*{name}', expected a name that ends in \.gif or \.png\.$"):
        files.check_writable(tmp_path / name, (".gif", ".png"))
    files.check_writable(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "film.gif").mkdir()
    for path in (tmp_path / "film.gif", tmp_path, "."):
        with pytest.raises(ValueError, match=r"Got path='.*', which is a folder, expected the name of a file\.$"):
            files.check_writable(path)


@pytest.mark.parametrize("name", ["file/film.gif", "file/folder/film.gif", "x" * 250 + ".gif", "x" * 300 + ".gif"])
def test_a_place_where_no_file_can_be_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"Got path='.*\.gif', which cannot be written \(.*\), expected another place\.$"):
        files.check_writable(tmp_path / name, (".gif",))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["film.gif", "new/folder/film.gif"])
def test_a_read_only_folder_is_refused(tmp_path, monkeypatch, name):
    def refuse(*args, dir, **options):
        assert dir == tmp_path
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(OSError, match=r"film\.gif', which cannot be written \(Permission denied\), expected another"):
        files.check_writable(tmp_path / name)


def test_a_read_only_file_is_refused(path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda given, mode: pathlib.Path(given) != path or mode != os.W_OK)
    with pytest.raises(OSError, match=r"log\.csv', which cannot be written \(the file is read-only\), expected"):
        files.check_writable(path)
    files.check_writable(path.with_name("other.csv"))
    assert list(path.parent.iterdir()) == [path]
