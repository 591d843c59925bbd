"""Files that a kill, an error or a full disk leaves as they were."""

import os
import pathlib
from collections.abc import Callable
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
