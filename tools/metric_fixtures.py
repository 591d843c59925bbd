"""Writes tests/metric_fixtures.json: what torch-fidelity and prdc say of small sets of features.

    pip install torch-fidelity==0.4.0 prdc==0.2 && python tools/metric_fixtures.py

The tests draw the same features again and compare `gan_utils.metrics` with these numbers, without installing torch.
"""

import contextlib
import importlib.metadata
import io
import json
import pathlib

import numpy as np

PATH = pathlib.Path(__file__).parent.parent / "tests" / "metric_fixtures.json"
SUBSET_SIZE, SUBSETS, SPLITS, K = 40, 5, 4, 3


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Real and fake features by name, each (samples, features). RandomState's stream is the same in every NumPy."""
    random = np.random.RandomState(0)
    wide = random.randn(50, 128), 1.1 * random.randn(60, 128) + 0.1
    low_rank = random.randn(5, 32)
    real = random.randn(300, 16)
    return {
        "equal distributions": (random.randn(400, 8), random.randn(400, 8)),
        "shifted, scaled, unequal counts": (random.randn(900, 64), 0.8 * random.randn(700, 64) + 0.3),
        "two features": (random.randn(200, 2), 2.0 * random.randn(150, 2)),
        "fewer samples than features": wide,
        "rank 5 of 32": (random.randn(300, 5) @ low_rank, random.randn(250, 5) @ low_rank + 1.0),
        "collapsed to one point": (real, np.tile(random.randn(1, 16), (200, 1))),
        "collapsed to three points": (real, real[random.choice(3, 200)] + 1e-3 * random.randn(200, 16)),
        "copies of the real ones": (real, real[::2]),
        "like a network's, at least 0": (np.abs(random.randn(1500, 40)) * 3, np.abs(random.randn(1500, 40)) * 4),
    }


def main() -> None:
    import prdc
    import torch
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
    from torch_fidelity.defaults import DEFAULTS

    options = {**DEFAULTS, "kid_subset_size": SUBSET_SIZE, "kid_subsets": SUBSETS, "verbose": False}
    fixtures = {}
    for name, (real, fake) in cases().items():
        tensors = torch.from_numpy(fake), torch.from_numpy(real)
        moments = [metric_fid.fid_features_to_statistics(features) for features in tensors]
        with contextlib.redirect_stdout(io.StringIO()):
            density = prdc.compute_prdc(real, fake, nearest_k=K)
        fixtures[name] = {
            **metric_fid.fid_statistics_to_metric(*moments, verbose=False),
            **metric_kid.kid_features_to_metric(*tensors, **options),
            **metric_isc.isc_features_to_metric(tensors[0], splits=SPLITS),
            **metric_prc.prc_features_to_metric(*tensors, **{**options, "prc_neighborhood": K}),
            "density": float(density["density"]),
            "coverage": float(density["coverage"]),
        }
    packages = ("torch-fidelity", "prdc", "torch", "numpy", "scipy", "scikit-learn")
    versions = {package: importlib.metadata.version(package) for package in packages}
    PATH.write_text(json.dumps({"versions": versions, "cases": fixtures}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
