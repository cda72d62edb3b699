"""What the vocoder is trained on: recordings with F0, WORLD values, keys of a distorted copy, and retrieved frames.

    python recipes/vocoder/prepare.py manifest.csv --output cache --corpora librispeech,cmu_arctic,ljspeech

Frames are *prematched* as in kNN-VC, and harder: the keys that search are those of a copy played faster or slower (so
that it is another voice that asks, as in a conversion), and the frames found come from other recordings of the speaker
(or, where there is one recording only, from other seconds of it). The manifest has the columns path, corpus, speaker,
seconds and split; ``recipes/corpora/manifest.py`` makes one.

The cache holds flat arrays, which training maps into memory: ``samples.npy`` (T,) int16 at 16 kHz, ``f0.npy`` (F,)
float16 Hz every 5 ms, and for every 20 ms frame ``keys.npy`` (N, D) and ``values.npy`` (N, V), both float16,
``queries.npy`` (N, D) float16, ``neighbours.npy`` (N, 8) int32, rows of ``values``, and ``strangers.npy`` (N, 8) int32,
rows of ``keys``: the nearest frames of other speakers. ``index.json`` says where each recording lies. The same command
with another ``--model`` renews only the keys, the queries and the frames found with them.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.training import manifests

SAMPLE_RATE = 16_000
NUM_NEIGHBOURS = 8
POOL_SECONDS = 120.0  # of other recordings that frames are sought in; conversions have references of a minute or so
LEAST_SECONDS = 10.0  # of other recordings, if a recording's own frames are not to be found, too
APART = 75  # frames, 1.5 s, between a frame and those it may find in the same recording
SPEEDS = (0.84, 0.88, 0.92, 1.09, 1.14, 1.2)
ARRAYS = ("samples", "f0", "values")
KEYS = ("keys", "queries")

_models: dict[str, Any] = {}


def _load_world() -> None:
    import torch

    from speechssl.vocoders.world import WorldAnalysis

    torch.set_num_threads(1)
    _models["world"] = WorldAnalysis()


def _load_encoder(model: str, device: str) -> None:
    import torch

    from speechssl import encoders
    from speechssl.training.loop import fast_at_bfloat16

    torch.set_num_threads(1)
    # where it is faster, it is two to three times faster, and training does not see the difference
    precision = "bfloat16" if fast_at_bfloat16(device) else "float32"
    _models["encoder"] = encoders.load(model, precision=precision, device=device)


def analyse(path: Path) -> dict[str, np.ndarray] | str:
    """What does not depend on the encoder of one recording, or why it is left out."""
    from speechssl import audio
    from speechssl.errors import InputError

    try:
        waveform = audio.read_mono(path, SAMPLE_RATE)
        if waveform.seconds < 1.0:
            return f"{waveform.seconds:.2f} s; 1 s needed"
        # one level for all, so that the level of a frame means something across recordings
        waveform = audio.set_loudness(waveform, -26.0)
        contour = audio.f0(waveform)
        values = _models["world"].encode(waveform, f0=contour).frames
    except InputError as error:
        return str(error)
    return {
        "samples": (waveform.samples.clamp(-1, 1) * 32767).round().short().numpy(),
        "f0": contour.numpy().astype(np.float16),
        "values": values.numpy().astype(np.float16),
    }


def keys_of(output: Path, row: dict[str, Any]) -> dict[str, np.ndarray]:
    """Keys of one recording of the cache, and those of the same at another speed, frame by frame."""
    import torch

    from speechssl import audio
    from speechssl.signals import Waveform

    samples = np.load(output / "samples.npy", mmap_mode="r")[row["samples_at"] :][: row["samples_n"]]
    waveform = Waveform(torch.from_numpy(samples.astype(np.float32) / 32768), SAMPLE_RATE)
    keys = _models["encoder"].encode(waveform).frames
    speed = SPEEDS[zlib.crc32(Path(row["path"]).name.encode()) % len(SPEEDS)]
    copy = audio.resample(Waveform(waveform.samples, round(SAMPLE_RATE * speed)), SAMPLE_RATE)
    queries = _models["encoder"].encode(copy).frames
    # frame i is centred on sample 320 i + 200, at both speeds
    places = ((320 * torch.arange(len(keys)) + 200) / speed - 200).div(320).clamp(0, len(queries) - 1)
    low = places.floor().long()
    share = (places - low)[:, None]
    asked = queries[low] * (1 - share) + queries[(low + 1).clamp(max=len(queries) - 1)] * share
    return {"keys": keys.numpy().astype(np.float16), "queries": asked.numpy().astype(np.float16)}


def chosen(manifest: Path, corpora: list[str], hours: float) -> list[dict[str, str]]:
    """Rows of the wanted corpora, train and dev, at most so many hours a speaker."""
    rows = manifests.chosen(manifest, corpora, ("train", "dev"), needed=(*manifests.COLUMNS, "seconds"))
    rows.sort(key=lambda row: zlib.crc32(row["path"].encode()))
    used: dict[tuple[str, str], float] = defaultdict(float)
    kept = []
    for row in rows:
        who = (row["corpus"], row["speaker"])
        if used[who] < hours * 3600:
            used[who] += float(row["seconds"])
            kept.append(row)
    return sorted(kept, key=lambda row: (corpora.index(row["corpus"]), row["speaker"], row["path"]))


def write(rows: list[dict[str, str]], root: Path, output: Path, workers: int) -> list[dict[str, Any]]:
    """Write the flat arrays that no encoder is needed for; returns the index."""
    index, skipped, place = [], [], dict.fromkeys(("samples", "f0", "keys"), 0)
    arrays = FlatArrays(output, ARRAYS)
    with ProcessPoolExecutor(workers, initializer=_load_world) as pool:
        found = pool.map(analyse, [root / row["path"] for row in rows], chunksize=4)
        for number, (row, parts) in enumerate(zip(rows, found, strict=True), start=1):
            if isinstance(parts, str):
                skipped.append({"path": row["path"], "reason": parts})
                continue
            facts = {name: row[name] for name in ("path", "corpus", "speaker", "split")}
            sizes = {"samples": len(parts["samples"]), "f0": len(parts["f0"]), "keys": len(parts["values"])}
            lengths = {f"{name}_{what}": v for name in place for what, v in (("at", place[name]), ("n", sizes[name]))}
            index.append({**facts, **lengths})
            arrays.add(parts)
            for name in place:
                place[name] += sizes[name]
            if number % 50 == 0:
                print(f"{number}/{len(rows)} recordings, {place['samples'] / SAMPLE_RATE / 3600:.2f} h", flush=True)
    (output / "skipped.jsonl").write_text("".join(json.dumps(line) + "\n" for line in skipped))
    arrays.close()
    (output / "index.json").write_text(json.dumps(index))
    print(f"{len(index)} recordings; {len(skipped)} left out, see {output / 'skipped.jsonl'}")
    return index


def write_keys(index: list[dict[str, Any]], output: Path, model: str, workers: int, device: str) -> None:
    """Write ``keys.npy`` and ``queries.npy``."""
    arrays = FlatArrays(output, KEYS)
    with ProcessPoolExecutor(workers, initializer=_load_encoder, initargs=(model, device)) as pool:
        for number, parts in enumerate(pool.map(partial(keys_of, output), index, chunksize=4), start=1):
            arrays.add(parts)
            if number % 200 == 0:
                print(f"keys of {number}/{len(index)} recordings", flush=True)
    arrays.close()


class FlatArrays:
    """Arrays that grow on disk, a recording at a time: ``NAME.part``, and in the end ``NAME.npy``."""

    def __init__(self, output: Path, names: Iterable[str]) -> None:
        self._output = output
        self._files = {name: (output / f"{name}.part").open("wb") for name in names}
        self._last: dict[str, np.ndarray] = {}

    def add(self, parts: dict[str, np.ndarray]) -> None:
        """Append one recording's."""
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(parts[name]).tobytes())
        self._last = parts

    def close(self) -> None:
        """Give the files their headers."""
        if not self._last:
            raise SystemExit(f"{self._output}: no recording can be used; see {self._output / 'skipped.jsonl'}")
        for name, file in self._files.items():
            file.close()
            part, one = self._output / f"{name}.part", self._last[name]
            np.save(self._output / f"{name}.npy", np.memmap(part, one.dtype, mode="r").reshape(-1, *one.shape[1:]))
            part.unlink()


