"""One epoch and twenty: the command line's quick recipe against the DCGAN paper's, on the same networks.

    python studies/epochs.py --select   # candidates for the quick recipe, on a validation part; about an hour
    python studies/epochs.py            # the chosen one and the paper's, 3 seeds, on the test digits; about an hour
    python studies/epochs.py --report   # the tables

One thread, MNIST, non-saturating loss. A candidate learns from the first 50,000 training digits and is scored on the
other 10,000. Where G's weights are averaged, the mean draws the samples.
"""

import argparse
import functools
import os
import statistics
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # before TensorFlow is imported

import numpy as np
import study
from keras import optimizers

import gan_utils
from gan_utils import data, metrics, models

EPOCHS = 20
SAMPLES, LAST_SAMPLES = 2_000, 10_000
LEARNED, VALIDATION = slice(50_000), slice(50_000, 60_000)
SELECTION_SEED, SEEDS = 100, range(3)

PAPER = {"filters": 16, "rate": 2e-4, "batch_size": 128}
CANDIDATES: dict[str, dict[str, Any]] = {
    "rate 8e-4, batch 64, mean 0.99": {"filters": 16, "rate": 8e-4, "batch_size": 64, "average": 0.99},
    "rate 4e-4, batch 64, mean 0.99": {"filters": 16, "rate": 4e-4, "batch_size": 64, "average": 0.99},
    "rate 8e-4, batch 64, mean 0.999": {"filters": 16, "rate": 8e-4, "batch_size": 64, "average": 0.999},
    "32 filters, rate 8e-4, batch 64, mean 0.99": {"filters": 32, "rate": 8e-4, "batch_size": 64, "average": 0.99},
}
FINAL = {"the paper's recipe": PAPER, "quick": CANDIDATES["rate 8e-4, batch 64, mean 0.99"]}


def train(
    seed: int, filters: int, rate: float, batch_size: int, average: float | None = None, select: bool = False
) -> dict[str, Any]:
    """One run: after each epoch the CPU seconds so far and the Fréchet distance; in the end that of 10,000 samples."""
    images = data.load_mnist()[0]
    reference = validation() if select else study.reference()
    networks = models.dcgan_generator(base_filters=filters), models.dcgan_discriminator(base_filters=filters)
    gan = gan_utils.GAN(*networks, latent_dim=100, average=average)
    gan.compile(*(optimizers.Adam(rate, beta_1=0.5) for _ in networks), steps_per_execution=10)

    def distance(samples: np.ndarray) -> float:
        return metrics.frechet_distance(metrics.digit_features(samples)[0], reference)

    score = gan_utils.Score(distance, SAMPLES, "frechet", clock=time.process_time)
    dataset = data.batches(images[LEARNED] if select else images, batch_size, seed)
    history = gan.fit(dataset, epochs=EPOCHS, callbacks=[score], verbose=0).history
    curve = zip(history["seconds"], history["frechet"], strict=True)
    return {
        "curve": [[round(seconds, 1), round(value, 2)] for seconds, value in curve],
        "last": round(distance(gan.sample(LAST_SAMPLES, seed=1)), 2),
    }


@functools.cache
def validation() -> np.ndarray:
    """Features of the held-out training digits, (10000, 128)."""
    return metrics.digit_features(data.load_mnist()[0][VALIDATION])[0]


def report() -> None:
    """Prints both distances of each setting, mean ± standard error, and the paired difference of the final two."""
    runs = data.load_results("epochs")["runs"]
    print(f"{'':58}{'seeds':>6}{'1 epoch':>14}{f'{EPOCHS} epochs':>14}{'N = 10,000':>14}{'CPU s':>8}")
    for setting in dict.fromkeys(run["setting"] for run in runs):
        mine = [run for run in runs if run["setting"] == setting]
        columns = [[run["curve"][0][1] for run in mine], [run["curve"][-1][1] for run in mine]]
        told = "".join(f"{metrics.summary(values):>14}" for values in [*columns, [run["last"] for run in mine]])
        print(f"{setting:58}{len(mine):6}{told}{statistics.mean(run['curve'][-1][0] for run in mine):8.0f}")
    last = {(run["setting"], run["seed"]): run["last"] for run in runs}
    pairs = [
        (last[("the paper's recipe", seed)], last.get(("quick", seed)))
        for seed in SEEDS
        if ("the paper's recipe", seed) in last
    ]
    if pairs and all(quick is not None for _, quick in pairs):
        print(
            f"quick − paper, N = 10,000, paired by seed: {metrics.summary([quick - paper for paper, quick in pairs])}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--select", action="store_true", help="train the candidates on the validation part")
    parser.add_argument("--report", action="store_true", help="print the tables only")
    args = parser.parse_args()
    protocol = {
        "epochs": EPOCHS,
        "threads": 1,
        "networks": "DCGAN, 28 pixels, 16 base filters where not said",
        "paper": "Adam, learning rate 2e-4, beta_1 0.5, batches of 128, weights not averaged",
        "score": f"Fréchet distance of {SAMPLES:,} samples after each epoch, of {LAST_SAMPLES:,} in the end",
        "selection": "trained on 50,000 digits, scored on the other 10,000 of the training set, seed 100",
    }
    if args.select:
        candidates = {f"selection · {name}": {**setting, "select": True} for name, setting in CANDIDATES.items()}
        study.conduct("epochs", protocol, candidates, [SELECTION_SEED], train)
    elif not args.report:
        study.conduct("epochs", protocol, FINAL, SEEDS, train)
    report()


if __name__ == "__main__":
    main()
