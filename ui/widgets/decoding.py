"""The controls of the decoding options, and the n-best list that results from them."""

from collections.abc import Callable, Sequence

import gradio as gr

from asr_core.text.given import MAX_HOT_WORDS
from ui.service.clip import MAX_HYPOTHESES, Clip
from ui.service.overrides import MAX_BEAM_WIDTH, MAX_LANGUAGE_MODEL_WEIGHT, DecodingOverrides
from ui.widgets.markup import Html, table
from ui.widgets.slider import moved, slider


class Decoding:
    """The controls; `read` turns their values, in the order of `components`, into DecodingOverrides."""

    def __init__(self):
        gr.HTML(
            '<p class="small">The network does not run again: a change here only decodes its output again. '
            "<b>Greedy</b> takes the likeliest token of each step. <b>Beam</b> sums the probabilities of the paths of "
            "each hypothesis and adds scores of language models and phones, if the model has them; it returns no "
            "words for noise, if the model has a threshold for it.</p>"
        )
        with gr.Row():
            self.decoder = gr.Radio(
                [("Greedy", "greedy"), ("Beam", "beam")], value=None, label="Decoder", elem_id="decoder"
            )
            self.beam_width = slider(
                2,
                MAX_BEAM_WIDTH,
                value=16,
                step=1,
                label="Beam width",
                info="prefixes kept at every step",
                elem_id="beam-width",
            )
        with gr.Row():
            self.language_model_weight = slider(
                0, MAX_LANGUAGE_MODEL_WEIGHT, value=0.5, step=0.05, label="Language-model weight", info="0 ignores it"
            )
            self.n_best = slider(
                1, MAX_HYPOTHESES, value=3, step=1, label="Hypotheses shown", info="the best of the beam"
            )
        self.hot_words = gr.Textbox(
            label="Hotwords",
            info=f"Names and terms that the beam search favours, one per line or separated by commas, at most "
            f"{MAX_HOT_WORDS}. Greedy ignores them. They take effect when you leave the field.",
            lines=2,
            max_lines=6,
        )

    @property
    def components(self) -> list:
        return [self.decoder, self.beam_width, self.language_model_weight, self.n_best, self.hot_words]

    def events(self) -> list[Callable]:
        """The events after which the clip is decoded again."""
        return [
            self.decoder.input,
            *moved(self.beam_width),
            *moved(self.language_model_weight),
            self.hot_words.blur,
            self.hot_words.submit,
        ]

    def read(self, values: Sequence) -> DecodingOverrides:
        """What the visitor chose. Without a decoder the model has not set the sliders yet, and they are ignored."""
        decoder, beam_width, weight, _, hot_words = values[: len(self.components)]
        if decoder is None:
            beam_width = weight = None
        return DecodingOverrides.of(decoder, beam_width, weight, hot_words)

    def shown(self, values: Sequence) -> int:
        """The number of hypotheses to show."""
        return int(values[self.components.index(self.n_best)])

    def defaults(self, bundle) -> list:
        """Updates that set the controls to the options that the model recommends."""
        options = bundle.decoder_options()
        return [options.decoder, options.beam_width, options.language_model_weight]


def hypotheses_table(clip: Clip, count: int) -> Html:
    """The `count` best hypotheses with the parts of their scores in nats; empty if `count` is 1."""
    if not clip.hypotheses or count < 2:
        return Html("")
    rows = [
        (
            rank,
            hypothesis.text or "(nothing)",
            f"{hypothesis.score:.2f}",
            f"{hypothesis.acoustic_score:.2f}",
            f"{hypothesis.language_model_score:.2f}",
            f"{hypothesis.hot_word_score:.2f}",
            f"{hypothesis.phone_score:.2f}",
        )
        for rank, hypothesis in enumerate(clip.hypotheses[:count], start=1)
    ]
    return table(
        ["Rank", "Text", "Score", "Letters", "Language", "Hotwords", "Phones"],
        rows,
        caption="The best hypotheses and the parts of their scores in nats; the letters' include the blank penalty",
        numeric=[0, 2, 3, 4, 5, 6],
    )
