"""Two worker processes train one GAN, and print as JSON what each of them ended with; see test_hardware.py.

Started without TF_CONFIG, it starts two of itself, which train for one epoch, and then two that go on from there. These
train once more without a break, and each alone on the same global batches, to compare.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

EPOCHS = 3
SECONDS = 120


def launch(folder, epochs, count=2):
    """Starts the workers, and returns what they print."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    settings = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(count)]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, folder, str(epochs)],
            env={**os.environ, "TF_CONFIG": json.dumps(setting)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for setting in settings
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()  # TensorFlow catches a polite request, and goes on
    for process, (_, log) in zip(running, outputs, strict=True):
        if process.returncode:
            sys.exit(log)
    return [answer for answer, _ in outputs]


def work(folder, epochs):
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all, for it starts the server
    import keras
    import numpy as np

    from gan_utils import GAN, Checkpoint, models

    real = np.random.default_rng(0).uniform(-1, 1, (30, 2)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(real).batch(8)

    def train(scope, dataset, epochs=EPOCHS, seed=1, **fit):
        keras.utils.set_random_seed(seed)
        with scope:
            networks = models.mlp_generator(2, (2,), (6,), None), models.mlp_discriminator((2,), (6,), 0.0)
            gan = GAN(*networks, latent_dim=2)
            gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), d_steps=2)
        history = gan.fit(dataset, epochs=epochs, verbose=0, **fit).history
        weights = np.concatenate([np.ravel(value) for value in gan.get_weights()])
        return {"weights": weights.tolist(), "samples": gan.sample(4, seed=0).tolist(), **history}

    checkpoint = Checkpoint(pathlib.Path(folder, "run.npz"))
    seed = 1 if epochs < EPOCHS else 7  # what goes on begins elsewhere: only the file can lead to the same end
    found = train(strategy.scope(), dataset, epochs, seed, callbacks=[checkpoint])
    if epochs < EPOCHS:
        return
    path = checkpoint.path if strategy.extended.should_checkpoint else checkpoint.path.with_name("none.npz")
    try:
        train(strategy.scope(), dataset, callbacks=[Checkpoint(path)])
    except ValueError as error:
        apart = str(error)
    together = train(strategy.scope(), dataset)
    endless = dataset.repeat().rebatch(8, drop_remainder=True)
    alone = train(tf.distribute.get_strategy().scope(), endless, steps_per_epoch=2)
    print(json.dumps({"apart": apart, "resumed": found, "together": together, "alone": alone}))


def main():
    with tempfile.TemporaryDirectory() as folder:
        launch(folder, 1)
        answers = launch(folder, EPOCHS)
    print(json.dumps([json.loads(answer.splitlines()[-1]) for answer in answers]))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2])) if "TF_CONFIG" in os.environ else main()
