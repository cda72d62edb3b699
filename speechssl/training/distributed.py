"""Several processes that train one model, through accelerate: each draws batches of its own, gradients are averaged.

The objective stays a plain module, so that one with a teacher or a running centre needs nothing special: after each
step its floating buffers are averaged too, and the processes hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from speechssl import errors


class Processes:
    """The processes of one training.

    Attributes:
        rank: of this one, 0 for the first.
        count: of all.
        device: this one's.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self.rank, self.count = int(accelerator.process_index), int(accelerator.num_processes)
        self.device = str(accelerator.device)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating-point tensors by their mean over the processes, in one exchange a type."""
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            if tensor.is_floating_point() and self.count > 1:
                by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():
            joined = torch.cat([tensor.reshape(-1) for tensor in group])
            mean = self._accelerator.reduce(joined, reduction="mean")
            for tensor, part in zip(group, mean.split([tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def average_gradients(self, module: nn.Module) -> None:
        """Of every parameter that has one."""
        self.average(parameter.grad for parameter in module.parameters() if parameter.grad is not None)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Numbers by name, averaged over the processes."""
        found = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        self.average([found])
        return dict(zip(values, found.tolist(), strict=True))

    def decide(self, wanted: bool) -> bool:
        """What the first process wants: clocks differ, and all must stop at the same step."""
        if self.count == 1:
            return wanted
        told = torch.tensor([float(wanted and self.rank == 0)], device=self.device)
        return float(self._accelerator.reduce(told, reduction="sum")) > 0

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()


def launched() -> Processes:
    """The processes that ``accelerate launch`` started; one alone without it.

    Raises:
        InputError: accelerate is not installed.
    """
    with errors.importing("accelerate", purpose="training on several GPUs", extra="recipes"):
        from accelerate import Accelerator
    return Processes(Accelerator())
