"""Terms that keep frames spread out: the entropy criterion E2MC, and VICReg's variance and covariance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.vicreg import covariance, variance

MOST_FRAMES = 2048  # of a batch, drawn at random, whose spread is measured
CLOSEST = 1e-6  # a gap between neighbours, at least, whose logarithm counts


def entropy(values: Tensor) -> Tensor:
    """Entropy (D,) of each column of values (N, D) in [0, 1], in nats; 0 is even, less is not.

    The m-spacing estimate with m = sqrt(N).

    Source: Vasicek 1976; Learned-Miller and Fisher 2003, equation 8.
    """
    ordered = values.sort(0).values
    spacing = max(1, round(len(values) ** 0.5))
    gaps = (ordered[spacing:] - ordered[:-spacing]).clamp(min=CLOSEST)
    return (gaps * (len(values) + 1) / spacing).log().mean(0)


def e2mc(frames: Tensor) -> Tensor:
    """Minus the mean entropy of each number of frames (N, D), and the covariance of different numbers.

    The frames are first mapped into the unit cube by the normal distribution's cumulative function, so that the entropy
    is highest where each number is distributed normally and says nothing of the others.

    Source: Chakraborty et al. 2025, arXiv:2411.15931, "Improving pre-trained self-supervised embeddings through
        effective entropy maximization".
    """
    cube = torch.special.ndtr(frames)
    return covariance(cube) - entropy(cube).mean()


TERMS = {"e2mc": e2mc, "variance": variance, "covariance": covariance}  # of frames (N, D), by name


def on_frames(objective: nn.Module, added: list[Added]) -> nn.Module:
    """Let losses of the frames that ``objective.network`` gives last count in the objective's; returns the objective.

    Args:
        objective: any whose ``network`` is a model of transformers.
        added: losses of frames (N, D) float32; at most ``MOST_FRAMES`` of a batch are drawn.
    """
    heard: list[Tensor] = []
    network: nn.Module = objective.network  # type: ignore[assignment]
    network.register_forward_hook(lambda _, __, output: heard.append(output.last_hidden_state))
    plain = objective.losses

    def losses(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        heard.clear()
        found = plain(batch)  # type: ignore[operator]
        frames = heard[-1].flatten(0, -2)
        chosen = torch.randperm(len(frames), device=frames.device)[:MOST_FRAMES]
        # sorting and covariances are too coarse in bfloat16
        with torch.autocast(frames.device.type, enabled=False):
            return with_added(found, frames[chosen].float(), added)

    objective.losses = losses  # type: ignore[assignment]
    return objective
