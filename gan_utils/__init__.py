"""The code that two or more notebooks of the course share. Start reading in `training.py`."""

import importlib.metadata

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"gan_utils trains with tf.GradientTape, but Keras runs on the {keras.backend.backend()} backend. "
        "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
    )

from gan_utils import checkpoints, data, faces, latent, losses, metrics, models, plotting, training
from gan_utils.budgets import budget, budget_name
from gan_utils.checkpoints import Checkpoint
from gan_utils.training import GAN, Progress, SampleGrid, Score

__all__ = [
    "GAN",
    "Checkpoint",
    "Progress",
    "SampleGrid",
    "Score",
    "budget",
    "budget_name",
    "checkpoints",
    "data",
    "faces",
    "latent",
    "losses",
    "metrics",
    "models",
    "plotting",
    "training",
]
__version__ = importlib.metadata.version("gan_utils")
