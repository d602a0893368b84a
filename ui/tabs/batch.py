"""The Batch tab: many files, a table that fills as they finish, one zip of transcripts.

A file that fails does not stop the others.
"""

import json
import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from asr_core.errors import AudioError, Cancelled
from ui.service.clip import SPOKEN, WRITTEN
from ui.service.engine import Engine
from ui.service.exports import FORMATS, content, safe_stem
from ui.service.jobs import BackgroundJob, CancelFlag, CurrentRequest
from ui.service.requests import Limits, explain, logged, read_audio
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, clock, join, notice, percent, table, tag
from ui.widgets.uploads import FILE_TYPES, show_refused, waiting
from ui.widgets.words import notes
from ui.widgets.written import form_choice

INTERRUPTED = notice("The batch was interrupted", "What had been transcribed until then is below.", kind="warning")


@dataclass
class Row:
    """One file of a batch. `state` is "waiting", "working", "done", "failed" or "skipped"."""

    path: str
    name: str
    state: str = "waiting"
    transcript: object = None
    error: str = ""
    form: str = WRITTEN
    progress: float = 0.0

    @property
    def text(self) -> str:
        return self.transcript.text if self.form == SPOKEN else self.transcript.written_text

    def cells(self) -> tuple:
        if self.transcript is not None:
            words = self.transcript.words
            sure = percent(self.transcript.confidence) if words else ""
            text = join([self.text or "(no speech)", notes(self.transcript)])
            return self.name, text, clock(self.transcript.seconds), sure
        working = f"transcribing… {percent(self.progress)}"
        state = {"waiting": "waiting", "working": working, "skipped": "not done"}.get(self.state)
        return self.name, tag("span", self.error, class_="bad") if self.error else state, "", ""


class Batch:
    """The tab. The state of a batch lies in the generator that runs it."""

    def __init__(self, engine: Engine, limits: Limits, model: gr.State):
        self.engine, self.limits = engine, limits
        running, rows = gr.State(CurrentRequest()), gr.State([])
        gr.HTML(
            tag(
                "p",
                "Many recordings at once. The table fills as they finish; take all transcripts away in one zip.",
                class_="lead",
            )
        )
        files = gr.File(
            label="Drop recordings or videos",
            file_count="multiple",
            file_types=FILE_TYPES,
            type="filepath",
            height=180,
            elem_id="batch-files",
        )
        gr.HTML(
            tag(
                "p",
                f"At most {limits.batch_files} files, {limits.file_megabytes} MB each, "
                f"{limits.batch_seconds / 3600:g} hours together.",
                class_="small",
            )
        )
        form = form_choice(elem_id="batch-form")
        with gr.Row():
            start = gr.Button("Transcribe all", variant="primary", scale=0, min_width=180, elem_id="batch-start")
            stop = gr.Button("Stop", variant="stop", visible=False, scale=0, min_width=120, elem_id="batch-stop")
            archive = gr.DownloadButton("Download zip", visible=False, scale=0, min_width=180, elem_id="batch-zip")
        result = gr.HTML(notice("No files yet", "Drop some above and press “Transcribe all”."), elem_id="batch-table")
        waits = waiting("Your batch is in the queue; it starts when the batches before it have ended.")
        show_waiting = "(shown) => document.querySelector('#batch-stop') ? shown : " + json.dumps(waits)
        start.click(None, result, result, js=show_waiting, queue=False, **QUIET)
        start.click(
            self._run,
            [files, model, form, running],
            [result, archive, stop, rows],
            concurrency_limit=1,
            concurrency_id="batch",
            trigger_mode="once",
            **QUIET,
        ).failure(None, result, result, js=show_refused("<table", INTERRUPTED), queue=False, **QUIET)
        form.input(self._change_form, [rows, form], [result, archive], **QUIET)
        stop.click(lambda running: running.flag.set(), running, None, queue=False, api_visibility="private")

    def _run(self, paths, model, form, running):
        nothing = gr.update(visible=False, value=None)
        if not paths:
            yield notice("No files yet", "Drop some above first."), nothing, gr.update(visible=False), []
            return
        if len(paths) > self.limits.batch_files:
            message = f"{len(paths)} files were given and the limit is {self.limits.batch_files}: split the batch."
            yield notice("Too many files", message, kind="error"), nothing, gr.update(visible=False), []
            return
        cancel = running.begin()
        rows = [Row(path, Path(path).name, form=form) for path in paths]
        for _ in transcribe_all(rows, self.engine, self.limits, model, cancel):
            yield batch_table(rows), nothing, gr.update(visible=True), rows
        for finished, zipped in self._finished(rows):
            yield finished, zipped, gr.update(visible=False), rows

    def _change_form(self, rows: list[Row], form: str):
        """Shows the rows, those of a running batch too, in the other form; writes the zip of a finished one again."""
        for row in rows:
            row.form = form
        if not rows or any(row.state in ("waiting", "working") for row in rows):
            yield batch_table(rows) if rows else gr.skip(), gr.skip()
            return
        yield from self._finished(rows)

    def _finished(self, rows: list[Row]):
        """Yields the table and the zip of a finished batch once, while the zip exists: Gradio copies it."""
        done = [row for row in rows if row.transcript is not None]
        with tempfile.TemporaryDirectory(prefix="batch-") as folder:
            try:
                path = str(write_zip(done, Path(folder))) if done else None
            except OSError as error:
                fault = notice("There is no zip of the transcripts", explain(error), kind="error")
                yield join([fault, batch_table(rows)]), gr.update(visible=False, value=None)
                return
            yield batch_table(rows), gr.update(visible=bool(done), value=path)


