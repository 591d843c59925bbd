"""How soon a DCGAN reaches a stated score: the paper's recipe against changes to it, one after the other.

    python studies/recipes.py                 # all runs, then a table; about half an hour on one core
    python studies/recipes.py --target 200    # the table for another score

All train the same small networks (16 base filters) on MNIST with the non-saturating loss, for the same CPU time on one
thread. The score is the Fréchet distance of 2,000 samples to the 10,000 test digits. Where G's weights are averaged,
the samples come from the averaged weights.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # before TensorFlow is imported

import methods
import study
from keras import optimizers

import gan_utils
from gan_utils import data, metrics, models

SEEDS = range(3)
SECONDS = 60.0  # of CPU time, training only
SAMPLES = 2_000
IMAGES_PER_CHECK = 12_800
SETTINGS: dict[str, dict[str, Any]] = {
    "the paper's recipe": {},
    "averaging": {"momentum": 0.99},
    "rate 8e-4": {"learning_rate": 8e-4},
    "rate 8e-4, averaging": {"learning_rate": 8e-4, "momentum": 0.99},
    "rate 8e-4, averaging, batch 64": {"learning_rate": 8e-4, "momentum": 0.99, "batch_size": 64},
}


class AveragedScore(gan_utils.Score):
    """`Score` of the samples that the running mean of G's weights draws."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        with averaged(self.model):
            super().on_epoch_end(epoch, logs)


@contextlib.contextmanager
def averaged(gan: gan_utils.GAN) -> Iterator[None]:
    """Lends the generator the running mean that its optimizer keeps of its weights."""
    variables = gan.generator.trainable_variables
    kept = [variable.numpy() for variable in variables]
    gan.g_optimizer.finalize_variable_values(variables)
    yield
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)


def train(
    seed: int, learning_rate: float = 2e-4, batch_size: int = 128, momentum: float | None = None
) -> dict[str, Any]:
    """One run of `SECONDS`: its learning curve of (CPU seconds, Fréchet distance)."""
    networks = models.dcgan_generator(base_filters=16), models.dcgan_discriminator(base_filters=16)
    gan = gan_utils.GAN(*networks, latent_dim=100)
    averaging = {"use_ema": True, "ema_momentum": momentum} if momentum else {}
    gan.compile(
        optimizers.Adam(learning_rate, beta_1=0.5),
        optimizers.Adam(learning_rate, beta_1=0.5, **averaging),
        steps_per_execution=10,
    )
    kind = AveragedScore if momentum else gan_utils.Score
    score = kind(study.frechet, SAMPLES, "frechet", clock=time.process_time)
    dataset = data.batches(data.load_mnist()[0], batch_size, seed)
    history = methods.fit_for(gan, dataset, IMAGES_PER_CHECK // batch_size, score, SECONDS)
    curve = zip(history["seconds"], history["frechet"], strict=True)
    return {"curve": [[round(seconds, 2), round(value, 2)] for seconds, value in curve]}


def report(target: float) -> None:
    """Prints, for each recipe, the CPU seconds until the target, and its last score."""
    runs = data.load_results("recipes")["runs"]
    print(f"{'':32}  seconds to {target:g}, each seed    last Fréchet distance")
    for setting in SETTINGS:
        curves = [run["curve"] for run in runs if run["setting"] == setting]
        times = [methods.seconds_to(target, curve) for curve in curves]
        last = [curve[-1][1] for curve in curves]
        print(f"{setting:32}", *(f"{seconds:7.1f}" for seconds in times), f"{metrics.summary(last, 0):>17}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=350.0, help="Fréchet distance to be reached (default: 350)")
    target = parser.parse_args().target
    protocol = {
        "cpu_seconds": SECONDS,
        "threads": 1,
        "networks": "DCGAN, 16 base filters, 28 pixels",
        "recipe": "the paper's: Adam, learning rate 2e-4, beta_1 0.5, batches of 128",
        "score": f"Fréchet distance of {SAMPLES:,} samples to the 10,000 test digits, "
        "features of the shipped classifier",
    }
    study.conduct("recipes", protocol, SETTINGS, SEEDS, train)
    report(target)


if __name__ == "__main__":
    main()
