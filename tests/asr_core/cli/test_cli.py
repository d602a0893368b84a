"""The command line with a recogniser that needs no model: what is printed, written, and returned."""

import io
import json
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import srt
import webvtt

from asr_core.__main__ import main
from asr_core.audio.formats import AUDIO_SUFFIXES, READABLE
from asr_core.audio.loading import load_audio
from asr_core.cli.arguments import make_parser
from asr_core.decoding.options import DecoderOptions
from asr_core.errors import AlignmentError, BundleError
from asr_core.inference.backend import quiet_libraries
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.written import with_written_form

Tag = namedtuple("Tag", "punctuation capital")


class FakeRecognizer:
    """Reads real recordings; the transcript of each is its length in tenths of a second."""

    def __init__(self, trained=True):
        self.bundle = SimpleNamespace(trained=trained, decoder_options=lambda: DecoderOptions(beam_width=7))
        self.heard = []
        self.options = []
        self.hot_words = []
        self.language_model, self.vocabulary, self.tagger = None, Vocabulary(), None

    def load(self, source, track=None):
        return load_audio(source, 16_000, track=track)

    def emissions(self, audio, progress):
        progress(0.5)
        return "emissions"

    def align(self, emissions, seconds, text):
        if not text.split():
            raise AlignmentError("There is nothing to align: the text holds no letter.")
        return Transcript([Word(word, 0, 0.1, 0.9) for word in text.split()], seconds, "fake")

    def transcribe(self, source, options=None, progress=None, hot_words=None, track=None):
        audio = load_audio(source, 16_000, track=track)
        self.heard.append(source)
        self.options.append(options)
        self.hot_words.append(hot_words)
        progress(0.5)
        tenths = f"{audio.seconds * 10:.0f}"
        words = [Word("tenths", 0, 0.1, 0.9), Word(tenths, 0.1, 0.1, 0.8)]
        return Transcript(words, audio.seconds, "fake", audio.notes)


def sound(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 8000)), 8000, format="WAV")
    return str(path)


@pytest.fixture
def run(capsys):
    """Runs the command line; gives (exit code, standard output, standard error)."""

    def run(*arguments, recognizer=None):
        recognizer = recognizer or FakeRecognizer()
        try:
            code = main([str(argument) for argument in arguments], lambda model: recognizer)
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return run


