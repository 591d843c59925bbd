"""Times the training step of `gan_utils.GAN` against the other ways of writing it that `contestants.py` describes.

    python benchmarks/train_step.py                    # two to three minutes on two CPU cores
    python benchmarks/train_step.py --json times.json

All take turns in many short rounds. Other programs can only slow a round down, so the best rounds are compared, by the
clock and by the CPU time of all threads, which for TensorFlow hardly depends on what else is running. It does for
torch, whose threads spin while they wait for each other: on a busy machine its steps seem many times slower than they
are. Where torch is not installed, its line is left out.

Start-up runs from the launch of a fresh process to the end of its first step on the DCGAN.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # without effect once TensorFlow is imported

from contestants import BATCH, CONTESTANTS, PENALISED, SIZES, Run, check_twins, step_flops


def time_steps(runs: dict[str, Run], rounds: int, steps: int, seconds: float) -> dict[str, Any]:
    """Milliseconds a step in each round, by the clock and of CPU time, and the best matrix multiplication between.

    Each round has another order of contestants. After `seconds`, no further round begins.
    """
    names = [*runs]
    for run in runs.values():
        run(2)  # tracing, and first allocations
    clock: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    peak, deadline = matmul_rate(), time.perf_counter() + seconds
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin, cpu_begin = time.perf_counter(), time.process_time()
            runs[name](steps)
            clock[name].append(1e3 * (time.perf_counter() - begin) / steps)
            cpu[name].append(1e3 * (time.process_time() - cpu_begin) / steps)
        peak = max(peak, matmul_rate())
        if time.perf_counter() > deadline:
            break
    return {"steps_per_round": steps, "matmul_flops": peak, "milliseconds": clock, "cpu_milliseconds": cpu}


def matmul_rate(side: int = 2048) -> float:
    """Floating-point operations a second of one large float32 matrix multiplication in TensorFlow."""
    import tensorflow as tf

    factor = tf.ones((side, side))
    begin = time.perf_counter()
    float(tf.matmul(factor, factor)[0, 0])
    return 2 * side**3 / (time.perf_counter() - begin)


def first_step(name: str) -> tuple[float, float]:
    """Makes one step of the DCGAN; returns the time of day at which it was done, and this process's CPU time so far."""
    CONTESTANTS[name].build(SIZES["DCGAN"])(1)
    return time.time(), time.process_time()


