"""The written form beside the spoken words, with a tagger that knows the right tags."""

import json
import random
from collections import namedtuple

import pytest

from asr_core.errors import GivenTextError
from asr_core.text.punctuation import ends_sentence
from asr_core.text.replacements import MAX_REPLACEMENTS, Replacements, parse_replacements, read_replacements
from asr_core.text.written_form import written_form
from asr_core.transcript.words import Transcript, Word, WrittenToken
from asr_core.transcript.writers import WRITERS, JsonWriter, SrtWriter, TextWriter
from asr_core.transcript.written import with_written_form
from asr_core.transcript.written_stream import MAX_PENDING_WORDS, WrittenStream

Tag = namedtuple("Tag", "punctuation capital")


class KnowingTagger:
    """Tags the words of a text that is given with its capitals and punctuation, each word as spoken."""

    def __init__(self, text):
        self.tags = []
        for word in text.split():
            bare = word.rstrip(",.?")
            capital = "upper" if len(bare) > 1 and bare.isupper() else "first" if bare[0].isupper() else "lower"
            self.tags.append(Tag(word[len(bare) :], capital))

    def __call__(self, words):
        assert len(words) == len(self.tags) and all(word.text == word.text.lower() for word in words)
        return self.tags

    def write(self, text, tag):
        return {"lower": text, "first": text[:1].upper() + text[1:], "upper": text.upper()}[tag.capital]


def spoken(text, pauses=(), seconds_a_word=0.3):
    """The words of a tagged text as they are spoken; pauses: {index: seconds of silence before that word}."""
    words, now = [], 0.0
    for index, word in enumerate(text.split()):
        now += dict(pauses).get(index, 0)
        words.append(
            Word(word.rstrip(",.?").lower(), round(now, 3), round(now + seconds_a_word, 3), 0.5 + index % 5 / 10)
        )
        now += seconds_a_word
    return Transcript(words, now, "small", ("a note",))


def transcribed(text, replacements="", **how):
    return with_written_form(spoken(text, **how), KnowingTagger(text), parse_replacements(replacements))


@pytest.mark.parametrize("tagged, expected", [
    ("for although the Chinese took it, did they?", "For although the Chinese took it, did they?"),
    ("it was nineteen eighty four. twenty five men came, in may.",
     "It was 1984. Twenty-five men came, in may."),
    ("we met, on May fifth nineteen eighty four.", "We met, on May 5th, 1984."),
    ("ten to twenty came.", "10 to 20 came."),
    ("at seventy, one feels young.", "At 70, one feels young."),
    ("he paid two point five million dollars.", "He paid $2.5 million."),
    ("come at seven thirty p m, or at nine p m.", "Come at 7:30 p.m., or at 9 p.m."),
    ("i know i'm late, and i'll hurry.", "I know I'm late, and I'll hurry."),
    ("ask mister Smith, missus Jones and doctor Brown.", "Ask Mr. Smith, Mrs. Jones and Dr. Brown."),
    ("ask missus. Jones. listen, mister. i know.", "Ask Mrs. Jones. Listen, mister. I know."),
    ("the doctor came. mister, wait.", "The doctor came. Mister, wait."),
    ("John f Kennedy and h g Wells", "John F. Kennedy and H. G. Wells"),
    ("the u s President", "The US President"),
    ("NATO and the u s a.", "NATO and the USA."),
    ("we saw the Twelfth Night, on the Fourth of July.", "We saw the Twelfth Night, on the Fourth of July."),
    ("Twelve came, on the twelfth.", "Twelve came, on the 12th."),
    ("o'clock", "O'clock"),
    ("my zip code is nine oh, two one, oh.", "My zip code is 90210."),
    ("call seven one eight five, five five oh one, nine nine.", "Call 718-555-0199."),
    ("count one, two, three, four, five.", "Count one, two, three, four, five."),
])  # fmt: skip
def test_words_with_their_tags_become_sentences(tagged, expected):
    assert transcribed(tagged).written_text == expected


