"""Files that a kill, an error or a full disk leaves as they were."""

import errno
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any


def replace(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Writes a file beside `path`, waits until it is on the disk, and moves it there.

    Args:
        path: of the file; it and its folder need not exist.
        write: writes the file whose path it is given; it has the suffix of `path`.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes" / "today.txt"
        >>> replace(path, lambda partial: partial.write_text("whole", "utf-8"))
        >>> print(path.read_text("utf-8"), len(list(path.parent.iterdir())))
        whole 1
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        write(partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_writable(path: str | pathlib.Path, suffixes: Sequence[str] = ()) -> None:
    """Finds out, before anything long begins, whether a file can be written there. Nothing is left behind.

    Args:
        path: of the file; it and its folder need not exist, and stay as they are.
        suffixes: with which its name may end, in small letters; none for any.

    Raises:
        ValueError: the name ends otherwise, or is that of a folder.
        OSError: the folder cannot be made, or nothing can be written to it, or to the file that is there.

    Example:
        >>> check_writable("films/digits.mp4", (".gif",))
        Traceback (most recent call last):
        ...
        ValueError: Got path='films/digits.mp4', expected a name that ends in .gif.
    """
    path = pathlib.Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"Got path={path.as_posix()!r}, expected a name that ends in {' or '.join(suffixes)}.")
    try:
        if path.is_dir():
            raise ValueError(f"Got path={path.as_posix()!r}, which is a folder, expected the name of a file.")
        place = next(parent for parent in path.parents if parent.exists())  # where the missing folders would be made
        with tempfile.NamedTemporaryFile(prefix=f"{path.stem}.", suffix=path.suffix, dir=place):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is read-only")
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"Got path={path.as_posix()!r}, which cannot be written ({reason}), expected another place."
        ) from error
