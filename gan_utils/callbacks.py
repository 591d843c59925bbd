"""What looks at a training from outside: progress, a score after each epoch, a film of samples, falling rates.

Callbacks with `get_state` and `set_state` go on where they stopped when a training is resumed from a `Checkpoint`.
"""

import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from gan_utils import data, files, plotting, refusals
from gan_utils.checks import is_real, is_whole


class StopAtNaN(keras.callbacks.Callback):
    """Ends training, with a message, as soon as a metric is NaN or infinite. `GAN.fit` always has one.

    Keras' own `TerminateOnNaN` watches a metric called `loss`, which a GAN does not have.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        broken = refusals.not_finite(logs or {})
        if broken:
            self.model.stop_training = True
            print(
                f"\nTraining stopped at batch {batch + 1}: {', '.join(broken)} not finite. The networks' weights are "
                "spoiled; the history and samples of the epochs before are intact. Try a lower learning rate."
            )


class Progress(keras.callbacks.Callback):
    """One line for a whole training: steps done, time left, and the metrics of the epoch so far.

    For `fit(..., verbose=0)`, where Keras' own bar would fill a page with two lines an epoch. Written to stderr.

    Example:
        >>> Progress().on_train_end()
    """

    bar: tqdm | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        steps = self.params["steps"]
        self.bar = tqdm(total=steps and steps * self.params["epochs"], unit="step")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done = (self.epoch * self.params["steps"] if self.params["steps"] else 0) + batch + 1
        self.bar.set_postfix({name: f"{value:.2f}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update(done - self.bar.n)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Of steps that are executed at once, Keras names the first until 3.10, since then the last, even past the end.
        if self.params["steps"] and not self.model.stop_training:
            self.bar.update((epoch + 1) * self.params["steps"] - self.bar.n)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.bar is not None:
            self.bar.close()


class LearningRates(keras.callbacks.Callback):
    """Multiplies the learning rates of both players by the same factor, anew before each epoch.

    Keras' own schedulers want a model with one optimizer. Where the rate shall follow the step and not the epoch, give
    each optimizer a schedule of `keras.optimizers.schedules` instead.

    Args:
        factor: `(epoch) -> float` above 0, with epochs counted from 0. The rates that the optimizers were made with
            are multiplied by it.

    Raises:
        TypeError: `factor` is no function, or an optimizer follows a schedule of its own.
        ValueError: it returns no number above 0.

    Example:
        >>> halve_after_ten_epochs = LearningRates(lambda epoch: 1.0 if epoch < 10 else 0.5)
    """

    def __init__(self, factor: Callable[[int], float]):
        super().__init__()
        if not callable(factor):
            raise TypeError(f"Got factor={factor!r}, expected a function of the epoch that returns a number above 0.")
        self.factor = factor
        self.rates: list[float] = []
        self.optimizers: list[keras.optimizers.Optimizer] = []  # whose rates they are; none after a resume

    def get_state(self) -> dict[str, np.ndarray]:
        """The rates that are multiplied, for `Checkpoint`."""
        return {"rates": np.array(self.rates)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.rates, self.optimizers = state["rates"].tolist(), []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        optimizers = self._optimizers()
        for optimizer in optimizers:
            if isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
                raise TypeError("An optimizer follows a schedule of its own. Give it a number, or leave this one out.")
        if not self.rates or (self.optimizers and self.optimizers != optimizers):
            self.rates = [float(optimizer.learning_rate) for optimizer in optimizers]
        self.optimizers = optimizers

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        factor = self.factor(epoch)
        if not (is_real(factor) and factor > 0):
            raise ValueError(f"Got factor {factor!r} for epoch {epoch}, expected a number above 0.")
        for optimizer, rate in zip(self._optimizers(), self.rates, strict=True):
            optimizer.learning_rate.assign(factor * rate)

    def _optimizers(self) -> list[keras.optimizers.Optimizer]:
        both = (self.model.d_optimizer, self.model.g_optimizer)
        return [getattr(optimizer, "inner_optimizer", optimizer) for optimizer in both]


class Score(keras.callbacks.Callback):
    """Adds a score of the generator's samples to each epoch, and the seconds of training until then.

    Both go into the logs, so that Keras' `History`, and callbacks after this one, have a learning curve in score
    against seconds. The time that scoring takes is not counted.

    Args:
        score: `(images) -> float`, given `GAN.sample`'s array.
        samples: how many to draw; always from the same latent points.
        name: of the score in the logs.
        seed: of the latent points.
        clock: that counts the seconds; `time.process_time` where other programs compete for the CPU.

    Example:
        >>> callback = Score(lambda images: images.mean(), samples=100, name="ink")
        >>> print(callback.seconds)
        0.0
    """

    def __init__(
        self,
        score: Callable[[np.ndarray], float],
        samples: int = 2000,
        name: str = "score",
        seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        super().__init__()
        if not (callable(score) and callable(clock) and isinstance(name, str) and is_whole(samples)):
            raise TypeError(
                f"Got score={score!r}, samples={samples!r}, name={name!r} and clock={clock!r}, expected a function of "
                "images, a whole number of at least 1, a string and a function that returns seconds."
            )
        refusals.check_seed(seed)
        self.score = score
        self.samples = samples
        self.name = name
        self.seed = seed
        self.clock = clock
        self.seconds = 0.0

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"name": self.name, "samples": self.samples, "seed": self.seed}

    def get_state(self) -> dict[str, np.ndarray]:
        """The seconds so far, for `Checkpoint`."""
        return {"seconds": np.array(self.seconds)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.seconds = float(state["seconds"])

    def set_model(self, model: keras.Model) -> None:
        """Counts from 0 where the model is another one than before."""
        if self.model is not None and model is not self.model:
            self.seconds = 0.0
        super().set_model(model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.begin = self.clock()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.seconds += self.clock() - self.begin
        images = self.model.sample(self.samples, seed=self.seed)
        logs[self.name] = float(self.score(images)) if np.isfinite(images).all() else math.nan
        logs["seconds"] = self.seconds


class SampleGrid(keras.callbacks.Callback):
    """Draws the generator's images of the same latent points before training and after every epoch.

    Images that are not finite are left out, so that the frames before a failure stay. A second `fit` of the same GAN
    goes on with the film; another GAN begins a new one.

    Args:
        path: where to write the frames as a GIF when training ends, enlarged and with the epoch above; None for no
            file.
        rows: of the grid.
        columns: of the grid; None for 8, or where the generator reads labels, for a column of each class.
        seed: of the latent points.

    Attributes:
        frames: list of uint8 arrays, (height, width) or (height, width, 3), one a picture, the first before training.

    Raises:
        ValueError: rows or columns below 1, or a path that is a folder or has another suffix than .gif.
        OSError: in `GAN.fit`, before training: the path cannot be written.

    Example:
        >>> callback = SampleGrid(path=None, rows=2, columns=8)
        >>> callback.frames
        []
    """

    def __init__(
        self, path: str | pathlib.Path | None = None, rows: int = 4, columns: int | None = None, seed: int = 0
    ):
        super().__init__()
        if not (is_whole(rows) and (columns is None or is_whole(columns))):
            raise ValueError(f"Got rows={rows!r} and columns={columns!r}, expected at least 1 of each.")
        refusals.check_seed(seed)
        self.path = None if path is None else pathlib.Path(path)
        if self.path is not None and (self.path.suffix.lower() != ".gif" or self.path.is_dir()):
            raise ValueError(f"Got path={str(path)!r}, expected a file that ends in .gif, such as 'build/film.gif'.")
        self.rows = rows
        self.columns = columns
        self.seed = seed
        self.frames: list[np.ndarray] = []

    def get_config(self) -> dict[str, Any]:
        """What must be the same when a training goes on from a `Checkpoint`."""
        return {"rows": self.rows, "columns": self._columns(), "seed": self.seed}

    def get_state(self) -> dict[str, np.ndarray]:
        """The frames so far, for `Checkpoint`."""
        return {"frames": np.array(self.frames, dtype=np.uint8)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `get_state` returned."""
        self.frames = list(state["frames"])

    def set_model(self, model: keras.Model) -> None:
        """Begins a new film where the model is another one than before."""
        if self.model is not None and model is not self.model:
            self.frames = []
        super().set_model(model)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.path is not None:
            files.check_writable(self.path, (".gif",))
        if not self.frames:
            self._draw()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._draw()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.path is not None and self.frames:
            plotting.write_gif(self.film(), self.path)

    def film(self) -> list[np.ndarray]:
        """The frames as the file has them: an image is at least 80 pixels high, and the epoch stands above."""
        times = math.ceil(80 / self.model.generator.output_shape[1])
        return [plotting.enlarged(frame, times, f"epoch {epoch}") for epoch, frame in enumerate(self.frames)]

    def _columns(self) -> int:
        return self.columns or (self.model.classes_drawn if self.model else 0) or 8

    def _draw(self) -> None:
        columns = self._columns()
        images = self.model.sample(self.rows * columns, seed=self.seed)
        if np.isfinite(images).all():
            self.frames.append(data.to_bytes(plotting.tile(images, columns)))
