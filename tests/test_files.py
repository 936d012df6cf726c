"""cnnlite.files: a file is wholly written or not there at all."""

import os
import stat
import sys

import pytest

from cnnlite.files import atomic_write


def test_writes_all_of_it(tmp_path):
    target = tmp_path / "model.cnn"
    with atomic_write(target) as file:
        file.write(b"weights")
        assert not target.exists()
    assert target.read_bytes() == b"weights"
    assert os.listdir(tmp_path) == ["model.cnn"]


def test_takes_a_string_and_replaces(tmp_path):
    target = tmp_path / "model.cnn"
    target.write_bytes(b"old and longer")
    with atomic_write(str(target)) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_file_can_be_read_back_before_it_is_put_in_place(tmp_path):
    with atomic_write(tmp_path / "model.cnn") as file:
        file.write(b"weights")
        file.seek(0)
        assert file.read() == b"weights"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_middle_keeps_the_old_file(tmp_path, error):
    target = tmp_path / "model.cnn"
    target.write_bytes(b"old")

    def write():
        with atomic_write(target) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.cnn"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, step):
    target = tmp_path / "model.cnn"
    target.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)

    def write():
        with atomic_write(target) as file:
            file.write(b"new")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.cnn"]


def test_a_missing_folder_is_an_error(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="no_folder"),
        atomic_write(tmp_path / "no_folder" / "model.cnn"),
    ):
        pytest.fail("the block must not run")


def test_a_folder_as_target_is_an_error(tmp_path):
    (tmp_path / "folder").mkdir()

    def write():
        with atomic_write(tmp_path / "folder") as file:
            file.write(b"new")

    with pytest.raises(OSError, match="folder"):
        write()
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and links as on POSIX")
class TestPosix:
    def test_a_new_file_obeys_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            with atomic_write(tmp_path / "model.cnn"):
                pass
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(tmp_path / "model.cnn").st_mode) == 0o640

    def test_an_old_file_keeps_its_permissions(self, tmp_path):
        target = tmp_path / "model.cnn"
        target.touch()
        target.chmod(0o604)
        with atomic_write(target) as file:
            file.write(b"new")
        assert stat.S_IMODE(target.stat().st_mode) == 0o604

    def test_a_link_is_followed(self, tmp_path):
        target, link = tmp_path / "model-3.cnn", tmp_path / "model.cnn"
        link.symlink_to(target)
        with atomic_write(link) as file:
            file.write(b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"


def test_missing_folder_is_named(tmp_path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"expected its folder .* to exist; make it first"),
        atomic_write(tmp_path / "nowhere" / "file"),
    ):
        pass
