"""The How it works tab: samples -> spectrogram -> emissions -> collapse -> words, with the numbers of this clip.

All five parts show one step of the network, which the visitor chooses. Every number is computed from the open
recording.
"""

import gradio as gr
import numpy as np

from asr_core.audio.levels import full_scale
from asr_core.ctc import best_path, collapse
from ui.service.clip import Clip
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, join, percent, seconds_or_clock, tag
from ui.widgets.slider import moved
from ui.widgets.svg import bars, curve, picture
from ui.widgets.tiles import LEVEL_RANGE_DB, band_hz, band_levels, fft_samples
from ui.widgets.words import clip_line, no_clip

SAMPLES_LISTED = 12  # samples shown as numbers
TOKENS_SHOWN = 8  # likeliest tokens of the step
# In the browser: replaces a typed number that is not a step by the nearest one, where Gradio would report an error.
NEAREST_STEP = """(step, clip) => {
  const last = document.querySelector("#walk-step input[type=number]").max;
  return [Math.min(Math.max(Math.round(step) || 0, 0), last), clip];
}"""
PATH_STEPS_AROUND = 14  # steps of the path shown on either side of the chosen one


class HowItWorks:
    """The tab.

    Args:
        clip: the `gr.State` with the open recording.
    """

    def __init__(self, clip: gr.State):
        gr.HTML(
            tag(
                "p",
                "What happens between the microphone and the word, on your recording, at a moment you choose. "
                "Move the slider and watch all five stages follow.",
                class_="lead",
            )
        )
        which = gr.HTML(no_clip())
        step = gr.Slider(0, 1, value=0, step=1, label="Step of the network", visible=False, elem_id="walk-step")
        walk = gr.HTML("", elem_id="walk")
        clip.change(self._opened, clip, [which, step, walk], **QUIET)
        gr.on(
            moved(step),
            lambda value, clip: guided_walk(clip, int(value)) if clip else "",
            [step, clip],
            walk,
            js=NEAREST_STEP,
            trigger_mode="always_last",
            queue=False,
            **QUIET,
        )

    def _opened(self, clip):
        if clip is None:
            return no_clip(), gr.update(visible=False), ""
        step = interesting_step(clip)
        last = len(clip.emissions.log_probs) - 1
        info = f"Each step covers {1000 * clip.emissions.step_seconds:.0f} ms; this recording has {last + 1}."
        return (
            clip_line(clip),
            gr.update(visible=True, maximum=last, value=step, info=info),
            guided_walk(clip, step),
        )


def interesting_step(clip: Clip) -> int:
    """The step of the likeliest letter near the middle, as the first one to show."""
    letters = np.exp(clip.emissions.log_probs[:, 1:]).max(axis=1)
    steps = np.arange(len(letters))
    return int(np.argmax(letters - np.abs(steps - len(steps) / 2) / max(len(steps), 1)))


def guided_walk(clip: Clip, step: int) -> Html:
    """The five parts for this step."""
    step = int(np.clip(step, 0, len(clip.emissions.log_probs) - 1))
    at = clip.emissions.start + (step + 0.5) * clip.emissions.step_seconds
    parts = [
        _samples(clip, at),
        _spectrum(clip, at),
        _emissions(clip, step),
        _collapse(clip, step),
        _words(clip, at),
    ]
    return tag("div", [tag("section", part, class_="card") for part in parts], class_="walk")


def _title(number: int, text: str) -> Html:
    return tag("h2", tag("span", number, class_="step-number"), text)


def _window(clip: Clip, at: float, samples: int) -> np.ndarray:
    """float [samples] in [-1, 1] around `at` seconds, zero beyond the ends of the recording."""
    first = int(at * clip.audio.sample_rate) - samples // 2
    out = np.zeros(samples, np.float32)
    low, high = max(first, 0), min(first + samples, len(clip.audio.samples))
    if high > low:
        out[low - first : high - first] = full_scale(clip.audio.samples[low:high])
    return out


def _samples(clip: Clip, at: float) -> Html:
    rate = clip.audio.sample_rate
    window = _window(clip, at, round(clip.emissions.step_seconds * rate))
    scale = max(float(np.abs(window).max()), 1e-3)
    middle = len(window) // 2
    listed = "  ".join(f"{v:+.4f}" for v in window[middle : middle + SAMPLES_LISTED])
    return join(
        [
            _title(1, "Sound is a row of numbers"),
            tag(
                "p",
                "The microphone measures the air pressure ",
                tag("b", f"{rate:,} times a second"),
                ". Here are the ",
                tag("b", f"{len(window)} samples"),
                f" around {seconds_or_clock(at, 2)}, and {SAMPLES_LISTED} of them as numbers. "
                "Nothing in one of them says which letter it belongs to.",
            ),
            picture(96, curve(window / scale, 92), label=f"Waveform around {at:.2f} seconds"),
            tag("div", listed, class_="numbers", tabindex="0", role="region", aria_label="Sample values"),
        ]
    )


def _spectrum(clip: Clip, at: float) -> Html:
    rate = clip.audio.sample_rate
    levels = band_levels(_window(clip, at, fft_samples(rate))[None], rate)[0]
    low, high = LEVEL_RANGE_DB
    shares = np.clip((levels - low) / (high - low), 0, 1)
    hertz = band_hz(rate)
    loudest = int(levels.argmax())
    marks = [tag("span", f"{hertz[i]:.0f}" if i else f"{hertz[i]:.0f} Hz") for i in range(0, len(hertz), 16)]
    return join(
        [
            _title(2, "A spectrogram shows which pitches are in it"),
            tag(
                "p",
                "A Fourier transform of a short window gives the strength of each frequency; many such columns side by "
                "side are the spectrogram. In this one the loudest band lies at ",
                tag("b", f"{hertz[loudest]:.0f} Hz"),
                " with ",
                tag("b", f"{levels[loudest]:.0f} dB"),
                ". A vowel has several peaks at low frequencies; an s has its energy at high frequencies. The bands "
                "get wider towards high frequencies, as in human hearing (the mel scale).",
            ),
            picture(118, bars(shares, 118), label=f"Spectrum: loudest at {hertz[loudest]:.0f} hertz"),
            tag("div", marks, class_="marks", aria_hidden="true"),
        ]
    )


