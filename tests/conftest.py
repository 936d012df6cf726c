"""Fixtures that several test files share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cnnlite


@pytest.fixture
def seeded() -> None:
    """First weights, orders and masks are the same in every run."""
    cnnlite.set_random_seed(0)


@pytest.fixture
def any_threads() -> Iterator[None]:
    """The number of threads is the default again afterwards."""
    yield
    cnnlite.set_num_threads(None)


@pytest.fixture(scope="session")
def keras_figures() -> dict[str, Any]:
    """What Keras computed: tools/make_keras_figures.py."""
    return json.loads(Path(__file__).with_name("data").joinpath("keras_figures.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def keras_layers() -> dict[str, Any]:
    """What Keras's layers computed: tools/make_keras_layers.py."""
    return json.loads(Path(__file__).with_name("data").joinpath("keras_layers.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def keras_networks_figures() -> dict[str, Any]:
    """How networks trained in Keras: tools/make_keras_networks.py."""
    return json.loads(Path(__file__).with_name("data").joinpath("keras_networks.json").read_text("utf-8"))
