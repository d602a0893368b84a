"""Transcribes the open recording with another model, for comparison."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ui.service.clip import Clip
from ui.service.engine import Engine
from ui.service.requests import Limits, check_memory, logged


@dataclass(frozen=True)
class ModelResult:
    """What a model recognised in a recording.

    Attributes:
        name: of the model, for display.
        config: of its bundle.
        clip: the recording, with the model's emissions and transcript.
    """

    name: str
    config: dict
    clip: Clip


def transcribe_again(
    clip: Clip,
    engine: Engine,
    model: str | None,
    limits: Limits,
    progress: Callable[[float], None] | None = None,
    cancel=None,
) -> ModelResult:
    """Transcribes a clip with a model, by the decoder options that the model recommends.

    Args:
        clip: the open recording; its audio file is shared, not copied.
        model: name in the engine; None for the default.
        limits: for one visitor.
        progress, cancel: as `asr_core.recognizer.Recognizer.recognize` takes them.

    Raises:
        AsrError: the model cannot be loaded, or its output for the clip would be too large.
        Cancelled: `cancel` was set.
    """
    recognizer = engine.recognizer(model)
    check_memory(clip.seconds, recognizer, limits)
    with logged("compare_models", audio_seconds=round(clip.seconds, 2)):
        started = time.perf_counter()
        found = recognizer.recognize(str(clip.audio.path), progress=progress, cancel=cancel)
        compared = replace(
            clip,
            emissions=found.emissions,
            transcript=found.transcript,
            model=model or engine.default,
            tokens=tuple(recognizer.vocabulary.tokens),
            language=recognizer.vocabulary.language,
            compute_seconds=time.perf_counter() - started,
            hypotheses=(),
            edited=False,
        )
    return ModelResult(recognizer.bundle.name, recognizer.bundle.config, compared)
