"""The kernel cache on disk: what is compiled again, what is never loaded, and that nothing is an error."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import numba
import pytest
import runtime_programs
from runtime_kernels import again, answer, variant

from cnnlite_kernels.cpu import disk, jit

NOBODY = 65534
DAY = 24 * 3600
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX owners and permissions")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for the kernels of this test."""
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(tmp_path / "cache"))
    disk.folder.cache_clear()
    yield tmp_path / "cache"
    disk.folder.cache_clear()


@pytest.fixture
def compiled(monkeypatch):
    """The names of the kernels that had to be compiled, as they are."""
    names: list[str] = []
    monkeypatch.setattr(jit, "compile_started", [names.append])
    return names


@pytest.fixture
def home(cache, tmp_path, monkeypatch):
    """A home directory that decides where the cache is."""
    for name in ("CNNLITE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    return folder


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def only_file(cache: Path) -> Path:
    (file,) = files(cache)
    return file


def give_away(path: Path, monkeypatch) -> None:
    """Makes a path somebody else's: really, where root runs the tests."""
    me = os.geteuid()
    if me == 0:
        os.chown(path, NOBODY, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)


def works_without_cache(cache: Path, compiled: list[str]) -> bool:
    """Whether kernels are right and compiled each time, and nothing is left in the folder."""
    before, told = files(cache), len(compiled)
    right = answer(again(variant), 3) == answer(again(variant), 3) == 1003
    return right and len(compiled) == told + 2 and files(cache) == before


def test_compiled_once_then_loaded(cache, compiled):
    assert answer(again(variant), 3) == 1003
    assert compiled == ["runtime_kernels.variant-3"]
    assert answer(again(variant), 3, number=5) == 8
    assert answer(again(variant), 4) == 1004
    assert compiled == ["runtime_kernels.variant-3", "runtime_kernels.variant-4"]
    assert jit.compile_seconds["runtime_kernels.variant-4"] > 0


@posix
def test_the_folder_is_the_users_alone(cache):
    answer(again(variant), 3)
    file = only_file(cache)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.parent == jit.folder() == cache / "kernels" / file.parent.name


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _garbage(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 20)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_bit, _garbage])
def test_a_damaged_file_is_compiled_again_and_mended(cache, compiled, damage):
    answer(again(variant), 3)
    damage(only_file(cache))
    assert answer(again(variant), 3) == 1003
    assert len(compiled) == 2
    assert answer(again(variant), 3) == 1003
    assert len(compiled) == 2


def test_a_folder_where_the_file_should_be_is_no_error(cache, compiled):
    answer(again(variant), 3)
    file = only_file(cache)
    file.unlink()
    file.mkdir()
    assert works_without_cache(cache, compiled)


def test_a_file_under_the_name_of_another_is_not_loaded(cache, compiled):
    answer(again(variant), 3)
    three = only_file(cache)
    answer(again(variant), 4)
    (four,) = set(files(cache)) - {three}
    shutil.copy(three, four)
    assert answer(again(variant), 4) == 1004
    assert len(compiled) == 3


def test_a_full_disk_is_no_error_and_leaves_nothing(cache, compiled):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        assert works_without_cache(cache, compiled)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(cache) == []
    answer(again(variant), 3)
    assert len(files(cache)) == 1


@pytest.mark.parametrize("broken", ["replace", "fdopen"])
def test_a_failing_write_is_no_error_and_leaves_nothing(cache, compiled, monkeypatch, broken):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, broken, fail)
    assert works_without_cache(cache, compiled)


def test_no_cache_when_asked_for_none(cache, compiled, monkeypatch):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", "none")
    assert jit.folder() is None
    assert works_without_cache(cache, compiled)


def test_the_home_decides_where_it_is(home, compiled):
    answer(again(variant), 3)
    assert home in only_file(home).parents


