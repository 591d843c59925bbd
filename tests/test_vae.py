import keras
import numpy as np
import pytest

from gan_utils import autoregressive, vae

DIGITS = (np.random.default_rng(0).random((40, 28, 28, 1)) < 0.2).astype("float32")


def networks(latent_dim=1, seed=0):
    """Untrained, with larger weights than they begin with in the last layer of the encoder."""
    keras.utils.set_random_seed(seed)
    pair = vae.encoder(2 * latent_dim, filters=2), vae.decoder(latent_dim, filters=2)
    pair[0].layers[-1].kernel.assign(3.0 * pair[0].layers[-1].kernel)
    pair[1].layers[0].kernel.assign(5.0 * pair[1].layers[0].kernel)
    return pair


def exact(decoder, images):
    """ln p(x) of one latent, by a sum over a grid."""
    ticks = np.linspace(-8.0, 8.0, 801)
    logits = decoder.predict(ticks[:, np.newaxis], batch_size=500, verbose=0).astype("float64")
    prior = 0.02 * np.exp(-0.5 * ticks**2) / np.sqrt(2.0 * np.pi)  # times the width of a step
    values = [np.asarray(autoregressive.log_probability(np.broadcast_to(x, logits.shape), logits)) for x in images]
    return np.array([x.max() + np.log((prior * np.exp(x - x.max())).sum()) for x in values])


def test_the_divergence_is_what_monte_carlo_finds():
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    z = mean + np.exp(0.5 * log_variance) * random.normal(size=(400_000, 2, 3))
    ratio = 0.5 * (z**2 - (z - mean) ** 2 / np.exp(log_variance) - log_variance).sum(axis=2)
    np.testing.assert_allclose(vae.gaussian_kl(mean, log_variance), ratio.mean(axis=0), rtol=0.01)


def test_bounds_rise_to_the_exact_likelihood():
    encoder, decoder = networks()
    true = exact(decoder, DIGITS[:4])
    repeated = np.repeat(DIGITS[:4], 100, axis=0)
    one, some, many = (
        vae.bound(encoder, decoder, repeated, samples, batch_size=400).reshape(4, 100).mean(axis=1)
        for samples in (1, 5, 50)
    )
    assert (one < some).all()
    assert (some < many).all()
    assert (many < true + 0.05).all()
    np.testing.assert_allclose(many, true, atol=0.3)


def test_one_latent_gives_the_loss_that_is_trained():
    encoder, decoder = networks(3)
    reconstruction, divergence = vae.VAE(encoder, decoder)(np.repeat(DIGITS[:1], 3000, axis=0))
    loss = np.asarray(reconstruction) + np.asarray(divergence)
    found = -vae.bound(encoder, decoder, np.repeat(DIGITS[:1], 3000, axis=0))
    error = (loss.std() ** 2 / 3000 + found.std() ** 2 / 3000) ** 0.5
    assert loss.mean() == pytest.approx(found.mean(), abs=4 * error)


def test_training_lowers_the_loss_and_beta_weighs_the_divergence():
    reached = {}
    for beta in (1.0, 784.0):
        keras.utils.set_random_seed(0)
        model = vae.VAE(vae.encoder(4, filters=2), vae.decoder(2, filters=2), beta)
        model.compile(keras.optimizers.Adam(3e-3), run_eagerly=True)
        history = model.fit(DIGITS, batch_size=20, epochs=8, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        last = {name: values[-1] for name, values in history.items()}
        assert last["loss"] == pytest.approx(last["reconstruction"] + beta * last["divergence"], rel=1e-4)
        reached[beta] = last["divergence"]
    assert reached[784.0] < 0.05 < reached[1.0] + 0.05


def test_larger_colour_images_have_networks_too():
    assert vae.decoder(5, image_size=32, channels=3).output_shape == (None, 32, 32, 3)
    assert vae.encoder(10, image_size=32, channels=3).input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: vae.encoder(0), ValueError, "Got outputs=0, expected a whole number"),
        (lambda: vae.decoder(image_size=64), ValueError, r"Got image_size=64, expected one of \[28, 32\]. Resize"),
        (lambda: vae.VAE(vae.encoder(20), vae.decoder(20)), ValueError, "20 outputs and a decoder of 20 latents, expe"),
        (lambda: vae.VAE(None, vae.decoder()), TypeError, "Got encoder=None, expected a keras.Model"),
        (lambda: vae.VAE(vae.encoder(), vae.decoder(), beta=-1), ValueError, "Got beta=-1, expected a number of at"),
        (lambda: vae.bound(*networks(), DIGITS, samples=0), ValueError, "Got samples=0"),
        (lambda: vae.bound(*networks(), DIGITS - 0.5), ValueError, "Got values from -0.5 to 0.5, expected 0 and 1"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
