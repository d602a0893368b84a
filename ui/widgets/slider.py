"""A slider into whose field any number can be typed."""

from collections.abc import Callable

import gradio as gr


class Slider(gr.Slider):
    """A `gr.Slider` that replaces a typed number out of range by the nearest one in it, where Gradio reports an error.

    While somebody types 128, the field has 1 and 12. An empty field counts as the minimum, which the page then shows.
    """

    def preprocess(self, payload: float | None) -> float:
        payload = self.minimum if payload is None else payload
        return super().preprocess(min(max(payload, self.minimum), self.maximum))

    def moved(self) -> list[Callable]:
        """The events of the slider when it is moved, by pointer or keys, typed into, or reset."""
        return [self.input, self.release]
