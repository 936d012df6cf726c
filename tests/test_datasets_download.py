"""cnnlite.datasets: downloads, from a server on this machine; no network."""

import dataclasses
import gzip
import hashlib
import os
import re

import pytest
from dataset_files import (
    IMAGES,
    assert_holds,
    cifar_bytes,
    idx_files,
    nothing_to_find,
    running_server,
    serve,
    shrunk,
    small_arrays,
)

from cnnlite.datasets import cifar10, download, locate, mnist
from cnnlite.datasets import source as source_module
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


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("CNNLITE_OFFLINE")
    with running_server() as server:
        yield server


def test_download_into_the_cache_once(server, monkeypatch, capsys):
    arrays = small_arrays()
    shrunk(mnist, monkeypatch, arrays, mirrors=(server.url,))
    serve(server, idx_files(arrays))
    assert_holds(mnist.load_data(), arrays)
    folder = locate.cache_folder() / "mnist"
    assert sorted(os.listdir(folder)) == sorted(IDX_NAMES)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"cnnlite: mnist: downloading 12 MB from {server.url} to {folder}",
        f"cnnlite: mnist: 6 training and 3 test images, from {folder}",
    ]
    assert len(server.asked) == 4
    monkeypatch.setenv("CNNLITE_OFFLINE", "1")
    assert_holds(mnist.load_data(), arrays)
    assert len(server.asked) == 4


def test_download_of_cifar10(server, monkeypatch):
    arrays = small_arrays((32, 32, 3))
    archive = cifar_bytes(arrays)
    name = "cifar-10-binary.tar.gz"
    digests = {name: hashlib.sha256(archive).hexdigest()}
    source = dataclasses.replace(cifar10.SOURCE, digests=digests, mirrors=(server.url,))
    monkeypatch.setattr(cifar10, "SOURCE", source)
    serve(server, {name: archive})
    for _ in range(2):
        assert_holds(cifar10.load_data(), arrays, label_shape=(1,))
    assert server.asked == [f"/{name}"]


def test_second_mirror(server, monkeypatch):
    arrays = small_arrays()
    shrunk(mnist, monkeypatch, arrays, mirrors=(server.url + "gone/", server.url))
    serve(server, idx_files(arrays))
    assert_holds(mnist.load_data(), arrays)


@pytest.mark.parametrize("damage", ["cut", "flipped", "of another set"])
def test_damaged_download_is_fetched_again(server, monkeypatch, capsys, damage):
    arrays = small_arrays()
    shrunk(mnist, monkeypatch, arrays, mirrors=(server.url,))
    serve(server, idx_files(arrays))
    mnist.load_data()
    path = locate.cache_folder() / "mnist" / IDX_NAMES[0]
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-9],
            "flipped": content[:99] + bytes([content[99] ^ 1]) + content[100:],
            "of another set": idx_files(small_arrays(seed=1))[IDX_NAMES[0]],
        }[damage]
    )
    assert_holds(mnist.load_data(), arrays)
    assert path.read_bytes() == content
    assert server.asked[4:] == [f"/{IDX_NAMES[0]}"]
    assert f"{path}: expected" in capsys.readouterr().err


def test_damaged_download_offline_is_reported(server, monkeypatch, capsys):
    arrays = small_arrays()
    shrunk(mnist, monkeypatch, arrays, mirrors=(server.url,))
    serve(server, idx_files(arrays))
    mnist.load_data()
    path = locate.cache_folder() / "mnist" / IDX_NAMES[0]
    path.write_bytes(idx_files(small_arrays(seed=1))[IDX_NAMES[0]])
    monkeypatch.setenv("CNNLITE_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="CNNLITE_OFFLINE is set"):
        mnist.load_data()
    assert f"{path}: expected SHA-256" in capsys.readouterr().err


def test_damaged_cifar10_archive_is_fetched_again(server, monkeypatch, capsys):
    arrays = small_arrays((32, 32, 3))
    archive = cifar_bytes(arrays)
    name = "cifar-10-binary.tar.gz"
    digests = {name: hashlib.sha256(archive).hexdigest()}
    source = dataclasses.replace(cifar10.SOURCE, digests=digests, mirrors=(server.url,))
    monkeypatch.setattr(cifar10, "SOURCE", source)
    path = locate.cache_folder() / "cifar10" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(cifar_bytes(small_arrays((32, 32, 3), seed=1)))
    serve(server, {name: archive})
    assert_holds(cifar10.load_data(), arrays, label_shape=(1,))
    assert f"{name}: expected SHA-256 {digests[name]}, got" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "length", "reason"),
    [
        (b"", -1, "Not Found"),
        (gzip.compress(IMAGES)[:99], 1000, "expected 1000 bytes, got 99"),
        (gzip.compress(b"other"), 25, f"expected SHA-256 {hashlib.sha256(IMAGES).hexdigest()}, got"),
        (b"<html>", 6, "not a whole gzip file"),
        (None, 0, r"no answer in 0\.3 s"),
    ],
    ids=["missing", "cut", "digest", "format", "silent"],
)
def test_download_that_fails_leaves_nothing(server, monkeypatch, content, length, reason):
    monkeypatch.setattr(download, "OPEN_SECONDS", 0.3)
    shrunk(mnist, monkeypatch, small_arrays(), mirrors=(server.url,))
    server.files = {f"/{IDX_NAMES[0]}": (content, length)}
    cache = locate.cache_folder()
    looked = rf"mnist: expected it in {re.escape(str(cache))}, got nothing usable\."
    wanted = rf"{looked} Download: {server.url}.*{reason}.*Put mnist\.npz .* CNNLITE_DATA"
    with pytest.raises(FileNotFoundError, match=wanted):
        mnist.load_data()
    assert os.listdir(cache / "mnist") == []
    assert len(server.asked) == 1


def test_nobody_there(monkeypatch, named):
    monkeypatch.delenv("CNNLITE_OFFLINE")
    shrunk(mnist, monkeypatch, small_arrays(), mirrors=("http://127.0.0.1:9/",))
    wanted = rf"mnist: expected it in {re.escape(str(named))} \(CNNLITE_DATA\) or .*Download: http://127\.0\.0\.1:9/"
    with pytest.raises(FileNotFoundError, match=wanted):
        mnist.load_data()


def test_cache_that_cannot_be_made(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shrunk(mnist, monkeypatch, small_arrays(), mirrors=(server.url,))
    with pytest.raises(FileNotFoundError, match=r"mnist: expected it in .*file"):
        mnist.load_data()
    assert server.asked == []


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch, value, offline):
    monkeypatch.setenv("CNNLITE_OFFLINE", value)
    assert download.offline() is offline


def test_offline_never_opens_a_connection(monkeypatch):
    monkeypatch.setattr(source_module, "fetch", lambda *_: pytest.fail("tried the network"))
    with pytest.raises(
        FileNotFoundError, match=r"cifar10: .*CNNLITE_OFFLINE is set\. Put cifar10\.npz or cifar-10"
    ):
        cifar10.load_data()
