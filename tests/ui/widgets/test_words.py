"""The transcript on the page: paragraphs, and buttons that play them."""

import re

from asr_core.transcript.words import Transcript, Word
from ui.widgets.words import paragraphs, transcript_card


def test_paragraphs_end_at_long_pauses():
    words = [Word("a", 0, 0.5, 1), Word("b", 0.6, 1, 1), Word("c", 3, 3.5, 1)]
    assert [[word.text for word in part] for part in paragraphs(words)] == [["a", "b"], ["c"]]
    assert list(paragraphs([])) == []


def test_a_paragraph_has_a_button_that_plays_it_where_there_are_several(clip):
    assert 'class="stamp"' not in transcript_card(clip)
    words = (Word("a", 0.2, 0.5, 1), Word("b", 0.6, 1, 1), Word("c", 3, 3.5, 1))
    card = transcript_card(clip.with_transcript(Transcript(words, 4.0, "fake")))
    assert re.findall(r'<button type="button" class="stamp" data-at="([^"]+)"', card) == ["0.20,1.00", "3.00,3.50"]
