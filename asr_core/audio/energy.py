"""The level of the signal beside the output steps, in dB: word boundaries are looked for in it."""

import numpy as np

FRAMES_PER_STEP = 4  # energy is measured this much finer than the steps: 10 ms where a step is 40 ms
NO_SOUND_DB = -95.0  # digital silence, which says nothing about how quiet the room is


def signal_energy(samples: np.ndarray, sample_rate: int, step_seconds: float, steps: int) -> np.ndarray:
    """Loudness of a signal for Emissions.energy.

    Args:
        samples: float32 [n], mono.
        sample_rate: Hz.
        step_seconds: length of an emission step.
        steps: number of steps; samples beyond them are ignored, missing ones are as loud as the last.

    Returns:
        float32 [steps * FRAMES_PER_STEP], dB relative to full scale, without what is slower than a frame (hum).
    """
    edges = np.arange(steps * FRAMES_PER_STEP + 1) * (step_seconds * sample_rate / FRAMES_PER_STEP)
    edges = np.minimum(edges.round().astype(np.int64), len(samples))
    heard = samples[: edges[-1]].astype(np.float64)
    sums = np.diff(np.concatenate([[0.0], np.cumsum(heard)])[edges])
    squares = np.diff(np.concatenate([[0.0], np.cumsum(np.square(heard))])[edges])
    count = np.maximum(1, np.diff(edges))
    variance = np.maximum(squares / count - np.square(sums / count), 0.0)
    energy = (10 * np.log10(variance + 1e-10)).astype(np.float32)
    whole = int(len(samples) * FRAMES_PER_STEP / (step_seconds * sample_rate))
    if 0 < whole < len(energy):
        energy[whole:] = energy[whole - 1]
    return energy
