"""What is measured over which sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from cases import DOCUMENTED, VGG16, ConvCase, MatmulCase
from devices.networks import CLASSES, INPUT, documented
from roofline import calls

from growth.series import THREADS, Plan

Made = tuple[Callable[[], object], float]

AXES = (THREADS, "batch", "image", "channels")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
IMAGES = (7, 14, 28, 56, 112, 224)
CHANNELS = (1, 3, 8, 16, 32, 64, 128, 256, 512)


def training_step(batch: int) -> Made:
    """A step of the documented network with Adam, and its images."""
    model, x = documented("cpu"), _images(batch)
    labels = np.arange(batch, dtype=np.int32) % CLASSES
    return lambda: model.train_on_batch(x, labels), batch


def prediction(batch: int) -> Made:
    model, x = documented("cpu"), _images(batch)
    return lambda: model.predict_on_batch(x), batch


def _images(batch: int) -> np.ndarray:
    return np.random.default_rng(8).random((batch, *INPUT), np.float32)


def _conv(case: ConvCase, which: str = "forward") -> Made:
    """A pass whose answer has been checked, and its operations / 1e9."""
    call = calls.conv2d(case, which)
    call.check()
    return call.run, case.flops / 1e9


def _named(name: str, cases: Sequence[object]) -> ConvCase:
    (found,) = [case for case in cases if str(case) == name]
    assert isinstance(found, ConvCase)
    return found


def threads_up_to(most: int) -> tuple[int, ...]:
    """Every number up to 8, then every even one, then fewer, and always the last.

    >>> threads_up_to(3), threads_up_to(12)[-3:]
    ((1, 2, 3), (8, 10, 12))
    """
    return tuple(
        n for n in range(1, most + 1) if n <= 8 or (n <= 32 and n % 2 == 0) or n % 16 == 0 or n == most
    )


def all_plans(threads: int, quick: bool) -> list[Plan]:
    """Each axis with some calls; quick leaves out the large sizes."""
    wide = _named("vgg16_conv3_1", VGG16)
    second = _named("documented_conv2", DOCUMENTED)
    layer = ConvCase("3x3", 1, 28, 28, 64, 64, (3, 3), padding="same")
    square = MatmulCase("square", 256, 256, 256) if quick else MatmulCase("square", 1024, 1024, 1024)
    counts = threads_up_to(threads)
    batches, images, channels = (
        (BATCHES[:6:2], IMAGES[:3], CHANNELS[:5]) if quick else (BATCHES, IMAGES, CHANNELS)
    )

    def product(_: int) -> Made:
        call = calls.matmul(square)
        call.check()
        return call.run, square.flops / 1e9

    plans = [
        Plan(
            "documented network, training, batch 128",
            THREADS,
            "images/s",
            counts,
            lambda _: training_step(128),
        ),
        Plan(
            "documented network, predict, batch 256", THREADS, "images/s", counts, lambda _: prediction(256)
        ),
        Plan(f"conv2d {wide}", THREADS, "GFLOP/s", counts, lambda _: _conv(wide)),
        Plan(f"matmul {square.m} x {square.n} x {square.k}", THREADS, "GFLOP/s", counts, product),
        Plan("documented network, training", "batch", "images/s", batches, training_step),
        Plan("documented network, predict", "batch", "images/s", batches, prediction),
    ]
    for which in calls.PASSES:
        plans.append(
            Plan(
                f"conv2d {which}, 3 x 3, 64 to 64 channels",
                "image",
                "GFLOP/s",
                images,
                lambda size, which=which: _conv(replace(layer, h=size, w=size), which),  # type: ignore[misc]
            )
        )
        plans.append(
            Plan(
                f"conv2d {which}, 3 x 3, 28 x 28 pixels",
                "channels",
                "GFLOP/s",
                channels,
                lambda size, which=which: _conv(replace(layer, cin=size, cout=size), which),  # type: ignore[misc]
            )
        )
    plans.append(
        Plan(
            f"conv2d forward, {second}",
            "batch",
            "GFLOP/s",
            batches,
            lambda size: _conv(second.with_batch(size)),
        )
    )
    return plans
