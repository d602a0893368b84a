"""Corpora as they lie on disks and in archives: the manifest of each, and the reasons for what is left out."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import constants

from tests.train.hub_server import Fault, serving
from train.corpora import __main__ as corpora
from train.corpora import downloads
from train.corpora.__main__ import FAILED, main
from train.corpora.downloads import Archive, DownloadError, fetch
from train.corpora.layouts import layout_of
from train.corpora.survey import hold_out, seconds_of
from train.data.manifest import read_manifest
from train.data.text_files import CorpusError

RATE = 16_000


def record(path, seconds=1.0, rate=RATE, **how):
    """A recording of faint noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(0, 0.01, int(seconds * rate))
    soundfile.write(path, samples, rate, **how)


def read(folder, out, *flags):
    """The clips of the manifest that `folder` makes."""
    assert main(["folder", str(folder), "--out", str(out), *flags]) == 0
    return read_manifest(out)


@pytest.fixture
def mine(tmp_path):
    """Ten recordings and a table, as somebody would have them."""
    folder = tmp_path / "mine"
    lines = ["file,text,speaker"]
    for i in range(10):
        record(folder / "wavs" / f"{i}.wav", 1 + i / 10)
        lines.append(f'{i}.wav,"Number {i}, please.",{"ann" if i % 2 else "ben"}')
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8-sig")  # as Excel writes it
    return folder


def test_a_manifest_does_not_overwrite_what_it_is_made_from(mine, capsys):
    table = mine / "metadata.csv"
    (mine / "t.jsonl").write_text("0.wav\tzero")
    before = table.read_bytes()
    for out, *flags in (
        [table],
        [table, "--table", table],
        [mine / "t.jsonl", "--prompts", mine / ".." / "mine" / "t.jsonl"],
    ):
        assert main(["folder", str(mine), "--out", str(out), *map(str, flags)]) == FAILED
        assert f"The manifest would overwrite {out}: name another file" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_a_folder_and_a_table_become_a_manifest(mine, tmp_path, capsys):
    clips = read(mine, tmp_path / "data" / "mine.jsonl")
    assert [clip.id for clip in clips] == [f"mine/{i}" for i in range(10)]
    assert (clips[3].text, clips[3].speaker, clips[3].corpus) == ("Number 3, please.", "ann", "mine")
    assert clips[3].seconds == 1.3 and clips[3].audio == str(mine / "wavs" / "3.wav")
    out = capsys.readouterr().out
    assert "mine: 10 clips, 14 seconds, 2 speakers" in out
    assert re.search("the normaliser changes .*case in 10.* texts", out) and "number in 10" in out
    assert "left out" not in out


