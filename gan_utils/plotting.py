"""Pictures of samples and of training. Functions take an axes object or make one, return it, and never show it."""

import base64
import html
import io
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import imageio.v3 as iio
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from gan_utils.checks import as_numbers, check_images, is_real, is_whole

# Okabe and Ito's palette (2008, jfly.uni-koeln.de/color): readers who see no red or no green tell its colours apart.
COLORS = {
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "black": "#000000",
}
REAL_COLOR, FAKE_COLOR = COLORS["blue"], COLORS["vermillion"]


def tile(images: np.ndarray, columns: int, padding: int = 2) -> np.ndarray:
    """Lays images side by side, row by row, in one array with light lines between them.

    Args:
        images: (samples, height, width, channels) in [-1, 1], with 1 or 3 channels.
        columns: images in a row; places that stay empty in the last row are light.
        padding: width of the lines, in pixels.

    Returns:
        (rows·(height + padding) − padding, columns·(width + padding) − padding), and 3 channels for colour.

    Raises:
        ValueError: the images have another rank, range or number of channels, or `columns` is below 1.

    Example:
        >>> print(tile(np.zeros((5, 28, 28, 1)), columns=3).shape)
        (58, 88)
    """
    images = as_numbers("images", images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(f"Got images of shape {images.shape}, expected (samples, height, width, 1 or 3).")
    check_images(images)
    if not (is_whole(columns) and is_whole(padding, 0)):
        raise ValueError(f"Got columns={columns!r}, expected at least 1, and padding={padding!r}, at least 0.")
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    canvas = np.ones((rows * columns, height + padding, width + padding, channels), dtype=images.dtype)
    canvas[:count, :height, :width] = images
    canvas = canvas.reshape(rows, columns, height + padding, width + padding, channels).swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + padding), columns * (width + padding), channels)
    canvas = canvas[: canvas.shape[0] - padding, : canvas.shape[1] - padding]
    return canvas[..., 0] if channels == 1 else canvas


