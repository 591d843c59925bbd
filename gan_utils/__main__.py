"""The command line, `python -m gan_utils`: trainings that outlast a notebook, and what one does with their models.

Only what needs no TensorFlow is imported here: a wrong value is refused at once, without waiting for TensorFlow.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gan_utils import files

DATA = {"mnist": "digit_features", "fashion_mnist": "fashion_features"}  # and what `metrics` sees in them
RECIPES = {  # what options have that are not given
    "quick": {"learning_rate": 8e-4, "batch_size": 64, "base_filters": 16, "average": 0.99},
    "paper": {"learning_rate": 2e-4, "batch_size": 128, "base_filters": 64, "average": 0.0},  # that of DCGAN
}
DCGAN_SIZES = (28, 32, 64)  # those of `models.DCGAN_LAYERS`
NORMALIZATIONS = ("batch", "layer", "spectral", "none")  # those of `models`
SMOOTHED = ("non_saturating", "minimax")  # objectives that know targets
OBJECTIVES = (  # all of `losses.MAKERS`
    *(*SMOOTHED, "least_squares", "wasserstein", "hinge", "relativistic"),
    *("kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon"),
)
PENALTIES = ("gradient_penalty", "dragan", "r1", "r2")  # all of `penalties.MAKERS`
NO_TARGETS = f"but only {' and '.join(SMOOTHED)} have targets to smooth; leave it out"
NO_BOUND = (
    "whose critic needs a bound on its slope; add --penalty gradient_penalty, --clip 0.01, or normalise spectrally"
)
NO_SLOPE = "by which one image's logit depends on the others; add --normalization layer, spectral or none"
SCORE, SCORE_SAMPLES = "frechet_distance", 2000
TEST_IMAGES = 10_000
MOST_IN_A_PICTURE = 1024
MOST_COLUMNS = 16  # of classes, side by side
EXAMPLES = """examples:
  python -m gan_utils train --data mnist --epochs 20 --output runs/digits
  python -m gan_utils train --data mnist --epochs 20 --output runs/digits --resume   (after an interruption)
  python -m gan_utils sample runs/digits --output samples.png
  python -m gan_utils evaluate runs/digits --data mnist
  python -m gan_utils train --data mnist --conditional --output runs/labelled
  python -m gan_utils sample runs/labelled --label 7 --output sevens.png"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: its words; None takes them from the command line.

    Returns:
        The exit code: 0; 1 after an error, 130 after Ctrl-C.

    Raises:
        SystemExit: with code 2, before TensorFlow is imported, where a value is wrong; with code 0 after `--help`.

    Example:
        >>> main(["train", "--data", "mnist", "--output", "runs/digits", "--epochs", "0"])
        Traceback (most recent call last):
        ...
        SystemExit: 2
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # not every terminal has an é
    args = _parser().parse_args(argv)
    try:
        args.check(args)
    except (ValueError, OSError) as error:
        args.parser.error(str(error))
    try:
        return args.run(args)
    except _failures() as error:
        told = f"TensorFlow broke off: {error.message}" if hasattr(error, "op") else str(error) or type(error).__name__
        print(f"{args.parser.prog}: error: {' '.join(told.split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = " The same command with --resume goes on after the last whole epoch." if args.run is _train else ""
        print(f"\nStopped.{hint}", file=sys.stderr)
        return 130


def _failures() -> tuple[type[Exception], ...]:
    """What becomes one line. A KeyError or an AttributeError would be a fault of this package, to be shown whole."""
    known = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)
    return (*known, sys.modules["tensorflow"].errors.OpError) if "tensorflow" in sys.modules else known


