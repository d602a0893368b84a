"""No text of a visitor or a recogniser becomes markup."""

from types import SimpleNamespace

from asr_core.transcript.words import Transcript, Word
from ui.service.scoring import compare
from ui.tabs.align import alignment_card
from ui.tabs.batch import Row, batch_table
from ui.tabs.compare import comparison_card
from ui.widgets.decoding import hypotheses_table
from ui.widgets.markup import Html, clock, notice, seconds_or_clock, table, tag
from ui.widgets.words import clip_line, facts, transcript_card

EVIL = "<img/src=x/onerror=alert(1)>\"'&"


def test_tag_escapes_text_and_attributes_but_not_markup():
    assert tag("b", EVIL) == "<b>&lt;img/src=x/onerror=alert(1)&gt;\"'&amp;</b>"
    assert 'title="&lt;img' in tag("b", title=EVIL) and "&quot;&#x27;&amp;" in tag("b", title=EVIL)
    assert tag("p", tag("b", "x"), ["y", None, 3]) == "<p><b>x</b>y3</p>"
    assert tag("input", disabled=True, hidden=False, data_at="1,2") == '<input disabled data-at="1,2"></input>'


def test_everything_shown_of_a_hostile_clip_is_escaped():
    words = (Word(EVIL.replace(" ", ""), 0.0, 0.5, 0.3),)
    transcript = Transcript(words, 1.0, EVIL)
    parts = dict.fromkeys(("acoustic_score", "language_model_score", "hot_word_score", "phone_score"), 0.0)
    hypothesis = SimpleNamespace(text=EVIL, score=0.0, **parts)
    clip = SimpleNamespace(
        name=EVIL, transcript=transcript, seconds=1.0, compute_seconds=0.1, real_time_factor=0.1, edited=True,
        trained=False, form="written", language=EVIL, shown_words=words, shown_text=EVIL,
        token="t", audio=SimpleNamespace(path=EVIL), hypotheses=(hypothesis,),
    )  # fmt: skip
    both = {reading: compare(EVIL + " a", words, reading == "normalised") for reading in ("normalised", "raw")}
    shown = [
        transcript_card(clip), facts(clip), clip_line(clip), hypotheses_table(clip, 2),
        alignment_card(clip, transcript), comparison_card(clip, both, "raw"), notice(EVIL, EVIL),
        table([EVIL], [[EVIL]], caption=EVIL),
        batch_table([Row("/x", EVIL, error=EVIL), Row("/y", EVIL, transcript=transcript)]),
    ]  # fmt: skip
    for html in shown:
        assert isinstance(html, Html)
        assert "<img" not in html


def test_clock_carries_into_minutes_and_hours():
    assert [clock(0), clock(59.96), clock(61.5), clock(3725.25, 2)] == [
        "0:00.0",
        "1:00.0",
        "1:01.5",
        "1:02:05.25",
    ]
    assert clock(75, 0) == "1:15"


def test_times_are_in_seconds_below_a_minute():
    assert [seconds_or_clock(s) for s in (4.42, 59.97, 723.5)] == ["4.4 s", "1:00.0", "12:03.5"]
