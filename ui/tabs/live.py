"""The Live tab: the visitor speaks, and the words appear; partial words are set apart from final ones.

The script of the panel (`ui/static/live.js`) draws the buttons, the level and the words. Audio comes from Gradio's
streaming microphone in chunks of half a second. The visitor's `LiveSession` transcribes them in a thread of its own,
because the next chunk waits while a streaming event is still running.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import gradio as gr

from ui.service.engine import Engine
from ui.service.exports import FORMATS
from ui.service.live_session import LiveSession
from ui.service.requests import Limits, explain, headline
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, tag
from ui.widgets.theme import STATIC
from ui.widgets.words import level
from ui.widgets.written import form_choice

CHUNK_SECONDS = 0.5  # of audio that the browser sends at a time
STREAM_SECONDS = 1800  # from Start to the end of a take, so that a page that was left open stops recording
MAX_SPEAKERS = 4  # visitors who may record at the same time
SENT_WORDS = 60  # latest final words sent with every update, so that the browser may skip some updates
RETURN_SECONDS = 60.0  # in which a visitor whose connection broke may come back to the recording
WAIT_SECONDS = 0.3  # for the words of the latest chunk; words that come later are sent with the next chunk

TEMPLATE = """
<div class="live" data-part="all" data-mic="off" data-text="">
<div class="live-bar">
  <button type="button" class="plain-button live-start" data-part="start">Start</button>
  <button type="button" class="plain-button" data-part="pause" disabled>Pause</button>
  <button type="button" class="plain-button" data-part="stop" disabled>Stop</button>
  <button type="button" class="plain-button" data-part="clear" disabled>Clear</button>
  <span class="live-space"></span>
  <button type="button" class="plain-button" data-part="copy" data-do="copy" disabled>Copy text</button>
</div>
<div class="live-state">
  <span class="live-dot" data-part="state" role="status">Ready</span>
  <span>Time <b data-part="seconds">0:00</b></span>
  <span class="live-meter" data-part="meter">Level <span><i data-part="level"></i></span></span>
  <span>Delay <b data-part="delay">–</b></span>
</div>
<div class="notice" data-part="notice" hidden></div>
<div class="card"><div class="transcript live-words" data-part="words" tabindex="0" role="region"
  aria-label="Transcript"><p class="hint" data-part="hint">Press Start and speak. Words appear within a second;
  those in italics may still change.</p><p data-part="line" dir="auto"></p></div></div>
<div class="live-legend"><span><span class="word">final</span></span>
  <span><span class="word mid">unsure</span></span><span><span class="word low">doubtful</span></span>
  <span><span class="word tail">may still change</span></span></div>
