"""What a run looks like: TensorBoard events while it goes on, learning curves as a picture after every pass."""

from pathlib import Path


class EventLog:
    """Scalars for TensorBoard, where it is installed; `tensorboard --logdir runs` shows them.

    Args:
        folder: of the run.
        step: from which on events count; a resumed run hides what it repeats.
    """

    def __init__(self, folder, step: int):
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            self._writer = None
            return
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(Path(folder) / "events"))
        if step:
            self._writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if self._writer is None:
            return
        import time

        values = [self._summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
        self._writer.add_event(
            self._event(step=step, wall_time=time.time(), summary=self._summary(value=values))
        )
        self._writer.flush()


def draw_curves(rows: list[dict], path) -> None:
    """Loss, WER and CER over the passes, as an SVG picture; nothing where matplotlib is not installed.

    Args:
        rows: of `metrics.csv`, one a pass.
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
