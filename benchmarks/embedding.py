"""Speed of the packaged speaker embedder: ``python benchmarks/embedding.py``.

Floor 50 times real time on two cores, goal 150. Prints seconds of sound per second of clock and of processor time, from
the file on disk to the embedding, as ``speechssl evaluate`` does it, and for the network alone; two threads, each with
recordings of its own.
"""

from __future__ import annotations

import json
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.verification import embedders
from speechssl.voices import clips


def main() -> None:
    """Embed every bundled recording several times, and all of them as one long recording."""
    torch.set_num_threads(1)  # the two workers use a core each
    embedder = embedders.load("tiny", device="cpu")
    paths = [clip.path for clip in clips.clips()] * 4
    waveforms = [audio.read(path) for path in paths]
    seconds = sum(waveform.seconds for waveform in waveforms)
    embedder.embed(waveforms[0])
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for name, work in (
            ("from_file", lambda number: embedder.embed(audio.read(paths[number]))),
            ("from_memory", lambda number: embedder.embed(waveforms[number])),
        ):
            clock, cpu = time.perf_counter(), time.process_time()
            list(pool.map(work, range(len(paths))))
            found[f"{name}_x_real_time"] = round(seconds / (time.perf_counter() - clock))
            found[f"{name}_x_real_time_per_core_second"] = round(seconds / (time.process_time() - cpu))
    long = Waveform(torch.cat([waveform.samples for waveform in waveforms]), waveforms[0].sample_rate)
    clock = time.process_time()
    embedder.embed(long)
    found["whole_x_real_time_per_core_second"] = round(long.seconds / (time.process_time() - clock))
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"model": embedder.origin, "seconds_of_sound": round(seconds), **found}))


if __name__ == "__main__":
    main()