def test_every_spoken_word_has_a_written_one_and_times_span_those_that_share_it():
    transcript = transcribed("he paid twenty five dollars.")
    assert [(token.text, token.first, token.end) for token in transcript.written] == [
        ("He", 0, 1), ("paid", 1, 2), ("$25.", 2, 5)
    ]  # fmt: skip
    amount = transcript.written_words[2]
    assert (amount.start, amount.end) == (transcript.words[2].start, transcript.words[4].end)
    assert amount.confidence == min(word.confidence for word in transcript.words[2:])


def test_the_spoken_words_and_everything_about_them_stay():
    before = spoken("he paid twenty five dollars.")
    after = transcribed("he paid twenty five dollars.")
    for name in ("words", "text", "seconds", "model", "notes", "confidence"):
        assert getattr(after, name) == getattr(before, name)


def test_without_a_tagger_everything_stays_as_spoken():
    transcript = spoken("it was nineteen eighty four")
    assert with_written_form(transcript) is transcript
    assert with_written_form(transcript, replacements=Replacements()) is transcript
    assert (transcript.written, transcript.written_words) == ((), transcript.words)
    assert transcript.written_text == transcript.text


def test_nothing_recognised_has_no_written_form():
    empty = Transcript((), 2.0)
    assert with_written_form(empty, KnowingTagger(""), parse_replacements("a -> b")) is empty


def test_tags_must_be_as_many_as_words():
    with pytest.raises(ValueError, match="2 words cannot have 1 tags"):
        written_form(["a", "b"], [Tag("", "lower")], None)


@pytest.mark.parametrize("written, message", [
    ([("A", 0, 1)], "has 1 of 2 words"),
    ([("A", 0, 1), ("B", 0, 2)], "'B' is written for word 0, and word 1 comes next"),
    ([("B", 1, 2)], "'B' is written for word 1, and word 0 comes next"),
    ([("A", 0, 1), ("B", 1, 3)], "has 3 of 2 words"),
])  # fmt: skip
def test_a_written_form_that_cannot_be_is_refused(written, message):
    with pytest.raises(ValueError, match=message):
        Transcript(spoken("a b").words, 1, written=[WrittenToken(*token) for token in written])


@pytest.mark.parametrize("fields", [("two words", 0, 1), ("", 0, 1), ("a", 1, 1), ("a", -1, 1)])
def test_a_written_word_that_cannot_be_is_refused(fields):
    with pytest.raises(ValueError, match="written"):
        WrittenToken(*fields)


def test_any_words_with_any_tags_are_all_written():
    rng = random.Random(4)
    words = "i mister one twenty five dollars o k u s a the may fifth p m seven acme big minus doctor's".split()
    replacements = parse_replacements("acme -> ACME Inc. of Ohio\nthe may -> June\nu s a -> America\none -> 1")
    for _ in range(3000):
        chosen = rng.choices(words, k=rng.randint(1, 10))
        transcript = spoken(" ".join(chosen))
        tagger = KnowingTagger("")
        tagger.tags = [
            Tag(rng.choice(["", "", ",", ".", "?"]), rng.choice(["lower", "first", "upper"])) for _ in chosen
        ]
        transcript = with_written_form(transcript, tagger, replacements)  # Transcript checks that nothing is left out
        assert len(transcript.written_words) == len(transcript.written) > 0


