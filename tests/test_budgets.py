import pytest

import gan_utils
from gan_utils import budgets

VALUES = {"smoke": 1, "cpu": 8, "gpu": 60}


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_the_variable_chooses_the_budget(monkeypatch, name):
    monkeypatch.setenv("GAN_BUDGET", name)
    assert gan_utils.budget_name() == name
    assert gan_utils.budget(**VALUES) == VALUES[name]


@pytest.mark.parametrize("devices", [[], ["a GPU"]])
def test_the_variable_wins_over_the_machine(monkeypatch, devices):
    monkeypatch.setattr(budgets.tf.config, "list_physical_devices", lambda kind: devices)
    monkeypatch.setenv("GAN_BUDGET", "smoke")
    assert gan_utils.budget(**VALUES) == 1


@pytest.mark.parametrize("unset", ["absent", "empty"])
@pytest.mark.parametrize(("devices", "expected"), [([], "cpu"), (["a GPU"], "gpu")])
def test_without_the_variable_the_machine_decides(monkeypatch, unset, devices, expected):
    asked = []
    monkeypatch.setattr(budgets.tf.config, "list_physical_devices", lambda kind: asked.append(kind) or devices)
    monkeypatch.setenv("GAN_BUDGET", "")
    if unset == "absent":
        monkeypatch.delenv("GAN_BUDGET")
    assert gan_utils.budget(**VALUES) == VALUES[expected]
    assert set(asked) == {"GPU"}  # a CPU is always there


@pytest.mark.parametrize("word", ["GPU", "cpu ", "quick", "0"])
def test_a_misspelt_budget_is_refused_and_the_three_are_named(monkeypatch, word):
    monkeypatch.setenv("GAN_BUDGET", word)
    with pytest.raises(ValueError, match=f"GAN_BUDGET is '{word}'.*smoke, cpu, gpu"):
        gan_utils.budget(**VALUES)


def test_all_three_values_have_to_be_named():
    with pytest.raises(TypeError):
        gan_utils.budget(1, 8, 60)
    with pytest.raises(TypeError, match="gpu"):
        gan_utils.budget(smoke=1, cpu=8)