class _Parser(argparse.ArgumentParser):
    """Answers a wrong value with one line, not with a page of usage."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message} (help: {self.prog} --help)\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows the defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str:
        plain = action.default in (None, argparse.SUPPRESS) or action.default is False
        return action.help if plain else f"{action.help} (default: %(default)s)"


def _number(kind: type, fits: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(kind(text)):
                return kind(text)
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")

    return read


POSITIVE = _number(int, lambda n: n >= 1, "a whole number of at least 1")
PAIRS = _number(int, lambda n: 1 <= n <= 32, "a whole number from 1 to 32")
STEPS = _number(int, lambda n: 2 <= n <= 32, "a whole number from 2 to 32: both ends are part of the walk")
SAMPLES = _number(int, lambda n: 100 <= n <= TEST_IMAGES, f"100 to {TEST_IMAGES}, as many as there are test images")
SEED = _number(int, lambda n: 0 <= n < 2**31, "a whole number from 0 to 2147483647")
RATE = _number(float, lambda x: 0.0 < x <= 1.0, "a number above 0 and at most 1, such as 0.0002")
SHARE = _number(float, lambda x: 0.0 <= x < 1.0, "a number from 0 to less than 1")
WEIGHT = _number(float, lambda x: 0.0 < x < math.inf, "a number above 0, such as 10")
LABEL = _number(int, lambda n: 0 <= n < 2**31, "the number of a class: 0, 1, 2, ...")


def _file(*suffixes: str) -> Callable[[str], pathlib.Path]:
    def read(text: str) -> pathlib.Path:
        if pathlib.Path(text).suffix in suffixes and not os.path.isdir(text):
            return pathlib.Path(text)
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a file that ends in {' or '.join(suffixes)}")

    return read


def _data(text: str) -> str:
    if text in DATA or os.path.isdir(text):  # unlike pathlib's, it takes a name that is too long
        return text
    raise argparse.ArgumentTypeError(f"got {text!r}, expected mnist, fashion_mnist, or a folder of images that exists")


def _model(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    path = path / "last.keras" if os.path.isdir(path) else path
    if path.suffix == ".keras" and os.path.isfile(path):
        return path
    raise argparse.ArgumentTypeError(f"there is no model {path}; expected a .keras file, or the folder of a training")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m gan_utils", description="Train a GAN, and use it.", epilog=EXAMPLES)
    parser.formatter_class = _Help
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(run: Callable, what: str, check: Callable = lambda args: None, epilog: str = "") -> argparse.ArgumentParser:
        described = {"help": what, "description": f"{what[0].upper()}{what[1:]}.", "epilog": epilog}
        command = commands.add_parser(run.__name__[1:], formatter_class=_Help, allow_abbrev=False, **described)
        command.set_defaults(run=run, check=check, parser=command)
        return command

    example = "\n".join(EXAMPLES.splitlines()[:3])
    _add_training(add(_train, "train a GAN; models, logs and a film of samples go to a folder", _check_train, example))
    sample = add(_sample, "draw images from a trained model", _check_output)
    evaluate = add(_evaluate, "measure how good a trained model's images are, beside real ones")
    interpolate = add(_interpolate, "walk through latent space, from one image to another", _check_output)
    info = add(_info, "show versions and devices, and what a model is made of")
    for command in (sample, evaluate, interpolate, info):
        some = {"nargs": "?"} if command is info else {}
        where = "a .keras file, or a training's folder"
        command.add_argument("model", type=_model, metavar="MODEL", help=where, **some)
    for command in (sample, evaluate, interpolate):
        command.add_argument("--seed", type=SEED, default=0, help="the same seed draws the same latent points")
    to = {"required": True, "metavar": "FILE"}
    label = {"type": LABEL, "action": "append", "metavar": "N"}
    sample.add_argument("--count", type=POSITIVE, default=64, help="how many images")
    sample.add_argument("--label", **label, help="class of the images; of several, they take turns (default: of all)")
    named = f".png for one picture of up to {MOST_IN_A_PICTURE}; .npy for any number, as bytes from 0 to 255"
    sample.add_argument("--output", type=_file(".png", ".npy"), help=named, **to)
    evaluate.add_argument("--data", choices=DATA, default="mnist", help="the real images to compare with")
    evaluate.add_argument("--samples", type=SAMPLES, default=TEST_IMAGES, help="images drawn; more are more exact")
    interpolate.add_argument("--pairs", type=PAIRS, default=6, help="how many walks; each is a row of the picture")
    interpolate.add_argument("--steps", type=STEPS, default=10, help="images of a walk, with both ends")
    interpolate.add_argument("--label", **label, help="class of a walk; of several, they take turns (default: 0)")
    interpolate.add_argument("--output", type=_file(".png", ".gif"), help=".png for a picture, .gif for a film", **to)
    return parser


def _add_training(train: argparse.ArgumentParser) -> None:
    usual = lambda name: ", ".join(f"{recipe}: {values[name]:g}" for recipe, values in RECIPES.items())  # noqa: E731
    add = train.add_argument_group("the run", "where it goes, and how long it lasts").add_argument
    add("--output", type=pathlib.Path, required=True, metavar="DIR", help="folder for all that it makes")
    add("--epochs", type=POSITIVE, default=20, metavar="N", help="passes over the data, in all")
    add("--resume", action="store_true", help="go on where DIR left off; where it holds no training yet, begin one")
    add("--seed", type=SEED, default=0, metavar="N", help="of all that is random: the same seed, the same training")
    add = train.add_argument_group("images and networks", "what is learned, and by whom").add_argument
    add("--data", type=_data, required=True, help="mnist, fashion_mnist, or a folder of images")
    side = "side of the images, which a folder's are cut and resized to; 28, 32 or 64 for dcgan (default: 64)"
    add("--image-size", type=POSITIVE, metavar="N", help=side)
    add("--skip-broken", action="store_true", help="go on without images of a folder that cannot be read")
    add("--conditional", action="store_true", help="learn with labels; each subfolder of a folder is a class")
    add("--model", choices=("dcgan", "mlp"), default="dcgan", help="dcgan: convolutions; mlp: dense layers only")
    add("--base-filters", type=POSITIVE, metavar="N", help=f"width of dcgan ({usual('base_filters')})")
    add("--normalization", choices=NORMALIZATIONS, help="in dcgan's discriminator (default: batch)")
    add("--latent-dim", type=POSITIVE, default=100, metavar="N", help="numbers that one image is made from")
    add = train.add_argument_group("method", "how the two players learn").add_argument
    add("--recipe", choices=RECIPES, default="quick", help="defaults of four options: quick, or the DCGAN paper's")
    name = {"metavar": "NAME"}
    add("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], **name, help="what both minimise: %(choices)s")
    add("--label-smoothing", type=SHARE, default=0.0, metavar="X", help="real images get the target 1 - X")
    slopes = "on the discriminator's slopes: %(choices)s; give it twice for a sum (default: none)"
    add("--penalty", choices=PENALTIES, action="append", **name, help=slopes)
    add("--penalty-weight", type=WEIGHT, metavar="X", help="what each is multiplied by (default: 10)")
    add("--clip", type=WEIGHT, metavar="X", help="keep the discriminator's weights in [-X, X] (default: no)")
    add("--d-steps", type=POSITIVE, default=1, metavar="N", help="discriminator steps to each generator step")
    add("--reuse-fakes", action="store_true", help="the generator learns from the discriminator's fakes: less work")
    add("--batch-size", type=POSITIVE, metavar="N", help=f"images in a step ({usual('batch_size')})")
    add("--learning-rate", type=RATE, metavar="X", help=f"of Adam, for both players ({usual('learning_rate')})")
    add("--beta1", type=SHARE, default=0.5, metavar="X", help="of Adam: how long it remembers gradients")
    add("--beta2", type=SHARE, default=0.999, metavar="X", help="of Adam: how long it remembers their squares")
    average = f"decay of the mean of the generator's weights that draws; 0: none ({usual('average')})"
    add("--average", type=SHARE, metavar="X", help=average)
    add = train.add_argument_group("speed", "the same method, quicker on some machines").add_argument
    kinds = ("float32", "mixed_bfloat16", "mixed_float16")
    add("--precision", choices=kinds, default="float32", help="mixed: most of the arithmetic in 16 bits, for GPUs")
    add("--xla", action="store_true", help="compile the step with XLA; on a GPU Keras does so without being asked")
    steps = "steps between two looks of Keras; an epoch becomes a multiple of them"
    add("--steps-per-execution", type=POSITIVE, default=1, metavar="N", help=steps)


def _check_output(args: argparse.Namespace) -> None:
    count = vars(args).get("count", 0)  # of `sample`
    if args.output.suffix == ".png" and count > MOST_IN_A_PICTURE:
        raise ValueError(f"got --count {count}, but a picture holds {MOST_IN_A_PICTURE}; name a .npy file")
    files.check_writable(args.output)


def _check_train(args: argparse.Namespace) -> None:
    """Fills in what depends on other arguments, and compares all of them with what the folder holds."""
    mlp, recipe = args.model == "mlp", RECIPES[args.recipe]
    _check_together(args, args.data in DATA, mlp)
    args.image_size = args.image_size or (28 if args.data in DATA else 64)
    args.normalization = args.normalization or (None if mlp else "batch")
    args.penalty_weight = args.penalty_weight or (10.0 if args.penalty else None)
    for name in recipe:
        if getattr(args, name) is None and not (mlp and name == "base_filters"):
            setattr(args, name, recipe[name])
    files.check_writable(args.output / "settings.json")
    if (args.output / "checkpoint.npz").is_file():
        _check_resumed(args)


def _check_together(args: argparse.Namespace, known: bool, mlp: bool) -> None:
    side, objective, penalty = args.image_size, args.objective, " and ".join(args.penalty or [])
    bounded = penalty or args.clip or args.normalization == "spectral"
    labelled = args.conditional and not known
    inside = pathlib.Path(args.data).iterdir() if labelled else []
    folders = sum(path.is_dir() and not path.name.startswith(".") for path in inside)
    batch = not mlp and args.normalization in (None, "batch")
    for wrong, told in (
        (args.output.is_file(), f"--output {args.output}, which is a file, expected a folder"),
        (known and side not in (None, 28), f"--image-size {side}, but images of {args.data} have 28; leave it out"),
        (known and args.skip_broken, f"--skip-broken, which is for a folder, for {args.data}; leave it out"),
        (labelled and folders < 2, f"--conditional for {folders} subfolders of {args.data}, expected one for a class"),
        (not mlp and side and side not in DCGAN_SIZES, f"--image-size {side}, expected one of {DCGAN_SIZES} for dcgan"),
        (mlp and args.base_filters, "--base-filters, the width of dcgan, for an mlp; leave it out"),
        (mlp and args.normalization, "--normalization, which is dcgan's, for an mlp; leave it out"),
        (args.label_smoothing and objective not in SMOOTHED, f"--label-smoothing for {objective}, {NO_TARGETS}"),
        (args.penalty_weight and not penalty, "--penalty-weight without --penalty; leave it out, or give both"),
        (objective == "wasserstein" and not bounded, f"--objective wasserstein, {NO_BOUND}"),
        (penalty and batch, f"--penalty {penalty} with batch normalisation, {NO_SLOPE}"),
    ):
        if wrong:
            raise ValueError(f"got {told}")


def _check_resumed(args: argparse.Namespace) -> None:
    """Refuses other arguments than those that the folder's training was begun with."""
    if not args.resume:
        raise ValueError(f"{args.output} holds a training: go on with it by --resume, or name another --output")
    before, now = _settings(args.output).get("arguments", {}), _arguments(args)
    changed = _changed(before, now) if before else []
    others = {name: values for name, values in RECIPES.items() if name != args.recipe}
    fits = lambda values: all(name in values and values[name] == before.get(name, 0.0) for name in changed)  # noqa: E731
    recipe = next((f", as --recipe {name} does" for name, values in others.items() if fits(values)), "")
    if changed:
        each = [f"--{name.replace('_', '-')} {before.get(name, 'none')} (now {now.get(name)})" for name in changed]
        told = f"{args.output} holds a training with {', '.join(each)}"
        raise ValueError(f"{told}; give the same{recipe}, or name another --output")


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what differs. Version 0.1.0 knew fewer arguments; those that it lacks must be off."""
    names = [name for name in {**before, **now} if name not in ("epochs", "skip_broken")]
    off = (None, False, 0.0, "batch")
    return [name for name in names if (now.get(name) != before[name] if name in before else now[name] not in off)]


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What makes the training, wherever it goes."""
    others = ("run", "check", "parser", "output", "resume", "recipe")
    return {name: value for name, value in vars(args).items() if name not in others}


