"""Files of visitors: what a killed program left is removed, chunks go when they are read, clean-ups survive uploads."""

import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from gradio.route_utils import delete_files_created_by_app

from ui.page import FileSet
from ui.service import folders
from ui.tabs.live import deleting


def test_folders_that_a_killed_program_left_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "get_upload_folder", lambda: str(tmp_path / "uploads"))
    folders.remove_left_over()  # there is no upload folder yet
    left, fresh, foreign = (
        folders.make_folder("sound"),
        folders.make_folder("live"),
        tmp_path / "uploads" / "sound-mine",
    )
    foreign.mkdir()
    (left / "sound.wav").write_bytes(b"RIFF")
    old = time.time() - folders.LEFT_OVER_SECONDS - 60
    for folder in (left, foreign):
        os.utime(folder, (old, old))
    folders.remove_left_over()
    assert not left.exists() and fresh.is_dir() and foreign.is_dir()


@pytest.mark.parametrize("fails", [False, True])
def test_a_chunk_of_a_live_recording_is_deleted_when_it_has_been_read(fails, tmp_path):
    chunk = tmp_path / "hash" / "audio.wav"
    chunk.parent.mkdir()
    chunk.write_bytes(b"RIFF")

    def preprocess(payload):
        assert chunk.is_file() or payload is None
        if fails:
            raise ValueError("no audio")
        return 16000, np.arange(3)

    if fails:
        with pytest.raises(ValueError):
            deleting(preprocess)(SimpleNamespace(path=str(chunk)))
    else:
        assert deleting(preprocess)(SimpleNamespace(path=str(chunk)))[0] == 16000
        assert deleting(preprocess)(None)[0] == 16000
    assert not chunk.parent.exists()


def test_two_muted_microphones_do_not_delete_each_others_chunks(tmp_path):
    chunk = tmp_path / "audio.wav"  # equal for Gradio, as it has the same content
    chunk.write_bytes(b"RIFF")
    for _ in range(2):
        deleting(lambda payload: (16000, np.zeros(8000, np.int16)))(SimpleNamespace(path=str(chunk)))
        assert chunk.is_file()


def test_uploads_during_a_clean_up_do_not_end_it(tmp_path):
    names = FileSet(str(tmp_path / str(i)) for i in range(3000))
    page = SimpleNamespace(blocks={}, temp_file_sets=[names])
    stop = threading.Event()

    def upload():
        while not stop.is_set():
            names.add("more")
            names.discard("more")

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        for _ in range(5):
            delete_files_created_by_app(page, 1)  # raised "Set changed size during iteration"
    finally:
        stop.set()
        thread.join()
