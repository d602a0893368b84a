// The panel of the Live tab: buttons, level and words. Runs once, with Gradio's `element`, `props`, `trigger` and
// `watch`. Gradio's own streaming microphone, which is hidden, records; this script clicks its buttons. The panel's value
// holds the latest final words, the partial words, and a notice if there is one.
const $ = (name) => element.querySelector(`[data-part=${name}]`);
const box = $("all"), line = $("line"), words = $("words"), notice = $("notice");
const LAST_CHUNK_MS = 700; // recording continues for this long after a stop, so that the last chunk reaches the server
const STOP_MS = 300; // from a click on Gradio's stop button until the microphone has stopped
const QUEUED_MS = 2500; // in the queue before the visitor is notified
const FLOOR_DB = -60; // level at the left end of the meter
const LOST_MS = 10000; // without an update: the connection is lost, or the time limit is reached
const MAX_ATTEMPTS = 60; // to start the recorder: about twenty seconds, for a slow connection
const START_MS = 1500; // at most from a click to the first update
const MIC = "#live-microphone";

let mic = "off"; // off, starting, on, stopping
let phase = "idle"; // of the session on the server: idle, loading, listening, paused, stopped
let id = null, count = 0, tail = []; // of the recording shown: its id, number of final words, nodes of partial words
let incomplete = false; // whether final words before those shown are missing, since the browser skipped an update
let ended = false; // whether the server has lost the recording shown
let updates = 0, updated = 0; // number of updates from the server, and time of the latest one in ms
let refocus = false; // whether the button that had the focus was disabled: the next one that can be pressed gets it
let capture = null, context = null, watcher = 0;

const REFUSED = {
  NotAllowedError: ["The microphone was refused", "Allow it for this page in the address bar of the browser, then press Start again."],
  NotFoundError: ["No microphone was found", "Plug one in or switch it on, then press Start again. A file can be opened in Transcribe."],
  NotReadableError: ["The microphone cannot be read", "Another program may be using it: close that one, then press Start again."],
  Unsupported: ["This browser hands out no microphone here", "Microphones need a page on https or on this machine (localhost). A file can be opened in Transcribe."],
};
const ENDED = [
  "The recording has ended",
  "The connection to the server was interrupted for too long, or nothing was recorded for hours. The audio is deleted; the words so far are still here, and Copy text copies them.",
  "warning",
];

// ---- the microphone --------------------------------------------------------------------------------------------
const button = (...names) => document.querySelector(names.map((name) => `${MIC} .${name}`).join(", "));
const stopRecorder = () => button("stop-button", "spinner-button", "stop-button-paused")?.click();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function start() {
  showNotice(null);
  set("starting");
  try {
    if (!navigator.mediaDevices?.getUserMedia) throw { name: "Unsupported" };
    capture = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    const [title, text] = REFUSED[error.name] || ["The microphone did not start", `The browser says: ${error.message || error.name}.`];
    showNotice(title, text, "error");
    return set("off");
  }
  if (phase === "stopped") { // removes the words and downloads of the previous recording
    trigger("click", { do: "clear" });
    for (let waited = 0; phase === "stopped" && waited < LOST_MS; waited += 50) await pause(50);
  }
  showLevel();
  for (let attempt = 1; !(await record()); attempt++) {
    stopRecorder();
    if (attempt === MAX_ATTEMPTS) {
      release();
      return showNotice("The recorder did not start", "Reload the page and press Start again.", "error");
    }
    await pause(STOP_MS);
  }
  set("on");
  watchMicrophone();
}

// Gradio's recorder downloads its encoder after the page has loaded, and fails if it is started before.
async function record() {
  let broken = false;
  const before = updates;
  const notice = (event) => {
    broken ||= /not a constructor/.test(event.reason?.message);
    if (broken) event.preventDefault();
  };
  window.addEventListener("unhandledrejection", notice);
  button("record-button")?.click();
  for (let waited = 0; waited < START_MS && !broken && updates === before; waited += 50) await pause(50);
  window.removeEventListener("unhandledrejection", notice);
  return !broken;
}

// Detects that Gradio's microphone has stopped by itself (time limit, lost connection) or waits in the queue.
function watchMicrophone() {
  clearInterval(watcher);
  const begun = performance.now();
  watcher = setInterval(() => {
    const waited = performance.now() - begun;
    if (button("spinner-button") && waited > QUEUED_MS && phase === "idle") {
      showNotice("All live sessions are in use", "Other visitors are recording. Words appear here once one of them stops; speech before that is not transcribed.", "warning");
    }
    const lost = phase !== "idle" && performance.now() - Math.max(updated, begun) > LOST_MS;
    if (mic === "on" && waited > QUEUED_MS && (button("record-button") || lost)) {
      stopRecorder();
      release();
      trigger("click", { do: "pause", by: "limit" });
    }
  }, 400);
}

async function halt() {
  set("stopping");
  await pause(LAST_CHUNK_MS);
  stopRecorder();
  await pause(STOP_MS);
  release();
}