def test_audio_is_named_from_the_manifest_so_that_both_can_move(mine, tmp_path):
    read(mine, tmp_path / "data" / "mine.jsonl")
    row = json.loads((tmp_path / "data" / "mine.jsonl").read_text().splitlines()[0])
    assert row["audio"] == "../mine/wavs/0.wav"
    (tmp_path / "moved").mkdir()
    for name in ("mine", "data"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    clip = read_manifest(tmp_path / "moved" / "data" / "mine.jsonl")[0]
    assert soundfile.info(clip.audio).frames == RATE


def test_what_is_left_out_is_reported_with_its_reason(mine, tmp_path, capsys):
    record(mine / "short.wav", 0.1)
    record(mine / "dense.wav", 0.5)
    record(mine / "a#b.wav")
    record(mine / "twice" / "same.wav")
    record(mine / "again" / "same.wav")
    (mine / "broken.wav").write_bytes(b"RIFF....WAVEnothing")
    with open(mine / "metadata.csv", "a") as table:
        table.write("\n" + "\n".join([
            "short.wav,hello", "dense.wav,far too many words for half a second", "a#b.wav,hello",
            "same.wav,hello", "broken.wav,hello", "gone.wav,hello", "0.wav,again", "1.wav,", "2.wav,...",
            "3.wav,привет and hello",
        ]))  # fmt: skip
    assert len(read(mine, tmp_path / "mine.jsonl")) == 10
    out = capsys.readouterr().out
    for line in [
        "1 with less than 0.3 s (short.wav)",
        "1 with more text than its audio can hold (dense.wav)",
        "1 with a # in the path, which separates an archive from a file in it: rename it (a#b.wav)",
        "2 with no recording of that name, or several (same.wav, gone.wav)",
        "1 with a recording that cannot be read (broken.wav)",
        "1 with a recording that was listed before (0.wav)",
        "1 with no text (1.wav)",
        "1 with no letter of the alphabet in the text (2.wav)",
        "1 with letters of another script in the text (3.wav)",
    ]:
        assert f"  left out: {line}\n" in out


def test_texts_of_another_script_are_for_models_with_its_letters(tmp_path, capsys):
    lines = ["file,text"]
    for i, text in enumerate(["\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0414\u0430 5", "..."]):
        record(tmp_path / "mine" / f"{i}.wav", 2)
        lines.append(f'{i}.wav,"{text}"')
    (tmp_path / "mine" / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    assert len(read(tmp_path / "mine", tmp_path / "mine.jsonl")) == 2
    assert "1 with no letter of the alphabet in the text (2.wav)" in capsys.readouterr().out


def test_long_clips_stay_and_are_counted(tmp_path, capsys):
    record(tmp_path / "long" / "a.flac", 17)
    (tmp_path / "long" / "a.txt").write_text("a long story")
    assert len(read(tmp_path / "long", tmp_path / "long.jsonl")) == 1
    assert "training leaves out 1 longer than 16 s" in capsys.readouterr().out


def test_texts_beside_recordings_in_folders_of_one_name_each(tmp_path):
    for folder in ("one", "two"):
        record(tmp_path / "speech" / folder / "a.wav")
        (tmp_path / "speech" / folder / "a.txt").write_text(f"{folder}\n")
    clips = read(tmp_path / "speech", tmp_path / "out.jsonl", "--name", "ours")
    assert [(clip.id, clip.text) for clip in clips] == [("ours/a", "one"), ("ours/a~2", "two")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.tsv", "path\tsentence\na\tit's so\n"),
        ("list.csv", "Filename;Transcript\na.wav;it's so\n"),
        ("list.txt", "a it's so\n"),
        ("list.txt", "a.wav|it's so\n"),
        ("list.csv", "a.wav,it's so\n"),
        ("list.tsv", "a.wav\tit's so \"\n".replace(' "', "")),
        ("metadata.csv", 'file_name,transcription\nsub/a.wav,"it\'s\nso"\n'),
    ],
)
def test_tables_of_many_kinds(name, content, tmp_path):
    record(tmp_path / "speech" / "sub" / "a.wav")
    (tmp_path / "speech" / name).write_text(content)
    (clip,) = read(tmp_path / "speech", tmp_path / "out.jsonl")
    assert clip.text == "it's so"


def test_a_recording_of_another_folder_is_another_recording(tmp_path, capsys):
    for path in ("speech/one/1.wav", "speech/two/1.wav", "speech/two/2.wav", "speech/a.wav"):
        record(tmp_path / path)
    (tmp_path / "speech" / "two" / "1.wav").unlink()
    table = "file,text\ntwo/1.wav,of two\none/1.wav,of one\nspeech/a.wav,of the folder\n"
    (tmp_path / "speech" / "table.csv").write_text(table)
    clips = read(tmp_path / "speech", tmp_path / "out.jsonl")
    assert [clip.text for clip in clips] == ["of one", "of the folder"]
    assert "1 with no recording of that name, or several (two/1.wav)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["0.wav,hello\n1.wav,hello, my friend\n", 'file,text\n0.wav,"to be or not\n1.wav,the next\n2.wav,more\n']
)
def test_texts_are_not_cut_or_swallowed_without_a_word(content, mine, tmp_path, capsys):
    (tmp_path / "texts.csv").write_text(content)
    arguments = ["folder", str(mine), "--table", str(tmp_path / "texts.csv"), "--out", str(tmp_path / "out.jsonl")]
    assert main(arguments) == 1
    assert "has more columns than the first row, or holds another row" in capsys.readouterr().err


def test_a_folder_behind_a_link_is_found_again(mine, tmp_path):
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "data")
    assert all(Path(clip.audio).is_file() for clip in read(mine, tmp_path / "data" / "mine.jsonl"))


def test_a_table_elsewhere_is_named(mine, tmp_path):
    (tmp_path / "texts.csv").write_text("0.wav,hello\n")
    (clip,) = read(mine, tmp_path / "out.jsonl", "--table", str(tmp_path / "texts.csv"))
    assert clip.text == "hello"


