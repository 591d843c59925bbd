"""Times the DCGAN's training step against precision, XLA and batch size, on a CPU or a GPU.

    python benchmarks/precision.py                     # a few minutes on two CPU cores
    python benchmarks/precision.py --json times.json   # data/results/precision_gpu.json is such a file, of a GPU

Two networks of the course: digits, 28×28 and gray with 64 base filters, and faces, 64×64 in colour with 128, those of
the paper. One batch in memory serves every step. Ten steps are one call (`steps_per_execution`) and, but for the line
that says so, nothing else is set. The best of several rounds counts. Work is counted as in `train_step.py`; the share
is of the best matrix product in float32 that the same machine reaches, so 16 bits may exceed 100 %.
"""

import argparse
import itertools
import json
import os
import pathlib
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # without effect once TensorFlow is imported

import contestants
import keras
import numpy as np
import tensorflow as tf
from train_step import describe, matmul_rate

import gan_utils
from gan_utils import models

NETWORKS = {"digits, 28 px": (28, 1, 64), "faces, 64 px": (64, 3, 128)}
AT_ONCE = 10


def build(image_size: int, channels: int, filters: int, policy: str, **settings: Any) -> gan_utils.GAN:
    """A compiled DCGAN whose networks compute under this dtype policy."""
    keras.config.set_dtype_policy(policy)
    try:
        networks = (
            models.dcgan_generator(image_size, channels, base_filters=filters),
            models.dcgan_discriminator(image_size, channels, base_filters=filters),
        )
        gan = gan_utils.GAN(*networks, latent_dim=100)
        gan.compile(*contestants.adams(), **settings)
    finally:
        keras.config.set_dtype_policy("float32")
    return gan


def milliseconds(gan: gan_utils.GAN, batch: np.ndarray, at_once: int, rounds: int, seconds: float) -> dict[str, Any]:
    """The best round, for one step, and the seconds of the first call, which traces and compiles."""
    begin = time.perf_counter()
    run = contestants.through_fit(gan, lambda: iter(tf.data.Dataset.from_tensors(batch).repeat()))
    run(1)
    first, times, deadline = time.perf_counter() - begin, [], time.perf_counter() + seconds
    calls = max(1, AT_ONCE // at_once)
    for _ in range(rounds):
        begin = time.perf_counter()
        run(calls)
        times.append(1e3 * (time.perf_counter() - begin) / calls / at_once)
        if time.perf_counter() > deadline:
            break
    return {"ms": round(min(times), 3), "first_call_s": round(first, 1), "rounds": len(times)}


def main() -> None:
    """Prints a line for each setting, and writes all of them where they are wanted."""
    parser = argparse.ArgumentParser(description="Times the DCGAN's step against precision, XLA and batch size.")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256], help="sizes (default 64 256)")
    parser.add_argument("--seconds", type=float, default=5.0, help="at most, for one setting (default 5)")
    parser.add_argument("--json", type=pathlib.Path, help="where to write all results")
    arguments = parser.parse_args()
    results = {"command": " ".join(["python", *sys.argv]), **describe([]), "runs": []}
    gpus = tf.config.list_physical_devices("GPU")
    results["machine"]["gpu_names"] = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    print(results["machine"], flush=True)
    ways = [(policy, xla, AT_ONCE) for policy in ("float32", "mixed_bfloat16") for xla in (False, True)]
    ways.append(("float32", False, 1))
    for (name, shape), count, way in itertools.product(NETWORKS.items(), arguments.batches, ways):
        policy, xla, at_once = way
        batch = np.random.default_rng(0).uniform(-1.0, 1.0, (count, shape[0], shape[0], shape[1])).astype(np.float32)
        peak = max(matmul_rate(4096) for _ in range(3))
        run = {"network": name, "batch": count, "policy": policy, "xla": xla, "steps_per_execution": at_once}
        try:
            gan = build(*shape, policy, jit_compile=xla, steps_per_execution=at_once)
            run |= milliseconds(gan, batch, at_once, 100, arguments.seconds)
            work = contestants.step_flops((gan.generator, gan.discriminator), contestants.CONTESTANTS["ours"])
            work *= count / contestants.BATCH
            run |= {"gflop": round(work / 1e9, 2), "share": round(work / run["ms"] * 1e3 / peak, 3)}
        except (tf.errors.OpError, ValueError) as error:
            run["failed"] = str(error).strip().splitlines()[0][:200]
        run["float32_matmul_tflops"] = round(peak / 1e12, 2)
        results["runs"].append(run)
        print(run, flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
