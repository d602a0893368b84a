"""The How it works tab shows the numbers of the open recording."""

import re

import numpy as np

from ui.tabs.how_it_works import guided_walk


def test_the_walk_shows_the_numbers_of_the_step_it_is_at(clip):
    step = int(np.exp(clip.emissions.log_probs[:, 1:]).max(axis=1).argmax())
    shown = guided_walk(clip, step)
    token = clip.tokens[int(clip.emissions.log_probs[step].argmax())]
    assert f"“{token}”" in shown and "640 samples" in shown
    hertz = float(re.search(r"<b>(\d+) Hz</b>", shown)[1])
    assert abs(hertz - 440) < 40  # the recording is a tone
    assert "step 99" in guided_walk(clip, 10**6) and "step 0" in guided_walk(clip, -5)