def test_several_tables_are_not_guessed_among(mine, tmp_path, capsys):
    (mine / "metadata.csv").rename(mine / "a.csv")
    (mine / "b.csv").write_text("0.wav,hello\n")
    assert main(["folder", str(mine), "--out", str(tmp_path / "out.jsonl")]) == FAILED
    assert "has several tables, a.csv, b.csv: name one with --table" in capsys.readouterr().err


def test_librispeech_is_read_by_part(tmp_path):
    root = tmp_path / "LibriSpeech"
    for part, speaker in (("dev-clean", "84"), ("test-clean", "61")):
        folder = root / part / speaker / "70968"
        record(folder / f"{speaker}-70968-0000.flac")
        (folder / f"{speaker}-70968.trans.txt").write_text(
            f"{speaker}-70968-0000 HE BEGAN\n{speaker}-70968-0001 NO SOUND\n"
        )
    assert layout_of(root).name == "LibriSpeech"
    (clip,) = read(root, tmp_path / "out.jsonl", "--parts", "test-clean")
    assert (clip.speaker, clip.text) == ("61", "HE BEGAN")
    assert len(read(root, tmp_path / "out.jsonl", "--parts", "dev-clean", "test-clean")) == 2
    (clip,) = read(root / "dev-clean", tmp_path / "out.jsonl")
    assert clip.speaker == "84"


def test_ljspeech_is_read_with_figures_spelled_out(tmp_path):
    root = tmp_path / "LJSpeech-1.1"
    record(root / "wavs" / "LJ001-0001.wav", rate=22_050)
    (root / "metadata.csv").write_text('LJ001-0001|In "1480, he|In "fourteen eighty, he\n')
    assert layout_of(root).name == "LJSpeech"
    (clip,) = read(root, tmp_path / "out.jsonl", "--name", "ljspeech")
    assert (clip.text, clip.speaker) == ('In "fourteen eighty, he', "LJ")


@pytest.fixture
def commonvoice(tmp_path):
    root = tmp_path / "en"
    for i in range(4):
        record(root / "clips" / f"common_voice_en_{i}.mp3", format="MP3")
    heads = "client_id\tpath\tsentence\tage\taccents"
    for part, numbers in (("train", (0, 1, 9)), ("test", (2,)), ("validated", (0, 1, 2, 3))):
        rows = [f'voice{i}\tcommon_voice_en_{i}.mp3\tHe said "no".\t\tScottish English' for i in numbers]
        (root / f"{part}.tsv").write_text("\n".join([heads, *rows]) + "\n")
    (root / "reported.tsv").write_text("sentence_id\treason\nx\ty\n")
    return root


def test_common_voice_is_read_by_part(commonvoice, tmp_path, capsys):
    assert layout_of(commonvoice).name == "Common Voice"
    clips = read(commonvoice, tmp_path / "out.jsonl")
    assert "Common Voice, train of train, test, validated" in capsys.readouterr().out
    assert [clip.speaker for clip in clips] == ["voice0", "voice1"]
    assert (clips[0].text, clips[0].accent) == ('He said "no".', "Scottish English")
    assert clips[0].seconds == pytest.approx(1.0, abs=0.1)
    assert main(["folder", str(commonvoice), "--out", "x.jsonl", "--parts", "dev"]) == FAILED
    assert "has train, test, validated, not dev" in capsys.readouterr().err


def test_common_voice_says_its_own_durations(commonvoice, tmp_path):
    (commonvoice / "clip_durations.tsv").write_text("clip\tduration[ms]\ncommon_voice_en_0.mp3\t2500\n")
    assert read(commonvoice, tmp_path / "out.jsonl")[0].seconds == 2.5


def test_lengths_of_what_only_the_slow_way_can_read(tmp_path):
    record(tmp_path / "a.opus", 1.5, format="OGG", subtype="OPUS", rate=48_000)
    assert seconds_of(tmp_path / "a.opus") == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("stated", [0, 2**36 - 1])
def test_a_flac_whose_header_does_not_know_its_length_is_decoded_for_it(tmp_path, stated):
    record(tmp_path / "a.flac", 1.5)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] = content[21] & 0xF0 | stated >> 32
    content[22:26] = (stated & 0xFFFFFFFF).to_bytes(4, "big")
    (tmp_path / "a.flac").write_bytes(content)
    assert seconds_of(tmp_path / "a.flac") == pytest.approx(1.5)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".wav"])
