"""Two worker processes train one GAN, and print as JSON what each of them ended with; see test_hardware.py.

Started without TF_CONFIG, it starts itself twice. Each worker then trains alone on the same global batches, to compare.
"""

import json
import os
import socket
import subprocess
import sys

SECONDS = 120


def launch(count=2):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    settings = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(count)]
    running = [
        subprocess.Popen(
            [sys.executable, __file__],
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
    print(json.dumps([json.loads(answer.splitlines()[-1]) for answer, _ in outputs]))


def work():
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all, for it starts the server
    import keras
    import numpy as np

    from gan_utils import GAN, models

    real = np.random.default_rng(0).uniform(-1, 1, (30, 2)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(real).batch(8)

    def train(scope, dataset, **fit):
        keras.utils.set_random_seed(1)
        with scope:
            networks = models.mlp_generator(2, (2,), (6,), None), models.mlp_discriminator((2,), (6,), 0.0)
            gan = GAN(*networks, latent_dim=2)
            gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), d_steps=2)
        history = gan.fit(dataset, epochs=3, verbose=0, **fit).history
        return {"weights": np.concatenate([np.ravel(value) for value in gan.get_weights()]).tolist(), **history}

    together = train(strategy.scope(), dataset)
    endless = dataset.repeat().rebatch(8, drop_remainder=True)
    alone = train(tf.distribute.get_strategy().scope(), endless, steps_per_epoch=2)
    print(json.dumps({"together": together, "alone": alone}))


if __name__ == "__main__":
    work() if "TF_CONFIG" in os.environ else launch()