def transcribe_all(rows: list[Row], engine: Engine, limits: Limits, model=None, cancel=None):
    """Transcribes the files one after another into their rows; yields after every change.

    If the generator is closed before its end, because the visitor has left, the running file is cancelled.
    """
    seconds, cancel = 0.0, cancel or CancelFlag()

    def transcribe(path: str, progress):
        nonlocal seconds
        with logged("batch") as facts:
            recognizer = engine.recognizer(model)
            audio = read_audio(path, recognizer, limits)
            facts["audio_seconds"] = round(audio.seconds, 2)
            if seconds + audio.seconds > limits.batch_seconds:
                hours = limits.batch_seconds / 3600
                raise AudioError(
                    f"With this file the batch would have more than {hours:g} hours: put it in another one."
                )
            seconds += audio.seconds
            return recognizer.transcribe(audio, progress=progress, cancel=cancel)

    yield
    for row in rows:
        if cancel.is_set():
            row.state = "skipped"
            continue
        row.state = "working"
        yield
        try:
            job = BackgroundJob(partial(transcribe, row.path), cancel)
            for row.progress in job:
                yield
            row.transcript, row.state = job.result, "done"
        except Cancelled:
            row.state = "skipped"
        except Exception as error:
            row.state, row.error = "failed", explain(error)
        yield


def batch_table(rows: list[Row]) -> Html:
    finished = sum(row.state in ("done", "failed") for row in rows)
    failed = sum(row.state == "failed" for row in rows)
    summary = f"{finished} of {len(rows)} files finished" + (f", {failed} of them failed" if failed else "")
    return tag(
        "div",
        tag("p", summary, class_="small", role="status"),
        table(["File", "Text", "Length", "Confidence"], [row.cells() for row in rows], caption="Batch", numeric=[2, 3]),
    )


def write_zip(rows: list[Row], folder: Path) -> Path:
    """Writes the transcripts in all formats to a zip; files of the same name get a number."""
    path = folder / "transcripts.zip"
    taken: set[str] = set()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            stem = base = safe_stem(row.name)
            number = 1
            while stem in taken:
                number += 1
                stem = f"{base}-{number}"
            taken.add(stem)
            for extension in FORMATS:
                text = content(row.transcript, extension, file=row.name, text=row.form)
                archive.writestr(f"{extension}/{stem}.{extension}", text)
    return path
