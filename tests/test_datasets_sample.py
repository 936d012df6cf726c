"""The sample of Fashion-MNIST: what is in it, when it is used, and how it is packed."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from dataset_files import nothing_to_find, running_server, shrunk, small_arrays

from cnnlite.datasets import fashion_mnist, sample
from cnnlite.datasets.source import IDX_NAMES

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def clean_start(tmp_path, monkeypatch):
    nothing_to_find(tmp_path, monkeypatch)


@pytest.fixture
def named(tmp_path, monkeypatch):
    folder = tmp_path / "named"
    folder.mkdir()
    monkeypatch.setenv("CNNLITE_DATA", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("CNNLITE_OFFLINE")
    with running_server() as server:
        yield server


def test_sample_is_balanced_and_complete():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(sample=True)
    assert x_train.shape == (10_000, 28, 28)
    assert x_test.shape == (2_000, 28, 28)
    assert np.bincount(y_train).tolist() == [1000] * 10
    assert np.bincount(y_test).tolist() == [200] * 10
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert sample.FILE.stat().st_size <= 4 << 20


def test_sample_asked_for_is_not_announced(named, capsys):
    np.savez(named / "fashion_mnist.npz", **small_arrays())
    assert len(fashion_mnist.load_data(sample=True)[0][0]) == 10_000
    assert capsys.readouterr().err == ""


def test_sample_when_there_is_nothing_else(capsys):
    split = fashion_mnist.load_data()
    assert len(split[0][0]) == sample.TRAIN
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "cnnlite: fashion_mnist: using the sample that comes with cnnlite, 10,000 training and"
    )
    assert "CNNLITE_OFFLINE is set" in line
    assert "install Debian's package dataset-fashion-mnist" in line


def test_sample_when_the_download_fails(server, monkeypatch, capsys):
    shrunk(fashion_mnist, monkeypatch, small_arrays(), mirrors=(server.url,))
    assert len(fashion_mnist.load_data()[0][0]) == sample.TRAIN
    assert f"Download: {server.url}{IDX_NAMES[0]}: Not Found" in capsys.readouterr().err


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_sample_is_the_first_of_each_class(monkeypatch, make_sample, capsys):
    source = dataclasses.replace(fashion_mnist.SOURCE, system_folders=(DEBIAN,))
    monkeypatch.setattr(fashion_mnist, "SOURCE", source)
    full = fashion_mnist.load_data()
    assert capsys.readouterr().err.endswith(f"60,000 training and 10,000 test images, from {DEBIAN}\n")
    for got, whole in zip(fashion_mnist.load_data(sample=True), full, strict=True):
        wanted = make_sample.first_of_each_class(*whole, len(got[1]))
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_published_digests_are_those_of_the_full_set():
    fashion_mnist.SOURCE.read_files(DEBIAN, fashion_mnist.SOURCE.digests)


@pytest.fixture
def make_sample():
    path = Path(__file__).parents[1] / "tools" / "make_sample.py"
    spec = importlib.util.spec_from_file_location("make_sample", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packing_is_the_inverse_of_unpacking_and_the_same_twice(make_sample):
    train = make_sample.first_of_each_class(*sample.load()[0], 200)
    test = make_sample.first_of_each_class(*sample.load()[1], 50)
    packed = make_sample.pack(train, test)
    assert packed == make_sample.pack(train, test)
    for got, wanted in zip(sample.unpack(packed, 200, 50), (train, test), strict=True):
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


def test_first_of_each_class_says_when_there_are_too_few(make_sample):
    with pytest.raises(ValueError, match=r"make_sample: expected 2 images of each class, got 2 of 20 in all"):
        make_sample.first_of_each_class(np.zeros((5, 28, 28), np.uint8), np.zeros(5, np.uint8), 20)


def test_sample_that_is_damaged():
    packed = sample.FILE.read_bytes()
    with pytest.raises(
        ValueError, match=r"expected the whole sample, got a damaged file .* Install cnnlite again"
    ):
        sample.unpack(packed[:-100], sample.TRAIN, sample.TEST)
    with pytest.raises(ValueError, match=r"expected a sample of 13000 images, got one of another size"):
        sample.unpack(packed, sample.TRAIN, 3_000)