class TestReplacements:
    PAIRS = """
        # names
        acme -> ACME
        acme corp -> ACME Corporation Ltd.
        jay son → JSON
        new york city -> NYC
        C plus plus, -> C++
    """

    @pytest.mark.parametrize("tagged, expected", [
        ("we like acme.", "We like ACME."),
        ("acme corp makes it.", "ACME Corporation Ltd. makes it."),
        ("it is acme's, or acme corp's.", "It is ACME's, or ACME Corporation Ltd.'s."),
        ("read the jay Son, please.", "Read the JSON, please."),
        ("c plus plus in new York City?", "C++ in NYC?"),
        ("acmes and jay", "Acmes and jay"),
    ])  # fmt: skip
    def test_are_applied_to_the_written_form_the_longest_first(self, tagged, expected):
        assert transcribed(tagged, self.PAIRS).written_text == expected

    def test_work_without_a_tagger_and_change_nothing_else(self):
        transcript = spoken("it was nineteen eighty four at ACME corp in new york city")
        transcript = with_written_form(transcript, replacements=parse_replacements(self.PAIRS))
        assert transcript.written_text == "it was nineteen eighty four at ACME Corporation Ltd. in NYC"
        assert transcript.text == "it was nineteen eighty four at acme corp in new york city"

    @pytest.mark.parametrize("pair, words, expected", [
        ("wi-fi -> Wi-Fi", "the wi fi here", "the Wi-Fi here"),
        ("arc-en-ciel -> Arc", "un arc-en-ciel", "un Arc"),
        ("北京大学 -> 清华", "我 在 北 京 大 学", "我 在 清华"),
        ("me -> ME", "m e and me", "m e and ME"),
    ])  # fmt: skip
    def test_are_found_however_the_model_divides_the_words(self, pair, words, expected):
        assert with_written_form(spoken(words), replacements=parse_replacements(pair)).written_text == expected

    def test_that_find_nothing_make_no_written_form(self):
        transcript = spoken("it was nineteen eighty four")
        assert with_written_form(transcript, replacements=parse_replacements(self.PAIRS)) is transcript

    def test_several_written_words_share_the_spoken_ones(self):
        transcript = with_written_form(spoken("ask acme now"), None, parse_replacements("acme -> ACME Inc of Ohio"))
        spans = [(token.text, token.first, token.end) for token in transcript.written]
        assert spans == [("ask", 0, 1), *((text, 1, 2) for text in "ACME Inc of Ohio".split()), ("now", 2, 3)]
        transcript = with_written_form(spoken("a b c d"), None, parse_replacements("a b c -> X Y"))
        spans = [(token.text, token.first, token.end) for token in transcript.written]
        assert spans == [("X", 0, 1), ("Y", 1, 3), ("d", 3, 4)]

    def test_no_number_goes_across_one(self):
        assert transcribed("twenty five hundred", "five -> Five").written_text == "Twenty Five hundred"

    @pytest.mark.parametrize("text, message", [
        ("acme\nb -> c", "Line 1 of the replacements has no arrow: write spoken -> written, not acme"),
        ("# x\n\na -> b\n-> c", "Line 4 of the replacements has nothing before its arrow: -> c"),
        ("a ->  ", "Line 1 of the replacements has nothing after its arrow: a ->"),
        ("a -> b\nA -> c", "Line 2 of the replacements writes a otherwise than line 1: drop one of them."),
        ("a" * 101 + " -> b", "Line 1 of the replacements has a side of more than 100 characters."),
        ("\n".join(f"a{n} -> b" for n in range(1001)), f"There are 1001 replacements and at most {MAX_REPLACEMENTS}"),
    ])  # fmt: skip
    def test_a_wrong_line_is_named(self, text, message):
        with pytest.raises(GivenTextError) as error:
            parse_replacements(text)
        assert str(error.value).startswith(message)

    def test_the_same_pair_twice_is_one(self):
        assert parse_replacements("a -> b\nA => b").pairs == ((("a",), ("b",)),)

    def test_are_read_from_a_file(self, tmp_path):
        path = tmp_path / "names.txt"
        path.write_text(self.PAIRS, encoding="utf-8")
        assert len(read_replacements(path).pairs) == 5
        path.write_text("# nothing\n")
        with pytest.raises(
            GivenTextError, match="names.txt holds no replacements: write spoken -> written on each line."
        ):
            read_replacements(path)


