"""The energy of the signal along the output steps, in dB, by which word boundaries are placed."""

import numpy as np

FRAMES_PER_STEP = 4  # energy values per output step: one every 10 ms where a step lasts 40 ms
DIGITAL_SILENCE_DB = -95.0  # energies below it are digital silence, which is not a measure of the noise floor


def signal_energy(samples: np.ndarray, step_samples: int, steps: int) -> np.ndarray:
    """Energy of a signal, for `Emissions.energy`.

    Args:
        samples: float32 [n], mono.
        step_samples: samples from one output step to the next.
        steps: number of steps; samples beyond them are ignored, and frames beyond the samples repeat the last energy.

    Returns:
        float32 [steps * FRAMES_PER_STEP], dB relative to full scale. The mean of each frame is removed, and with it
        anything slower than a frame, such as hum.
    """
    edges = np.arange(steps * FRAMES_PER_STEP + 1) * (step_samples / FRAMES_PER_STEP)
    edges = np.minimum(edges.round().astype(np.int64), len(samples))
    signal = samples[: edges[-1]].astype(np.float64)
    sums = np.diff(np.concatenate([[0.0], np.cumsum(signal)])[edges])
    squares = np.diff(np.concatenate([[0.0], np.cumsum(np.square(signal))])[edges])
    count = np.maximum(1, np.diff(edges))
    variance = np.maximum(squares / count - np.square(sums / count), 0.0)
    energy = (10 * np.log10(variance + 1e-10)).astype(np.float32)
    whole = len(samples) * FRAMES_PER_STEP // step_samples
    if 0 < whole < len(energy):
        energy[whole:] = energy[whole - 1]
    return energy
