"""The controls of the subtitle limits: line length, lines, seconds."""

from collections.abc import Callable, Sequence

import gradio as gr

from ui.service.exports import RANGES, SubtitleLimits
from ui.widgets.slider import moved, slider


class Subtitles:
    """The controls; `read` turns their values, in the order of `components`, into SubtitleLimits."""

    def __init__(self):
        limits = SubtitleLimits()
        with gr.Row():
            self.characters = slider(*RANGES[0], value=limits.characters, step=1, label="Characters a line")
            self.lines = slider(*RANGES[1], value=limits.lines, step=1, label="Lines")
            self.seconds = slider(*RANGES[2], value=limits.seconds, step=0.5, label="Seconds at most")

    @property
    def components(self) -> list:
        return [self.characters, self.lines, self.seconds]

    def events(self) -> list[Callable]:
        """The events after which the subtitles are written again."""
        return [event for component in self.components for event in moved(component)]

    def read(self, values: Sequence) -> SubtitleLimits:
        """The limits that the visitor chose; the sliders keep their values in range."""
        characters, lines, seconds = values[: len(self.components)]
        return SubtitleLimits(int(characters), int(lines), float(seconds))
