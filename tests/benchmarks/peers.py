"""Other small recognisers on the same clips, in one run: WER, CPU seconds, memory, size on disk.

    pip install pocketsphinx moonshine-voice==0.0.48      # for this comparison only; both bring their models
    python -m tests.benchmarks.peers --manifest valid.jsonl [--limit 100] [--seed 0] [--model default]

Every recogniser runs in a process of its own and transcribes each clip once and alone; all are judged by the same
normaliser. CPU seconds leave out the loading of the model.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
RATE = 16_000


def pocketsphinx():
    import numpy as np
    from pocketsphinx import Decoder, get_model_path

    decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def transcribe(samples):
        decoder.start_utt()
        decoder.process_raw((samples * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return best.hypstr if best else ""

    return transcribe, get_model_path("en-us")


def moonshine():
    from moonshine_voice import ModelArch, Transcriber
    from moonshine_voice.utils import get_model_path

    path = get_model_path("tiny-en")
    transcriber = Transcriber(str(path), ModelArch.TINY)

    def transcribe(samples):
        found = transcriber.transcribe_without_streaming(samples.tolist(), RATE)
        return " ".join(line.text for line in found.lines)

    return transcribe, path


def ours(model: str, decoder: str):
    from dataclasses import replace

    from asr_core.audio.loading import Audio
    from asr_core.bundle.loading import load_bundle
    from asr_core.recognizer import Recognizer

    bundle = load_bundle(model)
    recognizer = Recognizer(bundle)
    recognizer.warm_up()
    options = replace(bundle.decoder_options(), decoder=decoder)
    for seconds in (4, 8, 16):  # every compiled length once, as a running app has them
        import numpy as np

        recognizer.emissions(Audio(np.zeros(seconds * RATE, np.float32), RATE))

    def transcribe(samples):
        return recognizer.transcribe(Audio(samples, RATE), options).text

    return transcribe, bundle.path


def size(path) -> int:
    path = Path(path)
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def run(make, arguments, clips, result):
    """One recogniser over all clips, in this process."""
    import jiwer

    from asr_core.audio.loading import load_audio
    from asr_core.text.normaliser import normalise
    from train.data.manifest import read_bytes

    try:
        transcribe, path = make(*arguments)
    except ImportError as error:
        result.put({"missing": str(error)})
        return
    references, hypotheses, cpu, audio_seconds = [], [], 0.0, 0.0
    for clip in clips:
        audio = load_audio(read_bytes(clip.audio), RATE)
        start = time.process_time()
        hypotheses.append(normalise(transcribe(audio.samples)))
        cpu += time.process_time() - start
        audio_seconds += audio.seconds
        references.append(normalise(clip.text))
    result.put(
        {
            "wer": round(100 * jiwer.wer(references, hypotheses), 2),
            "cpu_seconds_per_audio_second": round(cpu / audio_seconds, 4),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "model_mb": round(size(path) / 1e6, 1),
        }
    )


def main():
    from train.data.manifest import read_manifest

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    clips = read_manifest(args.manifest)
    random.Random(args.seed).shuffle(clips)
    recognisers = {
        "ours, greedy": (ours, (args.model, "greedy")),
        "ours, beam and language model": (ours, (args.model, "beam")),
        "PocketSphinx 5": (pocketsphinx, ()),
        "moonshine tiny": (moonshine, ()),
    }
    spawn = multiprocessing.get_context("spawn")
    for name, (make, arguments) in recognisers.items():
        result = spawn.Queue()
        process = spawn.Process(target=run, args=(make, arguments, clips[: args.limit], result))
        process.start()
        print(json.dumps({"recogniser": name, **result.get()}), flush=True)
        process.join()


if __name__ == "__main__":
    main()