class TestParagraphs:
    SENTENCE = "this is one sentence of the talk, and it goes on for a while."
    WORDS = len(SENTENCE.split())

    def starts(self, pauses, sentences=12, seconds_a_word=0.4):
        """The sentences that begin a paragraph; pauses: {index of a sentence: seconds of silence before it}."""
        text = " ".join([self.SENTENCE] * sentences)
        pauses = {round(self.WORDS * sentence): seconds for sentence, seconds in pauses.items()}
        transcript = transcribed(text, pauses=pauses, seconds_a_word=seconds_a_word)
        return [token.first / self.WORDS for token in transcript.written if token.paragraph]

    def test_begin_after_long_pauses_between_sentences(self):
        assert self.starts({4: 1.5, 9: 2.0}) == [4, 9]

    def test_never_begin_inside_a_sentence(self):
        assert self.starts({4.5: 3.0, 8.2: 3.0}) == []

    def test_are_not_short(self):
        assert self.starts({1: 1.5, 4: 1.5, 5: 1.5, 11: 1.5}) == [4]

    def test_of_slow_speakers_need_longer_pauses(self):
        assert self.starts({sentence: 1.0 for sentence in range(12)} | {8: 2.0}) == [8]

    def test_are_not_endless(self):
        assert self.starts({}, sentences=40) == [13, 26]

    def test_are_for_recordings_of_a_minute_or_more(self):
        assert self.starts({4: 1.5}, seconds_a_word=0.3) == []

    def test_are_separated_by_an_empty_line_in_text(self):
        text = " ".join([self.SENTENCE] * 12)
        content = TextWriter().write(transcribed(text, pauses={4 * self.WORDS: 1.5}, seconds_a_word=0.4))
        first, second = content.split("\n\n")
        assert first.endswith("a while.") and second.startswith("This is") and second.endswith("a while.\n")
        assert " ".join(content.split()) == transcribed(text).written_text


class TestSentenceEnds:
    @pytest.mark.parametrize("text, following, ends", [
        ("home.", "He", True), ("home", "He", False), ("home?", "", True), ("home,", "he", False),
        ("Mr.", "Smith", False), ("F.", "Kennedy", False), ("p.m.", "on", False), ("p.m.", "He", True),
        ("p.m.", "", True), ('home."', "He", True), ("I.", "He", True),
    ])  # fmt: skip
    def test_are_distinguished_from_abbreviations(self, text, following, ends):
        assert ends_sentence(text, following) == ends


class TestWriters:
    TEXT = "he paid twenty five dollars. did he?"

    @pytest.mark.parametrize("extension", WRITERS)
    def test_write_as_spoken_what_they_write_without_a_written_form(self, extension):
        writer = WRITERS[extension]()
        assert writer.write(transcribed(self.TEXT), text="spoken") == writer.write(spoken(self.TEXT))
        assert writer.write(spoken(self.TEXT), text="spoken") == writer.write(spoken(self.TEXT))

    def test_text_is_as_written_by_default(self):
        assert TextWriter().write(transcribed(self.TEXT)) == "He paid $25. Did he?\n"
        assert TextWriter().write(transcribed(self.TEXT), text="spoken") == "he paid twenty five dollars did he\n"

    def test_subtitles_are_as_written_with_the_times_of_what_was_spoken(self):
        assert SrtWriter().write(transcribed(self.TEXT)) == "1\n00:00:00,000 --> 00:00:02,100\nHe paid $25. Did he?\n"

    def test_json_holds_both(self):
        content = json.loads(JsonWriter().write(transcribed(self.TEXT)))
        assert content.pop("written") == {
            "text": "He paid $25. Did he?",
            "tokens": [
                {
                    "token": text,
                    "start": start,
                    "end": end,
                    "confidence": confidence,
                    "words": words,
                    "paragraph": False,
                }
                for text, start, end, confidence, words in [
                    ("He", 0.0, 0.3, 0.5, [0, 1]),
                    ("paid", 0.3, 0.6, 0.6, [1, 2]),
                    ("$25.", 0.6, 1.5, 0.7, [2, 5]),
                    ("Did", 1.5, 1.8, 0.5, [5, 6]),
                    ("he?", 1.8, 2.1, 0.6, [6, 7]),
                ]
            ],
        }
        assert content == json.loads(JsonWriter().write(spoken(self.TEXT)))


class TestSubtitles:
    def shown(self, tagged, **limits):
        transcript = transcribed(tagged)
        blocks = SrtWriter().write(transcript, **limits).strip().split("\n\n")
        return [block.split("\n")[2:] for block in blocks]

    def test_end_at_sentence_ends_and_commas(self):
        tagged = (
            "and it is worth mention in passing that, as an example of fine typography, the earliest book printed with "
            "movable types, the Gutenberg Bible of about fourteen fifty five, has never been surpassed. we met mister "
            "Smith there at seven thirty p m on Friday, and he showed us the book. it is kept in a glass case."
        )
        assert [lines[-1].split()[-1] for lines in self.shown(tagged)] == [
            "typography,", "types,", "surpassed.", "book.", "case."
        ]  # fmt: skip

    def test_lines_end_at_commas_rather_than_in_the_middle(self):
        assert self.shown("he came in from the cold rain, and sat by the fire.") == [
            ["He came in from the cold rain,", "and sat by the fire."]
        ]

    def test_articles_titles_and_figures_stay_with_what_follows(self):
        tagged = (
            "yesterday evening we finally walked the twenty five miles over the hills to the house of mister Smith "
            "who had been waiting for a letter from the bank about the two hundred thousand apples that he sold"
        )
        for characters in range(28, 43):
            for lines in self.shown(tagged + ".", max_characters=characters):
                assert not {line.split()[-1] for line in lines} & {"the", "a", "Mr.", "25", "200,000"}, characters


class LaggingTagger(KnowingTagger):
    """A tagger whose stream needs three more words before a tag is final."""

    def stream(self):
        self.added = self.tagged = 0
        return self

    def add(self, words):
        self.added += len(words)
        return self._until(max(self.tagged, self.added - 3))

    def preview(self, words):
        return self.tags[self.tagged : self.added + len(words)]

    def finish(self):
        return self._until(self.added)

    def _until(self, end):
        tags, self.tagged = self.tags[self.tagged : end], max(self.tagged, end)
        return tags


class TestStream:
    TEXT = (
        "mister Smith paid two point five million dollars for it, on May fifth nineteen eighty four. twenty five men, "
        "or twenty six, came at seven thirty p m. acme corp did it? i know, acme did. ask missus. Jones. no mark here "
        "but the number nine one one and the u s a"
    )

    def streamed(self, text, chunk):
        """The tokens that became final at once, and after each chunk the text with its preview."""
        words = spoken(text).words
        stream = WrittenStream(LaggingTagger(text))
        final, texts = [], []
        for start in range(0, len(words), chunk):
            final += stream.add(words[start : start + chunk])
            ahead = words[start + chunk : start + chunk + 2]
            previewed = stream.preview(ahead)
            assert (previewed[-1].end if previewed else final[-1].end) == min(start + chunk + 2, len(words))
            texts.append(" ".join(token.text for token in (*final, *previewed)))
        return (*final, *stream.finish()), texts

    @pytest.mark.parametrize("chunk", [1, 2, 5, 100])
    def test_chunked_is_whole(self, chunk):
        tokens, _ = self.streamed(self.TEXT, chunk)
        assert tokens == transcribed(self.TEXT).written

    def test_any_words_are_written_as_the_whole(self):
        rng = random.Random(9)
        words = "i mister missus twenty five dollars o u s a the may fifth p m seven minus january f at smith".split()
        for _ in range(2000):
            chosen = rng.choices(words, k=rng.randint(1, 14))
            tagger = LaggingTagger("")
            tagger.tags = [Tag(rng.choice(["", "", ",", ".", "?"]), rng.choice(["lower", "first"])) for _ in chosen]
            transcript = spoken(" ".join(chosen))
            stream, final, at = WrittenStream(tagger), (), 0
            while at < len(chosen):
                size = rng.randint(1, 4)
                final += stream.add(transcript.words[at : at + size])
                at += size
            assert final + stream.finish() == with_written_form(transcript, tagger).written

    def test_a_preview_has_numbers_before_they_are_final(self):
        _, texts = self.streamed(self.TEXT, 1)
        assert texts[1] == "Mr. Smith paid two" and "Mr. Smith paid $2.5 million" in texts
        assert texts[-1].endswith("the number 911 and the USA")

    def test_a_number_without_an_end_waits(self):
        text = " ".join(["five"] * 3 * MAX_PENDING_WORDS)
        stream = WrittenStream(LaggingTagger(text))
        final = [token for word in spoken(text).words for token in stream.add([word])]
        assert not final and list(stream.finish()) == list(transcribed(text).written)

    def test_the_words_that_wait_are_bounded(self):
        text = " ".join(["and so it went twenty five times"] * 100)
        stream = WrittenStream(LaggingTagger(text))
        final = []
        for word in spoken(text).words:
            final += stream.add([word])
            assert len(stream.preview()) <= MAX_PENDING_WORDS + 3
        assert [*final, *stream.finish()] == list(transcribed(text).written)
