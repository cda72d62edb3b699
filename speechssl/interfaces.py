"""The protocols of the rooms that grow: each states facts as attributes and has one verb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.signals import Embedding, Features, Waveform


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
        ...

    def encode(self, waveform: Waveform) -> Features:
        """Features (N, dim), a pure function of the waveform: N == num_frames(samples at ``sample_rate``)."""
        ...


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
        ...


@runtime_checkable
class Embedder(Protocol):
    """Waveform to one vector a speaker is known by.

    Attributes:
        origin: name of the model, with the fingerprint of its weights.
        sample_rate: Hz of the waveform it takes.
        dim: numbers per embedding.
    """

    @property
    def origin(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def dim(self) -> int: ...

    def embed(self, waveform: Waveform) -> Embedding:
        """Unit-norm embedding (dim,) of one utterance."""
        ...


class Objective(Protocol):
    """What a network is trained on: plain tensors in, named scalar losses out; ``total`` is what is minimised."""

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]: ...
