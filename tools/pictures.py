"""Writes the small pictures of the README's table, docs/pictures/NN.png, from what the notebooks store.

    python tools/pictures.py

A notebook's picture is the output of the cell whose metadata has "thumbnail": true.
"""

import base64
import io
import pathlib

import nbformat
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZE = (320, 240)  # pixels, at most; the README shows them half as large


def thumbnail(notebook: nbformat.NotebookNode) -> Image.Image:
    """The picture of the marked cell, made small.

    Raises:
        ValueError: not exactly one cell with a picture is marked.
    """
    pictures = [
        output.data["image/png"]
        for cell in notebook.cells
        if cell.metadata.get("thumbnail")
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if len(pictures) != 1:
        raise ValueError(f'Got {len(pictures)} pictures of cells with the metadata "thumbnail": true, expected one.')
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("RGB")
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    return picture


def main() -> None:
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        picture = thumbnail(nbformat.read(path, as_version=4))
        picture.quantize(64).save(folder / f"{path.stem[:2]}.png", optimize=True)


if __name__ == "__main__":
    main()