def _shown(clip: Clip, token: int) -> str:
    text = clip.tokens[token]
    return "blank" if token == 0 else "space" if text == " " else text


def _emissions(clip: Clip, step: int) -> Html:
    probabilities = np.exp(clip.emissions.log_probs[step])
    order = np.argsort(-probabilities)[:TOKENS_SHOWN]
    rows = []
    for token in order:
        share = float(probabilities[token])
        bar = tag("i", style=f"--share:{share:.4f}")
        kind = "chance blank" if token == 0 else "chance"
        rows += [tag("b", _shown(clip, int(token))), tag("span", bar, percent(share, 1), class_=kind)]
    best = int(order[0])
    answer = "the blank, CTC's token for no letter" if best == 0 else f"“{_shown(clip, best)}”"
    return join(
        [
            _title(3, "The network outputs probabilities"),
            tag(
                "p",
                f"For each step of {1000 * clip.emissions.step_seconds:.0f} ms, the network computes a probability "
                "for every one of its ",
                tag("b", f"{len(clip.tokens)} tokens"),
                " from the audio around it; they sum to 100 %. At step ",
                tag("b", step),
                " the likeliest is ",
                tag("b", answer),
                f" with {percent(float(probabilities[best]), 1)}.",
            ),
            tag("div", rows, class_="chances"),
        ]
    )


def _collapse(clip: Clip, step: int) -> Html:
    path = best_path(clip.emissions.log_probs)
    first, last = max(0, step - PATH_STEPS_AROUND), min(len(path), step + PATH_STEPS_AROUND + 1)
    cells, kept = [], []
    for i in range(first, last):
        token = int(path[i])
        repeated = i > 0 and token == path[i - 1]
        kind = "blank" if token == 0 else "merged" if repeated else "kept"
        if kind == "kept":
            kept.append(clip.tokens[token])
        text = "–" if token == 0 else "␣" if clip.tokens[token] == " " else clip.tokens[token]
        cells.append(tag("span", text, class_=f"{kind} here" if i == step else kind, title=f"step {i}: {kind}"))
    text = "".join(kept)
    return join(
        [
            _title(4, "Collapsing the path gives the text"),
            tag(
                "p",
                "Take the likeliest token of every step (greedy decoding). ",
                tag("b", "Repeats are one letter"),
                ", struck through here, and ",
                tag("b", "blanks are dropped"),
                ", shown as –. Two equal letters in a row need a blank between them. CTC prescribes no times: the "
                "network may emit a letter earlier or later than it is spoken.",
            ),
            tag("div", cells, class_="path", role="img", aria_label=f"Path around step {step}: {text}"),
            tag("p", "What is left of these steps: ", tag("b", f"“{text}”"), style="margin-top:12px"),
        ]
    )


def _beside_greedy(clip: Clip, words) -> Html:
    """The words of the beam search beside the greedy decoding of the same steps."""
    emissions = clip.emissions
    first, last = (int((time - emissions.start) / emissions.step_seconds) for time in (words[0].start, words[-1].end))
    path = best_path(emissions.log_probs[max(first, 0) : last + 1])
    text = clip.vocabulary.text(collapse(path))
    return tag(
        "p",
        "The likeliest tokens of these steps read ",
        tag("b", f"“{text}”"),
        ". A ",
        tag("b", "beam search"),
        " compares many hypotheses. It scores each by the sum of the paths that collapse to it and, if the model has "
        "them, by language models and phones; words of the lexicon that sound alike are tried too. It chose ",
        tag("b", f"“{clip.transcript.separator.join(word.text for word in words)}”"),
        ". The best hypotheses and their scores are in Transcribe under Decoding.",
    )


def _words(clip: Clip, at: float) -> Html:
    words = clip.transcript.words
    near = sorted(words, key=lambda word: abs((word.start + word.end) / 2 - at))[:7]
    near.sort(key=lambda word: word.start)
    buttons = []
    for word in near:
        here = word.start <= at < word.end
        buttons.append(
            tag(
                "button",
                tag("span", word.text),
                tag("span", percent(word.confidence), class_="gap"),
                type="button",
                class_="pair substitute" if here else "pair",
                data_at=f"{word.start:.2f},{word.end:.2f}",
            )
        )
    inside = next((word for word in near if word.start <= at < word.end), None)
    where = f"This moment lies in “{inside.text}”." if inside else "This moment lies between words."
    return join(
        [
            _title(5, "Words with their times and confidence"),
            _beside_greedy(clip, near) if clip.hypotheses and near and not clip.edited else None,
            tag(
                "p",
                "The times of a word follow from the steps of its letters and from the energy of the signal; its "
                "confidence follows from the network's probabilities. ",
                tag("b", where),
                " Click a word to play it.",
            ),
            tag(
                "div",
                join(buttons, " ") if buttons else tag("p", "No word was recognised in this recording."),
                class_="diff",
                dir="auto",
                data_audio=clip.audio.path,
                data_stamp=f"{clip.token}{at:.3f}",
            ),
        ]
    )