function release() {
  clearInterval(watcher);
  capture?.getTracks().forEach((track) => track.stop());
  capture = null;
  context?.close();
  context = null;
  level(0);
  set("off");
}

function showLevel() {
  context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(capture).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const own = context;
  (function draw() {
    if (context !== own) return;
    analyser.getFloatTimeDomainData(samples);
    level(Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length));
    requestAnimationFrame(draw);
  })();
}

function level(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  $("level").style.transform = `scaleX(${Math.min(1, Math.max(0, 1 - db / FLOOR_DB))})`;
  $("meter").classList.toggle("loud", db > -6);
}

// ---- what is shown ---------------------------------------------------------------------------------------------
const STATES = { off: "", starting: "Asking for the microphone…", on: "Listening", stopping: "Finishing…" };
const PHASES = { idle: "Ready", loading: "The model is loading…", listening: "Ready", paused: "Paused", stopped: "Stopped" };

function set(state) {
  const focused = document.activeElement?.dataset?.part;
  mic = state;
  box.dataset.mic = state;
  const off = state === "off", some = count + tail.length > 0;
  $("state").textContent = state === "on" && phase === "loading" ? PHASES.loading : STATES[state] || PHASES[phase];
  $("start").textContent = phase === "paused" ? "Go on" : "Start";
  $("start").disabled = !off;
  $("pause").disabled = state !== "on";
  $("stop").disabled = !(state === "on" || (off && phase === "paused"));
  $("clear").disabled = !off || !(some || phase !== "idle");
  $("copy").disabled = !some;
  $("hint").hidden = some;
  if (["start", "pause", "stop", "clear"].includes(focused) && $(focused).disabled) refocus = true;
  const next = ["pause", "start", "stop"].map($).find((one) => !one.disabled);
  if (refocus && next) {
    refocus = false;
    next.focus();
  }
}

function showNotice(title, text = "", kind = "info") {
  const shown = notice.dataset.shown || "", wanted = title ? title + text : "";
  if (shown === wanted) return;
  notice.dataset.shown = wanted;
  notice.className = `notice ${kind}`;
  notice.hidden = !title;
  notice.setAttribute("role", kind === "error" ? "alert" : "status");
  notice.replaceChildren(...(title ? [paragraph(title, "notice-title"), paragraph(text)] : []));
}

function paragraph(text, kind = "") {
  const made = document.createElement("p");
  made.className = kind;
  made.textContent = text;
  return made;
}

function word([text, start, end, sure, level], kind = "") {
  const made = document.createElement("span");
  made.className = `word ${level} ${kind}`.trim();
  made.textContent = text;
  made.title = kind ? "may still change" : `${Math.round(100 * sure)} % sure, ${window.asr.clock(start)}`;
  return made;
}

function clearWords() {
  line.replaceChildren();
  count = 0;
  tail = [];
  id = null;
  incomplete = false;
}

function take(value) {
  if (!value || !value.phase) return;
  const recording = value.id?.split(" ")[0]; // without the form
  const another = phase === "paused" && recording && recording !== id?.split(" ")[0];
  if (value.phase === "idle") ended = false; // it was cleared
  if (value.phase === "lost" || another || ended) return lose();
  updates++;
  updated = performance.now();
  const below = words.scrollHeight - words.scrollTop - words.clientHeight < 60;
  if (value.id !== id || (incomplete && value.first === 0)) clearWords();
  incomplete ||= value.first > count;
  const gap = value.separator ?? " ";
  id = value.id;
  tail.forEach((node) => node.remove());
  value.final.slice(Math.max(0, count - value.first)).forEach((one) => line.append(word(one), gap));
  count = Math.max(count, value.first + value.final.length);
  tail = value.partial.flatMap((one) => [word(one, "tail"), document.createTextNode(gap)]);
  line.append(...tail);
  if (below) words.scrollTop = words.scrollHeight;
  phase = value.phase;
  $("seconds").textContent = window.asr.clock(Math.floor(value.seconds), 0);
  $("delay").textContent = value.delay === null ? "–" : `${value.delay.toFixed(1)} s`;
  box.dataset.text = [...line.querySelectorAll(".word")].map((one) => one.textContent).join(gap);
  if (value.notice) showNotice(...value.notice);
  else if (mic !== "off" || phase === "idle") showNotice(null);
  set(mic);
}

// The server has no recording any more: stops the microphone, and keeps the words.
function lose() {
  if (mic === "on") {
    stopRecorder();
    release();
  }
  if (phase !== "idle") {
    phase = "stopped";
    ended = true;
    showNotice(...ENDED);
  }
  set(mic);
}

// ---- wiring ----------------------------------------------------------------------------------------------------
$("start").addEventListener("click", start);
$("pause").addEventListener("click", async () => { await halt(); trigger("click", { do: "pause" }); });
$("stop").addEventListener("click", async () => {
  if (mic === "on") await halt();
  trigger("click", { do: "stop" });
});
$("clear").addEventListener("click", () => trigger("click", { do: "clear" }));
watch("value", () => take(props.value));
set("off");
