"""The Live tab: speak and see the words appear, those that may still change set apart.

The panel's script (`ui/static/live.js`) has the buttons, the level and the words; sound comes through Gradio's
streaming
microphone, half a second at a time. Chunks go to the visitor's session, which hears them in a thread of its own: a
streamed event that takes longer than its chunk would lose the next one.
"""

from weakref import WeakValueDictionary

import gradio as gr

from ui.service.engine import Engine
from ui.service.exports import FORMATS
from ui.service.live_session import LiveSession
from ui.service.requests import Limits, explain, headline
from ui.tabs.transcribe import Transcribe
from ui.widgets.events import QUIET
from ui.widgets.markup import Html, tag
from ui.widgets.theme import STATIC
from ui.widgets.words import level

CHUNK_SECONDS = 0.5  # what the browser sends at a time
STREAM_SECONDS = 1800  # one press of Start; a page left open in a drawer ends here
VISITORS = 4  # who may speak at once: each costs about a tenth of a core
SENT_WORDS = 60  # with every chunk, the latest final ones; enough to bridge updates that the browser leaves out
WAIT_SECONDS = 0.3  # for words of the chunk that has just come; later ones go with the next

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
<div class="card"><div class="transcript live-words" data-part="words" lang="en" tabindex="0" role="region"
  aria-label="What was said"><p class="hint" data-part="hint">Press Start and speak English. Words appear within a
  second; those in italics may still change.</p><p data-part="line"></p></div></div>
<div class="live-legend"><span><span class="word">final</span></span>
  <span><span class="word mid">unsure</span></span><span><span class="word low">doubtful</span></span>
  <span><span class="word tail">may still change</span></span></div>
</div>
"""


class Live:
    """Builds the tab and wires it.

    Args:
        transcribe: the tab in which a finished recording can be opened.
        tabs: to go there.
    """

    def __init__(self, engine: Engine, limits: Limits, model: gr.State, transcribe: Transcribe, tabs: gr.Tabs):
        self.engine, self.limits, self.model, self.transcribe, self.tabs = engine, limits, model, transcribe, tabs
        self.session = gr.State(None, time_to_live=3600, delete_callback=_close)
        self._sessions: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()  # by Gradio's session
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
            "sound stays on the machine that runs this page and is deleted when you leave.",
            class_="small",
        )

    def _wire(self) -> None:
        self.microphone.stream(
            self._hear,
            [self.microphone, self.session, self.model],
            [self.panel, self.session],
            stream_every=CHUNK_SECONDS,
            time_limit=STREAM_SECONDS,
            concurrency_limit=VISITORS,
            concurrency_id="live",
            api_visibility="private",
            show_progress="hidden",
        )
        shown = [self.panel, self.session, self.after, *self.downloads]
        self.panel.click(self._act, self.session, shown, concurrency_limit=None, **QUIET)
        self.open.click(lambda: gr.Tabs(selected="transcribe"), None, self.tabs, queue=False, **QUIET)
        self.transcribe.on(self.open.click, self._open, [self.session, *self.transcribe.inputs])

    def _hear(self, chunk, session: LiveSession | None, model, request: gr.Request):
        """Half a second of sound; the words so far."""
        if session is None or session.phase in ("stopped", "closed"):
            session = LiveSession(self.engine, model, self.limits)
            self._sessions[request.session_hash] = session
        if chunk is not None:
            session.push(chunk[1], chunk[0], wait_seconds=WAIT_SECONDS)
        return shown(session), session

    def _act(self, session: LiveSession | None, event: gr.EventData):
        """Pause, stop or clear, as the panel's script says."""
        wanted = getattr(event, "do", None)
        hide = [gr.update(visible=False), *(None for _ in self.downloads)]
        if session is None or wanted == "clear" or session.phase == "closed":
            _close(session)
            return [EMPTY, None, *hide]
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
        if session is None or not session.recording_path:  # another one has begun
            yield self.transcribe.unchanged()
            return
        yield from self.transcribe.open(session.recording_path, "Live recording", *values)

    def leave(self, request: gr.Request) -> None:
        """The visitor has left: nothing of his is heard any more, and his recording goes."""
        _close(self._sessions.pop(request.session_hash, None))


TIME_LIMIT = ("The time is up", f"One take lasts {STREAM_SECONDS // 60} minutes. Press Go on for another.", "warning")
EMPTY = {"phase": "idle", "id": "", "seconds": 0, "delay": None, "first": 0, "final": [], "partial": []}


def shown(session: LiveSession, message: tuple[str, str, str] | None = None) -> dict:
    """What the panel needs: the latest words and how things stand."""
    view = session.view()
    first = 0 if view.phase in ("paused", "stopped") else max(0, len(view.final) - SENT_WORDS)
    return {
        "phase": view.phase,
        "id": session.id,
        "seconds": view.seconds,
        "delay": view.delay_seconds,
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
