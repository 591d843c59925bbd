"""What a long run costs: steps against batch size, epochs against other ways, waiting for data, memory.

python benchmarks/long_runs.py                     # about ten minutes on two CPU cores
python benchmarks/long_runs.py waiting memory      # some parts only
python benchmarks/long_runs.py --json long.json

batch_size  the training step of `gan_utils.GAN` on real digits, for batches of 16 to 512.
epoch       the ways that `contestants.py` describes, each with its own pipeline over the same 60,000 shuffled
            digits, in turns of a fraction of an epoch. The best turns are compared, and scaled to an epoch.
waiting     the share of a step's time that passes until the pipeline hands over the next batch.
memory      what 20 trainings in one process leave behind, and what drawing 100,000 samples takes, in a process of
            its own.
"""

import argparse
import importlib.util
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # without effect once TensorFlow is imported

from contestants import BATCH, CONTESTANTS, LATENT, SIZES, adams
from train_step import describe, silence

DIGITS = 60_000


def digits(batch_size: int = BATCH) -> Iterator[Any]:
    """Endless batches through the pipeline of the course."""
    from gan_utils import data

    return iter(data.batches(data.load_mnist()[0], batch_size).repeat())


def torch_digits() -> Iterator[Any]:
    """Endless batches as PyTorch's tutorial reads them, from a tensor in memory, channels first."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from gan_utils import data

    images = torch.from_numpy(data.load_mnist()[0].transpose(0, 3, 1, 2).copy())
    loader = DataLoader(TensorDataset(images), BATCH, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def batch_size(seconds: float) -> list[dict[str, Any]]:
    """Milliseconds a step for each size of batch, the best of many."""
    rows = []
    for (title, size), count in itertools.product(SIZES.items(), (16, 32, 64, 128, 256, 512)):
        run = CONTESTANTS["ours"].build(size, lambda count=count: digits(count))
        run(3)
        best, deadline = float("inf"), time.perf_counter() + seconds / 6
        while time.perf_counter() < deadline:
            begin = time.perf_counter()
            run(3)
            best = min(best, (time.perf_counter() - begin) / 3)
        rows.append({"networks": title, "batch": count, "milliseconds": 1e3 * best, "digits_a_second": count / best})
        print(
            f"{title:6} batch {count:4}  {1e3 * best:8.1f} ms a step  {count / best:8,.0f} digits a second", flush=True
        )
    return rows


def epoch(seconds: float) -> list[dict[str, Any]]:
    """Seconds an epoch for each way, from its best turn."""
    rows = []
    names = [name for name in CONTESTANTS if name != "torch" or importlib.util.find_spec("torch")]
    for title, size in SIZES.items():
        runs = {name: CONTESTANTS[name].build(size, torch_digits if name == "torch" else digits) for name in names}
        steps = 8 * size.steps
        times: dict[str, list[float]] = {name: [] for name in names}
        for run in runs.values():
            run(2)
        deadline = time.perf_counter() + 2 * seconds
        while time.perf_counter() < deadline:
            for name, run in runs.items():
                begin = time.perf_counter()
                run(steps)
                times[name].append((time.perf_counter() - begin) / steps * DIGITS / BATCH)
        for name in names:
            rows.append({"networks": title, "way": name, "seconds": times[name]})
            ratio = min(times[name]) / min(times["ours"])
            print(f"{title:6} {name:10} {min(times[name]):8.1f} s an epoch  {ratio:6.2f} of ours", flush=True)
    return rows


def waiting(seconds: float) -> list[dict[str, Any]]:
    """The share of the time that passes in `next`, and not in the step."""
    import tensorflow as tf

    import gan_utils

    rows = []
    for title, size in SIZES.items():
        gan = gan_utils.GAN(*size.networks(), latent_dim=LATENT)
        gan.compile(*adams())
        step, batches = tf.function(gan.train_step), digits()
        step(next(batches))
        waited, begin = 0.0, time.perf_counter()
        while time.perf_counter() < begin + seconds / 2:
            asked = time.perf_counter()
            real = next(batches)
            waited += time.perf_counter() - asked
            float(step(real)["d_loss"])  # waits until the step is done, on a GPU too
        share = waited / (time.perf_counter() - begin)
        rows.append({"networks": title, "share": share})
        print(f"{title:6} waits for data {share:.2%} of the time", flush=True)
    return rows


def memory(seconds: float) -> list[dict[str, Any]]:
    """Megabytes that trainings and samples take; each in a fresh process."""
    rows = []
    for part in ("trainings", "samples"):
        command = [sys.executable, __file__, "--measure", part]
        child = subprocess.run(command, capture_output=True, text=True)
        if child.returncode:
            raise RuntimeError(f"Measuring the memory of {part} failed:\n{child.stderr}")
        rows.append(json.loads(child.stdout.splitlines()[-1]))
        print(*(f"{name}: {value}" for name, value in rows[-1].items()), sep=", ", flush=True)
    return rows


def measure_trainings() -> dict[str, Any]:
    """20 short trainings of new networks, one after the other."""
    import keras
    import psutil

    import gan_utils
    from gan_utils import data

    images, sizes = data.load_mnist("test")[0][:BATCH], []
    for _ in range(20):
        keras.backend.clear_session()
        gan = gan_utils.GAN(*SIZES["DCGAN"].networks(), latent_dim=LATENT)
        gan.compile(*adams())
        gan.fit(data.batches(images, BATCH), verbose=0)
        sizes.append(round(psutil.Process().memory_info().rss / 1e6))
    return {"trainings": 20, "MB after each": sizes, "MB a training after the second": (sizes[-1] - sizes[1]) / 18}


def measure_samples() -> dict[str, Any]:
    """The growth while 100,000 digits, 314 MB in all, are drawn and dropped."""
    import psutil

    import gan_utils

    gan = gan_utils.GAN(*SIZES["MLP"].networks(), latent_dim=LATENT)
    next(gan.stream(256))
    start = peak = psutil.Process().memory_info().rss
    for _ in gan.stream(100_000):
        peak = max(peak, psutil.Process().memory_info().rss)
    return {"samples": 100_000, "MB at most beyond the start": round((peak - start) / 1e6)}


PARTS = {"batch_size": batch_size, "epoch": epoch, "waiting": waiting, "memory": memory}


def main() -> None:
    """Prints what was measured, and writes it where it is wanted."""
    parser = argparse.ArgumentParser(description="Measures what a long run costs.")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each table (default 60)")
    parser.add_argument("--json", type=pathlib.Path, help="where to write all results")
    parser.add_argument("--measure", choices=["trainings", "samples"], help="one measurement of memory, as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"Got {sorted(unknown)}, expected some of {', '.join(PARTS)}.")
    with silence():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    if arguments.measure:
        print(json.dumps(measure_trainings() if arguments.measure == "trainings" else measure_samples()))
        return
    results = {"command": " ".join(["python", *sys.argv]), **describe([])}
    for name in arguments.parts or PARTS:
        results[name] = PARTS[name](arguments.seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