def _settings(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / "settings.json"
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, the checkpoint knows what it belongs to") from error


def _start() -> str:
    """Imports TensorFlow, without what it logs before it reads any setting, and says what it computes on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # a program that calls `main` may have used them already
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)  # as it needs memory, not all at once
        tf.constant(0)  # the first computation logs too
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return ", ".join(names) or f"{os.cpu_count()} CPU cores, no GPU"


def _versions() -> dict[str, str]:
    import keras
    import numpy as np
    import tensorflow as tf

    import gan_utils

    modules = {"gan_utils": gan_utils, "tensorflow": tf, "keras": keras, "numpy": np}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def _train(args: argparse.Namespace) -> int:
    finished = _settings(args.output).get("finished", 0) if args.resume else 0
    if finished >= args.epochs:
        print(f"{args.output} is done: {finished} epochs. For more of them, give a larger --epochs.")
        return 0
    devices = _start()
    import keras

    from gan_utils import Checkpoint, SampleGrid, data

    images, labels, names, score = _load(args)
    keras.utils.set_random_seed(args.seed)  # after the classifier is loaded, and before the data are shuffled
    dataset = data.batches(images, args.batch_size, args.seed, labels)
    gan = _build(args, images.shape[1:], len(names))
    print(f"{args.data}: {len(images):,} images {images.shape[1:]}, {len(dataset)} batches an epoch, on {devices}")
    columns = None if 0 < len(names) <= MOST_COLUMNS else 8  # each class has one, if the film does not become too wide
    film = SampleGrid(args.output / "samples.gif", columns=columns)
    checkpoint = Checkpoint(args.output / "checkpoint.npz")
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: _keep_settings(args, names))  # unless refused
    callbacks = [begin, _recorder(gan, checkpoint, film, args.output), *score, film, checkpoint]
    gan.fit(dataset, epochs=args.epochs, verbose=1 if sys.stdout.isatty() else 2, callbacks=callbacks)
    done = len(checkpoint.history.get("d_loss", []))
    if done < args.epochs:
        raise ValueError(f"epoch {done + 1} is not finite, and not kept; {args.output} holds what came before it")
    files.replace(args.output / "generator.keras", gan.drawing_network.save)
    gan.export(args.output / "saved_model", verbose=False)
    _keep_settings(args, names, finished=done)
    if score:
        best = _best(checkpoint.history)
        distance = checkpoint.history[SCORE][best]
        print(f"Best: epoch {best + 1}, Fréchet distance {distance:.1f} of {SCORE_SAMPLES:,} samples.")
    print(f"Done. Look at it: python -m gan_utils sample {args.output} --output samples.png")
    return 0


def _load(args: argparse.Namespace) -> tuple[Any, Any, list[str], list[Any]]:
    """Images; with --conditional their labels and the names of the classes; and the score, where there is one."""
    from gan_utils import Score, data, metrics

    if args.data in DATA:
        load, extract = _source(args.data)
        (images, labels), real = load("train"), extract(load("test")[0])[0]
        score = [Score(lambda fakes: metrics.frechet_distance(extract(fakes)[0], real), SCORE_SAMPLES, SCORE)]
        return (images, labels, [*"0123456789"], score) if args.conditional else (images, None, [], score)
    print("A folder of images has no classifier to score with: no Fréchet distance, and no best.keras.")
    found = data.load_image_folder(args.data, args.image_size, args.conditional, args.skip_broken)
    return (*found, []) if args.conditional else (found, None, [], [])


def _source(name: str) -> tuple[Callable, Callable]:
    """What loads a data set, and what sees features in its images."""
    from gan_utils import data, metrics

    return getattr(data, f"load_{name}"), getattr(metrics, DATA[name])


def _keep_settings(args: argparse.Namespace, classes: list[str], **more: int) -> None:
    settings = {"arguments": _arguments(args), "versions": _versions(), "classes": classes, **more}
    text = json.dumps(settings, indent=2) + "\n"
    files.replace(args.output / "settings.json", lambda path: path.write_text(text, "utf-8"))


def _build(args: argparse.Namespace, shape: tuple[int, int, int], classes: int) -> Any:
    """The compiled GAN, on all GPUs that there are."""
    import keras
    import tensorflow as tf

    from gan_utils import GAN, losses, penalties

    keras.config.set_dtype_policy(args.precision)
    smoothing = {"label_smoothing": args.label_smoothing} if args.label_smoothing else {}
    several = len(tf.config.list_physical_devices("GPU")) > 1
    with (tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()).scope():
        networks = _networks(args, shape, classes)
        gan = GAN(*networks, args.latent_dim, seed=args.seed, average=args.average or None)
        gan.compile(
            *(keras.optimizers.Adam(args.learning_rate, args.beta1, args.beta2) for _ in range(2)),
            objective=losses.MAKERS[args.objective](**smoothing),
            penalty=penalties.get(" + ".join(f"{name}(weight={args.penalty_weight})" for name in args.penalty))
            if args.penalty
            else None,
            d_steps=args.d_steps,
            reuse_fakes=args.reuse_fakes,
            jit_compile=True if args.xla else "auto",
            steps_per_execution=args.steps_per_execution,
        )
    return gan


def _networks(args: argparse.Namespace, shape: tuple[int, int, int], classes: int) -> tuple[Any, Any]:
    """Generator and discriminator. With labels, the one reads them beside the latent, the other at its last layer."""
    from gan_utils import models, penalties

    numbers, clip = args.latent_dim + classes, penalties.WeightClip(args.clip) if args.clip else None
    if args.model == "dcgan":
        generator = models.dcgan_generator(shape[0], shape[2], numbers, args.base_filters)
        discriminator = models.dcgan_discriminator(shape[0], shape[2], args.base_filters, args.normalization, clip)
    else:
        generator, discriminator = (
            models.mlp_generator(numbers, shape),
            models.mlp_discriminator(shape, constraint=clip),
        )
    if not classes:
        return generator, discriminator
    return models.conditional_generator(generator, classes), models.projection_discriminator(discriminator, classes)


def _recorder(gan: Any, checkpoint: Any, film: Any, folder: pathlib.Path) -> Any:
    """The callback that writes both logs and both models, each time after an epoch's checkpoint is on the disk.

    All that it writes follows from the checkpoint. So whatever a kill left undone is done when the training goes on.
    """
    import keras
    import tensorflow as tf

    board = tf.summary.create_file_writer(str(folder / "logs"))
    written = 0

    def write() -> None:
        nonlocal written
        history = checkpoint.history
        epochs = len(history.get("d_loss", []))
        if epochs == written:  # nothing yet, or an epoch that was not kept
            return
        rows = [("epoch", *history), *zip(range(1, epochs + 1), *history.values(), strict=True)]
        table = "".join(",".join(map(str, row)) + "\n" for row in rows)
        files.replace(folder / "log.csv", lambda path: path.write_text(table, "utf-8"))
        with board.as_default(step=epochs):
            for name, values in history.items():
                tf.summary.scalar(name, values[-1])
            tf.summary.image("samples", film.frames[-1].reshape(1, *film.frames[-1].shape[:2], -1))
        board.flush()
        if _best(history) == epochs - 1:
            files.replace(folder / "best.keras", gan.save)
        files.replace(folder / "last.keras", gan.save)
        written = epochs

    def end() -> None:
        write()
        board.close()

    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: write(), on_train_end=lambda logs: end())


def _best(history: dict[str, list[float]]) -> int | None:
    """The index of the epoch with the lowest score; None where there is no score."""
    scores = [math.inf if math.isnan(score) else score for score in history.get(SCORE, [])]
    return scores.index(min(scores)) if scores else None


def _open(path: pathlib.Path, compile: bool = False) -> tuple[Any, bool]:
    """The GAN of a file, opened in Keras' safe mode, and whether it is whole: a lone generator gets a partner."""
    import keras

    from gan_utils import GAN, games, models  # noqa: F401 (a file may hold another game)

    try:
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a file can be broken in any way
        raise ValueError(f"Keras cannot open {path} in its safe mode: {error}") from error
    if isinstance(model, GAN):
        return model, True
    before, after = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    inputs = [before] if isinstance(before, tuple) else before or []  # a latent, or a latent and a label
    vectors = 1 <= len(inputs) <= 2 and all(isinstance(shape, tuple) and len(shape) == 2 for shape in inputs)
    if not (vectors and isinstance(after, tuple) and len(after) == 4):
        raise ValueError(f"{path} maps {before} to {after}; expected a generator, from vectors to images")
    return GAN(model, models.mlp_discriminator(after[1:], (1,)), latent_dim=inputs[0][1]), False


def _labels(args: argparse.Namespace, gan: Any, count: int) -> Any:
    """The classes that --label asks for, in turns, (count,); None where it asks for none."""
    import numpy as np

    known, asked = gan.classes_drawn, args.label
    if asked and not known:
        raise ValueError(f"got --label {asked[0]}, but {args.model} was trained without labels; leave it out")
    if asked and max(asked) >= known:
        raise ValueError(f"got --label {max(asked)}, but {args.model} knows the labels 0 to {known - 1}")
    return np.resize(asked, count) if asked else None


def _sample(args: argparse.Namespace) -> int:
    _start()
    import numpy as np

    from gan_utils import data

    gan, _ = _open(args.model)
    shape, labels = gan.generator.output_shape[1:], _labels(args, gan, args.count)

    def write(path: pathlib.Path) -> None:
        chunks = gan.stream(args.count, args.seed, labels)
        header = {"descr": "|u1", "fortran_order": False, "shape": (args.count, *shape)}
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for images in chunks:
                file.write(data.to_bytes(images).tobytes())

    if args.output.suffix == ".npy":
        files.replace(args.output, write)
    else:
        each_class = 0 if args.label else gan.classes_drawn  # a column of each, as in the film
        columns = each_class if 0 < each_class <= min(MOST_COLUMNS, args.count) else math.ceil(math.sqrt(args.count))
        _draw(gan.sample(args.count, args.seed, labels), columns, args.output)
    print(f"{args.output}: {args.count:,} images {shape}")
    return 0


def _draw(images: Any, columns: int, path: pathlib.Path) -> None:
    from PIL import Image

    from gan_utils import data, plotting

    files.replace(path, Image.fromarray(data.to_bytes(plotting.tile(images, columns))).save)


def _evaluate(args: argparse.Namespace) -> int:
    _start()
    gan, _ = _open(args.model)
    load, extract = _source(args.data)
    test, others = load("test")[0], load("train")[0][: args.samples]
    shape = gan.generator.output_shape[1:]
    if shape != test.shape[1:]:
        raise ValueError(f"{args.model} makes images {shape}, but those of {args.data} are {test.shape[1:]}")
    fakes, real = gan.sample(args.samples, args.seed), extract(test)[0]
    found, floor = (_measure(real, *extract(images)) for images in (fakes, others))
    print(f"N = {len(fakes):,} generated images against {len(test):,} of {args.data}'s test images.")
    print(
        f"Beside them N real images, of the training set: what a perfect generator would get.\n{'':22}generated    real"
    )
    for (name, better), value, best in zip(_MEASURES.items(), found, floor, strict=True):
        print(f"{name:20}{value:11.3f}{best:8.3f}   {better}")
    return 0


_MEASURES = {
    "Fréchet distance": "lower is better",
    "kernel distance": "lower is better",
    "inception score": "higher is better, at most 10",
    "precision": "higher is better: how many look real",
    "recall": "higher is better: how much of the real it makes",
}


def _measure(real: Any, features: Any, logits: Any) -> tuple[float, ...]:
    from gan_utils import metrics

    neighbors = metrics.precision_recall(real[: len(features)], features)  # of as many
    kernel, _ = metrics.kernel_distance(features, real, subset_size=min(1000, len(features)))
    score, _ = metrics.inception_score(logits)
    return metrics.frechet_distance(features, real), kernel, score, neighbors["precision"], neighbors["recall"]


def _interpolate(args: argparse.Namespace) -> int:
    _start()
    import numpy as np

    from gan_utils import latent, plotting

    gan, _ = _open(args.model)
    args.label = args.label or ([0] if gan.classes_drawn else None)
    labels = _labels(args, gan, args.pairs)
    beside = [] if labels is None else [np.eye(gan.classes_drawn, dtype=np.float32)[labels]]  # one-hot
    starts, ends = np.split(gan.latent(2 * args.pairs, args.seed).numpy(), 2)
    walks = latent.spherical(starts, ends, args.steps)  # (steps, pairs, latent_dim)
    frames = np.stack([gan.drawing_network.predict_on_batch([each, *beside] if beside else each) for each in walks])
    if args.output.suffix == ".png":
        _draw(np.concatenate(frames.swapaxes(0, 1)), args.steps, args.output)
    else:
        columns = math.ceil(math.sqrt(args.pairs))
        film = [plotting.film_frame(frame, columns) for frame in frames]
        files.replace(args.output, lambda path: plotting.write_gif(film, path))
    print(f"{args.output}: {args.pairs} walks of {args.steps} images")
    return 0


def _info(args: argparse.Namespace) -> int:
    devices = _start()
    import tensorflow as tf

    import gan_utils

    threads = tf.config.threading.get_intra_op_parallelism_threads() or "one a core"
    rows = {**_versions(), "computes on": devices, "threads": threads, "budget": gan_utils.budget_name()}
    if args.model:
        gan, whole = _open(args.model, compile=True)
        rows |= {"model": args.model, "latent_dim": gan.latent_dim, "images": gan.generator.output_shape[1:]}
        rows["generator"] = f"{gan.generator.count_params():,} parameters"
        classes, names = gan.classes_drawn, _settings(args.model.parent).get("classes", [])
        told = ", ".join(names) if len(names) == classes else classes
        rows["classes"] = f"{told} (labels 0 to {classes - 1})" if classes else "none"
        if whole:
            rows["discriminator"] = f"{gan.discriminator.count_params():,} parameters"
            rows["average"] = gan.average or "none"
            rows["objective"] = gan.objective.name if gan.compiled else "none in the file"
            rows["penalty"] = gan.penalty.name if gan.compiled and gan.penalty else "none"
    for name, value in rows.items():
        print(f"{name:15}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
