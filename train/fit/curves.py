"""Progress of a run: TensorBoard events during training; after every pass, a table and a picture of all passes."""

import csv
import io
import os
import platform
import time
from pathlib import Path

from asr_core.storage import replace_file


class EventLog:
    """Writes scalars for TensorBoard; `tensorboard --logdir runs` shows them.

    TensorFlow writes the files, whatever the backend; without TensorFlow nothing is written. TensorBoard itself is not
    needed.

    Args:
        folder: of the run.
        step: first training step of this process. TensorBoard then hides earlier events of the same or later steps.
    """

    def __init__(self, folder, step: int):
        self._writer = None
        try:
            import tensorflow as tf  # takes seconds where another backend is in use
        except ImportError:
            return
        from tensorflow.core.framework.summary_pb2 import Summary
        from tensorflow.core.util.event_pb2 import Event, SessionLog

        self._event, self._summary = Event, Summary
        events = Path(folder) / "events"
        events.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{platform.node()}.{os.getpid()}"
        self._writer = tf.io.TFRecordWriter(str(events / name))
        self._add(file_version="brain.Event:2")
        if step:
            self._add(step=step, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes scalars by tag, as the values at a training step."""
        if self._writer is None:
            return
        values = [self._summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
        self._add(step=step, summary=self._summary(value=values))

    def _add(self, **content) -> None:
        from tensorflow.errors import OpError

        try:
            self._writer.write(self._event(wall_time=time.time(), **content).SerializeToString())
            self._writer.flush()
        except OpError as error:
            raise OSError(error.message) from error  # such as a full disk


def log_pass(folder: Path, row: dict) -> None:
    """Adds a row to `metrics.csv`, in place of rows of the same or a later step, and draws `curves.svg`."""
    path = folder / "metrics.csv"
    rows = []
    if path.exists():
        with open(path, newline="") as file:
            rows = [r for r in csv.DictReader(file) if int(r["step"]) < row["step"]]
    rows.append(row)
    fields = list(dict.fromkeys(key for r in rows for key in r))
    table = io.StringIO()
    writer = csv.DictWriter(table, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, table.getvalue())
    draw_curves(rows, folder / "curves.svg")


def draw_curves(rows: list[dict], path) -> None:
    """Draws loss, WER and CER over the passes as an SVG picture; does nothing if matplotlib is not installed.

    Args:
        rows: of `metrics.csv`, one for each pass.
        path: of the picture.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    passes = [int(row["pass"]) for row in rows]
    left.plot(passes, [float(row["loss"]) for row in rows], marker=".", label="training loss, nats a character")
    for key in ("wer", "cer"):
        if all(row.get(key) not in (None, "") for row in rows):
            right.plot(passes, [float(row[key]) for row in rows], marker=".", label=f"{key.upper()}, %")
    for axes in (left, right):
        axes.set_xlabel("pass")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right") if axes.lines else None
    figure.savefig(path, format="svg")
