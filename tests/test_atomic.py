"""A killed or failing run leaves the old file and nothing else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gssl_poison._atomic import atomic_write


def test_new_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "ranking.csv.gz"
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"rank")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".csv.gz")
    assert target.read_bytes() == b"rank"
    assert [file.name for file in tmp_path.iterdir()] == ["ranking.csv.gz"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "ranking.csv"
    target.write_text("old", encoding="utf-8")

    def fail() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["ranking.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_kill_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "ranking.csv"
    target.write_text("old", encoding="utf-8")
    code = (
        "import os, signal, sys\n"
        "from gssl_poison._atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text(encoding="utf-8") == "old"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes and links")
def test_mode_and_link_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old", encoding="utf-8")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_write(link) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_folder_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "x.csv"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/null")
def test_device_is_written_to_and_not_replaced() -> None:
    with atomic_write(os.devnull) as temporary:
        temporary.write_text("x", encoding="utf-8")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
