"""A Whisper encoder on sound that is still being spoken: past frames are kept, a few frames ahead are heard.

Each step encodes the frames that are new, and those ahead of them, which come again in the next step with more sound
behind them. What attention needs of the past (its keys and values in every block) is stored, so that a step costs as
much as its own frames. Three things differ from ``SSLEncoder.encode``: a frame hears the past and a few frames ahead,
not the whole window; what sets the floor, 80 dB below the loudest band, is the loudest of the last seconds; and weights
are rounded to 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from speechssl.checkpoints.eight_bits import in_eight_bits
from speechssl.encoders.blocks import ProjectedTrunk, heads, join
from speechssl.encoders.precision import layer_norm, linear
from speechssl.encoders.whisper import WhisperFrontEnd, WhisperTrunk, floored, log_power
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder

PAST = 400  # frames that attention sees, 8 s
AGAIN = 25  # frames encoded again when positions begin anew
POSITIONS = 1000  # the encoder was trained on windows of 1100
TOP = 1.0  # log10 of power of the loudest band before anything was heard: that of usual speech
DECAY = 0.002  # of it per log-mel frame: 80 dB in 40 s


class LiveEncoder:
    """Keys of a stream, a few frames at a time; equal calls give equal bits.

    Args:
        encoder: of the Whisper family, such as ``tiny``, on the CPU.
        past: frames that attention sees.
    Raises:
        InputError: an encoder of another family.
    """

    def __init__(self, encoder: SSLEncoder, *, past: int = PAST) -> None:
        trunk = encoder.trunk
        projection = trunk.projection if isinstance(trunk, ProjectedTrunk) else None
        inner = trunk.trunk if isinstance(trunk, ProjectedTrunk) else trunk
        if not (isinstance(inner, WhisperTrunk) and isinstance(encoder.front_end, WhisperFrontEnd)):
            raise InputError(f"{encoder.origin} cannot be used live: it is no Whisper encoder; use the model 'tiny'")
        self._front_end, self._trunk, self._projection = encoder.front_end, inner, projection
        self._blocks = [_Block(layer) for layer in inner.blocks]
        self._past = past
        self.reset()

    def reset(self) -> None:
        """Forget everything that was heard."""
        self._samples = torch.zeros(0)
        self._mel = torch.zeros(0, self._front_end.bands, dtype=torch.float64)
        self._top = TOP
        self._committed = self._position = 0
        self._entries = torch.zeros(0, self._trunk.positions.shape[1])
        self._memory: list[tuple[Tensor, Tensor] | None] = [None] * len(self._trunk.blocks)

    @torch.no_grad()
    def step(self, samples: Tensor, keep: int) -> Tensor:
        """Features (n, D) of the frames that follow those kept so far, as far as the sound goes.

        Args:
            samples: (T,) at 16 kHz, which follow those of the last step.
            keep: frames that are past from now on; the others come again.
        """
        self._hear(samples)
        mel = floored(self._mel, torch.tensor(self._top, dtype=torch.float64)).float()
        frames = self._front_end.convolved(mel, starts=self._committed == 0, ends=True)
        if self._position + len(frames) > POSITIONS:
            self._begin_anew()
        states = self._attended(frames, keep)
        self._entries = torch.cat([self._entries, frames[:keep]])[-AGAIN:]
        # the next frame needs two log-mel frames before its own
        begin = max(0, 2 * self._committed - 2)
        self._committed += keep
        self._mel = self._mel[max(0, 2 * self._committed - 2) - begin :]
        return states if self._projection is None else linear(self._projection, states).float()

    def _hear(self, samples: Tensor) -> None:
        self._samples = torch.cat([self._samples, samples])
        count = (len(self._samples) - 400) // 160 + 1 if len(self._samples) >= 400 else 0
        if not count:
            return
        new = log_power(self._samples[: 160 * (count - 1) + 400].double(), self._front_end.bands)
        self._samples = self._samples[160 * count :]
        for loudest in new.amax(1).tolist():
            self._top = max(self._top - DECAY, loudest)
        self._mel = torch.cat([self._mel, new])

    def _begin_anew(self) -> None:
        """Give the last frames the first positions."""
        self._memory = [None] * len(self._memory)
        self._position = 0
        self._attended(self._entries, len(self._entries))

    def _attended(self, frames: Tensor, keep: int) -> Tensor:
        """States (n, D) behind the last block; the memory of the blocks goes up to ``keep``."""
        x = frames + self._trunk.positions[self._position : self._position + len(frames)].float()
        for number, block in enumerate(self._blocks):
            q, k, v = block.parts(x)
            if (before := self._memory[number]) is not None:
                k, v = torch.cat([before[0], k], 1), torch.cat([before[1], v], 1)
            until = k.shape[1] - len(x) + keep
            kept = slice(max(0, until - self._past), until)
            self._memory[number] = k[:, kept], v[:, kept]
            x = block.after(x, functional.scaled_dot_product_attention(q[None], k[None], v[None])[0])
        self._position += keep
        return self._trunk.finished(x)


class _Block:
    """One block, before and after its attention."""

    def __init__(self, layer: Any) -> None:
        attention, self._layer = layer.self_attn, layer
        self._num_heads = attention.num_heads
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        none = torch.zeros(len(attention.k_proj.weight))
        self._qkv = in_eight_bits(
            torch.cat([one.weight for one in three]),
            torch.cat([none if one.bias is None else one.bias for one in three]),
        )
        self._out, self._widen, self._narrow = (
            in_eight_bits(one.weight, one.bias) for one in (attention.out_proj, layer.fc1, layer.fc2)
        )

    def parts(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values (H, N, d)."""
        normed = layer_norm(self._layer.self_attn_layer_norm, x)
        return [heads(one, self._num_heads) for one in self._qkv(normed).chunk(3, dim=1)]

    def after(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The state (N, D) behind the block, from that before it and what attention mixed (H, N, d)."""
        x = x + self._out(join(mixed))
        hidden = functional.gelu(self._widen(layer_norm(self._layer.final_layer_norm, x)))
        return x + self._narrow(hidden)