def find_neighbours(index: list[dict[str, Any]], output: Path, seed: int, device: str) -> None:
    """(N, 8) rows of ``values`` nearest to each query, none of them from around the frame itself."""
    rng = np.random.default_rng(seed)
    pools = ((row, _pool(row, rows, rng)) for rows in _by_speaker(index).values() for row in rows)
    _find("neighbours", pools, output, device)


def find_strangers(index: list[dict[str, Any]], output: Path, seed: int, device: str) -> None:
    """(N, 8) rows of ``keys`` nearest to each query in two minutes of other speakers, if there are any."""
    speakers, rng = _by_speaker(index), np.random.default_rng([seed, 1])
    if len(speakers) < 2:
        return
    others = {who: [row for other in speakers if other != who for row in speakers[other]] for who in speakers}
    pools = ((row, _pool(row, others[who], rng, least=0.0)) for who, rows in speakers.items() for row in rows)
    _find("strangers", pools, output, device)


def _by_speaker(index: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    speakers: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in index:
        speakers[row["corpus"], row["speaker"]].append(row)
    return speakers


def _find(
    name: str,
    pools: Iterable[tuple[dict[str, Any], Iterator[np.ndarray]]],
    output: Path,
    device: str,
) -> None:
    """Write ``name.npy`` (N, 8): the nearest frames to every recording's queries in the pool of the recording."""
    keys, queries = (np.load(output / f"{part}.npy", mmap_mode="r") for part in KEYS)
    found = np.zeros((len(keys), NUM_NEIGHBOURS), np.int32)
    for row, pool in pools:
        own = np.arange(row["keys_at"], row["keys_at"] + row["keys_n"])
        found[own] = _nearest(own, np.concatenate(list(pool)), keys, queries[own], device)
    np.save(output / f"{name}.npy", found)


def _pool(
    row: dict[str, Any], rows: list[dict[str, Any]], rng: np.random.Generator, *, least: float = LEAST_SECONDS
) -> Iterator[np.ndarray]:
    """Frames that may be found: two minutes of other recordings, and its own where there is less than so much."""
    seconds = 0.0
    for place in rng.permutation(len(rows)):
        other = rows[place]
        if other is not row and seconds < POOL_SECONDS:
            seconds += other["keys_n"] / 50
            yield np.arange(other["keys_at"], other["keys_at"] + other["keys_n"])
    if seconds < least:
        yield np.arange(row["keys_at"], row["keys_at"] + row["keys_n"])


def _nearest(own: np.ndarray, pool: np.ndarray, keys: np.ndarray, asked: np.ndarray, device: str) -> np.ndarray:
    import torch

    def unit(frames: np.ndarray) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(frames.astype(np.float32)).to(device), dim=1)

    similarity = unit(asked) @ unit(keys[pool]).T
    near = np.abs(own[:, None] - pool[None]) < APART
    similarity[torch.from_numpy(near).to(device)] = -2.0
    return pool[similarity.topk(NUM_NEIGHBOURS, dim=1).indices.cpu().numpy()].astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--corpora", default="librispeech,cmu_arctic,ljspeech,rhasspy_kathleen,rhasspy_kerstin")
    parser.add_argument("--hours-per-speaker", type=float, default=0.35)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the encoder and the search")
    parser.add_argument("--without-keys", action="store_true", help="only what needs no encoder; for another call")
    parser.add_argument("--limit", type=int, default=None, help="recordings, for trials")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if (args.output / "index.json").exists():
        index = json.loads((args.output / "index.json").read_text())
    else:
        rows = chosen(args.manifest, args.corpora.split(","), args.hours_per_speaker)[: args.limit]
        index = write(rows, args.manifest.parent, args.output, args.workers)
    if not args.without_keys:
        write_keys(index, args.output, args.model, args.workers, args.device)
        find_neighbours(index, args.output, args.seed, args.device)
        find_strangers(index, args.output, args.seed, args.device)


if __name__ == "__main__":
    errors.run_recipe(main)
