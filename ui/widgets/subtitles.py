"""The controls of the subtitle limits: line length, lines, seconds."""

from collections.abc import Callable, Sequence

import gradio as gr

from ui.service.exports import RANGES, SubtitleLimits
from ui.widgets.slider import Slider


class Subtitles:
    """The three controls of the subtitle limits."""

    def __init__(self):
        limits = SubtitleLimits()
        with gr.Row():
            self.characters = Slider(*RANGES[0], value=limits.characters, step=1, label="Characters a line")
            self.lines = Slider(*RANGES[1], value=limits.lines, step=1, label="Lines")
            self.seconds = Slider(*RANGES[2], value=limits.seconds, step=0.5, label="Seconds at most")

    @property
    def components(self) -> list:
        return [self.characters, self.lines, self.seconds]

    def events(self) -> list[Callable]:
        """The events after which the subtitles are written again."""
        return [event for slider in self.components for event in slider.moved()]

    def read(self, values: Sequence) -> SubtitleLimits:
        characters, lines, seconds = values[:3]
        return SubtitleLimits.of(characters, lines, seconds)
