"""Sound between devices, in simulated time: clocks that drift, late blocks, stalls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechssl.conversion.live_pipe import LivePipe, Outlet


class Later:
    """A converter that says the same half a second later."""

    sample_rate, latency, hop, clipped = 16_000, 8000, 640, 0

    def __init__(self) -> None:
        self._held = torch.zeros(self.latency)

    def push(self, block: torch.Tensor) -> torch.Tensor:
        self._held = torch.cat([self._held, block])
        given, self._held = self._held[: len(block)], self._held[len(block) :]
        return given


def run(
    seconds: float, *, drift: tuple[float, float] = (1e-4, -1e-4), late: object = lambda time: 0.0
) -> tuple[LivePipe, np.ndarray]:
    """A tone of 200 Hz through a pipe from 44.1 to 48 kHz; blocks of 10 ms come ``late(time)`` seconds late."""
    outlet = Outlet(16_000, 48_000, 0.03)
    pipe = LivePipe(Later(), 44_100, [outlet])
    periods = 0.01 / (1 + drift[0]), 0.01 / (1 + drift[1])
    events = [(number * periods[0] + late(number * periods[0]), 0, number) for number in range(int(seconds * 100))]
    events += [(number * periods[1] + 0.004, 1, number) for number in range(int(seconds * 100))]
    played = []
    for _, kind, number in sorted(events):
        if kind:
            played.append(outlet.fill(480))
            continue
        times = (number * 441 + np.arange(441)) / 44_100
        pipe.heard((0.5 * np.sin(2 * np.pi * 200 * times)).astype(np.float32))
        assert pipe.work()
    return pipe, np.concatenate(played)


def bends(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound, 2)).max()) / (0.5 * (2 * np.pi * 200 / 48_000) ** 2)


def test_two_clocks_that_drift_are_joined_without_a_click() -> None:
    pipe, sound = run(60)
    assert pipe.xruns == 0
    assert bends(sound[48_000:]) < 1.1
    # 200 ppm would be 12 ms by now
    assert pipe.outlets[0].latency == pytest.approx(0.03, abs=0.01)
    assert pipe.latency == pytest.approx(0.5 + pipe.outlets[0].latency, abs=0.002)


def test_a_short_jitter_is_not_heard() -> None:
    chance = np.random.default_rng(0)
    pipe, sound = run(20, late=lambda time: 0.008 * chance.random())
    assert pipe.xruns == 0
    assert bends(sound[48_000:]) < 1.1


def test_a_stall_is_faded_and_the_delay_comes_back() -> None:
    stalled = lambda time: max(0.0, 5.5 - time) if time > 5 else 0.0  # noqa: E731
    pipe, sound = run(20, late=stalled)
    assert 1 <= pipe.xruns <= 3
    # the sound stops for a while, and neither begins nor ends with a step
    assert np.abs(sound[int(5.2 * 48_000) : int(5.4 * 48_000)]).max() == 0
    assert float(np.abs(np.diff(sound)).max()) < 3 * 0.5 * 2 * np.pi * 200 / 48_000
    assert pipe.outlets[0].latency < 0.06
    assert np.abs(sound[-48_000:]).max() == pytest.approx(0.5, abs=0.01)


def test_blocks_that_are_late_again_and_again_leave_gaps_only_at_first() -> None:
    pipe, sound = run(20, late=lambda time: max(0.0, 0.06 - time % 2))
    assert 1 <= pipe.xruns <= 4
    quiet = np.abs(sound[10 * 48_000 :]).reshape(-1, 480).max(axis=1)
    assert quiet.min() > 0.4  # ten seconds of sound without a hole
    assert 0.03 < pipe.outlets[0].waiting <= 0.08


def test_nothing_is_spoken_before_enough_waits() -> None:
    outlet = Outlet(16_000, 16_000, 0.03)
    outlet.put(np.ones(400, np.float32))
    assert not outlet.fill(160).any()
    outlet.put(np.ones(400, np.float32))
    risen = outlet.fill(160)
    assert risen[0] == 0
    assert risen[-1] == pytest.approx(1, abs=0.01)
    assert outlet.xruns == 0


def test_a_microphone_that_is_faster_than_the_work_loses_sound_and_says_so() -> None:
    pipe = LivePipe(Later(), 16_000, [Outlet(16_000, 16_000, 0.03)])
    for _ in range(12):
        pipe.heard(np.zeros(1600, np.float32))
    assert pipe.xruns == 2
    assert pipe.work()
    assert not pipe.work()
