"""Recognition from minutes of transcribed speech: a small convolutional head on frozen features, trained by CTC."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speechssl.errors import InputError
from speechssl.training.probing.encodings import Layers
from speechssl.training.probing.labels import Numbers
from speechssl.units.measures import edit_distance

BLANK = 0
WIDTH = 256  # of the head
KERNEL = 5  # frames, 100 ms; three layers see 260 ms
BATCH = 16  # recordings a step
JITTER = 0.15  # natural log: recordings whose lengths differ by less change places from batch to batch
RATE = 2e-3  # highest learning rate
MASKED = 0.15  # share of frames that a step does not hear, in runs of RUN
RUN = 10


class Head(nn.Module):
    """Frames of layers, or units, to characters: a learnt sum of layers, three convolutions, log-probabilities.

    Args:
        dims: numbers a frame of each layer, which goes through a map of its own; ignored with units.
        characters: how many, the blank included.
        units: size of a codebook, whose units go through an embedding; None for frames.
    """

    def __init__(self, dims: Sequence[int], characters: int, *, units: int | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(len(dims)))
        self.enter = nn.ModuleList(
            nn.Linear(dim, WIDTH) if units is None else nn.Embedding(units, WIDTH) for dim in dims
        )
        self.convolutions = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.leave = nn.Linear(WIDTH, characters)
        self.units = units

    def forward(self, frames: Sequence[Tensor], mask: Tensor, heard: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, N, characters).

        Args:
            frames: (B, N, D) of each layer, standardised and normed, or (B, N, 1) of one, which are units.
            mask: (B, N), where there are frames.
            heard: (B, N), which of them are not masked; None for all.
        """
        given = frames if self.units is None else [frames[0][..., 0].long()]
        parts = (enter(one) for enter, one in zip(self.enter, given, strict=True))
        x = torch.stack([weight * part for weight, part in zip(self.scale.softmax(0), parts, strict=True)]).sum(0)
        if heard is not None:
            x = x * heard[..., None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            inner = norm(x) * mask[..., None]
            x = x + functional.dropout(functional.gelu(convolution(inner.mT).mT), 0.1, self.training)
        return self.leave(functional.dropout(x, 0.2, self.training)).log_softmax(-1)


def loss(log_probabilities: Tensor, lengths: Tensor, texts: Sequence[Tensor]) -> Tensor:
    """CTC of log-probabilities (B, N, characters): -log of the sum over all alignments, per character, averaged."""
    sizes = torch.tensor([len(text) for text in texts])
    return functional.ctc_loss(log_probabilities.transpose(0, 1), torch.cat(list(texts)), lengths, sizes, blank=BLANK)


def decode(best: NDArray[np.int64]) -> list[int]:
    """Characters of the best of each frame (N,): repetitions count once, blanks not at all."""
    changed = np.r_[True, best[1:] != best[:-1]]
    return [int(one) for one in best[changed] if one != BLANK]


def error_rates(found: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """Character and word error rates: edits over all texts, per character and per word of what was wanted."""
    words = _rate(list(map(str.split, found)), list(map(str.split, wanted)))
    return {"cer": _rate(list(map(list, found)), list(map(list, wanted))), "wer": words}


def _rate(found: list[list[str]], wanted: list[list[str]]) -> float:
    numbers: dict[str, int] = {}

    def ids(parts: list[str]) -> NDArray[np.int64]:
        return np.array([numbers.setdefault(part, len(numbers)) for part in parts], np.int64)

    edits = sum(edit_distance(ids(one), ids(two)) for one, two in zip(found, wanted, strict=True))
    return edits / sum(map(len, wanted))


def recognise(
    encoded: Sequence[Layers],
    texts: Sequence[str],
    train: Numbers,
    test: Numbers,
    *,
    units: int | None = None,
    steps: int = 400,
    seed: int = 0,
    stage: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train the head on some recordings and recognise others, greedily and without a language model.

    Args:
        encoded: frames (N_i, D) of every layer of each recording; units (N_i, 1) of one with ``units``.
        texts: what is said in each.
        train, test: numbers of recordings.
        units: size of the codebook; None for frames.
        steps: of training.
        seed: of the head and of the order.
        stage: called with what is done, in words.
    Returns:
        ``cer`` and ``wer`` as fractions, the ``weights`` of the layers, ``unseen`` characters of the test (each is an
        error), and ``texts``: pairs of what was said and found.
    Raises:
        InputError: texts that are longer than their recordings have frames.
    """
    characters = sorted({one for number in train for one in texts[number]})
    known = {one: place for place, one in enumerate(characters, start=1)}
    goals = {number: torch.tensor([known[one] for one in texts[number]]) for number in train.tolist()}
    for number, goal in goals.items():
        _check_length(texts[number], goal, len(encoded[number][0]))
    inputs = {number: [*map(torch.from_numpy, encoded[number])] for number in [*train.tolist(), *test.tolist()]}
    if units is None:
        _normalise(inputs, train)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head([layer.shape[1] for layer in inputs[int(train[0])]], len(characters) + 1, units=units)
        _train(head, inputs, goals, train, steps, rng, stage)
    found = _found(head, [inputs[number] for number in test.tolist()], characters)
    said = [texts[number] for number in test]
    return {
        **error_rates(found, said),
        "weights": [float(one) for one in head.scale.softmax(0).detach()],
        "unseen": sorted({one for text in said for one in text} - set(characters)),
        "texts": [list(pair) for pair in zip(said, found, strict=True)],
    }


def _normalise(inputs: dict[int, list[Tensor]], train: Numbers) -> None:
    """Give all numbers of a layer one scale over the training, then all frames; either alone loses letters."""
    for layer in range(len(inputs[int(train[0])])):
        everything = torch.cat([inputs[number][layer] for number in train.tolist()])
        mean, spread = everything.mean(0), everything.std(0).clamp(min=1e-6)
        for layers in inputs.values():
            layers[layer] = functional.layer_norm((layers[layer] - mean) / spread, mean.shape)


def _check_length(text: str, goal: Tensor, count: int) -> None:
    needed = len(goal) + int((goal[1:] == goal[:-1]).sum())
    if count < needed:
        raise InputError(f"{text!r} needs {needed} frames and its recording has {count}; mend the manifest")


@torch.no_grad()
def _found(head: Head, inputs: Sequence[Sequence[Tensor]], characters: Sequence[str]) -> list[str]:
    """What a trained head hears in recordings, layers (N_i, D) of each."""
    head.eval()
    found = []
    for start in range(0, len(inputs), BATCH):
        frames, mask = _padded(inputs[start : start + BATCH])
        best = head(frames, mask).argmax(-1)
        kept = zip(best, mask.sum(1).tolist(), strict=True)
        found += ["".join(characters[one - 1] for one in decode(row[:n].numpy())) for row, n in kept]
    return found


def _train(
    head: Head,
    inputs: dict[int, list[Tensor]],
    goals: dict[int, Tensor],
    train: Numbers,
    steps: int,
    rng: np.random.Generator,
    stage: Callable[[str], None],
) -> None:
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / (0.1 * steps + 1), 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    lengths = np.array([len(inputs[number][0]) for number in train.tolist()])
    batches: list[list[int]] = []
    for step in range(steps):
        batches = batches or _batches(train, lengths, rng)
        numbers = batches.pop()
        frames, mask = _padded([inputs[number] for number in numbers])
        value = loss(head(frames, mask, ~_runs(mask.shape, rng)), mask.sum(1), [goals[number] for number in numbers])
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            stage(f"step {step} of {steps}, loss {float(value.detach()):.2f}")


def _batches(train: Numbers, lengths: NDArray[np.int64], rng: np.random.Generator) -> list[list[int]]:
    """All recordings, those of about one length together, so that little is padded; in random order."""
    order = train[np.argsort(lengths * np.exp(rng.uniform(-JITTER, JITTER, len(train))))].tolist()
    found = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [found[number] for number in rng.permutation(len(found))]


def _runs(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Where frames (B, N) are masked: runs of ``RUN`` that start at random."""
    starts = torch.from_numpy(rng.random(tuple(shape)) < MASKED / RUN)
    found = starts.clone()
    for shift in range(1, min(RUN, shape[1])):
        found[:, shift:] |= starts[:, :-shift]
    return found


def _padded(inputs: Sequence[Sequence[Tensor]]) -> tuple[list[Tensor], Tensor]:
    """Layers (N_i, D) of recordings as (B, N, D) each with zeros behind, and where there are frames, (B, N)."""
    lengths = torch.tensor([len(layers[0]) for layers in inputs])
    batch = [nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in zip(*inputs, strict=True)]
    return batch, torch.arange(int(lengths.max())) < lengths[:, None]
