"""Encoding as processes: killed, without a parent, without room on the disk, two at once, and in little memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forking
import numpy as np
import pytest
import soundfile

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.units.encoding import formats
from speechssl.units.encoding.checking import check
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe


@pytest.fixture
def recipe(codebook_file: Path, encoder_file: Path) -> Recipe:
    return Recipe(str(codebook_file), str(encoder_file), device="cpu")


def visible(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden, and its bytes."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


KILLED = """
import os, signal, sys
from speechssl.units.encoding import engine, workers
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe
left = int(sys.argv[4])
def dying(recipe, *more, inner=workers.serial):
    def work(items):
        global left
        for index, result in inner(recipe, *more)(items):
            if left == 0:
                # half a line is on the disk when the blow falls
                with open(engine._journal_path(engine.Path(sys.argv[3]), index // 3), "a") as file:
                    file.write('{"index": 1, "rec')
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            yield index, result
    return work
workers.serial = dying
encode([sys.argv[1]], Recipe(*sys.argv[2].split("|"), device="cpu"), sys.argv[3], block=3)
"""


def test_killed_and_run_again_the_output_is_byte_equal(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    source = recordings / "list.jsonl"
    encode([source], recipe, tmp_path / "whole", block=3)
    out = tmp_path / "killed"
    models = f"{recipe.codebook}|{recipe.model}"
    for after in (4, 1):
        assert forking.run(KILLED, source, models, out, after).returncode == -signal.SIGKILL
        assert not check(out).sound
    # what was done was kept: 4 by the first run, 1 by the second, though the blow fell in the middle of a line
    summary = encode([source], recipe, out, block=3)
    assert (summary.already, summary.failed) == (4, 1)
    assert visible(out) == visible(tmp_path / "whole")
    assert check(out).sound


ORPHANS = """
import sys, threading, multiprocessing, os, signal, time
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe
def blow():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.05)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    threading.Thread(target=blow, daemon=True).start()
    encode([sys.argv[1]], Recipe(*sys.argv[2].split("|"), device="cpu"), sys.argv[3], num_workers=2)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_do_not_outlive_a_killed_parent(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    models = f"{recipe.codebook}|{recipe.model}"
    # enough of them that none of the workers is through before the blow falls
    source = tmp_path / "many.jsonl"
    paths = [str(recordings / f"take{number % 4}.wav") for number in range(4000)]
    source.write_text("".join(json.dumps({"path": path, "id": str(i)}) + "\n" for i, path in enumerate(paths)))
    command = [sys.executable, str(script), str(source), models, str(tmp_path / "out")]
    told = subprocess.run(command, check=False, timeout=250, capture_output=True, text=True)
    assert told.returncode == -signal.SIGKILL, told.stderr
    pids = told.stdout.split()
    assert len(pids) == 2
    # a worker that is still importing notices once it is through
    deadline = time.monotonic() + 120
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text()
        return any(word in words for word in ("script.py", "spawn_main", "multiprocessing.forkserver"))
    except OSError:
        return False


LIMITED = """
import resource, sys
import torch.distributed.nn  # transformers imports it with some versions, and then it writes a file
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
encode([sys.argv[1]], Recipe(*sys.argv[2].split("|"), device="cpu"), sys.argv[3], block=3)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of another kind")
def test_a_full_disk_is_said_and_nothing_is_lost(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    source, out = recordings / "list.jsonl", tmp_path / "out"
    told = forking.run(LIMITED, source, f"{recipe.codebook}|{recipe.model}", out)
    assert told.returncode == 1
    assert "InputError: cannot write to" in told.stderr or "CheckpointError: cannot write" in told.stderr
    assert not check(out).sound
    encode([source], recipe, out, block=3)
    encode([source], recipe, tmp_path / "whole", block=3)
    assert visible(out) == visible(tmp_path / "whole")


def test_two_processes_on_one_output(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    import fcntl

    out = tmp_path / "out"
    encode([recordings / "take0.wav"], recipe, out)
    with (out / ".speechssl" / "lock-1-of-1").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            encode([recordings / "take0.wav"], recipe, out)
        # a shard of another cut overlaps
        with pytest.raises(InputError, match="another process"):
            encode([recordings / "take0.wav"], recipe, out, shard=(1, 2))


# ru_maxrss begins with the peak of the process that starts this one, VmHWM with nothing
PEAK = """
import sys
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe
for path in sys.argv[2:]:
    encode([path], Recipe(*sys.argv[1].split("|"), device="cpu"), path + ".units")
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory in other units")
def test_a_long_file_takes_no_more_memory(recipe: Recipe, tmp_path: Path) -> None:
    """Samples of 12 more minutes are 46 MB, features with all their layers more; ``benchmarks/units.py`` takes 3 h."""
    piece, paths = 0.1 * np.random.default_rng(0).standard_normal(160_000), []
    for minutes in (6, 18):
        paths.append(tmp_path / f"{minutes}.flac")
        with soundfile.SoundFile(paths[-1], "w", 16000, 1) as file:
            for _ in range(6 * minutes):
                file.write(piece)
    command = [sys.executable, "-c", PEAK, f"{recipe.codebook}|{recipe.model}", *map(str, paths)]
    told = subprocess.run(command, check=True, timeout=250, capture_output=True, text=True, env=forking.giving_back())
    short, long = (int(line) / 1024 for line in told.stdout.splitlines())
    for minutes, path in zip((6, 18), paths, strict=True):
        (record,) = formats.read_all(Path(f"{path}.units"))
        assert record["frames"] == encoders.load(recipe.model).num_frames(16000 * 60 * minutes)
    assert long < short + 60  # samples held would add 46 MB to the 35 of the first windows of full length
