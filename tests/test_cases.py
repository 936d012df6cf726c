"""The named shapes are what they are called: parameter counts of the published networks, and exact FLOPs."""

from __future__ import annotations

from math import prod

import cases
import numpy as np
import pytest
from cases import ConvCase, MatmulCase

from cnnlite_kernels import reference


@pytest.mark.parametrize(
    "name",
    [
        "DOCUMENTED",
        "RESNET50",
        "VGG16",
        "LARGE_CONVS",
        "LARGE_POOLS",
        "ODD",
        "ODD_POOLS",
        "SQUARE",
        "ODD_MATMULS",
    ],
)
def test_names_are_unique(name: str) -> None:
    names = [str(case) for case in getattr(cases, name)]
    assert len(names) == len(set(names))


def test_documented_network_has_93322_parameters_and_fits_together() -> None:
    parameters = 0
    for case, following in zip(cases.DOCUMENTED, (*cases.DOCUMENTED[1:], None), strict=True):
        if isinstance(case, ConvCase):
            parameters += prod(case.w_shape) + case.cout
        elif isinstance(case, MatmulCase):
            parameters += prod(case.b_shape) + case.n
        if following is not None:
            x_shape = following.a_shape if isinstance(following, MatmulCase) else following.x_shape
            assert prod(case.y_shape) == prod(x_shape)
    assert parameters == 93_322


def test_resnet50_has_the_weights_of_its_convolutions() -> None:
    blocks = {"2": 3, "3": 4, "4": 6, "5": 3}
    total = 0
    for case in cases.RESNET50:
        _, layer, *kind = case.name.split("_", 2)
        depth = blocks.get(layer[-1], 1)
        # In stage 2 the shortcut has the shape of the expanding layer, and no 3 x 3 is strided.
        times = {
            "1x1_expand": depth + (layer == "conv2"),
            "1x1_reduce": depth - 1,
            "3x3": depth - (layer != "conv2"),
        }
        total += times.get(kind[0], 1) * prod(case.w_shape)
    assert total == 23_454_912


def test_vgg16_has_the_weights_of_its_convolutions() -> None:
    times = {"vgg16_conv3_2": 2, "vgg16_conv4_2": 2, "vgg16_conv5_1": 3}
    parameters = sum(times.get(case.name, 1) * (prod(case.w_shape) + case.cout) for case in cases.VGG16)
    assert parameters == 14_714_688


@pytest.mark.parametrize("case", cases.ODD, ids=str)
def test_flops_are_the_multiply_adds_on_real_pixels(case: ConvCase) -> None:
    ones = reference.conv2d(np.ones(case.x_shape), np.ones(case.w_shape), **case.options)
    assert ones.shape == case.y_shape
    assert case.flops == 2 * ones.sum()


def test_batch_scales_flops() -> None:
    case = cases.RESNET50[0]
    assert case.with_batch(8).flops == 8 * case.flops
    assert case.with_batch(0).flops == 0
