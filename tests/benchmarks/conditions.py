"""The same clips under worse conditions, and sounds that are not speech: which words the model finds.

    python -m tests.benchmarks.conditions --manifest valid.jsonl [--limit 150] [--seed 0] [--model default]
    python -m tests.benchmarks.conditions --sounds FILE...

Every condition is made from the same clips with a fixed seed; none of them is used in training. Of sound files in which
nobody speaks, the second form transcribes the first 20 seconds of each and prints the words that it found.
"""

import argparse
import io
import os
import random
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import soundfile
import soxr

RATE = 16_000
SOUND_SECONDS = 20


def quiet(x, rng):
    return np.round(x * (0.01 / max(np.abs(x).max(), 1e-6)) * 32767) / 32767


def constant(x, rng):
    """A tenth of the level, as from a cheap converter with a constant part (DC offset)."""
    return 0.1 * x + 0.03


def fan(x, rng):
    """A fan 20 dB below the voice: brown noise and the blades' hum."""
    noise = np.cumsum(rng.standard_normal(len(x)))
    noise -= np.convolve(noise, np.ones(801) / 801, "same")
    noise /= np.std(noise) + 1e-9
    t = np.arange(len(x)) / RATE
    noise += sum(np.sin(2 * np.pi * 93 * k * t) / k for k in (1, 2, 3))
    return x + noise * np.std(x) / np.std(noise) / 10


def fan_around(x, rng):
    """The fan also in three seconds before the first word and after the last."""
    silence = np.zeros(3 * RATE)
    return fan(np.concatenate([silence, x, silence]), rng)


def room(x, rng):
    """Half a second of reverberation, the direct sound as strong as the rest."""
    t = np.arange(int(0.5 * RATE)) / RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / 0.5)
    tail *= 1 / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return np.convolve(x, tail)[: len(x)]


def telephone(x, rng):
    """8 kHz and A-law, as a telephone line has it."""
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(x, RATE, 8000), 8000, format="WAV", subtype="ALAW")
    return soxr.resample(soundfile.read(io.BytesIO(file.getvalue()))[0], 8000, RATE)


def low_rate_codec(x, rng):
    """GSM full rate, 13 kbit/s, at 8 kHz."""
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(x, RATE, 8000), 8000, format="WAV", subtype="GSM610")
    return soxr.resample(soundfile.read(io.BytesIO(file.getvalue()))[0], 8000, RATE)


CONDITIONS = {
    "as recorded": lambda x, rng: x,
    "peak at -40 dBFS": quiet,
    "-20 dB, DC offset": constant,
    "fan, 20 dB below": fan,
    "3 s of a fan around": fan_around,
    "simulated room": room,
    "telephone, 8 kHz": telephone,
    "GSM, 13 kbit/s": low_rate_codec,
}


def no_speech(rng, seconds=8.0) -> dict[str, np.ndarray]:
    """Sounds that hold no word, each `seconds` long."""
    n = int(seconds * RATE)
    t = np.arange(n) / RATE
    white = rng.standard_normal(n)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), n)
    notes = 440 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], int(seconds * 3)) / 12)
    melody = np.concatenate(
        [
            sum(np.sin(2 * np.pi * f * k * t[: RATE // 3]) / k for k in (1, 2, 3)) * np.exp(-4 * t[: RATE // 3])
            for f in notes
        ]
    )
    bark = np.zeros(n)
    for start in range(RATE // 2, n - RATE, int(1.2 * RATE)):
        length = int(0.18 * RATE)
        pitch = 350 + 250 * np.sin(np.pi * np.arange(length) / length)
        voice = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE)) * np.hanning(length)
        bark[start : start + length] = voice + 0.3 * rng.standard_normal(length) * np.hanning(length)
    return {
        "digital silence": np.zeros(n),
        "white noise": 0.05 * white,
        "pink noise": 0.1 * pink / np.std(pink),
        "mains hum": 0.1 * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in (1, 2, 3, 5)),
        "music": 0.2 * np.resize(melody, n),
        "a dog (synthetic barks)": 0.3 * bark,
    }


def transcribe_sounds(recognizer, paths):
    """Prints the words that are found in files in which nobody speaks."""
    from asr_core.audio.loading import Audio
    from asr_core.errors import AudioError

    words, seconds, files = [], 0.0, 0
    for path in paths:
        try:
            audio = recognizer.load(path)
        except AudioError as error:  # some last a click
            print(error)
            continue
        audio = Audio(audio.samples[: SOUND_SECONDS * RATE], RATE)
        found = recognizer.transcribe(audio).words
        files, seconds, words = files + 1, seconds + audio.seconds, words + list(found)
        if found:
            print(f"{path.name:32s}", ", ".join(f"{word.text} ({word.confidence:.2f})" for word in found), flush=True)
    sure = sum(word.confidence >= 0.5 for word in words)
    print(f"{len(words)} words, {sure} of them with a confidence of 0.5 and more, in {files} sounds, {seconds:.0f} s")


def main():
    import jiwer

    from asr_core.audio.loading import audio_from_array, load_audio
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer
    from asr_core.text.normaliser import normalise
    from train.data.manifest import read_bytes, read_manifest

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--manifest")
    what.add_argument("--sounds", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    recognizer = Recognizer(load_bundle(args.model))
    if args.sounds:
        transcribe_sounds(recognizer, args.sounds)
        return
    clips = read_manifest(args.manifest)
    random.Random(args.seed).shuffle(clips)
    clips = clips[: args.limit]
    recordings = [load_audio(read_bytes(clip.audio), RATE).samples for clip in clips]
    references = [normalise(clip.text) for clip in clips]
    for name, change in CONDITIONS.items():
        rng = np.random.default_rng(args.seed)
        changed = [np.clip(change(x, rng), -1, 1).astype(np.float32) for x in recordings]
        hypotheses = [normalise(recognizer.transcribe(audio_from_array(x, RATE, RATE)).text) for x in changed]
        print(f"{name:20s} WER {100 * jiwer.wer(references, hypotheses):.1f} %", flush=True)
    for name, sound in no_speech(np.random.default_rng(args.seed)).items():
        transcript = recognizer.transcribe(audio_from_array(np.clip(sound, -1, 1).astype(np.float32), RATE, RATE))
        words = ", ".join(f"{word.text} ({word.confidence:.2f})" for word in transcript.words)
        print(f"{name:24s} {words or 'no words'}", flush=True)


if __name__ == "__main__":
    main()
