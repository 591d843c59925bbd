"""What several test files compare: the numbers that variables hold, and all that a step changes."""

import numpy as np


def values(variables):
    return [variable.numpy() for variable in variables]


def state(gan):
    return values([*gan.variables, *gan.d_optimizer.variables, *gan.g_optimizer.variables])


def assert_equal(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
