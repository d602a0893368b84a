"""The controls of the written form: as written or as spoken, and how names and terms are written."""

from collections.abc import Callable, Sequence

import gradio as gr

from asr_core.text.replacements import Replacements, parse_replacements
from ui.service.clip import FORMS, SPOKEN, WRITTEN

MAX_CHARACTERS = 20_000  # of the pairs together


def form_choice(**options) -> gr.Radio:
    """The switch between the two forms of a transcript."""
    choices = [("As written", WRITTEN), ("As spoken", SPOKEN)]
    info = "As written: with capitals, punctuation and figures."
    return gr.Radio(choices, value=WRITTEN, label="Text", info=info, **options)


class WrittenForm:
    """The controls; `read` turns their values, in the order of `components`, into a form and replacements."""

    def __init__(self):
        self.form = form_choice(elem_id="form")
        with gr.Accordion("Names and terms", open=False):
            self.pairs = gr.Textbox(
                label="How they are written",
                info="One per line, recognised -> written: gradeo -> Gradio. They apply when you leave the field.",
                lines=2,
                max_lines=8,
                max_length=MAX_CHARACTERS,
                elem_id="replacements",
            )

    @property
    def components(self) -> list:
        return [self.form, self.pairs]

    def events(self) -> list[Callable]:
        """The events after which the transcript is written again."""
        return [self.form.input, self.pairs.blur, self.pairs.submit]

    def read(self, values: Sequence) -> tuple[str, Replacements]:
        """(form, replacements). Raises GivenTextError if a pair is wrong."""
        form, pairs = values[: len(self.components)]
        return form if form in FORMS else WRITTEN, parse_replacements(pairs or "")
