"""Exports what the site's explorer runs in a browser: shipped networks as ONNX, and explorer.json beside them.

    python tools/export_onnx.py build/explorer

explorer.json holds the directions of notebook 05's explorer and the faces that it begins with, computed by that
notebook's own cells, and the logits that each discriminator gives real images and its own generator's.
"""

import argparse
import contextlib
import json
import pathlib
import re
import warnings
from typing import Any

import keras
import numpy as np

from gan_utils import data, faces, models

NOTEBOOK = pathlib.Path(__file__).parent.parent / "notebooks" / "05_latent_arithmetic.ipynb"
NETWORKS = ("faces_generator", "faces_discriminator", "mnist_conditional_generator", "mnist_discriminator")
FACES = 51  # the first slider of the notebook's explorer chooses among as many
JUDGED = 1000  # images of each kind


def export(network: keras.Model, path: pathlib.Path) -> None:
    """Writes a network as ONNX, for batches of any size; its inputs keep their order.

    Args:
        network: a built model.
        path: of the file, which ends in .onnx.
    """
    specs = [keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in network.inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras mends tf2onnx for NumPy 2
        network.export(path, "onnx", verbose=False, input_signature=[specs] if len(specs) > 1 else specs)


def notebook_explorer(path: pathlib.Path = NOTEBOOK) -> dict[str, Any]:
    """What notebook 05's own cells compute for its explorer.

    Returns:
        `directions`, unit vectors (latent_dim,) by attribute, and `faces`, latents (FACES, latent_dim) of neutral faces
        that look straight ahead, with short hair, no beard and no glasses.

    Raises:
        ValueError: the notebook has no section "An explorer", or its first cell computes something else.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    titles = [index for index, (kind, text) in enumerate(texts) if kind == "markdown" and re.search("^## ", text, re.M)]
    chosen = [index for index in titles if re.search(r"^## .*\bAn explorer\b", texts[index][1], re.M)]
    if not chosen:
        raise ValueError(f"{path.name} has no section 'An explorer'.")
    tools = [text for kind, text in texts[: titles[0]] if kind == "code"]
    first = next(text for kind, text in texts[chosen[0] :] if kind == "code")
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(None):
        for text in (*tools, first):
            exec(text, names)
    if not {"slider_directions", "plain_faces"} <= names.keys():
        raise ValueError(f"The first cell of 'An explorer' in {path.name} computes no slider_directions, plain_faces.")
    return {"directions": names["slider_directions"], "faces": names["plain_faces"][:FACES]}


def opinions() -> dict[str, dict[str, np.ndarray]]:
    """Logits of the shipped discriminators, (JUDGED,), for real images and for those of their own generators."""
    latents = np.random.default_rng(0).standard_normal((JUDGED, 100)).astype(np.float32)
    digits, _ = data.load_mnist("test")
    real = {"faces": faces.draw(faces.sample_attributes(JUDGED, seed=4)), "mnist": digits[:JUDGED]}
    found = {}
    for kind, images in real.items():
        generator, judge = (models.load_pretrained(f"{kind}_{role}") for role in ("generator", "discriminator"))
        drawn = {"real": images, "fake": generator.predict(latents, verbose=0)}
        found[kind] = {name: np.sort(judge.predict(shown, verbose=0)[:, 0]) for name, shown in drawn.items()}
    return found


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="where the files go; made if it is not there")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        export(models.load_pretrained(name), folder / f"{name}.onnx")
    explorer = notebook_explorer()
    content = {
        "directions": {name: _rounded(values, 6) for name, values in explorer["directions"].items()},
        "faces": _rounded(explorer["faces"], 5),
        "logits": {kind: {name: _rounded(v, 2) for name, v in kinds.items()} for kind, kinds in opinions().items()},
    }
    (folder / "explorer.json").write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def _rounded(values: np.ndarray, decimals: int) -> list:
    return np.round(values.astype(np.float64), decimals).tolist()


if __name__ == "__main__":
    main()
