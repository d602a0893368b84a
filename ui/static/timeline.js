// The timeline: waveform, spectrogram, emissions and words on one time axis, drawn on one canvas.
// Runs once per component, with Gradio's `element`, `props`, `server` and `watch`. The server reduces the part
// in view to a tile with as many columns as there are pixels (see ui/widgets/tiles.py).
const $ = (name) => element.querySelector(`[data-part=${name}]`);
const frame = $("frame"), canvas = $("canvas"), readout = $("readout"), playButton = $("play"), timeLabel = $("time");
const rate = $("rate"), announcement = $("announcement");
const screen = canvas.getContext("2d");
const backdrop = document.createElement("canvas"); // all lanes, without the playhead and the pointer's lines
const context = backdrop.getContext("2d");
const player = window.asr.player;

const LANES = [ // [name, height in CSS pixels, label]
  ["ruler", 20, ""], ["wave", 70, "Waveform"], ["spectrogram", 132, "Spectrogram"],
];
const MODEL_LANES = [["emissions", 104, "Emissions"], ["blank", 14, "Blank"], ["words", 30, "Words"]];
const GAP = 6, LABEL_HEIGHT = 18;
let LANE = {}, height = 0; // name -> {top, size, label} of each lane; height of all of them

// The lanes of the recording, then those of each model: "emissions", "blank", "words", and of a second one "emissions1" ...
function layOut(models) {
  const lanes = [...LANES];
  for (const [number, model] of (models.length ? models : [""]).entries())
    for (const [name, size, label] of MODEL_LANES)
      lanes.push([laneName(name, number), size, model && name !== "blank" ? `${label}: ${model}` : label]);
  LANE = {};
  height = 0;
  for (const [name, size, label] of lanes) {
    if (label) height += LABEL_HEIGHT;
    LANE[name] = { top: height, size, label };
    height += size + GAP;
  }
  canvas.style.height = `${height}px`;
}
const laneName = (name, number) => (number ? `${name}${number}` : name);
layOut([]);
const MIN_SPAN = 0.08; // seconds that are shown at the highest zoom: two or three steps of the network
const LETTER_WIDTH = 9; // pixels between two letters at least
const MIN_STEP_WIDTH = 2; // pixels of a step, for letters to be written: in narrower ones few of them would have room
const WORD_WIDTH = 12; // mean pixels of a word, for all word edges to be drawn
const MIN_PEAK = 6; // of 127, that fills the waveform lane: silence stays flat
const LETTER_PROBABILITY = 0.15; // of a token, for its letter to be written

let clip = null; // the component's value
let view = { start: 0, end: 1 };
let overview = null, detail = null; // decoded tiles
let decoded = 0; // number of tiles so far
let painted = ""; // what `backdrop` shows
let hover = null; // {x, y} in CSS pixels
let waiting = 0, asked = 0;
let colours = {}, fonts = [];
let loudest = 127; // peak of the clip, of 127: it fills the lane, so that quiet recordings are visible too

// ---- data ------------------------------------------------------------------------------------------------------
function decode(tile) {
  const image = document.createElement("canvas");
  image.width = tile.spectrogram_columns;
  image.height = tile.bands;
  return {
    ...tile,
    serial: ++decoded,
    peaks: new Int8Array(window.asr.bytes(tile.peaks).buffer),
    spectrogram: window.asr.bytes(tile.spectrogram),
    image, painted: "",
    models: [tile, ...(tile.compared ? [tile.compared] : [])].map(decodeModel),
  };
}

function decodeModel({ emissions, words, word_count }, number) {
  const arrays = ["probabilities", "blank"].map((name) => [name, window.asr.bytes(emissions[name])]);
  arrays.push(["tokens", new Uint16Array(window.asr.bytes(emissions.tokens).buffer)]);
  const texts = number ? clip.compared_tokens : clip.tokens;
  return { number, texts, words, word_count, emissions: { ...emissions, ...Object.fromEntries(arrays) } };
}