def image_grid(
    images: np.ndarray,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> Axes:
    """Shows images in [-1, 1] as a grid; see `tile`. Names of the rows stand on the left, of the columns above.

    Example:
        >>> ax = image_grid(np.zeros((8, 28, 28, 1)), title="Nothing yet")
        >>> plt.close(ax.figure)
    """
    picture = tile(images, columns)
    if ax is None:
        height, width = picture.shape[:2]
        _, ax = plt.subplots(figsize=(8, 8 * height / width + 0.4), layout="constrained")
    ax.imshow((picture + 1.0) / 2.0, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.set_title(title)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    height, width = np.shape(images)[1:3]
    ax.set_yticks((height + 2) * np.arange(len(row_names)) + (height - 1) / 2, row_names)
    ax.set_xticks((width + 2) * np.arange(len(column_names)) + (width - 1) / 2, column_names)
    return ax


def new_axes(title: str, xlabel: str, ylabel: str, size: tuple[float, float] = (7, 3.5)) -> Axes:
    """An empty picture with a title and both axes named, as every picture of the course has.

    Example:
        >>> ax = new_axes("A parabola", "x", "x²")
        >>> plt.close(ax.figure)
    """
    _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def densities(
    x: np.ndarray,
    real: np.ndarray,
    fake: np.ndarray,
    answers: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The one-dimensional game: two densities, and what discriminators answer, as in Figure 1 of the 2014 paper.

    Args:
        x: where the curves are drawn, (points,).
        real: p_data(x), filled.
        fake: p_g(x).
        answers: D(x), in [0, 1], by the name for the legend: the first is drawn thin, others thick and dashed.
        ax: where to draw.

    Raises:
        ValueError: the curves are not all of x's length.

    Example:
        >>> x = np.linspace(-1, 1, 3)
        >>> ax = densities(x, 1 - abs(x), 1 - abs(x), {"D*": np.full(3, 0.5)})
        >>> plt.close(ax.figure)
    """
    shapes = [as_numbers("a curve", curve).shape for curve in (x, real, fake, *(answers or {}).values())]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1 or shapes[0] == (0,):
        raise ValueError(f"Got x and curves of shapes {shapes}, expected (points,), the same for all.")
    ax = new_axes("", "x", "") if ax is None else ax
    ax.fill_between(x, real, color=REAL_COLOR, alpha=0.35, linewidth=0, label="$p_{data}$")
    ax.plot(x, fake, color=FAKE_COLOR, linewidth=2.5, linestyle="-", label="$p_g$")
    for index, (name, answer) in enumerate((answers or {}).items()):
        style = {"linestyle": "--", "linewidth": 2} if index else {"linestyle": "-", "linewidth": 1.2}
        ax.plot(x, answer, color="black", label=name, **style)
    ax.set(xlabel="x", ylabel="density, probability", xlim=(x[0], x[-1]), ylim=(0.0, 1.05))
    ax.legend(loc="upper left")
    return ax


def points(real: np.ndarray, fake: np.ndarray, ax: Axes | None = None) -> Axes:
    """Real and generated points of the plane, (samples, 2) each, on axes of equal scale that hold the real ones.

    Raises:
        ValueError: the points are not in the plane, or there is no real one, or a real one is not finite.

    Example:
        >>> ax = points(np.eye(2), np.zeros((1, 2)))
        >>> plt.close(ax.figure)
    """
    real, fake = as_numbers("real", real), as_numbers("fake", fake)
    if {real.ndim, fake.ndim, *real.shape[1:], *fake.shape[1:]} != {2} or not real.size or not np.isfinite(real).all():
        raise ValueError(f"Got points of shapes {real.shape} and {fake.shape}, expected (samples, 2), the real finite.")
    ax = new_axes("", "", "", size=(4.2, 4.2)) if ax is None else ax
    ax.plot(*np.transpose(real), ".", color=REAL_COLOR, label="data")
    ax.plot(*np.transpose(fake), ".", color=FAKE_COLOR, markersize=3, label="generated")
    limit = 1.8 * np.abs(real).max()
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.legend(loc="upper right")
    return ax


def losses(history: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Both players' losses against the epoch. The dashed lines are their values where D = 1/2 everywhere.

    Args:
        history: `gan.history.history`, or what `gan.fit(...).history` returned, of the minimax or non-saturating game.
        ax: where to draw.

    Raises:
        ValueError: the history lacks a loss.

    Example:
        >>> ax = losses({"d_loss": [1.2, 1.3], "g_loss": [0.9, 0.8]})
        >>> plt.close(ax.figure)
    """
    ax = _curves(history, {"d_loss": ("discriminator", REAL_COLOR), "g_loss": ("generator", FAKE_COLOR)}, ax)
    ax.axhline(math.log(4.0), color=REAL_COLOR, linestyle="--", linewidth=1, label="log 4")
    ax.axhline(math.log(2.0), color=FAKE_COLOR, linestyle="--", linewidth=1, label="log 2")
    ax.set(ylabel="loss (nats)", title="Losses")
    ax.legend()
    return ax


def probabilities(history: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Mean D(x) and D(G(z)) against the epoch. At equilibrium both are 1/2, the dashed line.

    Args:
        history: as for `losses`.
        ax: where to draw.

    Raises:
        ValueError: the history lacks D(x) or D(G(z)).

    Example:
        >>> ax = probabilities({"D(x)": [0.9, 0.6], "D(G(z))": [0.1, 0.4]})
        >>> plt.close(ax.figure)
    """
    names = {"D(x)": ("D(x), real", REAL_COLOR), "D(G(z))": ("D(G(z)), generated", FAKE_COLOR)}
    ax = _curves(history, names, ax)
    ax.axhline(0.5, color="gray", linestyle="--", linewidth=1, label="½, cannot tell")
    ax.set(ylabel="probability", ylim=(0.0, 1.0), title="What D says of real and generated samples")
    ax.legend()
    return ax


def figure_frame(figure: Figure, dpi: int = 75) -> np.ndarray:
    """Turns a figure into one frame of a film, uint8 (height, width, 3), and closes it.

    Example:
        >>> figure_frame(plt.figure(figsize=(4, 2))).shape
        (150, 300, 3)
    """
    if not (isinstance(figure, Figure) and is_whole(dpi)):
        raise TypeError(f"Got figure={figure!r} and dpi={dpi!r}, expected a figure, such as ax.figure, and dpi > 0.")
    figure.set_dpi(dpi)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return pixels


def film_frame(images: np.ndarray, columns: int, caption: str = "", height: int = 80) -> np.ndarray:
    """Lays images out as `tile` does, large enough to be looked at, under a caption: one frame of a film.

    Args:
        images: (samples, height, width, channels) in [-1, 1], with 1 or 3 channels.
        columns: images in a row.
        caption: what stands above, such as "epoch 3", in a strip whose height does not depend on it; "" for no strip.
        height: of one image in the frame, at least, in pixels; each of its own pixels becomes a square of them.

    Returns:
        uint8, (height, width) of gray images, in 32 even shades, (height, width, 3) of colour.

    Raises:
        TypeError: the caption is no text.
        ValueError: `tile` refuses the images or `columns`, or the height is below 1.

    Example:
        >>> print(film_frame(np.zeros((32, 28, 28, 1)), columns=8).shape)
        (354, 714)
    """
    if not (isinstance(caption, str) and is_whole(height)):
        kind = ValueError if isinstance(caption, str) else TypeError
        raise kind(f"Got caption={caption!r:.80} and height={height!r}, expected text, and at least 1 pixel.")
    picture = np.rint((tile(images, columns) + 1.0) * 127.5).astype(np.uint8)
    return enlarged(picture, math.ceil(height / np.shape(images)[1]), caption)


def enlarged(picture: np.ndarray, times: int, caption: str = "") -> np.ndarray:
    """A picture whose pixels become squares, under a caption: what `film_frame` does with tiled images.

    Args:
        picture: uint8, (height, width) or (height, width, 3).
        times: side of the squares, at least 1.
        caption: what stands above; "" for no strip.

    Returns:
        uint8; of gray pictures, in 32 even shades.

    Raises:
        TypeError: the caption is no text.
        ValueError: it is no such picture, or `times` is below 1.

    Example:
        >>> print(enlarged(np.zeros((28, 28), np.uint8), times=3).shape)
        (84, 84)
    """
    if not isinstance(caption, str):
        raise TypeError(f"Got caption={caption!r:.80}, expected text.")
    if np.shape(picture)[2:] not in ((), (3,)) or np.ndim(picture) < 2 or not is_whole(times):
        raise ValueError(f"Got a picture of shape {np.shape(picture)} and times={times!r}, expected (height, width).")
    pixels = np.asarray(picture, np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    frame = np.concatenate([_strip(caption, pixels), pixels]) if caption else pixels
    # With a palette of its own for each frame, gray films would take half as much again.
    return np.rint(np.rint(frame / 255.0 * 31.0) / 31.0 * 255.0).astype(np.uint8) if frame.ndim == 2 else frame


def _strip(caption: str, below: np.ndarray) -> np.ndarray:
    """A light strip as wide as the pixels below it, (height, width) or (height, width, 3), with dark text."""
    width = below.shape[1]
    size = max(16, width // 32)  # legible where a page shows the film in 640 pixels
    strip = Image.new("L" if below.ndim == 2 else "RGB", (width, size * 3 // 2), "white")
    for smaller in range(size, 0, -1):
        font = ImageFont.load_default(smaller)
        if font.getlength(caption) <= 0.96 * width:
            break
    # Text that begins at one place does not sway when a number grows.
    ImageDraw.Draw(strip).text((width // 50, strip.height // 2), caption, "black", font, anchor="lm")
    return np.asarray(strip)


def write_gif(frames: Iterable[np.ndarray], path: str | pathlib.Path, seconds: float = 0.2) -> None:
    """Writes frames as a GIF that repeats and rests for a second on its last frame.

    Args:
        frames: uint8 arrays of one shape, (height, width) or (height, width, 3); a generator of them will do.
        path: where to, a name that ends in .gif; folders that are missing are made.
        seconds: time that each frame stays.

    Raises:
        ValueError: no frames, frames of several or other shapes, pixels that are not uint8, no time, or another name.
        OSError: the file cannot be written.

    Example:
        >>> write_gif([np.zeros((8, 8), np.uint8)] * 2, "build/example.gif")
    """
    frames = _as_frames(frames)
    if not (is_real(seconds) and seconds > 0):
        raise ValueError(f"Got seconds={seconds!r}, expected a number above 0.")
    path = pathlib.Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"Got path={path.as_posix()!r}, expected a name that ends in .gif.")
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [*[1000 * seconds] * (len(frames) - 1), 1000]  # milliseconds
    # 5 bits, 32 shades, are enough for digits and curves, and a film has to fit into a notebook.
    options = {"is_batch": True, "save_all": True, "bits": 5, "duration": durations, "loop": 0}
    with open(path, "wb") as file:  # imageio would look for archives and addresses in a name
        iio.imwrite(file, np.stack(frames), plugin="pillow", extension=".gif", **options)


def player(
    frames: Sequence[np.ndarray],
    alt: str,
    captions: Sequence[str] | None = None,
    seconds: float = 0.4,
    width: int = 640,
) -> HTML:
    """A film on the page: a slider that steps, a button that plays and pauses, and the last frame as a still.

    The page shows small frames large, each pixel as a square. It needs neither a network nor a kernel; where scripts
    do not run, as in print, the last frame stands there.

    Args:
        frames: uint8 arrays of one shape, (height, width) or (height, width, 3), such as those of `SampleGrid.frames`.
        alt: what the film shows, for readers who do not see it.
        captions: one for each frame, below it; None is epoch 0, epoch 1, and so on, as `SampleGrid` counts.
        seconds: that each frame stays.
        width: of the film on the page, in pixels.

    Raises:
        ValueError: `write_gif` refuses the frames, or there is not one caption for each.

    Example:
        >>> film = player([np.zeros((28, 28), np.uint8)] * 2, "A black square stays black.")
        >>> film.data.count("<img")
        2
    """
    frames = _as_frames(frames)
    captions = [f"epoch {epoch}" for epoch in range(len(frames))] if captions is None else captions
    if len(frames) != len(captions):
        raise ValueError(f"Got {len(frames)} frames and {len(captions)} captions, expected a caption for each.")
    if not (is_whole(width) and is_real(seconds) and seconds > 0):
        raise ValueError(f"Got width={width!r} and seconds={seconds!r}, expected pixels and a time, both above 0.")
    last = len(frames) - 1
    style = f"width:{width}px;max-width:100%;image-rendering:{'pixelated' if frames[0].shape[1] < width else 'auto'}"
    images = "".join(
        f'<img src="data:image/webp;base64,{_webp(frame)}" alt="{html.escape(f"{alt} {caption}")}" '
        f'data-caption="{html.escape(caption)}" style="{style};display:{"block" if index == last else "none"}">'
        for index, (frame, caption) in enumerate(zip(frames, captions, strict=True))
    )
    buttons = f"""<button type="button" aria-label="play or pause" onclick="{PLAY % (1000 * seconds)}">▶ ⏸</button>
<input type="range" aria-label="frame" min="0" max="{last}" value="{last}" style="width:60%" oninput="{SHOW}">
<output style="font-size:130%">{html.escape(captions[-1])}</output>"""
    return HTML(f'<figure style="margin:0">{images}<figcaption>{buttons}</figcaption></figure>')


# Run on a click and on a move of the slider. No identifiers: a page may hold many films.
SHOW = (
    "const figure=this.closest('figure'),images=[...figure.querySelectorAll('img')];"
    "images.forEach((image,index)=>image.style.display=index==this.value?'block':'none');"
    "figure.querySelector('output').textContent=images[this.value].dataset.caption;"
)
PLAY = (
    "const figure=this.closest('figure'),slider=figure.querySelector('input');"
    "if(figure.timer){clearInterval(figure.timer);figure.timer=0}else{figure.timer=setInterval(()=>{"
    "slider.value=slider.value==slider.max?0:+slider.value+1;slider.dispatchEvent(new Event('input'))},%d)}"
)


def _as_frames(frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The frames of a film, if they are pictures of one shape."""
    frames = list(frames) if isinstance(frames, Iterable) else [frames]
    shapes = {(np.shape(frame), str(getattr(frame, "dtype", type(frame)))) for frame in frames}
    pictures = all(len(shape) > 1 and 0 not in shape and shape[2:] in ((), (3,)) for shape, _ in shapes)
    if not pictures or len(shapes) != 1 or any(kind != "uint8" for _, kind in shapes):
        form = "uint8 arrays of one shape, (height, width) or (height, width, 3)"
        raise ValueError(f"Got frames of {sorted(shapes)}, expected one or more {form}.")
    return frames


def _webp(frame: np.ndarray) -> str:
    """A frame without loss, small, as text."""
    file = io.BytesIO()
    Image.fromarray(frame).convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=4)
    return base64.b64encode(file.getvalue()).decode()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table as a notebook output: the first column is left-aligned, the others, of numbers, right-aligned.

    Args:
        header: names of the columns.
        rows: of cells; each is written as `str` writes it, and may hold Markdown.

    Raises:
        ValueError: a row has another number of cells than the header.

    Example:
        >>> print(table(["loss", "modes"], [["minimax", 8]]).data)
        | loss | modes |
        |:---|---:|
        | minimax | 8 |
    """
    lines = [list(map(str, cells)) for cells in (header, *rows)]
    if wrong := [line for line in lines if len(line) != len(header)]:
        raise ValueError(f"Got the row {wrong[0]}, expected {len(header)} cells, one for each of {list(header)}.")
    rule = "|:---|" + "---:|" * (len(header) - 1)
    head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return Markdown("\n".join([head, rule, *body]))


def _curves(history: Mapping[str, Sequence[float]], names: Mapping[str, tuple[str, str]], ax: Axes | None) -> Axes:
    if not isinstance(history, Mapping):
        raise TypeError(f"Got history={history!r:.80}, expected lists by name. Pass gan.history.history.")
    missing = [name for name in names if name not in history]
    if missing:
        raise ValueError(f"The history has {sorted(history)}, but lacks {missing}. Pass gan.history.history.")
    curves = {name: as_numbers(name, history[name]) for name in names}
    ax = new_axes("", "epoch", "") if ax is None else ax
    for name, (label, color) in names.items():
        ax.plot(range(1, len(curves[name]) + 1), curves[name], color=color, label=label)
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax
