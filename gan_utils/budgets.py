"""One notebook, three budgets: seconds in CI, minutes on a laptop, the full run on a GPU."""

import os
from typing import TypeVar

import tensorflow as tf

Value = TypeVar("Value")
NAMES = ("smoke", "cpu", "gpu")


def budget_name() -> str:
    """Name of the budget in force: "smoke", "cpu" or "gpu".

    The environment variable `GAN_BUDGET` chooses. Where it is not set, the budget is "gpu" if TensorFlow sees a
    GPU, else "cpu".

    Raises:
        ValueError: `GAN_BUDGET` holds another word.

    Example:
        >>> budget_name() in ("smoke", "cpu", "gpu")
        True
    """
    name = os.environ.get("GAN_BUDGET", "")
    if not name:
        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    if name not in NAMES:
        raise ValueError(f"GAN_BUDGET is {name!r}, but must be one of {', '.join(NAMES)}. Correct it, or unset it.")
    return name


def budget(*, smoke: Value, cpu: Value, gpu: Value) -> Value:
    """The value that belongs to the budget in force. All three stand side by side, so that a reader sees them.

    Args:
        smoke: for CI: the whole notebook in under a minute.
        cpu: for a laptop in class: minutes.
        gpu: the full run.

    Raises:
        ValueError: `GAN_BUDGET` holds a word that is no budget.

    Example:
        >>> budget(smoke=1, cpu=8, gpu=60) in (1, 8, 60)
        True
    """
    return {"smoke": smoke, "cpu": cpu, "gpu": gpu}[budget_name()]
