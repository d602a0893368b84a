"""A recording -> all of its augmentations, as wav files and spectrograms.

    python -m train.tools.audition clip.wav other.wav --out runs/audition

Writes a wav file for each augmentation of `train.data.augmentation`, and one picture of all spectrograms. The
background speech of a clip is the next clip; that of the last clip is the first one.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import soundfile

from asr_core.audio.levels import full_scale, to_int16
from asr_core.audio.loading import load_audio
from asr_core.errors import AudioError
from train.data import augmentation as augment
from train.data.augmentation import NO_AUGMENTATION, SpecAugment, change_speed
from train.options import DONE, FAILED, MAX_SEED, in_words, make_folder, stoppable, whole

RATE = 16_000  # Hz


def variants(samples, voice, seed: int) -> dict[str, np.ndarray]:
    """Name -> augmented samples, int16.

    Args:
        samples: of a recording, int16.
        voice: background speech for the babble, int16.
        seed: of the random generator.
    """

    def only(**changes):
        change = dataclasses.replace(NO_AUGMENTATION, **changes)
        return change(samples, RATE, np.random.default_rng(seed), lambda: voice)

    def coded(codec):
        return to_int16(augment.encode(full_scale(samples), RATE, codec))

    return {
        "as it is": NO_AUGMENTATION(samples, RATE, np.random.default_rng(seed), lambda: voice),
        "speed 0.9": change_speed(samples, 0.9),
        "speed 1.1": change_speed(samples, 1.1),
        "pitch -2 semitones": only(pitch=1, pitch_semitones=(-2, -2)),
        "pitch +2 semitones": only(pitch=1, pitch_semitones=(2, 2)),
        "noise, 10 dB": only(noise=1, noise_snr=(10, 10)),
        "babble, 10 dB": only(babble=1, babble_snr=(10, 10)),
        "room": only(room=1),
        "telephone band": only(band=1),
        **{f"codec {name}": coded(name) for name in augment.CODECS},
        "clipped by 12 dB": only(clipping=1, clipping_db=(12, 12)),
        "gain, -30 dBFS": only(gain=1, gain_dbfs=(-30, -30)),
    }


def draw(recordings: dict[str, np.ndarray], path) -> None:
    """Draws all spectrograms in one PNG, in dB of full scale, and below them SpecAugment on the first recording.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import librosa
    from matplotlib.figure import Figure

    rows = -(-(len(recordings) + 2) // 2)
    figure = Figure(figsize=(13, 1.7 * rows), layout="constrained")
    panels = figure.subplots(rows, 2).ravel()
    longest = max(map(len, recordings.values())) / RATE
    for panel, (name, samples) in zip(panels, recordings.items(), strict=False):
        spectrum = np.abs(librosa.stft(full_scale(samples), n_fft=512, hop_length=128))
        level = librosa.amplitude_to_db(spectrum, ref=256, amin=256e-6, top_db=None)  # 256 is the sum of the window
        panel.imshow(
            level, origin="lower", aspect="auto", vmin=-100, vmax=-20,
            extent=(0, len(samples) / RATE, 0, RATE / 2000),
        )  # fmt: skip
        panel.set(title=name, xlim=(0, longest), ylabel="kHz")
    features, masked = _masked(next(iter(recordings.values())))
    for panel, image, name in zip(
        panels[len(recordings) :], (features, masked), ("features of the network", "SpecAugment"), strict=False
    ):
        panel.imshow(image.T, origin="lower", aspect="auto", vmin=-2, vmax=3)
        panel.set(title=name, xlabel="frames", ylabel="mel bins")
    for panel in panels[len(recordings) + 2 :]:
        panel.axis("off")
    figure.savefig(path, dpi=80)


def _masked(samples):
    """Log-mel features [frames, bins] of int16 samples, before and after SpecAugment."""
    from asr_core.models.features import LogMel

    features, lengths = LogMel()(full_scale(samples[None]), np.array([len(samples)], np.int32))
    return np.asarray(features)[0], np.asarray(SpecAugment()(features, lengths))[0]


@stoppable
def main(arguments=None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.tools.audition", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="recordings to alter")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets a folder for each clip")
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, help="of everything random")
    args = parser.parse_args(arguments)
    try:
        make_folder(args.out)
        clips = [to_int16(load_audio(path, RATE).samples) for path in args.clips]
        for number, (path, samples) in enumerate(zip(args.clips, clips, strict=True)):
            folder = args.out / path.stem
            make_folder(folder)
            write(variants(samples, clips[(number + 1) % len(clips)], args.seed), folder)
    except (AudioError, OSError, soundfile.SoundFileError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    return DONE


def write(recordings: dict[str, np.ndarray], folder: Path) -> None:
    """Writes a WAV for each recording, and a picture of all if matplotlib is installed."""
    for name, samples in recordings.items():
        soundfile.write(folder / f"{name.replace(',', '').replace(' ', '-')}.wav", samples, RATE)
    try:
        draw(recordings, folder / "spectrograms.png")
    except ImportError:
        print("The pictures need matplotlib (pip install matplotlib); the wav files are written.", file=sys.stderr)
    print(f"wrote {len(recordings)} recordings to {folder}")


if __name__ == "__main__":
    sys.exit(main())
