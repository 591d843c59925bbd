"""Makes docs/film.gif, the film at the top of the README: digits and sketched faces, while they are being learned.

    python tools/film.py

Two DCGANs learn by the command line's quick recipe, for a few minutes each on two CPU cores; sixteen samples of each,
always of the same latent points, are drawn more and more rarely.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import gan_utils
from gan_utils import data, faces, models, plotting

FILM = pathlib.Path(__file__).resolve().parent.parent / "docs" / "film.gif"
STEPS = [0, 20, 40, 60, 80, 100, 140, 180, 220, 260, 300, 360, 420, 500, 600, 700, 800, 1000, 1200, 1500]
HEIGHT = 64  # of an image in the film, in pixels; digits are made as large as faces by a rim


def frames(images: np.ndarray, side: int, channels: int) -> list[np.ndarray]:
    """Sixteen samples after each of STEPS, tiled 4 × 4, uint8 in colour."""
    networks = (
        models.dcgan_generator(side, channels, base_filters=32),
        models.dcgan_discriminator(side, channels, base_filters=32),
    )
    gan = gan_utils.GAN(*networks, latent_dim=100, seed=0, average=0.99)
    gan.compile(*(keras.optimizers.Adam(8e-4, beta_1=0.5) for _ in networks), steps_per_execution=20)
    dataset = data.batches(images, 64, seed=0).repeat()
    pictures = []
    for before, after in zip([0, *STEPS], STEPS, strict=False):
        if after > before:
            gan.fit(dataset, steps_per_epoch=after - before, verbose=0)
        samples = gan.sample(16, seed=0)
        rim = (32 - side) // 2
        samples = np.pad(samples, ((0, 0), (rim, rim), (rim, rim), (0, 0)), constant_values=-1.0)
        picture = plotting.film_frame(samples, 4, f"step {after}", height=HEIGHT)
        pictures.append(picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1))
    return pictures


def main() -> None:
    keras.utils.set_random_seed(0)
    digits = frames(data.load_mnist("train")[0], 28, 1)
    people = frames(faces.draw(faces.sample_attributes(20_000, seed=0)), 32, 3)
    gap = np.full((len(digits[0]), 16, 3), 255, np.uint8)
    film = [np.concatenate([left, gap, right], axis=1) for left, right in zip(digits, people, strict=True)]
    plotting.write_gif(film, FILM, seconds=0.3)


if __name__ == "__main__":
    main()