@posix
def test_xdg_cache_home_goes_first_if_absolute(home, compiled, monkeypatch, tmp_path):
    monkeypatch.setattr(disk.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert home / ".cache" in jit.folder().parents
    disk.folder.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jit.folder().parent == tmp_path / "xdg" / "cnnlite" / "kernels"


def test_a_missing_home_is_no_error_and_is_not_made(home, compiled):
    home.rmdir()
    assert jit.folder() is None
    assert works_without_cache(home.parent, compiled)
    assert not home.exists()


def test_no_home_at_all_is_no_error(home, compiled, monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    assert works_without_cache(home, compiled)


def test_a_home_that_is_a_file_is_no_error(home, compiled, monkeypatch):
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("HOME", str(home / "file"))
    monkeypatch.setenv("USERPROFILE", str(home / "file"))
    assert works_without_cache(home, compiled)


@posix
def test_a_home_that_cannot_be_written_is_no_error(home, compiled):
    home.chmod(0o500)
    root = os.geteuid() == 0
    if root:  # whom permissions do not bind
        for folder in (home, *home.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(NOBODY)
    try:
        assert jit.folder() is None
        assert works_without_cache(home, compiled)
    finally:
        if root:
            os.seteuid(0)
        home.chmod(0o700)


@posix
def test_root_leaves_nothing_in_the_home_of_another(home, compiled, monkeypatch):
    give_away(home, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert works_without_cache(home, compiled)


@posix
def test_a_filled_folder_that_cannot_be_written_is_read(cache, compiled, monkeypatch):
    answer(again(variant), 3)

    def fail(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    disk.folder.cache_clear()
    monkeypatch.setattr(disk.os, "utime", fail)
    monkeypatch.setattr(disk.tempfile, "mkstemp", fail)
    assert answer(again(variant), 3) == 1003
    assert answer(again(variant), 4) == 1004
    assert compiled == ["runtime_kernels.variant-3", "runtime_kernels.variant-4"]


@posix
def test_a_folder_open_to_others_is_closed(cache, compiled):
    answer(again(variant), 3)
    folder = jit.folder()
    folder.chmod(0o777)
    disk.folder.cache_clear()
    assert jit.folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@posix
def test_a_folder_of_somebody_else_is_refused(cache, compiled, monkeypatch):
    answer(again(variant), 3)
    give_away(jit.folder(), monkeypatch)
    disk.folder.cache_clear()
    assert jit.folder() is None
    assert works_without_cache(cache, compiled)


@posix
def test_a_link_in_place_of_the_folder_is_refused(cache, compiled, tmp_path):
    answer(again(variant), 3)
    folder = jit.folder()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    disk.folder.cache_clear()
    assert jit.folder() is None
    assert works_without_cache(cache, compiled)


@posix
@pytest.mark.parametrize("how", ["writable", "link", "foreign"])
def test_a_file_that_others_may_have_written_is_not_loaded(cache, compiled, tmp_path, monkeypatch, how):
    answer(again(variant), 3)
    file = only_file(cache)
    if how == "writable":
        file.chmod(0o666)
    elif how == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        give_away(file, monkeypatch)
    assert answer(again(variant), 3) == 1003
    assert len(compiled) == 2


def test_nothing_is_loaded_or_saved_after_a_source_was_edited(cache, compiled, monkeypatch):
    answer(again(variant), 3)
    source, ((when, size), content) = next(iter(disk._SOURCES.items()))
    monkeypatch.setitem(disk._SOURCES, source, ((when - 1, size), content))
    assert disk.sources_changed()
    assert works_without_cache(cache, compiled)


def test_a_source_that_is_gone_counts_as_edited(monkeypatch, tmp_path):
    assert not disk.sources_changed()
    monkeypatch.setitem(disk._SOURCES, tmp_path / "gone.py", ((0, 0), ""))
    assert disk.sources_changed()


def test_no_cache_without_sources(cache, compiled, monkeypatch):
    monkeypatch.setattr(disk, "_SOURCES", {})
    assert works_without_cache(cache, compiled)


def test_settings_that_change_code_have_folders_of_their_own(cache, monkeypatch):
    seen = {disk.digest.__wrapped__("options"), disk.digest.__wrapped__("other options")}
    monkeypatch.setattr(numba.config, "OPT", 0)
    seen.add(disk.digest.__wrapped__("options"))
    monkeypatch.setattr(disk.numba, "__version__", "0.0")
    seen.add(disk.digest.__wrapped__("options"))
    assert len(seen) == 4


def test_every_kernel_source_is_in_the_digest():
    names = {str(source.relative_to(disk.PACKAGE)) for source in disk._SOURCES}
    assert {
        "random.py",
        "__init__.py",
        os.path.join("cpu", "jit.py"),
        os.path.join("cpu", "tile.py"),
    } <= names


def test_old_folders_go_when_a_new_one_is_made(cache):
    kernels = cache / "kernels"
    ages = {f"{number:024x}": number for number in range(disk.KEPT + 3)}  # in days: the first few are young
    ages["not-a-cache"] = 1000
    for name, days in ages.items():
        (kernels / name).mkdir(parents=True)
        (kernels / name / "kernel.bin").write_bytes(b"")
        os.utime(kernels / name, (time.time() - days * DAY - 60,) * 2)
    made = jit.folder()
    left = {path.name for path in kernels.iterdir()}
    assert left == {made.name, "not-a-cache", *[f"{number:024x}" for number in range(disk.KEPT)]}


def test_folders_used_today_stay(cache):
    for number in range(disk.KEPT + 3):
        (cache / "kernels" / f"{number:024x}").mkdir(parents=True)
    jit.folder()
    assert len(list((cache / "kernels").iterdir())) == disk.KEPT + 4


def test_a_folder_in_use_may_vanish(cache, compiled):
    answer(again(variant), 3)
    shutil.rmtree(jit.folder())
    assert works_without_cache(cache, compiled)


def test_using_a_folder_makes_it_young(cache):
    folder = jit.folder()
    os.utime(folder, (0, 0))
    disk.folder.cache_clear()
    assert time.time() - jit.folder().stat().st_mtime < DAY


def test_the_log_says_what_went_wrong(cache, monkeypatch, capsys):
    monkeypatch.setenv("CNNLITE_CACHE_LOG", "1")
    answer(again(variant), 3)
    _truncate(only_file(cache))
    answer(again(variant), 3)
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(only_file(cache) / "below"))
    disk.folder.cache_clear()
    answer(again(variant), 3)
    error = capsys.readouterr().err
    assert "is damaged and is compiled again" in error
    assert "off, because its folder cannot be used" in error


def test_processes_that_compile_at_once_get_their_own_code(cache):
    gate = cache.parent / "gate"
    orders = [[3, 7, 5, 11], [7, 3, 11, 5]]
    programs = [runtime_programs.start("variants", gate, *order) for order in orders]
    time.sleep(1.0)
    gate.write_bytes(b"")
    found = [runtime_programs.answer(program)["answers"] for program in programs]
    assert found[0] == found[1] == {"3": 1003, "7": 1007, "5": 1005, "11": 1011}
    later = runtime_programs.run("variants", gate, 11, 7, 5, 3)
    assert later == {"answers": found[0], "compiled": []}
    assert not [file for file in files(cache) if file.suffix != ".bin"]


def test_threads_that_compile_at_once_get_their_own_code(cache):
    one = again(variant)
    found: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda value=value: found.__setitem__(value, answer(one, value)))
        for value in (3, 5, 7, 3, 5, 7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {3: 1003, 5: 1005, 7: 1007}
    assert len(files(cache)) == 3


def test_an_edited_file_is_never_run_stale(cache, tmp_path):
    kernels = tmp_path / "kernels"
    shutil.copytree(disk.PACKAGE, kernels / disk.PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    first = runtime_programs.run("dropout", kernels=kernels)
    second = runtime_programs.run("dropout", kernels=kernels)
    assert first["compiled"]
    assert second == {"mask": first["mask"], "compiled": []}

    constants = kernels / disk.PACKAGE.name / "random.py"
    text = constants.read_text(encoding="utf-8")
    assert "ROUNDS = 10" in text
    constants.write_text(text.replace("ROUNDS = 10", "ROUNDS = 7"), encoding="utf-8")
    third = runtime_programs.run("dropout", kernels=kernels)
    assert third["compiled"] == first["compiled"]
    assert third["mask"] != first["mask"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_during_compilation_does_not_hang_the_child(cache, monkeypatch):
    import signal

    begun = threading.Event()
    monkeypatch.setattr(jit, "compile_started", [lambda name: begun.set()])
    one = again(variant)
    compiling = threading.Thread(target=lambda: [answer(one, value) for value in range(20, 26)])
    compiling.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that waits for a lock which nobody releases
        os._exit(int(answer(again(variant), 40) != 1040))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    compiling.join()
    assert answer(again(variant), 41) == 1041
