"""Files and checkpoints that version 0.1.0 of the package wrote still open, and go on as they would have there."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from packaging import version

from gan_utils import GAN, Checkpoint, data, losses, models

FOLDER = pathlib.Path(__file__).parent / "v0_1_0"
EXPECTED = json.loads((FOLDER / "expected.json").read_text("utf-8"))


def build():
    """As the script did that wrote the files."""
    keras.utils.set_random_seed(3)
    hidden = [layers.Dense(4, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    generator = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(2)])
    gan = GAN(generator, models.mlp_discriminator((2,), (8,), dropout_rate=0.5), latent_dim=3, seed=7)
    both = [keras.optimizers.Adam(1e-2, beta_1=0.5) for _ in range(2)]
    gan.compile(*both, losses.non_saturating(label_smoothing=0.1), d_steps=2)
    return gan


def dataset():
    return data.batches(data.gaussian_mixture(64, data.ring_centers(4), 0.05, seed=1), 8, seed=2)


@pytest.mark.skipif(
    version.parse(keras.__version__) < version.parse(EXPECTED["versions"]["keras"]),
    reason="an older Keras does not open what a newer one wrote",
)
def test_a_file_of_a_whole_gan_opens_with_its_recipe():
    gan = keras.saving.load_model(FOLDER / "gan.keras")
    np.testing.assert_allclose(gan.sample(4, seed=5), EXPECTED["samples_after_2"], atol=1e-5)
    assert (gan.objective.name, gan.d_steps) == ("non_saturating(label_smoothing=0.1)", 2)
    assert (gan.penalty, gan.average, gan.reuse_fakes) == (None, None, False)
    gan.fit(dataset(), verbose=0)


def versions(path):
    with np.load(path) as stored:
        return json.loads(str(stored["arr_0"]))["identity"]["versions"]


@pytest.mark.skipif(
    versions(FOLDER / "checkpoint.npz") != {"keras": keras.__version__, "tensorflow": tf.__version__},
    reason="a checkpoint goes on with the versions of Keras and TensorFlow that wrote it",
)
def test_a_checkpoint_goes_on_as_it_would_have_there(tmp_path):
    shutil.copy(FOLDER / "checkpoint.npz", tmp_path)
    gan = build()
    history = gan.fit(dataset(), epochs=3, callbacks=[Checkpoint(tmp_path / "checkpoint.npz")], verbose=0).history
    np.testing.assert_allclose(gan.sample(4, seed=5), EXPECTED["samples_after_3"], atol=1e-5)
    assert history.keys() == EXPECTED["history"].keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, EXPECTED["history"][name], atol=1e-5)
