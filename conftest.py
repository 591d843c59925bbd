def pytest_collectstart(collector):
    """Tells nbval to leave stderr alone: progress bars and TensorFlow's log differ from run to run."""
    if collector.path is not None and collector.path.suffix == ".ipynb":
        collector.skip_compare += ("stderr",)
