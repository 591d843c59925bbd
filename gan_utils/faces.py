"""Sketch faces: small drawings whose attributes are known, so that what a GAN has learned about them can be measured.

Each face is drawn from back to front out of soft-edged shapes, on a plane where x and y run from −1 (left, top) to 1.
Long hair, curls and beards are handed out independently of each other: the drawings follow no population.
"""

from collections.abc import Mapping

import numpy as np

from gan_utils.checks import as_numbers, is_whole

HAIR_STYLES = ("short", "long", "curly")
HAIR_COLORS = {"black": (35, 31, 40), "brown": (96, 56, 30), "blond": (234, 193, 92), "red": (192, 78, 32)}
_SKIN_LIGHT, _SKIN_DARK = np.array([255, 219, 190]), np.array([146, 94, 62])
_LINE, _LIPS, _WHITE = np.array([[40, 32, 38]]), np.array([[178, 48, 58]]), np.array([[250, 250, 250]])
_BLOCK = 128  # faces that are drawn together; small enough for a processor's cache

Attributes = Mapping[str, np.ndarray]


def sample_attributes(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws the attributes of faces, each independent of the others.

    Args:
        count: how many faces, at least 1.
        seed: of the draw.

    Returns:
        Arrays of shape (count,) by name:
        `smile`, from 0 (neutral) to 1 (broad); `turn` of the head, from −1 (to the viewer's left) to 1 (right);
        `glasses` and `beard`, 0 or 1; `hair_style`, an index of `HAIR_STYLES`; `hair_color`, an index of
        `HAIR_COLORS`; `skin`, from 0 (light) to 1 (dark); `background`, the hue, from 0 to 1; `width` of the head,
        from 0 (narrow) to 1 (wide).

    Raises:
        ValueError: fewer than one face.

    Example:
        >>> sorted(sample_attributes(3))
        ['background', 'beard', 'glasses', 'hair_color', 'hair_style', 'skin', 'smile', 'turn', 'width']
    """
    if not is_whole(count):
        raise ValueError(f"Got count={count!r}, expected at least 1 face.")
    random = np.random.default_rng(seed)
    attributes = {name: random.uniform(size=count) for name in ("smile", "skin", "background", "width")}
    attributes["turn"] = random.uniform(-1.0, 1.0, size=count)
    attributes["glasses"] = (random.uniform(size=count) < 0.4).astype(float)
    attributes["beard"] = (random.uniform(size=count) < 0.4).astype(float)
    attributes["hair_style"] = random.integers(len(HAIR_STYLES), size=count)
    attributes["hair_color"] = random.integers(len(HAIR_COLORS), size=count)
    return attributes


def draw(attributes: Attributes, image_size: int = 32) -> np.ndarray:
    """Draws one face for each row of attributes. The same attributes give the same picture.

    Args:
        attributes: arrays (count,) by name, as `sample_attributes` returns.
        image_size: side of the square images in pixels, at least 16.

    Returns:
        float32, (count, image_size, image_size, 3), in [-1, 1].

    Raises:
        ValueError: an attribute is missing, outside its range or of another length, or the images are too small.

    Example:
        >>> images = draw(sample_attributes(5))
        >>> print(images.shape, images.min() >= -1, images.max() <= 1)
        (5, 32, 32, 3) True True
    """
    attributes = _check_attributes(attributes)
    if not is_whole(image_size, 16):
        raise ValueError(f"Got image_size={image_size!r}, expected at least 16 pixels: an eye would be lost.")
    count = len(attributes["smile"])
    images = np.empty((count, image_size, image_size, 3), np.float32)
    for start in range(0, count, _BLOCK):
        block = {name: values[start : start + _BLOCK] for name, values in attributes.items()}
        images[start : start + _BLOCK] = _draw_block(block, image_size)
    return images


def _draw_block(face: Attributes, image_size: int) -> np.ndarray:
    ticks = (np.arange(image_size, dtype=np.float32) + 0.5) * (2.0 / image_size) - 1.0
    face = {name: np.asarray(values, np.float32)[:, np.newaxis, np.newaxis] for name, values in face.items()}
    x, y = ticks[np.newaxis, np.newaxis, :], ticks[np.newaxis, :, np.newaxis]
    skin = _SKIN_LIGHT + face["skin"][:, 0] * (_SKIN_DARK - _SKIN_LIGHT)  # (faces, 3)
    hair = np.array(list(HAIR_COLORS.values()))[face["hair_color"][:, 0, 0].astype(int)]
    colors = _hue(face["background"][:, 0], light=0.92, spread=0.30)[:, :, np.newaxis, np.newaxis] * 255.0
    canvas = np.broadcast_to(colors * (1.0 - 0.12 * y), (len(skin), 3, image_size, image_size)).astype(np.float32)

    head_x, head_y = 0.46 + 0.10 * face["width"], 0.60  # half axes of the head
    center = 0.05 * face["turn"]
    _hair_behind(canvas, x, y, face, head_x, hair)
    _paint(canvas, _ellipse(x, y, 0.0, 1.22, 0.85, 0.46), _hue(face["background"][:, 0] + 0.5, 0.55, 0.55) * 255.0)
    _paint(canvas, _ellipse(x, y, 0.0, 0.68, 0.19, 0.32), 0.82 * skin)  # neck
    head = _ellipse(x, y, center, 0.04, head_x, head_y)
    _paint(canvas, head, skin)
    jaw = y - 0.26 + 0.75 * (x - 0.13 * face["turn"]) ** 2
    _paint(canvas, head * _edge(jaw, x) * face["beard"], 0.72 * hair)
    _features(canvas, x, y, face, skin, hair)
    hairline = -0.30 - y + 0.10 * np.cos(4.0 * (x - 0.22 * face["turn"]))
    _paint(canvas, _ellipse(x, y, center, -0.02, head_x + 0.05, head_y + 0.06) * _edge(hairline, x), hair)
    _glasses(canvas, x, y, face)
    return np.clip(canvas, 0.0, 255.0).transpose(0, 2, 3, 1) / 127.5 - 1.0


def _hair_behind(
    canvas: np.ndarray, x: np.ndarray, y: np.ndarray, face: Attributes, head_x: np.ndarray, hair: np.ndarray
) -> None:
    back = -0.10 * face["turn"]  # the back of the head moves against the face
    long = np.maximum(
        _ellipse(x, y, back, -0.02, head_x + 0.14, 0.74),
        _edge(head_x + 0.14 - abs(x - back), x) * _edge(y, x) * _edge(0.80 - y, x),
    )
    bumps = 0.05 * np.cos(11.0 * np.arctan2(y + 0.12, x - back))
    curly = _ellipse(x, y, back, -0.12, head_x + 0.24 + bumps, 0.76 + bumps)
    _paint(canvas, 0.97 * long * (face["hair_style"] == 1), 0.86 * hair)
    _paint(canvas, curly * (face["hair_style"] == 2), 0.94 * hair)


def _features(
    canvas: np.ndarray, x: np.ndarray, y: np.ndarray, face: Attributes, skin: np.ndarray, hair: np.ndarray
) -> None:
    """Eyes, brows, nose and mouth, which move with the turn of the head; the nose most, since it stands out."""
    turn, smile = face["turn"], face["smile"]
    for side in (-1.0, 1.0):
        eye = _eye(turn, side)
        _paint(canvas, _ellipse(x, y, eye, -0.04, 0.135, 0.105), _WHITE)
        _paint(canvas, _ellipse(x, y, eye + 0.05 * turn, -0.03, 0.075, 0.09), _LINE)
        brow = -0.235 + 0.6 * (x - eye) ** 2
        _paint(canvas, _edge(0.035 - abs(y - brow), x) * _edge(0.14 - abs(x - eye), x), 0.6 * hair)
    _paint(canvas, _ellipse(x, y, 0.27 * turn, 0.17, 0.075, 0.10), 0.78 * skin)
    across = (x - 0.18 * turn) / (0.17 + 0.10 * smile)  # −1 and 1 at the corners of the mouth
    arch = 1.0 - across**2
    middle = 0.405 + smile * (0.11 * arch - 0.07)
    half = (0.035 + 0.062 * smile * arch) * (abs(across) < 1.2)
    _paint(canvas, _edge(half - abs(y - middle), x) * _edge((1.0 - abs(across)) * 0.2, x), _LIPS)
    teeth = half - 0.045 - abs(y - middle + 0.012)
    _paint(canvas, _edge(teeth, x) * (half > 0.045), _WHITE)


def _glasses(canvas: np.ndarray, x: np.ndarray, y: np.ndarray, face: Attributes) -> None:
    frame = np.zeros_like(canvas[:, 0])
    for side in (-1.0, 1.0):
        distance = np.sqrt((x - _eye(face["turn"], side)) ** 2 + (y + 0.03) ** 2)
        np.maximum(frame, _edge(0.036 - abs(distance - 0.205), x), out=frame)
    bridge = _edge(0.03 - abs(y + 0.05), x) * _edge(0.07 - abs(x - 0.21 * face["turn"]), x)
    _paint(canvas, np.maximum(frame, bridge) * face["glasses"], _LINE)


def _eye(turn: np.ndarray, side: float) -> np.ndarray:
    """Where an eye is; the two come closer together on a head that is turned."""
    return 0.21 * turn + side * (0.225 - 0.03 * turn**2)


def _ellipse(x: np.ndarray, y: np.ndarray, center_x, center_y, radius_x, radius_y) -> np.ndarray:
    """Coverage of each pixel by an ellipse, from 0 to 1."""
    distance = np.sqrt(((x - center_x) / radius_x) ** 2 + ((y - center_y) / radius_y) ** 2)
    return _edge((1.0 - distance) * np.minimum(radius_x, radius_y), x)


def _edge(inside: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Coverage from the distance to a shape's edge, positive inside: anti-aliasing over one pixel."""
    return np.clip(inside * (x.shape[-1] / 2.0) + 0.5, 0.0, 1.0)


def _paint(canvas: np.ndarray, coverage: np.ndarray, color: np.ndarray) -> None:
    canvas += coverage[:, np.newaxis] * (np.asarray(color, np.float32)[:, :, np.newaxis, np.newaxis] - canvas)


def _hue(hue: np.ndarray, light: float, spread: float) -> np.ndarray:
    """Colours in [0, 1], (faces, 3), whose hue runs round the circle from 0 to 1."""
    return light - spread * (0.5 + 0.5 * np.cos(2.0 * np.pi * (hue - np.array([0.0, 1 / 3, 2 / 3]) + 0.5)))


def _check_attributes(attributes: Attributes) -> dict[str, np.ndarray]:
    limits = {name: (0.0, 1.0) for name in ("smile", "skin", "background", "width", "glasses", "beard")}
    limits |= {"turn": (-1.0, 1.0), "hair_style": (0, len(HAIR_STYLES) - 1), "hair_color": (0, len(HAIR_COLORS) - 1)}
    if not isinstance(attributes, Mapping):
        raise TypeError(f"Got attributes={attributes!r:.80}, expected arrays by name, as sample_attributes returns.")
    missing = [name for name in limits if name not in attributes]
    if missing:
        raise ValueError(f"Got the attributes {sorted(attributes)}, but {missing} are missing. See sample_attributes.")
    arrays = {name: as_numbers(name, attributes[name]) for name in limits}
    if len({array.shape for array in arrays.values()}) != 1 or arrays["smile"].ndim != 1 or not arrays["smile"].size:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"Got attributes of shapes {shapes}, expected (count,), the same for all.")
    for name, (low, high) in limits.items():
        if not ((arrays[name] >= low) & (arrays[name] <= high)).all():
            raise ValueError(
                f"Got {name} from {arrays[name].min():g} to {arrays[name].max():g}, expected {low:g} … {high:g}."
            )
        if name.startswith("hair") and (arrays[name] % 1).any():
            raise ValueError(f"Got {name} of {arrays[name]}, expected whole numbers from {low} to {high}.")
    return arrays
