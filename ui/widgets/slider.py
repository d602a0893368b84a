"""Sliders into whose field any number can be typed."""

from collections.abc import Callable

import gradio as gr


def slider(low: float, high: float, **arguments) -> gr.Slider:
    """A `gr.Slider` that replaces a typed number out of range by the nearest one in it, where Gradio reports an error.

    While somebody types 128, the field holds 1, then 12. An empty field counts as the lowest number, which is shown.
    """
    component = gr.Slider(low, high, **arguments)
    checked = component.preprocess
    component.preprocess = lambda number: checked(low if number is None else min(max(number, low), high))
    return component


def moved(component: gr.Slider) -> list[Callable]:
    """The events of a slider that is moved, by pointer or keys, typed into, or reset."""
    return [component.input, component.release]
