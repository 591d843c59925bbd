import matplotlib

matplotlib.use("Agg")  # before pyplot is imported: the tests draw where there is no screen

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")
