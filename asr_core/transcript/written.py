"""Attaches its written form to a transcript: sentences with capitals, punctuation and figures, in paragraphs.

The spoken words, their times and their confidence stay what they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from asr_core.text.punctuation import ends_sentence
from asr_core.text.replacements import Replacements
from asr_core.text.written_form import written_form
from asr_core.transcript.words import Transcript, Word, WrittenToken

MIN_RECORDING_SECONDS = 60.0  # a shorter one is a single paragraph
PARAGRAPH_PAUSE_SECONDS = 0.8  # shortest pause between paragraphs of ordinary length
MAX_PAUSE_SECONDS = 2.5  # a longer pause between sentences separates paragraphs of anybody
LONG_PAUSE = 1.5  # times the median pause between sentences: the pause between paragraphs of slow speakers
MIN_PARAGRAPH_WORDS = 25
MAX_PARAGRAPH_WORDS = 180  # longer ones end at the next sentence whose pause is not shorter than the median


def with_written_form(transcript: Transcript, tagger=None, replacements: Replacements | None = None) -> Transcript:
    """The transcript with its written form; without tagger and without a replaced word, it is returned as it is.

    Args:
        transcript: of spoken words.
        tagger: of the transcript's language (see `asr_core.text.tagger.Tagger`), or None.
        replacements: how names and terms are written.
    """
    words = transcript.words
    if not words or (tagger is None and not replacements):
        return transcript
    spoken = [word.text for word in words]
    if tagger is None:
        spans = written_form(spoken, replacements=replacements)
        if [span.text for span in spans] == spoken:
            return transcript
    else:
        spans = written_form(spoken, tagger(words), tagger.write, replacements)
    tokens = tuple(WrittenToken(span.text, span.first, span.end) for span in spans)
    return in_paragraphs(replace(transcript, written=tokens))


def in_paragraphs(transcript: Transcript) -> Transcript:
    """The transcript with the paragraphs of its written form; a recording below MIN_RECORDING_SECONDS has one."""
    if not transcript.written or transcript.seconds < MIN_RECORDING_SECONDS:
        return transcript
    starts = paragraph_starts(transcript.written, transcript.words)
    tokens = (replace(token, paragraph=index in starts) for index, token in enumerate(transcript.written))
    return replace(transcript, written=tuple(tokens))


def paragraph_starts(tokens: Sequence[WrittenToken], words: Sequence[Word]) -> set[int]:
    """The indices of the tokens that begin a paragraph, except the first: after long pauses between sentences."""
    ends = [
        (index, words[token.first].start - words[token.first - 1].end)
        for index, token in enumerate(tokens)
        if index and ends_sentence(tokens[index - 1].text, token.text)
    ]
    if not ends:
        return set()
    usual = median(pause for _, pause in ends)
    long_pause = min(max(PARAGRAPH_PAUSE_SECONDS, LONG_PAUSE * usual), MAX_PAUSE_SECONDS)
    starts: set[int] = set()
    begin = 0  # first word of the paragraph
    for index, pause in ends:
        length = tokens[index].first - begin
        enough = length >= MIN_PARAGRAPH_WORDS and len(words) - tokens[index].first >= MIN_PARAGRAPH_WORDS
        if enough and (pause >= long_pause or (length >= MAX_PARAGRAPH_WORDS and pause >= usual)):
            starts.add(index)
            begin = tokens[index].first
    return starts
