"""cnnlite.datasets: where a data set is looked for, and what is made of what is found there."""

import dataclasses
import gzip
import io
import re
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from dataset_files import IMAGES, assert_holds, cifar_bytes, nothing_to_find, shrunk, small_arrays, write_idx

from cnnlite.datasets import cifar10, fashion_mnist, locate, mnist, sample
from cnnlite.datasets.source import IDX_NAMES


@pytest.fixture(autouse=True)
def clean_start(tmp_path, monkeypatch):
    nothing_to_find(tmp_path, monkeypatch)


@pytest.fixture
def named(tmp_path, monkeypatch):
    folder = tmp_path / "named"
    folder.mkdir()
    monkeypatch.setenv("CNNLITE_DATA", str(folder))
    return folder


@pytest.mark.parametrize("labels", [np.uint8, np.int64])
@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_npz_in_the_named_folder(named, capsys, module, labels):
    arrays = small_arrays()
    typed = {name: array.astype(labels) if name[0] == "y" else array for name, array in arrays.items()}
    name = module.SOURCE.name
    np.savez(named / f"{name}.npz", **typed)
    assert_holds(module.load_data(), arrays)
    said = f"cnnlite: {name}: 6 training and 3 test images, a part of the 60,000 + 10,000, from "
    assert capsys.readouterr().err == f"{said}{named}/{name}.npz\n"


@pytest.mark.parametrize("columns", [(), (1,)])
def test_cifar10_npz_has_a_column_of_labels_as_in_keras(named, columns):
    arrays = small_arrays((32, 32, 3))
    stored = {k: v.reshape(-1, *columns) if k[0] == "y" else v for k, v in arrays.items()}
    np.savez(named / "cifar10.npz", **stored)
    assert_holds(cifar10.load_data(), arrays, label_shape=(1,))


def test_cifar10_part(named, capsys):
    np.savez(named / "cifar10_12k.npz", **small_arrays((32, 32, 3)))
    cifar10.load_data()
    assert "a part of the 50,000 + 10,000, from" in capsys.readouterr().err


def test_cifar10_whole_before_part(named):
    whole = small_arrays((32, 32, 3), seed=1)
    np.savez(named / "cifar10_12k.npz", **small_arrays((32, 32, 3)))
    (named / "cifar-10-binary.tar.gz").write_bytes(cifar_bytes(whole))
    assert_holds(cifar10.load_data(), whole, label_shape=(1,))


@pytest.mark.parametrize("folder", ["fashion_mnist", "fashion-mnist"])
def test_idx_files_in_a_folder_of_the_name(named, folder):
    arrays = small_arrays()
    write_idx(named / folder, arrays)
    assert_holds(fashion_mnist.load_data(), arrays)


def test_idx_files_without_a_folder_are_told_apart(named, monkeypatch, capsys):
    digits, clothes = small_arrays(seed=1), small_arrays(seed=2)
    shrunk(mnist, monkeypatch, digits)
    shrunk(fashion_mnist, monkeypatch, clothes)
    write_idx(named, digits)
    assert_holds(mnist.load_data(), digits)
    assert capsys.readouterr().err == f"cnnlite: mnist: 6 training and 3 test images, from {named}\n"
    assert len(fashion_mnist.load_data()[0][0]) == sample.TRAIN


def test_named_folder_before_cache_before_system(tmp_path, named, monkeypatch):
    first, second, third = (small_arrays(seed=seed) for seed in range(3))
    cache = locate.cache_folder()
    cache.mkdir(parents=True)
    np.savez(named / "fashion_mnist.npz", **first)
    np.savez(cache / "fashion_mnist.npz", **second)
    write_idx(tmp_path / "system", third)
    source = dataclasses.replace(fashion_mnist.SOURCE, system_folders=(tmp_path / "system",))
    monkeypatch.setattr(fashion_mnist, "SOURCE", source)
    assert_holds(fashion_mnist.load_data(), first)
    monkeypatch.delenv("CNNLITE_DATA")
    assert_holds(fashion_mnist.load_data(), second)
    shutil.rmtree(cache)
    assert_holds(fashion_mnist.load_data(), third)


