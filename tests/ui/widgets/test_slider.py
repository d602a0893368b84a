"""Numbers that are typed into the field of a slider."""

import pytest

from ui.widgets.slider import slider


@pytest.mark.parametrize(("typed", "taken"), [(1, 2), (None, 2), (128, 128), (9999, 384)])
def test_a_number_out_of_range_becomes_the_nearest_one(typed, taken):
    assert slider(2, 384, value=16, step=1).preprocess(typed) == taken