function take(value) {
  const same = clip && value && clip.audio === value.audio;
  if (clip && !same) player.close();
  clip = value && value.token ? value : null;
  $("all").classList.toggle("empty", !clip);
  detail = null;
  hover = null;
  layOut(clip ? clip.models : []);
  overview = clip ? decode(clip.tile) : null;
  if (clip) loudest = Math.max(MIN_PEAK, ...overview.peaks.map(Math.abs));
  if (clip && !same) view = { start: 0, end: clip.seconds };
  const words = clip?.tile.word_count;
  announcement.textContent = clip ? `Transcribed: ${words} word${words === 1 ? "" : "s"}` : "";
  if (clip) {
    frame.setAttribute("aria-valuemax", clip.seconds.toFixed(2));
    if (same) askDetail();
  }
  draw();
}

// The detailed tile is requested once the view has not changed for a moment; until then the overview is scaled.
function askDetail() {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    if (!clip || !canvas.clientWidth || view.end - view.start > 0.95 * clip.seconds) return;
    const ticket = ++asked, token = clip.token;
    const margin = (view.end - view.start) * 0.25; // so that a short pan needs no new tile
    const start = Math.max(0, view.start - margin), end = Math.min(clip.seconds, view.end + margin);
    const pixels = canvas.clientWidth * (end - start) / (view.end - view.start);
    try {
      const tile = await server.tile({ token, start, end, columns: Math.round(pixels * Math.min(devicePixelRatio, 2)) });
      if (tile && ticket === asked && clip && clip.token === token) {
        detail = decode(tile);
        draw();
      }
    } catch (error) {
      console.warn("The timeline has no detail here", error);
    }
  }, 90);
}

function tiles() { // coarse first, fine over it
  return detail && detail.end > view.start && detail.start < view.end ? [overview, detail] : [overview];
}
function best() {
  return detail && detail.start <= view.start + 1e-6 && detail.end >= view.end - 1e-6 ? detail : overview;
}

// ---- geometry --------------------------------------------------------------------------------------------------
const width = () => canvas.clientWidth || 1;
const toX = (seconds) => ((seconds - view.start) / (view.end - view.start)) * width();
const toSeconds = (x) => view.start + (x / width()) * (view.end - view.start);

function setView(start, end) {
  const span = Math.min(clip.seconds, Math.max(MIN_SPAN, end - start));
  start = Math.min(Math.max(0, start), clip.seconds - span);
  view = { start, end: start + span };
  askDetail();
  showReadout();
  draw();
}
function zoom(factor, x = width() / 2) {
  const at = toSeconds(x), span = (view.end - view.start) * factor;
  setView(at - (x / width()) * span, at + (1 - x / width()) * span);
}
const pan = (share) => setView(view.start + share * (view.end - view.start), view.end + share * (view.end - view.start));

// ---- drawing ---------------------------------------------------------------------------------------------------
function readColours() {
  const style = getComputedStyle(element);
  for (const name of ["ink", "muted", "line", "paper", "accent", "heat-0", "heat-1", "heat-2", "heat-3"])
    colours[name] = style.getPropertyValue(`--tl-${name}`).trim();
  colours.key = Object.values(colours).slice(0, 9).join();
  fonts = ["--tl-font", "--tl-mono"].map((name) => style.getPropertyValue(name));
}

let scheduled = false;
function draw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; paint(); });
}

