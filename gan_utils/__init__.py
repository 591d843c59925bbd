"""The code that two or more notebooks of the course share. Start reading in `training.py`.

Names are imported when they are first used, so that `python -m gan_utils --help` need not wait for TensorFlow.
"""

import importlib
import importlib.metadata
from typing import Any

_HOMES = {
    "GAN": "training",
    "Checkpoint": "checkpoints",
    "LearningRates": "callbacks",
    "Progress": "callbacks",
    "SampleGrid": "callbacks",
    "Score": "callbacks",
    "budget": "budgets",
    "budget_name": "budgets",
}
_MODULES = [
    *("attention", "augmentation", "autoregressive", "callbacks", "checkpoints", "data", "diversity", "faces", "games"),
    *("growing", "latent", "layers", "losses", "metrics", "models", "normalization", "penalties", "plotting"),
    *("training", "vae"),
]

__all__ = [*_HOMES, *_MODULES]
__version__ = importlib.metadata.version("gan_utils")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gan_utils' has no attribute {name!r}")
    _check_backend()
    module = importlib.import_module(f"gan_utils.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _check_backend() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"gan_utils trains with tf.GradientTape, but Keras runs on the {keras.backend.backend()} backend. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )
