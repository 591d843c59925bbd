"""Real samples: the shipped digits, toy distributions whose density is known, and the pipeline that feeds `fit`.

Images are float32 in [-1, 1], the range of tanh, and carry a channel axis: (samples, height, width, channels).
"""

import base64
import hashlib
import json
import pathlib
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from gan_utils.checks import as_numbers, check_images, check_labels, is_real, is_whole

_PACKAGE = pathlib.Path(__file__).parent
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
_FOLDERS = (_PACKAGE.parent / "data", _PACKAGE / "_data")  # a checkout; an installed package
_TURNS = {  # what rights a photograph, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MEND = "Restore it with 'git checkout -- data' in a clone of the course, or install gan_utils again."


def load_mnist(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """The handwritten digits of MNIST, from the file that the course ships.

    Args:
        split: "train" for 60,000 digits, "test" for 10,000.

    Returns:
        images: float32 in [-1, 1], (samples, 28, 28, 1); the paper is -1, the ink is +1.
        labels: int64, (samples,), 0 to 9.

    Raises:
        ValueError: the split has another name, or the file is damaged.
        FileNotFoundError: the file is missing.

    Reference: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998.

    Example:
        >>> images, labels = load_mnist("test")
        >>> print(images.shape, images.dtype, images.min(), images.max(), labels[:3])
        (10000, 28, 28, 1) float32 -1.0 1.0 [7 2 1]
    """
    _check_split(split)
    with np.load(shipped_file("mnist.npz"), allow_pickle=False) as arrays:
        pixels, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    return to_signed(pixels[..., np.newaxis]), labels.astype(np.int64)


def load_fashion_mnist(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Clothes in the format of MNIST, a harder set. Keras downloads it (30 MB) the first time.

    Args:
        split: "train" for 60,000 images, "test" for 10,000.

    Returns:
        images: float32 in [-1, 1], (samples, 28, 28, 1).
        labels: int64, (samples,), 0 to 9: T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, boot.

    Raises:
        ValueError: the split has another name.
        OSError: the images are not here and cannot be downloaded.

    Reference: H. Xiao et al., Fashion-MNIST: a Novel Image Dataset …, 2017, arXiv:1708.07747.

    Example:
        >>> load_fashion_mnist("validation")
        Traceback (most recent call last):
        ...
        ValueError: Got split='validation', expected 'train' or 'test'.
    """
    _check_split(split)
    try:
        train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise OSError(
            "Fashion-MNIST cannot be had: its four files are not in ~/.keras/datasets/fashion-mnist, and their "
            "download failed. Connect to the internet once, or copy them there."
        ) from error
    pixels, labels = train if split == "train" else test
    return to_signed(pixels[..., np.newaxis]), labels.astype(np.int64)


def _check_split(split: str) -> None:
    if not isinstance(split, str) or split not in ("train", "test"):
        raise ValueError(f"Got split={split!r}, expected 'train' or 'test'.")


def load_celeba(
    folder: str | pathlib.Path, image_size: int = 64, count: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Photographs of faces from CelebA, which the course cannot ship, from the folder that you unpacked it to.

    The folder holds `img_align_celeba/`, with the images, and `list_attr_celeba.txt`, as distributed. The middle
    108×108 pixels of each image are kept, mostly face, and resized.

    Args:
        folder: the folder of CelebA.
        image_size: side of the square images in pixels.
        count: how many, from the first on; None for all. 10,000 images of 64×64 take 0.5 GB.

    Returns:
        images: float32 in [-1, 1], (samples, image_size, image_size, 3).
        attributes: by name, such as "Smiling", arrays (samples,) of bool.

    Raises:
        FileNotFoundError: the list of attributes, or images that it names, are missing.
        ValueError: images are broken or smaller than 108×108, or fewer than one is asked for.

    Reference: Z. Liu et al., Deep Learning Face Attributes in the Wild, 2015, arXiv:1411.7766.

    Example:
        >>> load_celeba("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: nowhere/list_attr_celeba.txt is missing. Unpack CelebA there: list and img_align_celeba/.
    """
    folder = pathlib.Path(folder)
    listed = folder / "list_attr_celeba.txt"
    if not listed.is_file():
        raise FileNotFoundError(f"{listed.as_posix()} is missing. Unpack CelebA there: list and img_align_celeba/.")
    text = listed.read_text(encoding="utf-8", errors="replace")
    names, *rows = [line.split() for line in text.strip().splitlines()[1:]] or [[]]
    if not rows or not (count is None or is_whole(count)):
        raise ValueError(f"Got count={count!r} and {len(rows)} images in {listed}, expected at least 1.")
    if any(len(row) != 1 + len(names) for row in rows):
        raise ValueError(f"{listed} is damaged, expected a file and {len(names)} values in each line. Unpack it again.")
    files, *flags = zip(*rows[:count], strict=True)
    mend = "Unpack them again, or lower `count`."
    images, _ = _read_images(folder / "img_align_celeba", files, 108, image_size, mend)
    return images, {name: np.array(values) == "1" for name, values in zip(names, flags, strict=True)}


def load_image_folder(
    folder: str | pathlib.Path, image_size: int = 64, labels: bool = False, skip_broken: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray, list[str]]:
    """Your own images, those of a folder and of the folders in it, in the order of their names.

    The middle of each image, the largest square, is kept and resized. Photographs are turned as their EXIF orientation
    says, 16 bits become 8, what is transparent becomes white, and a film gives its first frame. Hidden files and
    folders (`._a.jpg`, `.ipynb_checkpoints`) and files of other kinds are left out; a printed line counts them.

    Args:
        folder: the folder of images.
        image_size: side of the square images in pixels.
        labels: whether the folders directly in `folder` are classes; then each image lies in one of them.
        skip_broken: whether to go on without images that cannot be used; a printed line counts them.

    Returns:
        float32 in [-1, 1], (samples, image_size, image_size, 3). With `labels` also the labels, int64, (samples,), and
        the list of the names that they number, the subfolders that hold images, in order.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: images are broken, or smaller than `image_size`; with `labels`, an image lies in no subfolder.

    Example:
        >>> load_image_folder("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: nowhere is missing, or holds no images (.jpg, .jpeg, .png, .webp, .bmp, .gif). Name the ...
    """
    if not (isinstance(labels, bool) and isinstance(skip_broken, bool)):
        raise TypeError(f"Got labels={labels!r:.80} and skip_broken={skip_broken!r:.80}, expected True or False.")
    folder = pathlib.Path(folder)
    files = _list_images(folder)
    names, numbers = _label(files) if labels else ([], np.zeros(len(files), np.int64))
    mend = "Replace or remove them" + ("." if skip_broken else ", or go on without them by skip_broken=True.")
    images, used = _read_images(folder, files, None, image_size, mend, skip_broken)
    lost = sorted(set(numbers) - set(numbers[used]))
    if lost:
        raise ValueError(f"All images of {[names[label] for label in lost]} are broken. Replace or remove them.")
    return (images, numbers[used], names) if labels else images


def _list_images(folder: pathlib.Path) -> list[str]:
    """Paths below the folder of the images in it. Prints how many other files are there, and why they are left out."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    seen = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    images = [path.as_posix() for path in seen if path.suffix.lower() in _SUFFIXES]
    hidden, others = len(paths) - len(seen), len(seen) - len(images)
    where, kinds = folder.as_posix(), ", ".join(_SUFFIXES)
    if hidden or others:
        found = sorted({path.suffix.lower() or path.name for path in seen} - {*_SUFFIXES})
        some = f" ({', '.join(found[:5])}{', …' if found[5:] else ''}; read are {kinds})" if found else ""
        print(f"{where}: left out {hidden} hidden files and {others} of other kinds{some}.")
    if not images:
        raise FileNotFoundError(f"{where} is missing, or holds no images ({kinds}). Name the folder that does.")
    return images


def _label(files: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The names of the folders that the files lie in, and the number of each file's folder among them."""
    loose = [file for file in files if "/" not in file]
    if loose:
        raise ValueError(f"{len(loose)} images, such as {loose[0]}, lie in no subfolder, expected one for each label.")
    classes = [file.split("/")[0] for file in files]
    names = sorted(set(classes))
    return names, np.array([names.index(name) for name in classes], dtype=np.int64)


def _read_images(
    folder: pathlib.Path, files: Sequence[str], side: int | None, image_size: int, mend: str, skip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The images, and of which files they are, (files,) of bool: of all, unless broken ones are skipped."""
    if not is_whole(image_size):
        raise ValueError(f"Got image_size={image_size!r}, expected a whole number of at least 1.")
    images, used = np.empty((len(files), image_size, image_size, 3), dtype=np.uint8), np.ones(len(files), dtype=bool)
    broken = []
    for index, file in enumerate(files):
        try:
            images[index] = _crop(folder / file, side, image_size)
        except Exception as problem:  # Pillow raises a dozen kinds where a file is broken
            used[index] = False
            broken.append((file, problem))
    some = "; ".join(f"{file}: {problem}" for file, problem in broken[:3])
    if broken and not (skip and used.any()):
        kind = FileNotFoundError if all(isinstance(problem, FileNotFoundError) for _, problem in broken) else ValueError
        raise kind(f"{len(broken)} of {len(files)} images cannot be used: {some}. {mend}")
    if broken:
        print(f"{folder.as_posix()}: left out {len(broken)} of {len(files)} images, which cannot be used: {some}.")
    return to_signed(images[used] if broken else images), used


def _crop(path: pathlib.Path, side: int | None, image_size: int) -> np.ndarray:
    """The middle of an image, a square of `side` pixels or the largest, resized."""
    with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning), Image.open(path) as image:
        least = side or image_size
        if min(image.size) < least:
            raise ValueError(f"{image.width}×{image.height} pixels, expected at least {least}×{least}")
        upright = _in_colour(_upright(image))
        side = side or min(upright.size)
        left, top = (upright.width - side) // 2, (upright.height - side) // 2
        box = (left, top, left + side, top + side)
        return np.asarray(upright.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says. A damaged EXIF part turns nothing: the picture may be whole."""
    image.load()
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # as many kinds as there are of damage
        turn = None
    return image if turn is None else image.transpose(turn)


def _in_colour(image: Image.Image) -> Image.Image:
    """In the mode RGB. Pillow alone would cut 16 bits off at 255, and show what transparency hides."""
    if image.mode == "F":
        raise ValueError("floating-point pixels, expected 8 or 16 bits")
    hidden = image.info.get("transparency")
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"pixels from {pixels.min()} to {pixels.max()}, expected 0 … 65535 of 16 bits")
        shades = np.rint(pixels / 257.0).astype(np.uint8)  # 65535 is 255·257
        return Image.fromarray(np.where(pixels == hidden, np.uint8(255), shades)).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or hidden is not None:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def shipped_file(name: str) -> pathlib.Path:
    """Path of a file that the course ships, once its sha256 agrees with `data/manifest.json`.

    Raises:
        FileNotFoundError: the file, or the folder of data, is missing.
        ValueError: the course ships no such file, or its content is not what was shipped.

    Example:
        >>> print(shipped_file("mnist.npz").name)
        mnist.npz
    """
    manifest = _read_json("manifest.json")
    if not isinstance(name, str) or name not in manifest:
        raise ValueError(f"Got the name {name!r}, expected one of {sorted(manifest)}.")
    path = _find(name)
    expected = manifest[name].get("sha256")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"The data file {path} is damaged: its sha256 is {found}, expected {expected}. {_MEND}")
    return path


def load_results(name: str) -> dict[str, Any]:
    """A committed table of measurements, `data/results/NAME.json`, as a script in `studies/` wrote it.

    Each holds the `command` that made it, the `versions` and the `machine`, and under `runs` one record a training run.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: its file is damaged.

    Example:
        >>> sorted(load_results("ring"))
        ['command', 'machine', 'protocol', 'runs', 'versions']
    """
    return _read_json(f"results/{name}.json")


def decode_images(text: str, shape: tuple[int, int, int] = (28, 28, 1)) -> np.ndarray:
    """Images that a table of measurements holds as text, their compressed bytes in base64.

    Args:
        text: such as `run["samples"]` of `load_results("losses")["runs"]`.
        shape: of one image, (height, width, channels).

    Returns:
        float32 in [-1, 1], (samples, height, width, channels).

    Raises:
        ValueError: the text holds no images of that shape.

    Example:
        >>> print(decode_images(load_results("losses")["runs"][0]["samples"]).shape)
        (32, 28, 28, 1)
    """
    try:
        return to_signed(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(-1, *shape))
    except (TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"Got text={text!r:.40}, expected images of shape {shape!r} as text ({error}).") from error


def _find(name: str) -> pathlib.Path:
    paths = [folder / name for folder in _FOLDERS]
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(f"The data file {name} is missing; looked for {' and '.join(map(str, paths))}. {_MEND}")


def _read_json(name: str) -> dict[str, Any]:
    path = _find(name)
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:  # no JSON, or no object at its top
        raise ValueError(f"The data file {path} is damaged ({error}). {_MEND}") from error


def to_signed(pixels: np.ndarray) -> np.ndarray:
    """From bytes 0 … 255, as image files hold them, to float32 in [-1, 1], as the networks see them.

    Raises:
        ValueError: the array is not of unsigned bytes.

    Example:
        >>> print(to_signed(np.array([0, 255], dtype=np.uint8)))
        [-1.  1.]
    """
    pixels = as_numbers("pixels", pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"Got pixels of type {pixels.dtype}, expected uint8 in 0 … 255.")
    return pixels.astype(np.float32) / 127.5 - 1.0


def to_bytes(images: np.ndarray) -> np.ndarray:
    """From [-1, 1] back to bytes 0 … 255, rounded to the nearest; the inverse of `to_signed`.

    Raises:
        ValueError: a value is NaN or outside [-1, 1].

    Example:
        >>> print(to_bytes(np.array([-1.0, 0.0, 1.0])))
        [  0 128 255]
    """
    images = check_images(images)
    return np.rint((images + 1.0) * 127.5).astype(np.uint8)


def batches(samples: np.ndarray, batch_size: int, seed: int = 0, labels: np.ndarray | None = None) -> tf.data.Dataset:
    """A pipeline of minibatches for `GAN.fit`: all samples once an epoch, in a new order each epoch.

    The last batch of an epoch holds what is left. The same seed gives the same orders, after the same
    `keras.utils.set_random_seed`.

    Args:
        samples: images (samples, height, width, channels) in [-1, 1], or vectors (samples, features) in any range.
        batch_size: samples in a minibatch.
        seed: of the shuffling.
        labels: for a game with labels, a whole number for each sample, (samples,); −1 is "unlabelled".

    Returns:
        A dataset of float32 batches, (batch, …); with labels, of pairs of such a batch and its labels, int32, (batch,).
        The labels do not change the order.

    Raises:
        TypeError: the labels are no whole numbers.
        ValueError: no samples, a rank other than 2 or 4, NaN, images outside [-1, 1], a batch size below 1, labels of
            another number or below −1.

    Example:
        >>> dataset = batches(np.zeros((10, 28, 28, 1)), batch_size=4)
        >>> print([len(batch) for batch in dataset])
        [4, 4, 2]
        >>> dataset = batches(np.zeros((10, 28, 28, 1)), batch_size=4, labels=np.arange(10))
        >>> print([(len(images), len(labels)) for images, labels in dataset])
        [(4, 4), (4, 4), (2, 2)]
    """
    with np.errstate(over="ignore"):  # it becomes infinite, which is refused
        samples = as_numbers("samples", samples).astype(np.float32, copy=False)
    if samples.ndim not in (2, 4):
        raise ValueError(
            f"Got samples of shape {samples.shape}, expected (samples, height, width, channels) for images or "
            "(samples, features) for vectors. A missing channel axis is added by images[..., np.newaxis]."
        )
    if samples.ndim == 4:
        check_images(samples)
    elif samples.size == 0 or not np.isfinite(samples).all():
        raise ValueError(f"Got samples of shape {samples.shape} that are empty or not finite, expected real numbers.")
    if not is_whole(batch_size):
        raise ValueError(f"Got batch_size={batch_size!r}, expected a whole number of at least 1.")
    # Shuffling indices and gathering whole batches is many times cheaper than moving images one by one.
    tables = tf.constant(samples)
    if labels is not None:
        tables = tables, tf.constant(check_labels(labels, len(samples)))
    order = tf.data.Dataset.range(len(samples)).shuffle(len(samples), seed=seed).batch(batch_size)
    gather = lambda indices: tf.nest.map_structure(lambda table: tf.gather(table, indices), tables)  # noqa: E731
    return order.map(gather).prefetch(tf.data.AUTOTUNE)


def gaussian_mixture(samples: int, centers: np.ndarray, std: float, seed: int = 0) -> np.ndarray:
    """Draws from a mixture of Gaussians of equal weight and width: toy data whose density is known.

    Args:
        samples: how many to draw.
        centers: (modes, dimensions), one row a mode; see `ring_centers` and `grid_centers`. [[4.0]] is N(4, std²).
        std: standard deviation of every mode, in each direction; positive.
        seed: of the draw.

    Returns:
        float32, (samples, dimensions).

    Raises:
        ValueError: fewer than one sample, centers of another rank or not finite, or a `std` that is not positive.

    Example:
        >>> print(gaussian_mixture(2500, ring_centers(8), std=0.01).shape)
        (2500, 2)
    """
    centers = as_numbers("centers", centers)
    if centers.ndim != 2 or not centers.size or not (abs(centers) < 1e38).all():
        raise ValueError(f"Got centers of shape {centers.shape}, expected (modes, dimensions), finite, as [[4.0]].")
    if not (is_whole(samples) and is_real(std) and std > 0):
        raise ValueError(f"Got samples={samples!r} and std={std!r}, expected at least 1 sample and std > 0.")
    random = np.random.default_rng(seed)
    chosen = centers[random.integers(len(centers), size=samples)]  # (samples, dimensions)
    return (chosen + std * random.standard_normal(chosen.shape)).astype(np.float32)


def ring_centers(modes: int = 8, radius: float = 1.0) -> np.ndarray:
    """Points spaced evenly on a circle, (modes, 2): the usual test for mode collapse.

    Raises:
        ValueError: fewer than one mode, or a radius that is not positive.

    Example:
        >>> print(np.abs(ring_centers(4).round(2)).tolist())
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    if not (is_whole(modes) and is_real(radius) and radius > 0):
        raise ValueError(f"Got modes={modes!r} and radius={radius!r}, expected at least 1 mode and radius > 0.")
    angles = np.linspace(0.0, 2.0 * np.pi, modes, endpoint=False)  # with the endpoint, mode 0 would come twice
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def grid_centers(side: int = 5, spacing: float = 2.0) -> np.ndarray:
    """Points of a square grid around the origin, (side², 2).

    Raises:
        ValueError: fewer than one point a side, or a spacing that is not positive.

    Example:
        >>> print(grid_centers(2).tolist())
        [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    if not (is_whole(side) and is_real(spacing) and spacing > 0):
        raise ValueError(f"Got side={side!r} and spacing={spacing!r}, expected at least 1 point and spacing > 0.")
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