</div>
"""


class Opener(Protocol):
    """What this tab uses of Transcribe, in which a finished recording can be opened."""

    inputs: list

    def open(self, path: str | None, name: str, *values) -> Iterator[list]: ...

    def on(self, event: Callable, opens: Callable, inputs: list) -> None: ...

    def empty_inputs(self, event: Callable) -> None: ...

    def unchanged(self) -> list: ...


class Live:
    """The tab.

    Args:
        transcribe: the tab in which a finished recording can be opened.
        tabs: of the page, to switch to that tab.
    """

    def __init__(self, engine: Engine, limits: Limits, model: gr.State, transcribe: Opener, tabs: gr.Tabs):
        self.engine, self.limits, self.model, self.transcribe, self.tabs = engine, limits, model, transcribe, tabs
        self.session = gr.State(None, time_to_live=4 * 3600, delete_callback=_close)
        self._sessions: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()  # by the hash of Gradio's session
        self._layout()
        self._wire()

    def _layout(self) -> None:
        self.panel = gr.HTML(
            html_template=TEMPLATE,
            css_template=(STATIC / "live.css").read_text("utf-8"),
            js_on_load=(STATIC / "live.js").read_text("utf-8"),
            apply_default_css=False,
            elem_id="live",
        )
        self.microphone = gr.Audio(
            sources=["microphone"], streaming=True, type="numpy", visible="hidden", elem_id="live-microphone"
        )
        self.microphone.preprocess = deleting(self.microphone.preprocess)
        self.form = form_choice(elem_id="live-form")
        gr.HTML(self._limits_line())
        with gr.Row(visible=False, elem_id="live-after") as self.after:
            self.downloads = [
                gr.DownloadButton(f"Download {name}", size="sm", elem_id=f"live-download-{name}", min_width=120)
                for name in FORMATS
            ]
            self.open = gr.Button("Open in Transcribe", variant="primary", size="sm", elem_id="live-open")

    def _limits_line(self) -> Html:
        return tag(
            "p",
            f"Up to {STREAM_SECONDS // 60} minutes at a time, {self.limits.audio_seconds / 3600:g} hours in all. The "
            "audio stays on the machine that runs this page and is deleted a minute after you leave.",
            class_="small",
        )

    def _wire(self) -> None:
        self.microphone.stream(
            self._receive,
            [self.microphone, self.session, self.model, self.form],
            [self.panel, self.session],
            stream_every=CHUNK_SECONDS,
            time_limit=STREAM_SECONDS,
            concurrency_limit=MAX_SPEAKERS,
            concurrency_id="live",
            api_visibility="private",
            show_progress="hidden",
        )
        shown = [self.panel, self.session, self.after, *self.downloads]
        self.form.input(self._change_form, [self.session, self.form], [self.panel, *self.downloads], **QUIET)
        self.panel.click(self._act, self.session, shown, concurrency_limit=None, **QUIET)
        self.open.click(lambda: gr.Tabs(selected="transcribe"), None, self.tabs, queue=False, **QUIET)
        self.transcribe.on(self.open.click, self._open, [self.session, *self.transcribe.inputs])
        self.transcribe.empty_inputs(self.open.click)

    def _change_form(self, session: LiveSession | None, form: str):
        """Shows the words, and writes the downloads of a finished recording, in another form."""
        if session is None:
            return [gr.skip() for _ in range(1 + len(self.downloads))]
        session.form = form
        paths = [str(path) for path in session.files()] or [gr.skip() for _ in self.downloads]
        return [shown(session, whole=True), *paths]

    def _receive(self, chunk, session: LiveSession | None, model, form, request: gr.Request):
        """Takes a chunk of audio; returns the words so far."""
        if session is not None and session.phase == "closed":
            return LOST, session
        if session is None or session.phase == "stopped":
            session = LiveSession(self.engine, model, self.limits)
            session.form = form
            self._sessions[request.session_hash] = session
        if chunk is not None:
            session.push(chunk[1], chunk[0], wait_seconds=WAIT_SECONDS)
        other = session.model != model and not session.view().notice
        return shown(session, OTHER_MODEL if other else None), session

    def _act(self, session: LiveSession | None, event: gr.EventData):
        """Pauses, stops or clears the recording, as the panel's script asks."""
        wanted = getattr(event, "do", None)
        hide = [gr.update(visible=False), *(None for _ in self.downloads)]
        if wanted == "clear":
            _close(session)
            return [EMPTY, None, *hide]
        if session is None or session.phase == "closed":
            return [LOST, session, *hide]
        try:
            session.pause()
            if wanted != "stop":
                ended = session.seconds >= STREAM_SECONDS - 5 and getattr(event, "by", None) == "limit"
                return [shown(session, TIME_LIMIT if ended else None), session, *hide]
            paths = [str(path) for path in session.stop()]
            update = gr.update(visible=bool(paths))
            return [shown(session), session, update, *(paths or (None for _ in self.downloads))]
        except Exception as error:
            return [shown(session, (headline(error), explain(error), "error")), session, *hide]

    def _open(self, session: LiveSession | None, *values):
        if session is None or not session.recording_path:  # another recording has begun
            yield self.transcribe.unchanged()
            return
        yield from self.transcribe.open(session.recording_path, "Live recording", *values)

    def leave(self, request: gr.Request) -> None:
        """Closes the session of a visitor who has left, and deletes the recording, after RETURN_SECONDS.

        A visitor whose connection only broke may go on until then: Gradio cannot distinguish the two.
        """
        session = self._sessions.get(request.session_hash)
        if session is not None:
            timer = threading.Timer(RETURN_SECONDS, _close_unless_used, (session, time.monotonic()))
            timer.daemon = True
            timer.start()


OTHER_MODEL = (
    "You have chosen another model",
    "This recording continues with the model that it began with. To use the other one, press Clear, then Start.",
    "warning",
)
TIME_LIMIT = (
    "Paused",
    f"Recording pauses after {STREAM_SECONDS // 60} minutes: press Go on to continue.",
    "warning",
)
LOST = {"phase": "lost"}
EMPTY = {"phase": "idle", "id": "", "seconds": 0, "delay": None, "first": 0, "final": [], "partial": []}


def shown(session: LiveSession, message: tuple[str, str, str] | None = None, whole: bool = False) -> dict:
    """The value of the panel: the state of the session and its latest words, or all of them if `whole`."""
    view = session.view()
    first = 0 if whole or view.phase in ("paused", "stopped") else max(0, len(view.final) - SENT_WORDS)
    return {
        "phase": view.phase,
        "id": f"{session.id} {session.form}",
        "seconds": view.seconds,
        "delay": view.delay_seconds,
        "separator": session.separator,
        "first": first,
        "final": [_word(word) for word in view.final[first:]],
        "partial": [_word(word) for word in view.partial],
        "notice": message or view.notice,
    }


def _word(word) -> list:
    return [word.text, round(word.start, 2), round(word.end, 2), round(word.confidence, 3), level(word.confidence)]


def _close(session: LiveSession | None) -> None:
    if session is not None:
        session.close()


def _close_unless_used(session: LiveSession, since: float) -> None:
    if session.used <= since:
        session.close()


def deleting(preprocess: Callable) -> Callable:
    """A component's `preprocess` that deletes the uploaded file when it has been read, and its folder.

    A file without a sound, as of a muted microphone, remains: all that are equally long are the same file to Gradio.
    """

    def read(payload):
        chunk = None
        try:
            return (chunk := preprocess(payload))
        finally:
            if payload is not None and payload.path and (chunk is None or chunk[1].any()):
                path = Path(payload.path)
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it holds something else
                    path.parent.rmdir()

    return read