function paint() {
  if (!clip || !canvas.clientWidth) return;
  readColours();
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const w = width();
  const size = [Math.round(w * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const word = wordAt(best().models[0], playhead());
  const key = [view.start, view.end, ...size, colours.key, ...fonts, overview.serial, detail?.serial, word?.[0]].join();
  if (key !== painted) paintLanes(w, ratio, size);
  painted = key;
  screen.setTransform(1, 0, 0, 1, 0, 0);
  screen.clearRect(0, 0, ...size);
  screen.drawImage(backdrop, 0, 0);
  screen.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (hover) drawHover(w);
  drawPlayhead();
}

function paintLanes(w, ratio, size) {
  [backdrop.width, backdrop.height] = size; // clears it, too
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.textBaseline = "middle";
  drawRuler(w);
  for (const tile of tiles()) {
    drawSpectrogram(tile, w);
    drawWave(tile, w);
  }
  for (const model of best().models) {
    drawEmissions(model, w);
    drawWords(model, w);
  }
  drawLaneLabels();
}

function drawRuler(w) {
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];
  const step = steps.find((s) => (s / (view.end - view.start)) * w > 64) || 3600;
  context.fillStyle = colours.muted;
  context.font = `11px ${font()}`;
  context.textAlign = "left";
  for (let i = Math.ceil(view.start / step); i * step <= view.end; i++) {
    const x = toX(i * step);
    context.fillRect(x, 14, 1, 8);
    const label = window.asr.clock(i * step, step < 0.1 ? 2 : step < 1 ? 1 : 0);
    if (x + 4 + context.measureText(label).width <= w) context.fillText(label, x + 4, 9);
  }
}

function clipTo(tile, lane, w, drawing) {
  context.save();
  context.beginPath();
  const left = Math.max(0, toX(tile.start)), right = Math.min(w, toX(tile.end));
  context.rect(left, lane.top, Math.max(0, right - left), lane.size);
  context.clip();
  drawing();
  context.restore();
}

function drawWave(tile, w) {
  const lane = LANE.wave, middle = lane.top + lane.size / 2;
  clipTo(tile, lane, w, () => {
    context.clearRect(0, lane.top, w, lane.size);
    context.fillStyle = colours.line;
    context.fillRect(0, middle, w, 1);
    context.fillStyle = colours.accent;
    const span = (tile.end - tile.start) / tile.columns;
    const first = Math.max(0, Math.floor((view.start - tile.start) / span));
    const last = Math.min(tile.columns, Math.ceil((view.end - tile.start) / span));
    const bar = Math.max(1, toX(tile.start + span) - toX(tile.start) + 0.3);
    for (let i = first; i < last; i++) {
      const low = tile.peaks[2 * i] / loudest, high = tile.peaks[2 * i + 1] / loudest;
      const top = middle - high * (lane.size / 2), bottom = middle - low * (lane.size / 2);
      context.fillRect(toX(tile.start + i * span), top, bar, Math.max(1, bottom - top));
    }
  });
}

function heat() { // 256 colours between the four of the theme
  const stops = [0, 1, 2, 3].map((i) => colours[`heat-${i}`].match(/\w\w/g).map((h) => parseInt(h, 16)));
  return Array.from({ length: 256 }, (_, v) => {
    const t = (v / 255) * 3, i = Math.min(2, Math.floor(t)), f = t - i;
    return stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * f));
  });
}

function drawSpectrogram(tile, w) {
  if (tile.painted !== colours.key) {
    const map = heat(), pixels = new ImageData(tile.spectrogram_columns, tile.bands);
    for (let column = 0; column < tile.spectrogram_columns; column++)
      for (let band = 0; band < tile.bands; band++) {
        const colour = map[tile.spectrogram[column * tile.bands + band]];
        const at = 4 * ((tile.bands - 1 - band) * tile.spectrogram_columns + column);
        pixels.data.set([...colour, 255], at);
      }
    tile.image.getContext("2d").putImageData(pixels, 0, 0);
    tile.painted = colours.key;
  }
  const lane = LANE.spectrogram;
  clipTo(tile, lane, w, () => {
    context.imageSmoothingEnabled = true;
    const x = toX(tile.start);
    context.drawImage(tile.image, x, lane.top, toX(tile.end) - x, lane.size);
  });
}

