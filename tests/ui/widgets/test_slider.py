"""Numbers that are typed into the field of a slider."""

import gradio as gr
import pytest

from ui.widgets.slider import Slider


@pytest.mark.parametrize(("typed", "taken"), [(1, 2), (None, 2), (128, 128), (9999, 384)])
def test_a_number_out_of_range_becomes_the_nearest_one(typed, taken):
    slider = Slider(2, 384, value=16, step=1)
    assert slider.preprocess(typed) == taken
    assert slider.get_block_name() == gr.Slider(0, 1).get_block_name()  # the page draws the same component
