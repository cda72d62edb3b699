"""Heads on frozen features: logistic regression on one layer, on a learnt sum of layers, and attentive pooling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechssl import errors
from speechssl.errors import InputError
from speechssl.training.objectives.sup_con import sup_con
from speechssl.training.probing.labels import Numbers, draw

Floats = NDArray[np.float32]
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation of logistic regression, chosen on the recordings to train
FOLDS = 3  # draws that choose it
EPOCHS = 40  # of the attentive head
BATCH = 32
HIDDEN = 128  # of its attention
CONTRAST = 0.3  # weight of supervised contrast beside the cross-entropy
CONTRASTS = ("none", "added", "first")


def linear(
    features: Floats, labels: NDArray[np.str_], groups: Sequence[str], *, seed: int = 0
) -> tuple[Any, float, float]:
    """Logistic regression on standardised features (N, D).

    Returns:
        The fitted scikit-learn pipeline; its regularisation C and its accuracy, both from draws among the recordings to
        train, in which no group is on both sides where the groups allow it.
    """
    folds = list(_folds(labels, groups, seed))
    scores = {
        strength: np.mean([_fitted(features[a], labels[a], strength).score(features[b], labels[b]) for a, b in folds])
        for strength in STRENGTHS
    }
    best = max(STRENGTHS, key=lambda strength: (scores[strength], -strength))
    return _fitted(features, labels, best), best, float(scores[best])


def _fitted(features: Floats, labels: NDArray[np.str_], strength: float) -> Any:
    errors.require("sklearn", purpose="probing", extra="probing")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    with warnings.catch_warnings():
        # classes that a hyperplane divides have no best one
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)


def _folds(labels: NDArray[np.str_], groups: Sequence[str], seed: int) -> list[tuple[Numbers, Numbers]]:
    """Draws by group; by recording where a class has one group; of all recordings where it has one recording."""
    for names in (groups, [""] * len(labels)):
        try:
            return [draw(labels, names, seed=seed + fold) for fold in range(FOLDS)]
        except InputError:
            continue
    everything = np.arange(len(labels))
    return [(everything, everything)]


def weighted(
    features: Sequence[Floats], labels: NDArray[np.str_], test: Sequence[Floats], strength: float
) -> tuple[NDArray[np.str_], list[float]]:
    """Logistic regression on a sum of layers whose weights are learnt with it.

    Args:
        features: (N, D) of each layer, all of one D.
        labels: (N,).
        test: (M, D) of each layer.
        strength: inverse regularisation C of the regression; the weights of the layers, a softmax, have none.
    Returns:
        Labels (M,) of the test, and the weight of each layer.
    Source: Yang et al. 2021 (SUPERB), arXiv:2105.01051, section 3.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    train = torch.from_numpy(np.stack(features))
    mean, spread = train.mean(1, keepdim=True), train.std(1, keepdim=True, correction=0).clamp(min=1e-6)
    train, held = (train - mean) / spread, (torch.from_numpy(np.stack(test)) - mean) / spread
    wanted = torch.from_numpy(targets)
    scale = torch.zeros(len(features), requires_grad=True)
    weight = torch.zeros(len(classes), train.shape[2], requires_grad=True)
    bias = torch.zeros(len(classes), requires_grad=True)
    search = torch.optim.LBFGS([scale, weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def outputs(layers: Tensor) -> Tensor:
        return torch.einsum("l,lnd,kd->nk", scale.softmax(0), layers, weight) + bias

    def loss() -> Tensor:
        search.zero_grad()
        penalty = weight.square().sum() / (2 * strength * len(wanted))
        value = nn.functional.cross_entropy(outputs(train), wanted) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return classes[outputs(held).argmax(1).numpy()], [float(one) for one in scale.softmax(0)]


class AttentivePooling(nn.Module):
    """Weighted mean and deviation of frames, with weights from the frames: (B, N, D) and mask (B, N) to (B, 2 D).

    Source: Okabe et al. 2018, arXiv:1803.10963, section 3.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(nn.Linear(dim, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        weights = self.scores(frames).masked_fill(~mask[..., None], -torch.inf).softmax(1)
        mean = (weights * frames).sum(1)
        spread = (weights * (frames - mean[:, None]).square()).sum(1).clamp(min=1e-8).sqrt()
        return torch.cat([mean, spread], 1)


def attentive(
    frames: Sequence[Floats], labels: NDArray[np.str_], test: Sequence[Floats], *, contrast: str = "none", seed: int = 0
) -> NDArray[np.str_]:
    """Labels of the test by attentive pooling and a linear layer, trained on frames (N_i, D) of recordings.

    Args:
        contrast: supervised contrast of the pooled vectors: ``none``; ``added`` to the loss; ``first``, alone, in as
            many passes before the others, as the paper has it.
    Source: Khosla et al. 2020, arXiv:2004.11362, for the contrast.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    everything = np.concatenate(frames)
    mean, spread = everything.mean(0), everything.std(0) + 1e-6
    known, held = ([torch.from_numpy((one - mean) / spread) for one in part] for part in (frames, test))
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pool, classify = AttentivePooling(len(mean)), nn.Linear(2 * len(mean), len(classes))
        parameters = [*pool.parameters(), *classify.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2)
        for epoch in range(-EPOCHS if contrast == "first" else 0, EPOCHS):
            order = rng.permutation(len(known))
            for start in range(0, len(order), BATCH):
                numbers = order[start : start + BATCH]
                wanted = torch.from_numpy(targets[numbers])
                pooled = nn.functional.dropout(pool(*_padded([known[number] for number in numbers])), 0.2)
                loss = nn.functional.cross_entropy(classify(pooled), wanted) if epoch >= 0 else torch.zeros(())
                if epoch < 0 or contrast == "added":
                    loss = loss + (CONTRAST if epoch >= 0 else 1.0) * sup_con(pooled, wanted)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    with torch.no_grad():
        found = [
            classify(pool(*_padded(held[start : start + BATCH]))).argmax(1) for start in range(0, len(held), BATCH)
        ]
    return classes[torch.cat(found).numpy()]


def _padded(frames: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Frames (B, N, D) with zeros behind, and where there are frames, (B, N)."""
    lengths = torch.tensor([len(one) for one in frames])
    batch = nn.utils.rnn.pad_sequence(list(frames), batch_first=True)
    return batch, torch.arange(batch.shape[1]) < lengths[:, None]