def test_the_length_of_a_recording_that_is_cut_off_is_what_is_there(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, 6)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 1.5 < seconds_of(path) < 4.5


def test_the_length_of_a_chain_of_ogg_files_is_that_of_all_links(tmp_path):
    path = tmp_path / "a.ogg"
    record(path, 1.5)
    path.write_bytes(path.read_bytes() * 2)
    assert seconds_of(path) == pytest.approx(3, abs=0.05)


def test_clips_are_held_out_by_speaker_where_there_are_many():
    rows = [{"id": f"{s}-{i}", "speaker": f"s{s}", "seconds": 1.0, "text": "a"} for s in range(40) for i in range(5)]
    training, validation, parted = hold_out(rows, 0.1)
    assert parted == "speakers"
    assert {row["speaker"] for row in training}.isdisjoint({row["speaker"] for row in validation})
    assert len(validation) == 20 and len(training) == 180
    assert hold_out(rows[::-1], 0.1)[1] == validation[::-1]


def test_few_speakers_are_parted_by_clip(mine, tmp_path, capsys):
    training = read(mine, tmp_path / "mine.jsonl", "--valid", "0.2")
    validation = read_manifest(tmp_path / "mine-valid.jsonl")
    assert {clip.id for clip in training}.isdisjoint({clip.id for clip in validation})
    assert len(training) + len(validation) == 10 and validation
    assert "held out 20% by clips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "holds nothing to train on: put recordings there, and a table"),
        (lambda folder: record(folder / "a.wav"), "holds nothing to train on"),
        (lambda folder: record(folder / "a.wav") or (folder / "t.csv").write_text(""), "t.csv is empty"),
        (lambda folder: record(folder / "a.wav") or (folder / "t.csv").write_text("a.wav\n"), "has one column"),
        (
            lambda folder: record(folder / "a.wav") or (folder / "t.csv").write_bytes(b"a.wav,caf\xe9\n"),
            "t.csv is not in UTF-8 (byte 9)",
        ),
    ],
)
def test_a_folder_without_speech_is_refused_with_what_it_needs(make, message, tmp_path, capsys):
    make(tmp_path / "speech")
    assert main(["folder", str(tmp_path / "speech"), "--out", str(tmp_path / "x.jsonl")]) == FAILED
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "x.jsonl").exists()


