"""Progress of a run: events that TensorFlow reads back, and curves as a picture."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
import tensorflow as tf

from train.fit.curves import EventLog, draw_curves


def events(folder):
    """(step, {tag: value}) of every event with scalars, and the steps at which a run was taken up again."""
    scalars, starts = [], []
    for path in sorted((folder / "events").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            if event.HasField("session_log"):
                starts.append(event.step)
            elif event.HasField("summary"):
                scalars.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
    return scalars, starts


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    log = EventLog(tmp_path, 0)
    log._writer = tf.io.TFRecordWriter("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        for step in range(1000):
            log.write(step, {"loss": 2.5})


def test_events_are_read_back_step_by_step(tmp_path):
    log = EventLog(tmp_path, 0)
    log.write(20, {"loss": 2.5, "learning_rate": 1e-3})
    log.write(40, {"wer": 81.5})
    scalars, starts = events(tmp_path)
    assert [step for step, _ in scalars] == [20, 40] and not starts
    assert scalars[0][1] == pytest.approx({"loss": 2.5, "learning_rate": 1e-3})
    assert scalars[1][1] == {"wer": 81.5}


def test_a_resumed_run_records_the_step_from_which_it_counts(tmp_path):
    EventLog(tmp_path, 30).write(40, {"loss": 1.0})
    assert events(tmp_path) == ([(40, {"loss": 1.0})], [30])


def test_curves_are_a_picture_of_loss_and_error_rates(tmp_path):
    rows = [{"pass": "1", "loss": "2.1", "wer": "90.0", "cer": "40.0"}, {"pass": 2, "loss": 1.5, "wer": 70, "cer": 30}]
    draw_curves(rows, tmp_path / "curves.svg")
    picture = (tmp_path / "curves.svg").read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    for words in ("training loss, nats a character", "WER, %", "CER, %"):
        assert f"<!-- {words} -->" in picture