def time_startups(names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds from the launch of a fresh process to the end of its first step, by the clock and of CPU time, in turns.

    Raises:
        RuntimeError: a process failed.
    """
    clock: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for _, name in itertools.product(range(repeats), names):
        begin = time.time()
        child = subprocess.run([sys.executable, __file__, "--startup", name], capture_output=True, text=True)
        if child.returncode:
            raise RuntimeError(f"The first step of {name!r} failed:\n{child.stderr}")
        end, cpu_seconds = map(float, child.stdout.split())
        clock[name].append(end - begin)
        cpu[name].append(cpu_seconds)
    return {"seconds": clock, "cpu_seconds": cpu}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drops what libraries write to stderr: TensorFlow logs while it loads, before it reads its log level."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)


def processor() -> str:
    """The CPU's model name, or what `platform` knows where Linux does not tell."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def describe(names: list[str]) -> dict[str, Any]:
    """The versions and the machine that the times belong to."""
    import tensorflow as tf

    packages = ["tensorflow", "keras", "gan_utils", "numpy", *({"torch"} & set(names))]
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
    gpus = len(tf.config.list_physical_devices("GPU"))
    return {"versions": versions, "machine": {"cpu": processor(), "cores": os.cpu_count(), "gpus": gpus}}


def step_table(title: str, result: dict[str, Any]) -> str:
    """The best rounds as text, with the share of the matrix-multiplication rate that each contestant reaches."""
    clock, cpu, peak = result["milliseconds"], result["cpu_milliseconds"], result["matmul_flops"]
    lines = [
        f"\n{title}, batch {BATCH}, best of {len(clock['ours'])} rounds of {result['steps_per_round']} steps; "
        f"a matrix multiplication reaches {peak / 1e9:,.0f} GFLOP/s",
        f"{'':10}{'ms a step':>10}{'of ours':>9}{'CPU ms':>9}{'of ours':>9}{'GFLOP':>8}{'of peak':>9}",
    ]
    for name, flops in result["flops"].items():
        best, best_cpu = min(clock[name]), min(cpu[name])
        ratios = best / min(clock["ours"]), best_cpu / min(cpu["ours"])
        share = flops / (best / 1e3) / peak
        lines.append(
            f"{name:10}{best:10.1f}{ratios[0]:9.2f}{best_cpu:9.1f}{ratios[1]:9.2f}{flops / 1e9:8.2f}{share:9.0%}"
        )
    return "\n".join(lines)


def penalty_line(result: dict[str, Any]) -> str:
    """The step with a gradient penalty against the same by hand, as text."""
    best = {name: min(times) for name, times in result["milliseconds"].items()}
    cpu = {name: min(times) for name, times in result["cpu_milliseconds"].items()}
    return (
        f"with a gradient penalty, best of {len(result['milliseconds']['ours'])}: ours {best['ours']:.1f} ms, by hand "
        f"{best['by hand']:.1f} ms, {best['ours'] / best['by hand']:.2f} times; CPU time {cpu['ours']:.1f} and "
        f"{cpu['by hand']:.1f} ms, {cpu['ours'] / cpu['by hand']:.2f} times"
    )


def startup_table(result: dict[str, Any]) -> str:
    """The best start-ups as text."""
    clock, cpu = result["seconds"], result["cpu_seconds"]
    lines = [
        f"\nStart-up to the end of the first step, DCGAN, best of {len(clock['ours'])}",
        f"{'':10}{'seconds':>10}{'of ours':>9}{'CPU s':>9}{'of ours':>9}",
    ]
    for name in clock:
        best, best_cpu = min(clock[name]), min(cpu[name])
        ratios = best / min(clock["ours"]), best_cpu / min(cpu["ours"])
        lines.append(f"{name:10}{best:10.2f}{ratios[0]:9.2f}{best_cpu:9.2f}{ratios[1]:9.2f}")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times GAN's training step against other ways of writing it.")
    parser.add_argument("--rounds", type=int, default=30, help="of every contestant, at most (default 30)")
    parser.add_argument("--steps", type=int, help="in a round (default: about a quarter second)")
    parser.add_argument("--seconds", type=float, default=30.0, help="at most, for one size of network (default 30)")
    parser.add_argument("--repeats", type=int, default=3, help="of the start-up; 0 leaves it out (default 3)")
    parser.add_argument("--json", type=pathlib.Path, help="where to write all results")
    parser.add_argument("--startup", choices=CONTESTANTS, help="make one step, print two times, and end")
    return parser.parse_args()


def main() -> None:
    """Prints the tables, and writes the results where they are wanted."""
    arguments = parse()
    if arguments.startup:
        print(*first_step(arguments.startup))
        return
    with silence():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")

    names = [name for name in CONTESTANTS if name != "torch" or importlib.util.find_spec("torch")]
    results = {"command": " ".join(["python", *sys.argv]), **describe(names), "steps": {}, "startup": {}}
    print(*(f"{key} {value}" for key, value in (results["versions"] | results["machine"]).items()), sep=", ")
    if "torch" not in names:
        print("torch is not installed: PyTorch's loop is left out.")
    for title, size in SIZES.items():
        networks = size.networks()
        if "torch" in names:
            check_twins(networks, size.twins())
        flops = {name: step_flops(networks, CONTESTANTS[name]) for name in names}
        length = (arguments.rounds, arguments.steps or size.steps, arguments.seconds)
        times = time_steps({name: CONTESTANTS[name].build(size) for name in names}, *length)
        results["steps"][title] = {"flops": flops, **times}
        print(step_table(title, results["steps"][title]), flush=True)
        times = time_steps({name: build(size) for name, build in PENALISED.items()}, *length)
        results["steps"][f"{title}, gradient penalty"] = times
        print(penalty_line(times), flush=True)
    if arguments.repeats:
        results["startup"] = time_startups(names, arguments.repeats)
        print(startup_table(results["startup"]))
    print("\nThe best rounds are compared: other programs only slow a round down, and torch's most of all.")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