function drawEmissions({ emissions: e, texts, number }, w) {
  const area = LANE[laneName("emissions", number)], blank = LANE[laneName("blank", number)];
  const bar = (e.step_seconds / (view.end - view.start)) * w;
  const first = Math.max(0, Math.floor((view.start - e.start) / e.step_seconds));
  const last = Math.min(e.count, Math.ceil((view.end - e.start) / e.step_seconds));
  context.fillStyle = colours.line;
  context.fillRect(0, area.top + area.size, w, 1);
  let written = -LETTER_WIDTH;
  for (let i = first; i < last; i++) {
    const x = toX(e.start + i * e.step_seconds);
    context.globalAlpha = e.blank[i] / 255;
    context.fillStyle = colours.muted;
    context.fillRect(x, blank.top, Math.max(1, bar - (bar > 4 ? 1 : 0)), blank.size);
    for (let k = e.kept - 1; k >= 0; k--) {
      const p = e.probabilities[i * e.kept + k] / 255;
      if (p < 0.02) continue;
      const token = e.tokens[i * e.kept + k], size = p * (area.size - 14);
      context.globalAlpha = k === 0 ? 1 : 0.35;
      context.fillStyle = texts[token] === " " ? colours.muted : colours.accent;
      context.fillRect(x, area.top + area.size - size, Math.max(1, bar - (bar > 4 ? 1 : 0)), size);
      context.globalAlpha = 1;
      const middle = x + bar / 2;
      if (k === 0 && bar >= MIN_STEP_WIDTH && p > LETTER_PROBABILITY && middle - written >= LETTER_WIDTH) {
        written = middle;
        context.fillStyle = colours.ink;
        context.font = `12px ${font(true)}`;
        context.textAlign = "center";
        context.fillText(shown(texts[token]), middle, area.top + area.size - size - 8);
      }
    }
  }
  context.globalAlpha = 1;
}
const shown = (text) => (text === " " ? "\u2423" : text || "\u2205");

function drawWords({ words, word_count, number }, w) {
  const area = LANE[laneName("words", number)];
  context.font = `13px ${font()}`;
  context.textAlign = "center";
  if (!words.length && word_count) {
    context.fillStyle = colours.muted;
    context.fillText(`${word_count} words here; zoom in to read them`, w / 2, area.top + area.size / 2);
    return;
  }
  const now = playhead();
  const inView = words.filter(([start, end]) => end >= view.start && start <= view.end).length;
  const edges = !number && inView * WORD_WIDTH <= w; // closer ones would hide the picture
  for (const [start, end, text] of words) {
    const x = toX(start), right = toX(end);
    if (right < 0 || x > w) continue;
    const playing = !number && now >= start && now < end;
    context.fillStyle = playing ? colours.accent : colours.line;
    context.globalAlpha = playing ? 0.28 : 1;
    context.fillRect(x, playing ? LANE.wave.top : area.top, Math.max(1, right - x - 1), playing ? height - LANE.wave.top - GAP : area.size);
    context.globalAlpha = 0.55;
    context.fillStyle = colours.muted;
    if (edges) context.fillRect(x, LANE.wave.top, 1, area.top - LANE.wave.top);
    context.globalAlpha = 1;
    if (context.measureText(text).width < right - x - 4) {
      context.fillStyle = colours.ink;
      context.fillText(text, (Math.max(0, x) + Math.min(w, right)) / 2, area.top + area.size / 2);
    }
  }
}

function drawLaneLabels() {
  context.font = `600 11px ${font()}`;
  context.textAlign = "left";
  context.fillStyle = colours.muted;
  for (const lane of Object.values(LANE)) context.fillText(lane.label, 0, lane.top - LABEL_HEIGHT / 2 + 1);
}

function drawHover(w) {
  screen.fillStyle = colours.ink;
  screen.globalAlpha = 0.5;
  screen.fillRect(hover.x, LANE.wave.top, 1, height - LANE.wave.top);
  const lane = LANE.spectrogram;
  if (hover.y >= lane.top && hover.y < lane.top + lane.size) screen.fillRect(0, hover.y, w, 1);
  screen.globalAlpha = 1;
}

function drawPlayhead() {
  screen.fillStyle = colours.ink;
  if (playhead() >= 0) screen.fillRect(toX(playhead()) - 1, 0, 2, height);
}
const playhead = () => (player.path === clip.audio ? player.audio.currentTime : -1); // seconds; -1 if another clip plays
const font = (mono) => fonts[mono ? 1 : 0];

