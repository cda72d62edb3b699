"""The nouns that flow through speechssl: waveform, features, units, embedding.

Each is immutable and checks itself when made, so an illegal one cannot exist. ``origin`` says where frames come from
(``"wavlm-large/6"``: encoder and layer, plus the input normalisation where it is not the encoder's own default;
``"wavlm-large/6/km500"``: with a codebook); two origins never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from speechssl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Waveform:
    """One channel of sound.

    Args:
        samples: (T,) float32, nominally in [-1, 1], T >= 1, finite.
        sample_rate: samples per second, Hz.
    Raises:
        InputError: another shape or type, no samples, NaN or infinite samples, or a sample rate that is not positive.
    """

    samples: Tensor
    sample_rate: int

    def __post_init__(self) -> None:
        _check_tensor("waveform", self.samples, ndim=1, dtype="torch.float32")
        _check_number("sample rate", self.sample_rate)
        if self.sample_rate <= 0:
            raise InputError(f"sample rate is {self.sample_rate} Hz; it must be positive")

    def __repr__(self) -> str:
        return f"Waveform({self.seconds:.1f} s at {self.sample_rate / 1000:g} kHz)"

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.shape[0] / self.sample_rate

    def first(self, seconds: float) -> Waveform:
        """The beginning, of so many seconds at most."""
        return Waveform(self.samples[: round(seconds * self.sample_rate)], self.sample_rate)


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """A sequence of feature vectors.

    Args:
        frames: (N, D) floating point, N >= 1, D >= 1, finite.
        frame_rate: frames per second, Hz.
        origin: what made them, e.g. ``"wavlm-large/6"``.
    """

    frames: Tensor
    frame_rate: float
    origin: str

    def __post_init__(self) -> None:
        _check_tensor("features", self.frames, ndim=2)
        _check_rate_and_origin(self.frame_rate, self.origin)

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def __repr__(self) -> str:
        seconds = len(self) / self.frame_rate
        return f"Features({seconds:.1f} s at {self.frame_rate:g} Hz, {len(self)} x {self.dim}, {self.origin})"

    @property
    def dim(self) -> int:
        """Numbers per frame, D."""
        return int(self.frames.shape[1])


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """A run-length coded sequence of discrete units.

    Args:
        ids: (M,) int64, >= 0.
        durations: (M,) int64 run lengths in frames, >= 1; their sum is the number of frames.
        frame_rate: frames per second, Hz.
        origin: encoder, layer and codebook, e.g. ``"wavlm-large/6/km500"``.
    """

    ids: Tensor
    durations: Tensor
    frame_rate: float
    origin: str

    def __post_init__(self) -> None:
        for name, tensor, lowest in (("unit ids", self.ids, 0), ("unit durations", self.durations, 1)):
            if not hasattr(tensor, "aminmax"):
                raise InputError(f"{name} are of the type {type(tensor).__name__}; a torch tensor needed")
            if tensor.ndim != 1 or str(tensor.dtype) != "torch.int64" or tensor.numel() == 0:
                raise InputError(
                    f"{name} have shape {tuple(tensor.shape)} and type {tensor.dtype}; (M,) int64, M >= 1, needed"
                )
            if int(tensor.min()) < lowest:
                raise InputError(f"{name} go down to {int(tensor.min())}; at least {lowest} needed")
        if self.ids.shape != self.durations.shape:
            raise InputError(
                f"{len(self.ids)} unit ids but {len(self.durations)} durations; one duration a unit needed"
            )
        _check_rate_and_origin(self.frame_rate, self.origin)

    def __repr__(self) -> str:
        seconds = int(self.durations.sum()) / self.frame_rate
        return f"Units({len(self.ids)} units, {seconds:.1f} s at {self.frame_rate:g} Hz, {self.origin})"


@dataclass(frozen=True, eq=False, slots=True)
class Embedding:
    """One vector for a whole utterance: (E,) floating point of unit L2 norm (to 1e-3), and the model that made it."""

    vector: Tensor
    origin: str

    def __post_init__(self) -> None:
        _check_tensor("embedding", self.vector, ndim=1)
        norm = float(self.vector.double().norm())
        if abs(norm - 1.0) > 1e-3:
            raise InputError(f"embedding has L2 norm {norm:.4f}; 1 needed")
        if not self.origin:
            raise InputError("embedding has no origin; name the model that made it")

    def __repr__(self) -> str:
        return f"Embedding({len(self.vector)} numbers, {self.origin})"


def check_same_origin(first: str, second: str, *, what: str) -> None:
    """Refuse to mix two origins.

    Raises:
        InputError: the origins differ; the message holds both and ``what`` was tried.
    """
    if first != second:
        raise InputError(
            f"cannot {what}: one side is {first!r}, the other {second!r}; make both with the same model and layer"
        )


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or (not hasattr(value, "__index__") and not isinstance(value, float)):
        raise InputError(f"{name} is {value!r}; a number of Hz needed")


def _check_tensor(name: str, tensor: Tensor, *, ndim: int, dtype: str | None = None) -> None:
    if not hasattr(tensor, "aminmax"):
        raise InputError(f"{name} is of the type {type(tensor).__name__}; a torch tensor needed")
    if tensor.ndim != ndim or tensor.numel() == 0:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; {ndim} dimension(s), none of them empty, needed")
    if not tensor.is_floating_point() or (dtype is not None and str(tensor.dtype) != dtype):
        raise InputError(f"{name} has type {tensor.dtype}; {dtype or 'floating point'} needed")
    # the extremes carry NaN and infinity, and cost no copy of an hour of sound
    if not all(bool(extreme.isfinite()) for extreme in tensor.aminmax()):
        raise InputError(f"{name} holds NaN or infinite values")


def _check_rate_and_origin(frame_rate: float, origin: str) -> None:
    _check_number("frame rate", frame_rate)
    if not frame_rate > 0:
        raise InputError(f"frame rate is {frame_rate} Hz; it must be positive")
    if not origin:
        raise InputError("no origin; name the encoder and layer that made the frames")


@runtime_checkable
class Encoder(Protocol):
    """Waveform to features. An encoder is (network, layer), so layer and features cannot disagree.

    Attributes:
        origin: name that every feature sequence it makes carries, e.g. ``"wavlm-large/6"``.
        sample_rate: Hz of the waveform it takes; other rates are resampled by ``encode``.
        frame_rate: frames per second it gives.
        dim: numbers per frame.
    """

    @property
    def origin(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def dim(self) -> int: ...

    def num_frames(self, num_samples: int) -> int:
        """Exact number of frames for so many samples at ``sample_rate``."""

    def encode(self, waveform: Waveform, *, f0: Tensor | None = None) -> Features:
        """Features (N, dim), a pure function of the waveform: N == num_frames(samples at ``sample_rate``).

        Args:
            waveform: any sample rate.
            f0: (F,) Hz every 5 ms of the waveform, if it is known; saves time in encoders that need F0, others ignore
                it.
        """


@runtime_checkable
class Vocoder(Protocol):
    """Features to waveform.

    Attributes:
        origin: of the features it takes.
        sample_rate: Hz of the waveform it gives.
        frame_rate: frames per second it takes.
        needs_f0: whether ``vocode`` needs the F0 contour beside the features.
        key_origin: of the keys ``vocode`` needs beside the features, those of the words that are said; empty if none.
    """

    @property
    def origin(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def needs_f0(self) -> bool: ...
    @property
    def key_origin(self) -> str: ...

    def vocode(
        self,
        features: Features,
        *,
        f0: Tensor | None = None,
        keys: Features | None = None,
        voice: Tensor | None = None,
    ) -> Waveform:
        """Waveform of the features.

        Args:
            features: (N, dim).
            f0: (F,) Hz, 0 where unvoiced, one value every 5 ms; if ``needs_f0``.
            keys: (N, Dk) of ``key_origin``; if there is one.
            voice: (M, dim) frames of whoever speaks, from which a vocoder with a ``key_origin`` learns how they sound
                on the whole; None for those of the features.
        """


@runtime_checkable
class Embedder(Protocol):
    """Waveform to one vector by which a speaker is recognised.

    Attributes:
        origin: name of the model, with the fingerprint of its weights.
        sample_rate: Hz of the waveform it takes.
        dim: numbers per embedding.
        cohort: (K, E) unit embeddings of other speakers, for AS-norm; None if the model came without.
        calibration: as the header of the model's file has it; None if the model came without.
    """

    @property
    def origin(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def cohort(self) -> Tensor | None: ...
    @property
    def calibration(self) -> dict[str, Any] | None: ...

    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,) of one utterance."""


class Objective(Protocol):
    """What a network is trained on: plain tensors in, named scalar losses out; ``total`` is what is minimised."""

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]: ...
