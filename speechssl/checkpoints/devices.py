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
        reason = _reason(name.split(":")[0])
        raise InputError(f"device {name!r} cannot be used on this machine{reason}; one of {choices} needed")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r} is none; auto, cpu, cuda, cuda:1 or mps needed") from error
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise InputError(f"device {name!r} is not there; this machine has {count} CUDA devices, counted from 0")
    return device


def _reason(kind: str) -> str:
    """Why a kind of device cannot be used, to stand in a sentence."""
    import torch

    if kind == "cuda" and torch.version.cuda is None:
        return f": PyTorch {torch.__version__} was built without CUDA, install a build with it (pytorch.org)"
    if kind == "cuda":
        return f": PyTorch finds no NVIDIA GPU with a driver for CUDA {torch.version.cuda} (see nvidia-smi)"
    if kind == "mps" and not torch.backends.mps.is_built():
        return f": PyTorch {torch.__version__} was built without Apple's Metal"
    return ": PyTorch finds no Apple GPU" if kind == "mps" else ""
