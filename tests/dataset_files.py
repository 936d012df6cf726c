"""Small data sets in every form, folders for them, and a server on this machine to download them from."""

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading

import numpy as np

from cnnlite.datasets import fashion_mnist
from cnnlite.datasets.source import IDX_NAMES
from cnnlite.datasets.split import NAMES


def nothing_to_find(tmp_path, monkeypatch):
    """No folder named, an empty cache, no network, no system folder: each test adds what it is about."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("CNNLITE_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CNNLITE_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "SOURCE", dataclasses.replace(fashion_mnist.SOURCE, system_folders=()))


def small_arrays(image_shape=(28, 28), seed=0):
    random = np.random.default_rng(seed)
    return {
        "x_train": random.integers(0, 256, (6, *image_shape), np.uint8),
        "y_train": random.integers(0, 10, 6, np.uint8),
        "x_test": random.integers(0, 256, (3, *image_shape), np.uint8),
        "y_test": random.integers(0, 10, 3, np.uint8),
    }


def idx_bytes(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = idx_bytes(small_arrays()["x_train"])


def write_idx(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for array, name in zip(NAMES, IDX_NAMES, strict=True):
        (folder / name).write_bytes(gzip.compress(idx_bytes(arrays[array])))


def cifar_bytes(arrays):
    """The binary version's archive, with the training images spread over the five batches."""
    groups = [
        (f"data_batch_{i + 1}.bin", "train", part) for i, part in enumerate(np.array_split(np.arange(6), 5))
    ]
    groups.append(("test_batch.bin", "test", np.arange(3)))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, part, chosen in reversed(groups):
            pixels = arrays[f"x_{part}"][chosen].transpose(0, 3, 1, 2).reshape(len(chosen), -1)
            records = np.concatenate([arrays[f"y_{part}"][chosen, None], pixels], axis=1)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = records.size
            archive.addfile(member, io.BytesIO(records.tobytes()))
    return packed.getvalue()


def assert_holds(split, arrays, label_shape=()):
    (x_train, y_train), (x_test, y_test) = split
    for got, name in zip((x_train, y_train, x_test, y_test), NAMES, strict=True):
        wanted = arrays[name].reshape(-1, *label_shape) if name[0] == "y" else arrays[name]
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, wanted)


def shrunk(module, monkeypatch, arrays, **changes):
    """Make the module's data set a small one: its digests are those of `arrays`."""
    digests = {
        name: hashlib.sha256(idx_bytes(arrays[array])).hexdigest()
        for array, name in zip(NAMES, IDX_NAMES, strict=True)
    }
    source = dataclasses.replace(module.SOURCE, digests=digests, counts=(6, 3), **changes)
    monkeypatch.setattr(module, "SOURCE", source)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the `files` of its server as (content, announced length); None is an answer that never comes."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content, length = self.server.files.get(self.path, (b"", -1))
        if length < 0:
            self.send_error(404)
        elif content is None:
            self.server.stop.wait(5)
            self.close_connection = True
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def running_server():
    """A server on this machine that serves nothing yet; `asked` lists the paths that were asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.stop = {}, [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.stop.set()
        server.shutdown()


def serve(server, files):
    server.files = {f"/{name}": (content, len(content)) for name, content in files.items()}


def idx_files(arrays):
    return {
        name: gzip.compress(idx_bytes(arrays[array])) for array, name in zip(NAMES, IDX_NAMES, strict=True)
    }
