"""Speech synthesisers: a sentence, a voice and a speed -> samples.

- Kokoro-82M (hexgrad, Apache-2.0), a neural network as ONNX, sounds most like people and is the slowest: one to three
  seconds of speech a second on one core. Its folder holds `model.onnx`, `vocab.json` ({"vocab": {phoneme: number}}) and
  `voices/*.bin` (float32 [longest, 256]: a style for each number of phonemes). All voices speak English here; voices of
  other languages add their timbre and a little of their accent. Phonemes come from the package hibari-tts.
- Flite (Carnegie Mellon University, a BSD licence) has four voices of English and makes some 50 seconds of speech a
  second. Every voice has vocal tracts of several lengths: it speaks slower or faster and is resampled, so that pitch
  and formants move together.
- eSpeak NG (its output is free of its licence, GPL-3.0) is a formant synthesiser with six accents of English and
  forty intelligible voices, and makes some 200 seconds of speech a second.

The commands `flite` and `espeak-ng` are packages of Debian and other systems.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

KOKORO_RATE = 24_000  # Hz
MAX_PHONEMES = 505  # of a sentence; Kokoro takes no more
FLITE_VOICES = ("kal16", "awb", "rms", "slt")
VOCAL_TRACTS = 0.85, 1.2  # frequencies of a voice of Flite are multiplied by a factor between these
ESPEAK_ACCENTS = ("en-us", "en-us-nyc", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029")
ESPEAK_VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alex Andrea Annie Gene Mario Michael Mike adam anika belinda "
    "benjamin boris caleb david ed edward grandma grandpa iven john linda max paul quincy rob robert sandro "
    "shelby steph travis victor zac"
).split()
ESPEAK_SPEED = 165  # words a minute


class Kokoro:
    """Kokoro-82M.

    Args:
        folder: of its files.

    Attributes:
        name: of the corpus in manifests.

    Raises:
        ValueError: a file or a package is missing.
    """

    name = "kokoro"

    def __init__(self, folder: Path):
        try:
            import onnxruntime
            from hibari import Hibari
        except ImportError as error:
            raise ValueError(f"{error.name} is missing: pip install onnxruntime hibari-tts") from error
        try:
            self.numbers = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
            self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises exceptions of its own, a different one for each kind of damage
            raise ValueError(f"{folder} holds no Kokoro: {error}") from error
        self.styles = {
            path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in sorted(folder.glob("voices/*.bin"))
        }
        if not self.styles:
            raise ValueError(f"{folder} has no voices in voices/*.bin.")
        self.phonemes = Hibari()

    def voice(self, rng) -> tuple[str, np.ndarray]:
        """Draws a voice, or a blend of two or three: (its name, its styles, float32 [longest, 256])."""
        names = list(self.styles)
        chosen = rng.choice(names, min(len(names), rng.choice([1, 2, 3], p=[0.4, 0.3, 0.3])), replace=False)
        shares = rng.dirichlet([1.5] * len(chosen))
        style = sum(share * self.styles[name] for name, share in zip(chosen, shares, strict=True))
        return "+".join(f"{name}:{share:.2f}" for name, share in zip(chosen, shares, strict=True)), style

    def speak(self, text: str, style: np.ndarray, speed: float) -> tuple[np.ndarray, float]:
        """Synthesises a sentence: (float32 samples, their rate in Hz)."""
        phonemes = " ".join(self.phonemes.phonemize(text))
        tokens = [self.numbers[phoneme] for phoneme in phonemes if phoneme in self.numbers][:MAX_PHONEMES]
        values = ([[0, *tokens, 0]], style[len(tokens)][None], [speed])
        types = (np.int64, np.float32, np.float32)
        names = (one.name for one in self.session.get_inputs())
        inputs = {name: np.array(value, dtype) for name, value, dtype in zip(names, values, types, strict=True)}
        return self.session.run(None, inputs)[0].ravel(), KOKORO_RATE


class Flite:
    """Flite, by its command."""

    name = "flite"

    def voice(self, rng) -> tuple[str, tuple[str, float]]:
        """Draws a voice and a length of the vocal tract: (name, what `speak` needs)."""
        voice, tract = str(rng.choice(FLITE_VOICES)), round(rng.uniform(*VOCAL_TRACTS), 2)
        return f"flite:{voice}:{tract}", (voice, tract)

    def speak(self, text: str, style: tuple[str, float], speed: float) -> tuple[np.ndarray, float]:
        """Synthesises a sentence: (float32 samples, their rate in Hz, which moves the voice's frequencies)."""
        voice, tract = style
        stretch = ["--setf", f"duration_stretch={tract / speed:.3f}"]
        samples, rate = _recorded(lambda file: ["flite", "-voice", voice, *stretch, "-t", f" {text}", "-o", file])
        return samples, rate * tract


class Espeak:
    """eSpeak NG, by its command."""

    name = "espeak"

    def voice(self, rng) -> tuple[str, tuple[str, int]]:
        """Draws an accent, a voice and a pitch: (name, what `speak` needs)."""
        voice, pitch = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}", int(rng.integers(25, 76))
        return f"espeak:{voice}:{pitch}", (voice, pitch)

    def speak(self, text: str, style: tuple[str, int], speed: float) -> tuple[np.ndarray, float]:
        """Synthesises a sentence: (float32 samples, their rate in Hz)."""
        voice, pitch = style
        options = ["-v", voice, "-p", str(pitch), "-s", str(round(ESPEAK_SPEED * speed))]
        return _recorded(lambda file: ["espeak-ng", *options, "-w", file, "--", text])


def _recorded(command) -> tuple[np.ndarray, float]:
    """Runs `command(file)`, which writes a WAV file: (float32 samples, their rate in Hz)."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "speech.wav")
        arguments = command(file)
        try:
            subprocess.run(arguments, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise ValueError(f"The command {arguments[0]} is missing: install the package of that name.") from error
        except subprocess.CalledProcessError as error:
            raise ValueError(f"{arguments[0]} failed: {error.stderr.strip()}") from error
        return soundfile.read(file, dtype="float32")
