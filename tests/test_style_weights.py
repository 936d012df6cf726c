"""examples/style_transfer.py reads VGG in the formats in which it is published: small files with their names, layout and order."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

for package in ("PIL", "scipy", "skimage", "tqdm"):
    pytest.importorskip(package, reason="the examples extra is not installed")

# block, and the convolution in it; VGG-16 and VGG-19 have more of them, numbered in the same way
LAYERS = [
    "block1_conv1",
    "block1_conv2",
    "block2_conv1",
    "block3_conv1",
    "block4_conv1",
    "block4_conv2",
    "block5_conv1",
]
WIDTHS = [4, 4, 6, 8, 8, 8, 5]
# torchvision counts ReLUs and pools too
NUMBERS = [0, 2, 5, 8, 11, 13, 16]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / "style_transfer.py"
    spec = importlib.util.spec_from_file_location("style_transfer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """HWIO kernels and biases, for red, green and blue."""
    rng, channels, made = np.random.default_rng(0), 3, {}
    for name, width in zip(LAYERS, WIDTHS, strict=True):
        kernel = rng.standard_normal((3, 3, channels, width), np.float32)
        made[name] = kernel, rng.standard_normal(width, np.float32)
        channels = width
    return made


def write_safetensors(path: Path, arrays: dict[str, np.ndarray], kind: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in arrays.items():
        stop = len(data) + array.nbytes
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(data), stop]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def as_torchvision(weights: dict[str, tuple[np.ndarray, np.ndarray]], dtype: Any) -> dict[str, np.ndarray]:
    arrays = {"classifier.0.weight": np.zeros((2, 2), dtype), "classifier.0.bias": np.zeros(2, dtype)}
    for number, (kernel, bias) in sorted(
        zip(NUMBERS, weights.values(), strict=True), key=lambda pair: -pair[0]
    ):
        arrays[f"features.{number}.weight"] = kernel.transpose(3, 2, 0, 1).astype(dtype)
        arrays[f"features.{number}.bias"] = bias.astype(dtype)
    return arrays


def check(network: Any, weights: dict[str, tuple[np.ndarray, np.ndarray]], dtype: Any = np.float32) -> None:
    assert list(network.weights) == LAYERS
    for name, (kernel, bias) in weights.items():
        np.testing.assert_array_equal(network.weights[name][0], kernel.astype(dtype))
        np.testing.assert_array_equal(network.weights[name][1], bias.astype(dtype))


@pytest.mark.parametrize(("kind", "dtype"), [("F32", np.float32), ("F16", np.float16)])
def test_safetensors(example: ModuleType, weights: Any, tmp_path: Path, kind: str, dtype: Any) -> None:
    write_safetensors(tmp_path / "vgg.safetensors", as_torchvision(weights, dtype), kind)
    network = example.load_network(tmp_path / "vgg.safetensors")
    check(network, weights, dtype)
    # ImageNet's mean is 0 to the first layer, and one deviation above it 1
    np.testing.assert_allclose(np.array([0.485, 0.456, 0.406]) * network.scale + network.shift, 0, atol=1e-6)
    np.testing.assert_allclose(np.array([0.714, 0.68, 0.631]) * network.scale + network.shift, 1, atol=1e-5)


@pytest.mark.parametrize("inside", ["{0}_W_1:0 {0}_b_1:0", "{0}/kernel:0 {0}/bias:0"])
@pytest.mark.parametrize("root", ["/", "/model_weights"])
def test_keras(example: ModuleType, weights: Any, tmp_path: Path, inside: str, root: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "vgg19.h5", "w") as file:
        for name, (kernel, bias) in weights.items():
            group = file.require_group(root).create_group(name)
            kernel_name, bias_name = inside.format(name).split()
            group[bias_name] = bias
            group[kernel_name] = kernel[:, :, ::-1] if name == "block1_conv1" else kernel  # BGR
        file.require_group(root).create_group("block1_pool")
    network = example.load_network(tmp_path / "vgg19.h5")
    check(network, weights)
    np.testing.assert_allclose(
        np.array([123.68, 116.779, 103.939]) / 255 * network.scale + network.shift, 0, atol=1e-4
    )


def test_the_network_of_a_file_pools_between_blocks_and_ends_at_the_last_layer_asked_for(
    example: ModuleType, weights: Any, tmp_path: Path
) -> None:
    more = {**weights, "block5_conv2": (np.zeros((3, 3, 5, 5), np.float32), np.zeros(5, np.float32))}
    network = example.VGG(more, 1, 0)
    network.resize(32)
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    outputs = network(image)
    assert {name: output.shape for name, output in outputs.items()} == {
        "block1_conv1": (32, 32, 4), "block2_conv1": (16, 16, 6), "block3_conv1": (8, 8, 8), "block4_conv1": (4, 4, 8),
        "block4_conv2": (4, 4, 8), "block5_conv1": (2, 2, 5),
    }  # fmt: skip
    assert network.model.layers[-1].name == "block5_conv1"
    assert network.gradient(outputs).shape == image.shape


@pytest.mark.parametrize("kind", ["RandomFilters", "VGG"])
def test_the_gradient_of_the_image_is_that_of_the_losses(
    example: ModuleType, weights: Any, kind: str
) -> None:
    small = {name: (kernel / 8, bias / 8) for name, (kernel, bias) in weights.items()}
    network = example.VGG(small, 1, 0) if kind == "VGG" else example.RandomFilters(0, width=4)
    network.resize(32)
    rng = np.random.default_rng(0)
    image, way = rng.random((32, 32, 3), np.float32), rng.standard_normal((32, 32, 3), np.float32)

    def total(at: np.ndarray) -> float:
        return sum(float((output.astype(float) ** 2).sum()) for output in network(at).values())

    outputs = network(image)
    slope = float((network.gradient({name: 2 * output for name, output in outputs.items()}) * way).sum())
    step = np.float32(1e-3)
    assert slope == pytest.approx((total(image + step * way) - total(image - step * way)) / 2e-3, rel=0.02)


def test_files_that_are_refused(example: ModuleType, weights: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"vgg19\.pth: expected a \.h5 or \.safetensors file; a \.pth is a pickle"
    ):
        example.load_network(tmp_path / "vgg19.pth")
    path = tmp_path / "vgg.safetensors"
    write_safetensors(path, as_torchvision(weights, np.float32), "F64")
    with pytest.raises(ValueError, match=r"expected F32 or F16, got features\.0\.weight of F64"):
        example.load_network(path)
    normalized = {"features.1.weight": np.ones(4, np.float32), "features.1.bias": np.ones(4, np.float32)}
    write_safetensors(path, {**as_torchvision(weights, np.float32), **normalized})
    with pytest.raises(
        ValueError, match=r"without batch normalization, got features\.1\.weight of shape \(4,\)"
    ):
        example.load_network(path)
