"""The timeline component: waveform, spectrogram, emissions and words on one time axis.

Drawing and gestures are in `ui/static/timeline.js`; what is drawn comes as tiles, the first with the value, later ones
through `server.tile`. The value holds a token, not a path to state: it opens the visitor's own clip and no other.
"""

import gradio as gr

from ui.service.clip import Clip, ClipRegistry
from ui.widgets.theme import STATIC
from ui.widgets.tiles import LEVEL_RANGE_DB, band_hz, tile

OVERVIEW_COLUMNS = 1200

TEMPLATE = """
<div class="timeline" data-part="all">
<div class="tl-bar">
  <button type="button" class="tl-play" data-part="play" aria-label="Play"><span></span></button>
  <span class="tl-time" data-part="time">0:00.0</span>
  <label class="tl-rate"><span class="unseen">Speed</span>
    <select data-part="rate" aria-label="Speed">
      <option value="0.5">0.5×</option><option value="0.75">0.75×</option>
      <option value="1" selected>1×</option><option value="1.5">1.5×</option>
    </select></label>
  <span class="tl-space"></span>
  <button type="button" data-part="zoom-out" aria-label="Zoom out">−</button>
  <button type="button" data-part="zoom-in" aria-label="Zoom in">+</button>
  <button type="button" data-part="zoom-all" aria-label="All of the recording">All</button>
</div>
<div class="tl-frame" data-part="frame" tabindex="0" role="slider" aria-label="Position in the recording"
     aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"><canvas data-part="canvas"></canvas></div>
<div class="tl-readout" data-part="readout"
     data-hint="Point at the picture or tap it to read its values. Drag to pan, pinch or Ctrl + wheel to zoom in to
     letters and words; keys: arrows, + and −, space."></div>
</div>
"""


def timeline(registry: ClipRegistry, **options) -> gr.HTML:
    """A component that shows one clip. Update it with `timeline_value(clip)`, or None for nothing."""

    def tile_of(request: dict) -> dict | None:
        return requested_tile(registry, request)

    tile_of.__name__ = "tile"  # the name that the script calls
    return gr.HTML(
        html_template=TEMPLATE,
        css_template=(STATIC / "timeline.css").read_text("utf-8"),
        js_on_load=(STATIC / "timeline.js").read_text("utf-8"),
        server_functions=[tile_of],
        apply_default_css=False,
        **options,
    )


def timeline_value(clip: Clip | None) -> dict | None:
    """What the script needs of a clip: where its sound is, its tokens, and the tile of the whole."""
    if clip is None:
        return None
    return {
        "token": clip.token,
        "audio": str(clip.sound.path),
        "seconds": clip.seconds,
        "tokens": list(clip.tokens),
        "band_hz": [round(hz) for hz in band_hz(clip.sound.sample_rate)],
        "level_range": LEVEL_RANGE_DB,
        "tile": tile(clip, 0, clip.seconds, OVERVIEW_COLUMNS),
    }


def requested_tile(registry: ClipRegistry, request: dict) -> dict | None:
    """A tile for the page, which is not trusted: an unknown token or an odd number gives None."""
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
