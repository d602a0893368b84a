"""The timeline component: waveform, spectrogram, emissions and words on one time axis.

`ui/static/timeline.js` draws and handles gestures. The data come as tiles: the first one with the component's value,
later ones through `server.tile`. The value contains a token that gives access to the visitor's own clip only.
"""

import gradio as gr

from ui.service.clip import Clip, ClipRegistry
from ui.widgets.theme import STATIC
from ui.widgets.tiles import LEVEL_RANGE_DB, band_hz, tile

OVERVIEW_COLUMNS = 1200  # of the first tile, which shows the whole recording

TEMPLATE = """
<div class="unseen" role="status" data-part="announcement"></div>
<div class="timeline" data-part="all">
<div class="tl-bar">
  <button type="button" class="tl-play" data-part="play" aria-label="Play"><span></span></button>
  <span class="tl-time" data-part="time">0:00.0</span>
  <label class="tl-rate"><span class="unseen">Speed</span>
    <select data-part="rate" aria-label="Speed">
      <option value="0.5">0.5×</option><option value="0.75">0.75×</option>
      <option value="1" selected>1×</option><option value="1.5">1.5×</option>
    </select></label>
  <span class="tl-zoom">
    <button type="button" data-part="zoom-out" aria-label="Zoom out">−</button>
    <button type="button" data-part="zoom-in" aria-label="Zoom in">+</button>
    <button type="button" data-part="zoom-all" aria-label="All of the recording">All</button>
  </span>
</div>
<div class="tl-frame" data-part="frame" tabindex="0" role="slider" aria-label="Position in the recording"
     aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"><canvas data-part="canvas"></canvas></div>
<div class="tl-readout" data-part="readout"
     data-hint="Point or tap to read values; a click also moves the playback position, and plays a word below. Drag to
     pan, pinch or Ctrl + wheel to zoom. Keys: space plays, arrows move, + and − zoom, 0 shows everything."></div>
</div>
"""


def timeline(registry: ClipRegistry, **options) -> gr.HTML:
    """A component that shows one clip. Its value is `timeline_value(clip)`, or None to show nothing."""

    def tile_of(request: dict) -> dict | None:
        return requested_tile(registry, request)

    tile_of.__name__ = "tile"  # the script calls it `server.tile`
    return gr.HTML(
        html_template=TEMPLATE,
        css_template=(STATIC / "timeline.css").read_text("utf-8"),
        js_on_load=(STATIC / "timeline.js").read_text("utf-8"),
        server_functions=[tile_of],
        apply_default_css=False,
        **options,
    )


def timeline_value(clip: Clip | None) -> dict | None:
    """The data of a clip for the script: path of the audio, tokens, and the tile of the whole recording."""
    if clip is None:
        return None
    return {
        "token": clip.token,
        "audio": str(clip.audio.path),
        "seconds": clip.seconds,
        "tokens": list(clip.tokens),
        "models": [clip.model, clip.compared.model] if clip.compared else [],
        "compared_tokens": list(clip.compared.tokens) if clip.compared else [],
        "band_hz": [round(hz) for hz in band_hz(clip.audio.sample_rate)],
        "level_range": LEVEL_RANGE_DB,
        "tile": tile(clip, 0, clip.seconds, OVERVIEW_COLUMNS),
    }


def requested_tile(registry: ClipRegistry, request: dict) -> dict | None:
    """A tile for a request, which is not trusted; None if its token is unknown or its numbers make no sense."""
    clip = registry.get(request.get("token")) if isinstance(request, dict) else None
    if clip is None:
        return None
    try:
        start, end, columns = (float(request[name]) for name in ("start", "end", "columns"))
    except (KeyError, TypeError, ValueError):
        return None
    if not all(abs(number) < 1e9 for number in (start, end, columns)):  # also refuses NaN
        return None
    return tile(clip, start, end, int(columns))