def test_named_folder_must_be_one(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNLITE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(
        NotADirectoryError, match=r"CNNLITE_DATA: expected a folder, got .*nowhere'.* Create it"
    ):
        mnist.load_data()


def test_cache_folder(monkeypatch, tmp_path):
    assert locate.cache_folder() == tmp_path / "xdg" / "cnnlite" / "datasets"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert locate.cache_folder() == tmp_path / ".cache" / "cnnlite" / "datasets"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert locate.cache_folder() == tmp_path / "Library" / "Caches" / "cnnlite" / "datasets"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert locate.cache_folder() == tmp_path / "local" / "cnnlite" / "datasets"


def test_no_home_is_no_error(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert locate.cache_folder() is None
    monkeypatch.delenv("CNNLITE_OFFLINE")
    with pytest.raises(FileNotFoundError, match="no cache folder; set XDG_CACHE_HOME"):
        mnist.load_data()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x_train": None}, ValueError, r"expected arrays x_train, .*, got no x_train\. Save"),
        (
            {"x_train": np.zeros((6, 32, 32, 3), np.uint8)},
            ValueError,
            r"x_train of shape \(n, 28, 28\), got \(6, 32",
        ),
        (
            {"x_train": np.zeros((6, 28, 28), np.float32)},
            TypeError,
            r"x_train as uint8, 0 to 255, got float32",
        ),
        (
            {"y_test": np.zeros(4, np.uint8)},
            ValueError,
            r"y_test of shape \(3,\) to match the images, got \(4,\)",
        ),
        ({"y_test": np.zeros(3)}, TypeError, r"y_test as integers, got float64"),
        ({"y_train": np.full(6, 10)}, ValueError, r"y_train in \[0, 10\), got labels from 10 to 10"),
        ({"y_train": np.full(6, -1)}, ValueError, r"y_train in \[0, 10\), got labels from -1 to -1"),
        ({"y_train": np.array([None] * 6)}, ValueError, r"expected a whole \.npz file of plain arrays"),
    ],
    ids=["missing", "shape", "floats", "count", "float labels", "label 10", "label -1", "pickled"],
)
def test_npz_of_something_else(named, change, error, message):
    arrays = {name: array for name, array in {**small_arrays(), **change}.items() if array is not None}
    np.savez(named / "mnist.npz", **arrays)
    with pytest.raises(error, match=rf"{re.escape(str(named))}/mnist\.npz: .*{message}"):
        mnist.load_data()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_npz_that_is_none(named, content):
    (named / "mnist.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist\.npz: expected a whole \.npz file of plain arrays"):
        mnist.load_data()


def test_npz_that_is_one_array(named):
    with open(named / "mnist.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"mnist\.npz: expected a whole \.npz file of plain arrays"):
        mnist.load_data()


def test_npz_cut_short(named):
    np.savez_compressed(named / "mnist.npz", **small_arrays())
    whole = (named / "mnist.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[300:400] = bytes(100)
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        (named / "mnist.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"mnist\.npz: expected a whole \.npz file of plain arrays"):
            mnist.load_data()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES, "expected a whole gzip file, got a damaged or truncated one"),
        (gzip.compress(IMAGES)[:-20], "expected a whole gzip file, got a damaged or truncated one"),
        (
            gzip.compress(IMAGES)[:50] + bytes(100),
            "expected a whole gzip file, got a damaged or truncated one",
        ),
        (gzip.compress(b"\x89PNG and more"), r"starting with bytes 0 0 8, got \(137, 80, 78, 71\)"),
        (gzip.compress(b"\0\0\x0d" + IMAGES[3:]), r"starting with bytes 0 0 8, got \(0, 0, 13, 3\)"),
        (gzip.compress(b"\0\0"), r"starting with bytes 0 0 8, got \(0, 0\)"),
        (gzip.compress(IMAGES[:9]), "expected an idx header of 16 bytes, got 9"),
        (gzip.compress(IMAGES[:-1]), r"expected 4704 bytes of data for shape \(6, 28, 28\), got 4703"),
        (gzip.compress(IMAGES + b"\0"), r"expected 4704 bytes of data for shape \(6, 28, 28\), got 4705"),
    ],
    ids=["not gzip", "cut", "damaged", "png", "floats", "two bytes", "half a header", "short", "long"],
)
def test_idx_file_that_is_damaged(named, content, message):
    write_idx(named / "mnist", small_arrays())
    (named / "mnist" / IDX_NAMES[0]).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{IDX_NAMES[0]}: .*{message}"):
        mnist.load_data()


def test_cifar10_archive_that_is_damaged(named):
    whole = cifar_bytes(small_arrays((32, 32, 3)))
    path = named / "cifar-10-binary.tar.gz"
    for content in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"tar\.gz: expected a whole \.tar\.gz archive"):
            cifar10.load_data()


def test_cifar10_archive_of_something_else(named):
    def write(*members):
        with tarfile.open(named / "cifar-10-binary.tar.gz", "w:gz") as archive:
            for name, length in members:
                member = tarfile.TarInfo(name)
                member.size = length
                archive.addfile(member, io.BytesIO(bytes(length)))

    write(("data_batch_1", 10))
    with pytest.raises(
        ValueError, match=r"binary version, got no data_batch_1\.bin, .*, test_batch\.bin in it"
    ):
        cifar10.load_data()
    write(*((f"data_batch_{i}.bin", 3073) for i in range(1, 6)), ("test_batch.bin", 3000))
    with pytest.raises(ValueError, match=r"whole records of 3073 bytes, got lengths \(3000,\)"):
        cifar10.load_data()