def written(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


class TestStandardOutput:
    def test_one_recording_is_its_words(self, run, tmp_path):
        assert run(sound(tmp_path / "a.wav", 0.5)) == (0, "tenths 5\n", "")

    def test_several_recordings_are_named(self, run, tmp_path):
        a, b = sound(tmp_path / "a.wav", 0.5), sound(tmp_path / "b.wav", 0.7)
        assert run(b, a) == (0, f"{b}: tenths 7\n{a}: tenths 5\n", "")

    def test_json_is_one_object_a_line(self, run, tmp_path):
        files = [sound(tmp_path / name, 0.5) for name in ("a.wav", "b.wav")]
        code, out, err = run(*files, "--format", "json")
        assert (code, err) == (0, "")
        objects = [json.loads(line) for line in out.splitlines()]
        assert [entry["file"] for entry in objects] == files
        assert objects[0] == {
            "file": files[0],
            "text": "tenths 5",
            "seconds": 0.5,
            "confidence": round((6 * 0.9 + 0.8) / 7, 4),
            "words": [
                {"word": "tenths", "start": 0.0, "end": 0.1, "confidence": 0.9},
                {"word": "5", "start": 0.1, "end": 0.1, "confidence": 0.8},
            ],
            "model": "fake",
            "notes": [],
        }
        assert objects[1]["text"] == "tenths 5"

    def test_json_holds_a_name_that_is_not_utf_8_as_unicode(self, run, tmp_path):
        file = os.fsdecode(bytes(tmp_path) + b"/bad\xff.wav")
        os.rename(sound(tmp_path / "a.wav", 0.5), file)
        code, out, err = run(file, "--format", "json")
        assert (code, err, json.loads(out)["file"]) == (0, "", f"{tmp_path}/bad\\xff.wav")
        assert json.loads(out)["file"].encode("utf-8")  # no lone surrogate, which strict parsers refuse
        other = sound(tmp_path / "\u00e9.wav", 0.5)
        assert json.loads(run(other, "--format", "json")[1])["file"] == other

    def test_where_no_speech_was_found_a_line_says_so(self, run, tmp_path):
        class Silent(FakeRecognizer):
            def transcribe(self, source, **arguments):
                return Transcript([], 1.0, notes=["It is damaged\nfrom 3 s on."])

        file = sound(tmp_path / "a.wav", 0.5)
        assert run(file, recognizer=Silent()) == (
            0,
            "\n",
            f"{file}: It is damaged?from 3 s on.\n{file}: no speech was found\n",
        )
        assert run(file, "--out", tmp_path / "out", "--format", "srt", recognizer=Silent())[0] == 0
        assert (tmp_path / "out" / "a.srt").read_text() == ""

    def test_subtitles_are_accepted_by_somebody_elses_parser(self, run, tmp_path):
        file = sound(tmp_path / "a.wav", 0.5)
        assert [item.content for item in srt.parse(run(file, "--format", "srt")[1])] == ["tenths 5"]
        assert [item.text for item in webvtt.from_string(run(file, "--format", "vtt")[1])] == ["tenths 5"]

    def test_standard_input(self, run, tmp_path, monkeypatch):
        content = Path(sound(tmp_path / "a.wav", 0.5)).read_bytes()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        code, out, err = run("-", "--format", "json")
        assert (code, json.loads(out)["file"], json.loads(out)["text"], err) == (0, "-", "tenths 5", "")

    def test_nothing_but_the_answer_is_printed_when_no_terminal_is_there(self, run, tmp_path):
        assert run(sound(tmp_path / "a.wav", 0.5))[2] == ""

    def test_a_terminal_sees_progress(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        code, out, err = run(sound(tmp_path / "a.wav", 0.5), sound(tmp_path / "b.wav", 0.5))
        assert "a.wav" in err and "1.5/2" in err
        assert out.count("tenths 5") == 2


class TestOut:
    def test_writes_a_file_for_each_recording(self, run, tmp_path):
        files = [sound(tmp_path / "in" / name, 0.5) for name in ("a.wav", "b.wav")]
        assert run(*files, "--out", tmp_path / "out" / "deep", "--format", "srt") == (0, "", "")
        content = "1\n00:00:00,000 --> 00:00:00,500\ntenths 5\n"
        assert written(tmp_path / "out") == {"deep/a.srt": content, "deep/b.srt": content}

    def test_a_folder_keeps_its_tree(self, run, tmp_path):
        for number, name in enumerate(("b.WAV", "sub/a.wav", "sub/deeper/c.wav"), start=3):
            sound(tmp_path / "in" / name, number / 10)
        sound(tmp_path / "in" / ".hidden.wav", 1)
        sound(tmp_path / "in" / ".git" / "x.wav", 1)
        (tmp_path / "in" / "notes.txt").write_text("not a recording")
        code, _, err = run(tmp_path / "in", "--out", tmp_path / "out")
        assert (code, err) == (0, f"{tmp_path}/in: left out: 1 .txt\n")
        assert written(tmp_path / "out") == {
            "b.txt": "tenths 3\n",
            "sub/a.txt": "tenths 4\n",
            "sub/deeper/c.txt": "tenths 5\n",
        }

    def test_folders_are_mirrored_below_their_common_parent(self, run, tmp_path):
        names = ["1/talk.wav", "1/talk.mp3", "2/talk.wav", "3/TALK.wav", "4/talk.wav-2.wav", "5/other.wav"]
        files = [sound(tmp_path / name, (3 + number) / 10) for number, name in enumerate(names)]
        run(*files, "--out", tmp_path / "out")
        assert written(tmp_path / "out") == {
            "1/talk.wav.txt": "tenths 3\n",
            "1/talk.mp3.txt": "tenths 4\n",
            "2/talk.txt": "tenths 5\n",
            "3/TALK.txt": "tenths 6\n",
            "4/talk.wav-2.txt": "tenths 7\n",
            "5/other.txt": "tenths 8\n",
        }

    def test_two_folders_are_mirrored_side_by_side(self, run, tmp_path, monkeypatch):
        sound(tmp_path / "in" / "a" / "talk.wav", 0.3)
        sound(tmp_path / "in" / "b" / "deep" / "talk.wav", 0.4)
        monkeypatch.chdir(tmp_path / "in")
        assert run("a/", "./b", "--out", "../out") == (0, "", "")
        assert written(tmp_path / "out") == {"a/talk.txt": "tenths 3\n", "b/deep/talk.txt": "tenths 4\n"}

    def test_names_that_differ_in_case_alone_get_a_number(self, run, tmp_path):
        files = [sound(tmp_path / "in" / name, 0.3) for name in ("talk.wav", "TALK.wav")]
        assert run(*files, "--out", tmp_path / "out")[0] == 0
        assert len({name.casefold() for name in written(tmp_path / "out")}) == 2

    def test_what_exists_is_refused_before_the_work_replaced_or_kept(self, run, tmp_path):
        a, b = (sound(tmp_path / "in" / name, 0.3) for name in ("a.wav", "b.wav"))
        out = tmp_path / "out"
        out.mkdir()
        (out / "a.txt").write_text("corrected by hand\n")
        recognizer = FakeRecognizer()
        code, _, err = run(a, b, "--out", out, recognizer=recognizer)
        advice = "exists already: add --overwrite to replace it or --skip-existing to keep it"
        assert (code, err, recognizer.heard) == (1, f"{a}: {out}/a.txt {advice}\n", [b])
        assert written(out) == {"a.txt": "corrected by hand\n", "b.txt": "tenths 3\n"}

        recognizer = FakeRecognizer()
        code, _, err = run(a, b, "--out", out, "--skip-existing", "--format", "txt,srt", recognizer=recognizer)
        assert (code, err, recognizer.heard) == (0, "", [a, b])
        assert set(written(out)) == {"a.txt", "a.srt", "b.txt", "b.srt"}
        assert (out / "a.txt").read_text() == "corrected by hand\n"
        code, _, err = run(a, b, "--out", out, "--skip-existing", recognizer=None)
        assert (code, err) == (0, "2 of the recordings left out: their files exist already\n")

        assert run(a, b, "--out", out, "--overwrite") == (0, "", "")
        assert (out / "a.txt").read_text() == "tenths 3\n"

    def test_no_recording_is_written_over_whatever_is_allowed(self, run, tmp_path):
        a, b = sound(tmp_path / "in" / "x" / "a.wav", 0.3), sound(tmp_path / "in" / "out" / "x" / "a.txt", 0.4)
        before = Path(b).read_bytes()
        recognizer = FakeRecognizer()
        code, _, err = run(a, b, "--out", tmp_path / "in" / "out", "--overwrite", recognizer=recognizer)
        assert (code, recognizer.heard) == (1, [b]) and Path(b).read_bytes() == before
        assert err.startswith(f"{a}: its transcript would be written over the recording {b}")

    def test_a_name_too_long_for_the_suffix_is_cut_and_stays_unlike_others(self, run, tmp_path):
        stem = "\u00e9" * 125
        files = [sound(tmp_path / "in" / f"{stem}{end}.wav", 0.3) for end in ("", "x")]
        assert run(*files, "--out", tmp_path / "out", "--format", "txt,json") == (0, "", "")
        names = sorted(written(tmp_path / "out"))
        assert len(names) == 4 and f"{stem}.txt" in names
        assert all(len(os.fsencode(name)) <= 255 and name.startswith("\u00e9" * 115) for name in names)

    @pytest.mark.parametrize("blocked", ["name", "folder", "file", "parent"])
    def test_what_cannot_be_written_is_reported_before_the_work(self, run, tmp_path, monkeypatch, blocked):
        files = [sound(tmp_path / "in" / name, 0.3) for name in ("sub/a.wav", "b.wav")]
        out = tmp_path / "out"
        if blocked == "name":  # of a file system with shorter names
            monkeypatch.setattr("asr_core.cli.outputs.MAX_NAME_BYTES", 1000)
            files[0] = sound(tmp_path / "in" / "sub" / f"{'x' * 251}.wav", 0.3)
            place, message = f"sub/{'x' * 251}.json", "its transcript cannot be written to {} (File name too long)"
        elif blocked == "folder":
            (out / "sub" / "a.json").mkdir(parents=True)
            place, message = "sub/a.json", "its transcript cannot be written to {}, which is a folder"
        elif blocked == "file":
            out.mkdir()
            (out / "sub").write_text("")
            place, message = "sub/a.json", "its transcript cannot be written to {} (Not a directory)"
        else:
            access = os.access
            monkeypatch.setattr("os.access", lambda path, mode: "out" not in str(path) and access(path, mode))
            place, message = "", "its transcript cannot be written into {} (Permission denied)"
        recognizer = FakeRecognizer()
        code, _, err = run(*files, "--out", out, "--format", "json", recognizer=recognizer)
        target = out / place if place else out
        assert code == 1 and err.splitlines()[0] == f"{files[0]}: {message.format(target)}"
        assert recognizer.heard == ([] if blocked == "parent" else [files[1]])

    def test_a_recording_is_never_overwritten_by_its_transcript(self, run, tmp_path):
        file = sound(tmp_path / "talk.txt", 0.5)
        before = Path(file).read_bytes()
        assert run(file, "--out", tmp_path)[0] == 0
        assert Path(file).read_bytes() == before
        assert (tmp_path / "talk.txt.txt").read_text() == "tenths 5\n"

    def test_a_recording_named_twice_is_transcribed_once(self, run, tmp_path):
        recognizer = FakeRecognizer()
        file = sound(tmp_path / "in" / "a.wav", 0.5)
        run(file, tmp_path / "in", file, "--out", tmp_path / "out", recognizer=recognizer)
        assert recognizer.heard == [file]
        assert list(written(tmp_path / "out")) == ["a.txt"]

    def test_a_transcript_is_whole_or_not_there(self, run, tmp_path, monkeypatch):
        file = sound(tmp_path / "in" / "a.wav", 0.5)
        run(file, "--out", tmp_path / "out")

        def no_space(source, target):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", no_space)
        code, _, err = run(file, "--out", tmp_path / "out", "--format", "json")
        assert (code, err) == (1, f"{file}: its transcript cannot be written (No space left on device)\n")
        assert written(tmp_path / "out") == {"a.txt": "tenths 5\n"}

    def test_shards_are_the_whole_without_overlap(self, run, tmp_path):
        for number in range(7):
            sound(tmp_path / "in" / f"{number}" / "talk.wav", (number + 3) / 10)
        run(tmp_path / "in", "--out", tmp_path / "whole")
        heard = []
        for index in (1, 2, 3):
            recognizer = FakeRecognizer()
            run(tmp_path / "in", "--out", tmp_path / "parts", "--shard", f"{index}/3", recognizer=recognizer)
            heard += recognizer.heard
        assert len(heard) == len(set(heard)) == 7
        assert written(tmp_path / "parts") == written(tmp_path / "whole")

    def test_shards_of_alike_names_do_not_overwrite_each_other(self, run, tmp_path):
        files = [sound(tmp_path / str(number) / "talk.wav", (number + 3) / 10) for number in range(3)]
        for index in (1, 2, 3):
            run(*files, "--out", tmp_path / "out", "--shard", f"{index}/3")
        assert sorted(written(tmp_path / "out").values()) == ["tenths 3\n", "tenths 4\n", "tenths 5\n"]

    def test_more_shards_than_recordings_leave_nothing_to_do(self, run, tmp_path):
        file = sound(tmp_path / "a.wav", 0.5)
        assert run(file, "--shard", "2/2") == (0, "", "")


class Punctuating(FakeRecognizer):
    """Finds the same sentences in every recording, more than a minute of them, and has a tagger of their words."""

    def __init__(self):
        super().__init__()
        self.tagger = Sentences()

    def transcribe(self, source, **arguments):
        words = [Word(word, start, start + 1, 0.9) for start, word in enumerate(["mister", "acme", *["hm"] * 40])]
        words += [Word(word, start, start + 1, 0.9) for start, word in enumerate(["a", *["hm"] * 30], start=50)]
        return with_written_form(Transcript(words, 100, "fake"), self.tagger)


class Sentences:
    """A tagger that ends a sentence with word 42 and with the last, and writes Acme as a name."""

    def __call__(self, words):
        ends = {41, len(words) - 1}
        return [Tag("." if index in ends else "", "first" if index == 1 else "lower") for index in range(len(words))]

    def write(self, text, tag):
        return text.capitalize() if tag.capital == "first" else text


class TestTexts:
    """As spoken, and as written where the model has a tagger."""

    SPOKEN = f"mister acme{' hm' * 40} a{' hm' * 30}\n"
    WRITTEN = f"Mr. Acme{' hm' * 40}.\n\nA{' hm' * 30}.\n"

    @pytest.fixture
    def file(self, tmp_path):
        return sound(tmp_path / "a.wav", 0.5)

    def test_as_written_is_the_default_where_there_is_a_tagger(self, run, file):
        assert run(file, recognizer=Punctuating()) == (0, self.WRITTEN, "")
        assert run(file, "--text", "written", recognizer=Punctuating()) == (0, self.WRITTEN, "")
        assert run(file, "--text", "spoken", recognizer=Punctuating()) == (0, self.SPOKEN, "")

    def test_as_spoken_every_file_is_what_it_is_without_a_tagger(self, run, file, tmp_path):
        class Spoken(Punctuating):
            def transcribe(self, source, **arguments):
                return replace(super().transcribe(source, **arguments), written=())

        for name, recognizer in (("with", Punctuating()), ("without", Spoken())):
            arguments = (file, "--text", "spoken", "--format", "all", "--out", tmp_path / name)
            assert run(*arguments, recognizer=recognizer) == (0, "", "")
        assert written(tmp_path / "with") == written(tmp_path / "without")
        assert set(written(tmp_path / "with")) == {"a.txt", "a.srt", "a.vtt", "a.json"}

    def test_json_has_both(self, run, file):
        content = json.loads(run(file, "--format", "json", recognizer=Punctuating())[1])
        assert content["text"] + "\n" == self.SPOKEN and content["written"]["text"] + "\n" == self.WRITTEN
        assert [token["token"] for token in content["written"]["tokens"] if token["paragraph"]] == ["A"]
        assert "written" not in json.loads(run(file, "--format", "json")[1])

    def test_several_recordings_are_a_line_each(self, run, file, tmp_path):
        other = sound(tmp_path / "b.wav", 0.5)
        line = self.WRITTEN.replace("\n\n", " ")
        assert run(file, other, recognizer=Punctuating()) == (0, f"{file}: {line}{other}: {line}", "")

    def test_a_model_without_a_tagger_is_named_where_one_was_asked_for(self, run, file):
        code, out, err = run(file, "--text", "written")
        assert (code, out) == (0, "tenths 5\n")
        assert err == "The model default has no tagger of punctuation: --text written changes nothing.\n"

    def test_replacements_work_with_and_without_a_tagger(self, run, file, tmp_path):
        (tmp_path / "names.txt").write_text("# names\nacme -> ACME Ltd\ntenths -> 1/10", encoding="utf-8")
        arguments = (file, "--replacements", tmp_path / "names.txt")
        assert run(*arguments, recognizer=Punctuating())[1] == self.WRITTEN.replace("Acme", "ACME Ltd")
        assert run(*arguments) == (0, "1/10 5\n", "")

    def test_a_wrong_file_of_replacements_is_misuse(self, run, file, tmp_path):
        (tmp_path / "names.txt").write_text("acme -> ACME\nacme corp\n")
        code, out, err = run(file, "--replacements", tmp_path / "names.txt")
        assert (code, out) == (2, "")
        assert "--replacements: Line 2 of the replacements has no arrow: write spoken -> written, not acme corp" in err
        code, _, err = run(file, "--replacements", tmp_path / "gone.txt")
        assert code == 2 and "gone.txt cannot be read" in err

    @pytest.mark.parametrize("arguments, message", [
        (["--text", "spoken", "--replacements", "x"], "--replacements is about the written form: leave out --text"),
        (["--text", "written", "--align", "x"], "--align writes the given text as it is: leave out --text"),
        (["--replacements", "x", "--align", "x"], "--align writes the given text as it is: leave out --replacements"),
        (["--text", "shouted"], "invalid choice: 'shouted'"),
    ])  # fmt: skip
    def test_what_does_not_fit_is_misuse(self, run, file, arguments, message):
        code, _, err = run(file, *arguments)
        assert code == 2 and message in err


class TestTracks:
    def test_the_number_is_handed_on(self, run, tmp_path):
        file = sound(tmp_path / "a.wav", 0.5)
        assert run(file, "--track", 1) == (0, "tenths 5\n", "")
        code, out, err = run(file, "--track", 2)
        assert (code, out, err) == (1, "", f"{file} has no track 2, but one audio track: choose 1.\n")

    @pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
    def test_what_is_no_number_is_misuse(self, run, tmp_path, number):
        assert run(sound(tmp_path / "a.wav", 0.5), f"--track={number}")[0] == 2


class TestNotes:
    def test_are_reported_on_standard_error_one_line_each(self, run, tmp_path):
        whole, cut = Path(sound(tmp_path / "whole.wav", 1)), tmp_path / "in" / "cut.wav"
        cut.parent.mkdir()
        cut.write_bytes(whole.read_bytes()[:10_000])
        code, out, err = run(whole, cut)
        assert (code, out) == (0, f"{whole}: tenths 10\n{cut}: tenths 6\n")
        assert err == f"{cut} is cut off: about 62 % of what its header states is there.\n"

    def test_are_in_json_and_reported_when_a_file_is_written(self, run, tmp_path):
        cut = tmp_path / "cut.wav"
        cut.write_bytes(Path(sound(tmp_path / "whole.wav", 1)).read_bytes()[:10_000])
        code, _, err = run(cut, "--format", "json", "--out", tmp_path / "out")
        note = "cut.wav is cut off: about 62 % of what its header states is there."
        assert json.loads((tmp_path / "out" / "cut.json").read_text())["notes"] == [note]
        assert (code, err) == (0, f"{tmp_path}/{note}\n")

    def test_of_standard_input_begin_with_its_name(self, run, tmp_path, monkeypatch):
        content = Path(sound(tmp_path / "a.wav", 1)).read_bytes()[:10_000]
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert run("-")[2].startswith("standard input: The recording is cut off: about 62 %")


class TestFolders:
    def test_every_suffix_of_the_list_is_taken_in_any_case(self, run, tmp_path):
        recognizer = FakeRecognizer()
        for suffix in AUDIO_SUFFIXES:
            sound(tmp_path / f"a{suffix}", 0.5)
            sound(tmp_path / f"b{suffix.upper()}", 0.5)
        assert run(tmp_path, recognizer=recognizer)[2] == ""
        assert len(recognizer.heard) == 2 * len(AUDIO_SUFFIXES)

    def test_what_is_left_out_is_counted_in_one_line_for_each_folder(self, run, tmp_path):
        a, b = tmp_path / "a", tmp_path / "b"
        for name in "one.txt two.TXT sub/three.txt x.jpg README .hidden.txt .git/config".split() + ["odd.a\nb"]:
            (a / name).parent.mkdir(parents=True, exist_ok=True)
            (a / name).write_text("no recording")
        sound(a / "talk.wav", 0.5)
        sound(b / "talk.wav", 0.5)
        code, _, err = run(a, b)
        assert (code, err) == (0, f"{a}: left out: 3 .txt, 1 (no suffix), 1 .a?b, 1 .jpg\n")

    def test_linked_folders_are_searched_once(self, run, tmp_path):
        sound(tmp_path / "disk" / "b.wav", 0.5)
        (tmp_path / "in").mkdir()
        for name in ("2024", "again"):
            (tmp_path / "in" / name).symlink_to(tmp_path / "disk")
        (tmp_path / "disk" / "circle").symlink_to(tmp_path / "in")
        assert run(tmp_path / "in", "--out", tmp_path / "out") == (0, "", "")
        assert written(tmp_path / "out") == {"2024/b.txt": "tenths 5\n"}

    def test_an_empty_name_for_the_output_is_refused(self, run, tmp_path):
        code, out, err = run(sound(tmp_path / "a.wav", 0.5), "--out", "")
        assert (code, out) == (2, "") and "--out is empty" in err

    def test_a_folder_of_other_files_has_no_recordings_and_says_which_files_it_has(self, run, tmp_path):
        (tmp_path / "a.pdf").write_text("no recording")
        code, _, err = run(tmp_path)
        assert code == 1
        assert err == f"{tmp_path}: no recordings in this folder\n{tmp_path}: left out: 1 .pdf\n"


class TestFailures:
    def test_cost_one_line_each_and_the_others_go_on(self, run, tmp_path):
        good, short = sound(tmp_path / "good.wav", 0.5), sound(tmp_path / "short.wav", 0.05)
        broken, empty = tmp_path / "broken.mp3", tmp_path / "empty.m4a"
        broken.write_bytes(b"no sound")
        empty.write_bytes(b"")
        address = "https://example.com/a.mp3"
        code, out, err = run(short, broken, tmp_path / "gone.wav", address, empty, good)
        assert (code, out) == (1, f"{good}: tenths 5\n")
        assert err.splitlines() == [
            f"{tmp_path}/gone.wav was not found: check the name.",
            f"{address} was not found: addresses are not fetched, download it first.",
            f"{short} lasts only 0.05 s; at least 0.1 s are needed: record it again.",
            f"{broken} is not a recording, or its start is damaged: {READABLE}.",
            f"{empty} is empty (0 bytes): record it again, or choose another file.",
        ]

    def test_a_mistake_of_ours_does_not_stop_the_rest(self, run, tmp_path):
        class Stumbling(FakeRecognizer):
            def transcribe(self, source, **arguments):
                if "bad" in source:
                    raise ZeroDivisionError("division by\nzero")
                return super().transcribe(source, **arguments)

        bad, good = sound(tmp_path / "bad.wav", 0.5), sound(tmp_path / "good.wav", 0.5)
        code, out, err = run(bad, good, recognizer=Stumbling())
        assert (code, out) == (1, f"{good}: tenths 5\n")
        assert err == f"{bad}: something broke here (ZeroDivisionError: division by?zero)\n"

    def test_standard_input_that_is_no_recording(self, run, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
        code, out, err = run("-")
        assert (code, out) == (1, "")
        assert err == "standard input: The recording is empty (0 bytes): record it again, or choose another file.\n"

    def test_pipes_in_a_folder_are_left_out_and_folders_that_cannot_be_opened_are_reported(
        self, run, tmp_path, monkeypatch
    ):
        file = sound(tmp_path / "a.wav", 0.5)
        os.mkfifo(tmp_path / "b.wav")  # would be waited for
        (tmp_path / "locked").mkdir()
        scandir = os.scandir

        def refused(path):
            if path.endswith("locked"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refused)  # root may open everything
        code, out, err = run(tmp_path)
        assert (code, out) == (1, "tenths 5\n") and file
        assert err.splitlines() == [
            f"{tmp_path}/locked cannot be opened (Permission denied): check its permissions.",
            f"{tmp_path}: left out: 1 (no regular file)",
        ]

    def test_a_folder_without_recordings(self, run, tmp_path):
        assert run(tmp_path) == (1, "", f"{tmp_path}: no recordings in this folder\n")

    def test_odd_names_stay_in_one_line(self, run, tmp_path):
        odd = tmp_path / "odd\n\x1b[31m.wav"
        odd.write_bytes(b"")
        code, _, err = run(odd)
        assert code == 1
        assert err.startswith(f"{tmp_path}/odd??[31m.wav is empty (0 bytes):")
        assert len(err.splitlines()) == 1

    def test_an_interrupt_ends_quietly(self, run, tmp_path):
        class Interrupted(FakeRecognizer):
            def transcribe(self, source, **arguments):
                raise KeyboardInterrupt

        assert run(sound(tmp_path / "a.wav", 0.5), recognizer=Interrupted()) == (130, "", "")

    def test_an_untrained_model_is_reported_to_be_one(self, run, tmp_path):
        code, out, err = run(sound(tmp_path / "a.wav", 0.5), recognizer=FakeRecognizer(trained=False))
        assert (code, out) == (0, "tenths 5\n")
        assert err == "The model default is untrained: what it writes means nothing.\n"


class TestGreetings:
    """What libraries write to file descriptor 2 while the model is loaded."""

    def test_are_kept_from_the_screen(self, capfd):
        with quiet_libraries():
            os.write(2, b"oneDNN custom operations are on\n")
        os.write(2, b"heard\n")
        assert capfd.readouterr().err == "heard\n"

    def test_are_shown_when_loading_breaks(self, capfd):
        with pytest.raises(ZeroDivisionError), quiet_libraries():
            os.write(2, b"no such kernel\n")
            raise ZeroDivisionError
        assert capfd.readouterr().err == "no such kernel\n"

    def test_are_not_shown_beside_a_message_for_the_user(self, capfd):
        with pytest.raises(BundleError), quiet_libraries():
            os.write(2, b"oneDNN custom operations are on\n")
            raise BundleError("The weights are damaged.")
        assert capfd.readouterr().err == ""


class TestDecoder:
    def test_is_what_the_model_prefers(self, run, tmp_path):
        recognizer = FakeRecognizer()
        run(sound(tmp_path / "a.wav", 0.5), recognizer=recognizer)
        assert recognizer.options == [None]

    @pytest.mark.parametrize("name", ["greedy", "beam"])
    def test_can_be_chosen_and_keeps_the_other_settings(self, run, tmp_path, name):
        recognizer = FakeRecognizer()
        run(sound(tmp_path / "a.wav", 0.5), "--decoder", name, recognizer=recognizer)
        assert recognizer.options == [DecoderOptions(decoder=name, beam_width=7)]

    def test_flags_of_the_beam_choose_it(self, run, tmp_path):
        recognizer, file = FakeRecognizer(), sound(tmp_path / "a.wav", 0.5)
        code, _, err = run(file, "--beam-width", "9", "--language-model-weight", "0.25", recognizer=recognizer)
        assert recognizer.options == [DecoderOptions("beam", beam_width=9, language_model_weight=0.25)]
        assert (code, err) == (0, "The model default has no language model: --language-model-weight changes nothing.\n")

    def test_hot_words_come_from_a_file(self, run, tmp_path):
        (tmp_path / "words.txt").write_text("\ufeff# people\nAda, Grace Hopper\n\n  Zuse \n\u6f22\n", "utf-8")
        recognizer, file = FakeRecognizer(), sound(tmp_path / "a.wav", 0.5)
        code, _, err = run(file, "--hotwords", tmp_path / "words.txt", recognizer=recognizer)
        assert (code, err) == (0, "The model default cannot write these hotwords: \u6f22\n")
        assert recognizer.hot_words[0].phrases == ("ada", "grace hopper", "zuse")
        assert recognizer.options == [DecoderOptions("beam", beam_width=7)]
        (tmp_path / "words.txt").write_text("\u6f22\n", "utf-8")
        code, out, err = run(file, "--hotwords", tmp_path / "words.txt", recognizer=recognizer)
        assert (code, out) == (2, "") and "no hotword is left" in err.splitlines()[-1]


class TestAlign:
    def test_the_given_words_are_written_in_the_chosen_format(self, run, tmp_path):
        (tmp_path / "text.txt").write_text("Those very words.", "utf-8")
        file = sound(tmp_path / "a.wav", 0.5)
        assert run(file, "--align", tmp_path / "text.txt") == (0, "Those very words.\n", "")
        code, out, err = run(file, "--align", tmp_path / "text.txt", "--format", "json")
        assert (code, json.loads(out)["words"][1]["word"], err) == (0, "very", "")

    def test_several_recordings_take_a_folder_of_texts_named_as_they_are(self, run, tmp_path):
        files = [sound(tmp_path / "in" / name, 0.5) for name in ("a.wav", "sub/b.mp3", "sub/c.wav")]
        texts = tmp_path / "texts"
        (texts / "sub").mkdir(parents=True)
        (texts / "a.txt").write_text("of a", "utf-8")
        (texts / "sub" / "b.mp3.txt").write_text("of b", "utf-16")
        code, out, err = run(tmp_path / "in", "--align", texts)
        assert (code, out) == (1, f"{files[0]}: of a\n{files[1]}: of b\n")
        assert err == f"{files[2]}: there is no text for it, {texts}/sub/c.txt was not found\n"
        code, _, err = run(tmp_path / "in", "--align", texts / "a.txt")
        assert code == 2 and "--align with a text takes one recording: name a folder with a text for each" in err

    @pytest.mark.parametrize("content, message", [
        (b"\xff\xfe\x00", "is not text in UTF-8: save it in that encoding."),
        (b"caf\xe9", "is not text in UTF-8: save it in that encoding."),
        (b"a\0b", "is not a file of text: it holds null characters."),
        (b" ", "There is nothing to align: the text holds no letter."),
        (None, "cannot be read (No such file or directory)."),
    ])  # fmt: skip
    def test_a_text_that_cannot_be_used_is_reported(self, run, tmp_path, content, message):
        text, file = tmp_path / "text.txt", sound(tmp_path / "a.wav", 0.5)
        if content is not None:
            text.write_bytes(content)
        code, out, err = run(file, "--align", text)
        assert (code, out) == (1, "") and err.endswith(f"{message}\n") and len(err.splitlines()) == 1


class TestFormats:
    def test_several_are_written_from_one_run(self, run, tmp_path):
        recognizer, file = FakeRecognizer(), sound(tmp_path / "a.wav", 0.5)
        arguments = [file, "--out", tmp_path / "out", "--format", "srt,json", "--format", "srt"]
        assert run(*arguments, recognizer=recognizer) == (0, "", "")
        assert (set(written(tmp_path / "out")), recognizer.heard) == ({"a.srt", "a.json"}, [file])
        assert run(file, "--out", tmp_path / "all", "--format", "all")[0] == 0
        assert set(written(tmp_path / "all")) == {"a.txt", "a.srt", "a.vtt", "a.json"}

    def test_limits_of_subtitles(self, run, tmp_path):
        file = sound(tmp_path / "a.wav", 0.5)
        out = run(file, "--format", "srt", "--max-line-length", "6")[1]
        assert "tenths\n5\n" in out
        out = run(file, "--format", "srt", "--max-line-length", "6", "--max-lines", "1")[1]
        assert len(list(srt.parse(out))) == 2
        cue = next(srt.parse(run(file, "--format", "srt", "--max-cue-seconds", "0.2")[1]))
        assert cue.end.total_seconds() == 0.2


class TestUsage:
    @pytest.mark.parametrize("arguments, message", [
        ([], "the following arguments are required: FILE"),
        (["a.wav", "--format", "doc"], "invalid choice: 'doc' (choose from"),
        (["a.wav", "--decoder", "best"], "invalid choice: 'best'"),
        (["a.wav", "--shard", "0/4"], "'0/4' is not I/N with I from 1 to N, such as 1/4"),
        (["a.wav", "--shard", "5/4"], "'5/4' is not I/N"),
        (["a.wav", "--shard", "1"], "'1' is not I/N"),
        (["a.wav", "--shard", "1/0"], "'1/0' is not I/N"),
        (["a.wav", "--sha", "1/2"], "unrecognized arguments: --sha 1/2"),
        (["--model"], "expected one argument"),
        (["a.wav", "--out", "/dev/null/x"], "--out /dev/null/x cannot be made: Not a directory"),
        (["a.wav", "--format", "srt,doc"], "invalid choice: 'doc' (choose from txt, srt, vtt, json, all)"),
        (["a.wav", "--format", "srt,json"], "--format srt,json writes several files: add --out DIR"),
        (["a.wav", "--format", "srt", "--format", "all"], "writes several files: add --out DIR"),
        (["a.wav", "--overwrite"], "--overwrite is about files: add --out DIR"),
        (["a.wav", "--skip-existing"], "--skip-existing is about files: add --out DIR"),
        (["a.wav", "--overwrite", "--skip-existing"], "not allowed with argument --overwrite"),
        (["a.wav", "--max-lines", "2"], "--max-lines shapes subtitles: add --format srt or --format vtt"),
        (["a.wav", "--max-lines", "0"], "'0' is not a whole number from 1 to 1000"),
        (["a.wav", "--max-lines", "1.5"], "'1.5' is not a whole number from 1 to 1000"),
        (["a.wav", "--max-cue-seconds", "nan"], "'nan' is not a number from 0.001 to 1000"),
        (["a.wav", "--beam-width", "1025"], "'1025' is not a whole number from 1 to 1024"),
        (["a.wav", "--language-model-weight", "-1"], "'-1' is not a number from 0 to 1000"),
        (["a.wav", "--decoder", "greedy", "--beam-width", "9"], "--beam-width needs the beam search: leave out --dec"),
        (["a.wav", "--decoder", "greedy", "--hotwords", "x"], "--hotwords needs the beam search"),
        (["a.wav", "--hotwords", "gone.txt"], "--hotwords: gone.txt cannot be read (No such file or directory)."),
        (["a.wav", "--align", "x", "--decoder", "beam"], "--align takes the words from a text: leave out --decoder"),
        (["a.wav", "--align", "x", "--hotwords", "x"], "--align takes the words from a text: leave out --hotwords"),
    ])  # fmt: skip
    def test_a_slip_is_answered_with_code_2(self, run, arguments, message):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert message in err.splitlines()[-1] and err.splitlines()[-1].startswith("python -m asr_core: error: ")

    def test_subtitles_of_several_recordings_need_files(self, run, tmp_path):
        files = [sound(tmp_path / name, 0.5) for name in ("a.wav", "b.wav")]
        code, _, err = run(*files, "--format", "vtt")
        assert code == 2 and "--format vtt writes one file for each recording: add --out DIR" in err

    def test_a_model_that_cannot_be_loaded_is_code_2(self, tmp_path, capsys):
        def factory(model):
            raise BundleError(f"There is no model {model}.")

        with pytest.raises(SystemExit) as stopped:
            main([sound(tmp_path / "a.wav", 0.5), "--model", "mine"], factory)
        assert stopped.value.code == 2
        assert capsys.readouterr() == ("", "python -m asr_core: error: There is no model mine.\n")

    def test_a_model_whose_name_is_empty_is_code_2_wherever_it_is_run(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)  # "" is no name of the current folder
        with pytest.raises(SystemExit) as stopped:
            main([sound(tmp_path / "a.wav", 0.5), "--model", ""])
        message = "The name of the model is empty: name a folder, or name/repo on the Hub."
        assert (stopped.value.code, capsys.readouterr().err) == (2, f"python -m asr_core: error: {message}\n")

    def test_is_answered_before_anything_heavy_is_imported(self):
        command = (
            "import sys\nfrom asr_core.__main__ import main\n"
            "try: main(['--shard', '0/0', 'a.wav'])\n"
            "except SystemExit as stopped:\n"
            "    print(stopped.code, {'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
        assert result.stdout == "2 set()\n"

    def test_help_names_every_option(self, run):
        code, out, _ = run("--help")
        assert code == 0
        for action in make_parser()._actions:
            assert all(option in out for option in action.option_strings)
        for word in ("FILE", "Exit code: 0", "output:", "decoding:", "subtitles (srt and vtt):"):
            assert word in out

    def test_a_reader_that_leaves_early_sees_no_traceback(self, tmp_path):
        for number in range(3):
            sound(tmp_path / f"{number}.wav", 0.5)
        code = "import sys\nfrom asr_core.__main__ import main\n"
        code += "from tests.asr_core.cli.test_cli import FakeRecognizer\n"
        code += f"sys.exit(main([{str(tmp_path)!r}], lambda model: FakeRecognizer()))"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        )
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
