"""Times all metrics on 10,000 against 10,000 samples of 256 features, and their memory.

python benchmarks/metrics.py
"""

import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from gan_utils import metrics

SAMPLES, FEATURES = 10_000, 256


def peak() -> float:
    """The most memory that this process has held so far, in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    real, fake = np.random.default_rng(0).normal(size=(2, SAMPLES, FEATURES))
    calls = {
        "frechet_distance": lambda: metrics.frechet_distance(real, fake),
        "kernel_distance": lambda: metrics.kernel_distance(real, fake),
        "inception_score": lambda: metrics.inception_score(fake),
        "precision_recall": lambda: metrics.precision_recall(real, fake),
        "nearest_neighbors": lambda: metrics.nearest_neighbors(fake, real),
    }
    before, total = peak(), 0.0
    for name, call in calls.items():
        begin = time.perf_counter()
        call()
        seconds = time.perf_counter() - begin
        total += seconds
        print(f"{name:18} {seconds:5.2f} s")
    print(f"{'all':18} {total:5.2f} s; {peak():.0f} MiB at most, {before:.0f} MiB of it before")


if __name__ == "__main__":
    main()
