"""The device that weights are put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechssl.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, else Apple's GPU, else the CPU.

    Raises:
        InputError: this machine has no such device.
    """
    import torch

    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if usable[kind]))
    if not usable.get(name.split(":")[0], False):
        choices = ", ".join(["auto", *(kind for kind, there in usable.items() if there)])
        raise InputError(f"device {name!r} cannot be used on this machine; one of {choices} needed")
    return torch.device(name)