// ---- reading off values ----------------------------------------------------------------------------------------
// The model whose lanes are at this height, the first one above them.
const modelAt = (y) => best().models.findLast(({ number }) => !number || y >= LANE[laneName("emissions", number)].top - LABEL_HEIGHT);
const wordAt = (model, seconds) => model.words.find(([start, end]) => seconds >= start && seconds < end);

function describe(x, y) {
  const tile = best(), seconds = toSeconds(x), parts = [["Time", clip.seconds < 60 ? `${seconds.toFixed(2)} s` : window.asr.clock(seconds, 2)]];
  const column = Math.floor(((seconds - tile.start) / (tile.end - tile.start)) * tile.columns);
  const peak = Math.max(Math.abs(tile.peaks[2 * column]), Math.abs(tile.peaks[2 * column + 1])) / 127;
  const area = LANE.spectrogram, model = modelAt(y);
  if (y >= area.top && y < area.top + area.size) {
    const band = Math.min(tile.bands - 1, Math.max(0, Math.floor((1 - (y - area.top) / area.size) * tile.bands)));
    const at = Math.floor(((seconds - tile.start) / (tile.end - tile.start)) * tile.spectrogram_columns);
    const [low, high] = clip.level_range;
    parts.push(["Frequency", `${Math.round(clip.band_hz[band])} Hz`]);
    parts.push(["Level", `${Math.round(low + (tile.spectrogram[at * tile.bands + band] / 255) * (high - low))} dB`]);
  } else {
    parts.push(["Peak", peak > 0 ? `${Math.round(20 * Math.log10(peak))} dB` : "silent"]);
  }
  const word = wordAt(model, seconds);
  if (word) parts.push(["Word", word[2]]);
  const e = model.emissions, i = Math.floor((seconds - e.start) / e.step_seconds);
  if (i >= 0 && i < e.count) {
    const top = [];
    for (let k = 0; k < Math.min(3, e.kept); k++) {
      const p = e.probabilities[i * e.kept + k];
      if (p > 2) top.push(`${shown(model.texts[e.tokens[i * e.kept + k]])} ${percent(p)}`);
    }
    parts.push(["Tokens", top.join("  ") || "none"], ["Blank", percent(e.blank[i])]);
  }
  return parts;
}
const percent = (byte) => `${Math.round(byte / 2.55)}\u2009%`;

function showReadout() {
  readout.replaceChildren();
  if (!clip) return;
  const parts = hover ? describe(hover.x, hover.y) : [];
  if (!parts.length) readout.textContent = readout.dataset.hint;
  for (const [name, value] of parts) {
    const item = document.createElement("span");
    const strong = document.createElement("b");
    strong.textContent = value;
    item.append(`${name} `, strong);
    readout.append(item);
  }
}

// ---- pointer, touch, keys --------------------------------------------------------------------------------------
const pointers = new Map();
let dragged = 0, pinch = null;

function local(event) {
  const box = canvas.getBoundingClientRect();
  return { x: Math.min(Math.max(0, event.clientX - box.left), width() - 0.01), y: event.clientY - box.top };
}

canvas.addEventListener("pointerdown", (event) => {
  if (!clip || event.button > 0) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  dragged = 0;
  if (pointers.size === 2) pinch = { ...spread(), ...view };
});
const spread = () => {
  const [a, b] = [...pointers.values()];
  return { distance: Math.max(20, Math.abs(a.x - b.x)), middle: (a.x + b.x) / 2 };
};
canvas.addEventListener("pointermove", (event) => {
  if (!clip) return;
  const here = local(event), before = pointers.get(event.pointerId);
  hover = here;
  if (before) {
    pointers.set(event.pointerId, here);
    if (pointers.size === 2 && pinch) {
      const now = spread(), span = (pinch.end - pinch.start) * (pinch.distance / now.distance);
      const at = pinch.start + (pinch.middle / width()) * (pinch.end - pinch.start);
      setView(at - (now.middle / width()) * span, at + (1 - now.middle / width()) * span);
      dragged = 99;
    } else {
      dragged += Math.abs(here.x - before.x);
      if (dragged > 4) pan((before.x - here.x) / width());
    }
  }
  showReadout();
  draw();
});
canvas.addEventListener("pointerup", (event) => {
  const here = local(event), single = pointers.size === 1 && dragged <= 4;
  pinch = null;
  if (!pointers.delete(event.pointerId) || !clip || !single) return;
  click(here);
  hover = here; // a finger that taps may not move at all
  showReadout();
  draw();
});
canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); pinch = null; });
canvas.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "touch") return; // what was tapped stays
  hover = null;
  showReadout();
  draw();
});
canvas.addEventListener("dblclick", (event) => clip && zoom(0.4, local(event).x));
canvas.addEventListener("wheel", (event) => {
  if (!clip) return;
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.004), local(event).x);
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) pan((event.deltaX || event.deltaY) / width());
  else return; // a plain wheel scrolls the page
  event.preventDefault();
}, { passive: false });