def librispeech_archive():
    """dev-clean with one clip, as the archive holds it, and the notes that lie beside it."""
    sound = io.BytesIO()
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.01, RATE), RATE, format="FLAC")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {
            "LibriSpeech/README.TXT": b"read me",
            "LibriSpeech/dev-clean/84/1/84-1-0000.flac": sound.getvalue(),
            "LibriSpeech/dev-clean/84/1/84-1.trans.txt": b"84-1-0000 GO\n",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    with serving() as server:
        server.plain["dev-clean.tar.gz"] = librispeech_archive()
        yield server


@pytest.fixture
def archive(hub):
    content = hub.plain["dev-clean.tar.gz"]
    address = f"{hub.address}/plain/dev-clean.tar.gz"
    return Archive(address, hashlib.sha256(content).hexdigest(), len(content), "LibriSpeech/dev-clean")


def test_a_public_corpus_is_fetched_and_becomes_a_manifest(archive, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(corpora.PUBLIC["librispeech"], "dev-clean", archive)
    assert main(["fetch", "librispeech", "--to", str(tmp_path / "data")]) == 0
    (clip,) = read_manifest(tmp_path / "data" / "librispeech-dev-clean.jsonl")
    assert (clip.text, clip.speaker, clip.corpus) == ("GO", "84", "librispeech-dev-clean")
    inside = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert inside == ["LibriSpeech", "librispeech-dev-clean.jsonl"]  # no archive, nothing half done
    assert (tmp_path / "data" / "LibriSpeech" / "README.TXT").exists()
    hub.served.clear()
    assert main(["fetch", "librispeech", "--to", str(tmp_path / "data")]) == 0
    assert hub.served == []


def test_a_download_that_is_cut_goes_on_where_it_stopped(archive, hub, tmp_path):
    hub.faults.append(Fault("GET", "/plain/", cut=True, times=3))
    assert fetch(archive, tmp_path).is_dir()
    assert len(hub.ranges) == 3
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in hub.ranges]
    assert starts == sorted(set(starts)) and starts[0] > 0.4 * archive.size


def test_another_run_goes_on_where_the_last_one_gave_up(archive, hub, tmp_path):
    hub.faults.append(Fault("GET", "/plain/", cut=True, times=1))
    hub.faults.append(Fault("GET", "/plain/", status=503))
    with pytest.raises(DownloadError, match="could not be fetched .* run this again, it continues where it stopped"):
        fetch(archive, tmp_path)
    so_far = (tmp_path / "dev-clean.tar.gz.part").stat().st_size
    assert so_far > 0.4 * archive.size
    hub.faults.clear()
    hub.served.clear()
    assert fetch(archive, tmp_path).is_dir()
    assert hub.ranges[-1] == f"bytes={so_far}-" and len(hub.served) == 1


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_an_address_in_trouble_is_reported(status, archive, hub, tmp_path):
    hub.faults.append(Fault("GET", "/plain/", status=status))
    with pytest.raises(DownloadError, match=rf"could not be fetched \(.*{status} .*put it at .*dev-clean.tar.gz"):
        fetch(archive, tmp_path)


def test_no_network_is_a_clear_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    gone = Archive("http://127.0.0.1:9/dev-clean.tar.gz", "0" * 64, 1000, "LibriSpeech/dev-clean")
    monkeypatch.setitem(corpora.PUBLIC["librispeech"], "dev-clean", gone)
    assert main(["fetch", "librispeech", "--to", str(tmp_path)]) == FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert "could not be fetched (Connection refused): check the network" in error


def test_offline_mode_is_respected(archive, hub, tmp_path, monkeypatch):
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    with pytest.raises(DownloadError, match="offline mode is enabled"):
        fetch(archive, tmp_path)
    monkeypatch.undo()
    close_session()


def test_another_file_than_was_published_is_refused(archive, hub, tmp_path):
    hub.plain["dev-clean.tar.gz"] = bytes(archive.size)
    with pytest.raises(DownloadError, match="is not the file that was published .* has been deleted"):
        fetch(archive, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_was_brought_by_hand_is_checked_too(archive, hub, tmp_path):
    (tmp_path / "dev-clean.tar.gz").write_bytes(hub.plain["dev-clean.tar.gz"][:-1])
    with pytest.raises(DownloadError, match="is not what was published at .*: delete it"):
        fetch(archive, tmp_path)
    (tmp_path / "dev-clean.tar.gz").write_bytes(hub.plain["dev-clean.tar.gz"])
    assert fetch(archive, tmp_path).is_dir()
    assert hub.served == []


def test_an_archive_that_writes_elsewhere_is_not_unpacked(archive, hub, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside.txt"))
    content = hub.plain["dev-clean.tar.gz"] = packed.getvalue()
    evil = dataclasses.replace(archive, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    with pytest.raises(DownloadError, match="could not be unpacked"):
        fetch(evil, tmp_path / "data")
    assert not (tmp_path / "outside.txt").exists()


def test_a_disk_that_is_full_while_unpacking_does_not_cost_the_archive(archive, hub, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.tarfile.TarFile, "extractall", full)
    with pytest.raises(DownloadError, match="No space left on device.*: mend that and run this again"):
        fetch(archive, tmp_path / "data")


def test_a_disk_without_room_is_not_filled(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 100))
    with pytest.raises(DownloadError, match="needs .* GB while it is unpacked, and .* has 0.0 GB: make room"):
        fetch(archive, tmp_path)


def test_a_partial_archive_takes_no_room_again(archive, hub, tmp_path, monkeypatch):
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(hub.plain["dev-clean.tar.gz"][:-1])
    free = int(2.2 * archive.size) - archive.size + 2
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, free))
    assert fetch(archive, tmp_path).is_dir()


def test_published_archives_are_named_with_size_and_digest():
    archives = [archive for parts in corpora.PUBLIC.values() for archive in parts.values()]
    assert len(archives) == 8
    for archive in archives:
        assert archive.url.startswith("https://") and len(bytes.fromhex(archive.sha256)) == 32
        assert archive.size > 300_000_000


def test_parts_that_a_corpus_does_not_have(capsys):
    assert main(["fetch", "librispeech", "--parts", "dev"]) == FAILED
    assert "librispeech has dev-clean, dev-other," in capsys.readouterr().err
    with pytest.raises(CorpusError, match="no folder"):
        layout_of(corpora.Path("no/such/folder"))