function click({ x, y }) {
  const seconds = toSeconds(x);
  const word = wordAt(modelAt(y), seconds);
  if (word && y >= LANE.words.top) player.play(clip.audio, Math.max(0, word[0] - 0.05), word[1] + 0.1);
  else player.seek(clip.audio, seconds);
}

frame.addEventListener("keydown", (event) => {
  if (!clip || event.target !== frame || event.ctrlKey || event.metaKey || event.altKey) return;
  const now = player.path === clip.audio ? player.audio.currentTime : 0;
  const step = (view.end - view.start) / 20;
  const keys = {
    " ": () => player.toggle(clip.audio),
    ArrowLeft: () => (event.shiftKey ? pan(-0.2) : player.seek(clip.audio, now - step)),
    ArrowRight: () => (event.shiftKey ? pan(0.2) : player.seek(clip.audio, Math.min(clip.seconds, now + step))),
    Home: () => player.seek(clip.audio, 0),
    End: () => player.seek(clip.audio, clip.seconds),
    "+": () => zoom(0.6, toX(now)), "=": () => zoom(0.6, toX(now)), "-": () => zoom(1.6, toX(now)),
    0: () => setView(0, clip.seconds),
  };
  if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
});

$("zoom-in").addEventListener("click", () => clip && zoom(0.5));
$("zoom-out").addEventListener("click", () => clip && zoom(2));
$("zoom-all").addEventListener("click", () => clip && setView(0, clip.seconds));
playButton.addEventListener("click", () => clip && player.toggle(clip.audio));
rate.addEventListener("change", () => player.setRate(Number(rate.value)));

// ---- the player ------------------------------------------------------------------------------------------------
let followed = 0; // the latest position of the playhead, which the view follows when it moves
function follow({ path, seconds, playing }) {
  if (!document.contains(element)) return player.unsubscribe(follow);
  if (!clip) return;
  const ours = path === clip.audio;
  playButton.setAttribute("aria-label", ours && playing ? "Pause" : "Play");
  playButton.classList.toggle("playing", ours && playing);
  const chosen = String(player.audio.defaultPlaybackRate); // perhaps in the timeline of another tab
  if (rate.value !== chosen) rate.value = chosen;
  const at = ours ? seconds : 0;
  const time = `${window.asr.clock(at)} / ${window.asr.clock(clip.seconds)}`;
  if (timeLabel.textContent !== time) timeLabel.textContent = time;
  if (!(ours && playing)) { // a screen reader would read every change aloud, over the recording
    frame.setAttribute("aria-valuenow", at.toFixed(2));
    frame.setAttribute("aria-valuetext", `${window.asr.clock(at)} of ${window.asr.clock(clip.seconds)}`);
  }
  const span = view.end - view.start, moved = at !== followed;
  followed = at;
  if (ours && moved && !pointers.size && span < clip.seconds * 0.999 && (at < view.start || at > view.end)) setView(at - 0.1 * span, at + 0.9 * span);
  draw();
}
player.subscribe(follow);
const refresh = () => { take(props.value); follow({ path: player.path, seconds: player.audio.currentTime, playing: !player.audio.paused }); showReadout(); };
watch("value", refresh);
new ResizeObserver(() => { askDetail(); draw(); }).observe(canvas);
document.fonts?.ready.then(() => { painted = ""; draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
refresh();
