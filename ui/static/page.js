// The script that all parts of the page share: one audio player, and the highlighting of the word that it plays.
// Any element with data-at="START,END" inside one with data-audio="PATH" plays that piece when clicked.
(() => {
  const audio = new Audio();
  audio.preload = "auto";
  const listeners = new Set();
  let current = ""; // server path of the loaded audio
  let stopAt = Infinity; // end of the clicked piece in seconds

  function fileUrl(path) {
    const config = window.gradio_config || {};
    const root = (config.root || "").replace(/\/$/, "");
    return root + (config.api_prefix || "/gradio_api") + "/file=" + path.split("/").map(encodeURIComponent).join("/");
  }

  function load(path) {
    if (path === current) return;
    current = path;
    audio.src = fileUrl(path);
    stopAt = Infinity;
  }

  // Unloads the audio of a recording that was closed, so that media keys cannot start it again.
  function close() {
    current = "";
    audio.removeAttribute("src");
    audio.load();
    notify();
  }

  // The default is kept when another source is loaded, which resets the rate itself.
  function setRate(rate) {
    audio.defaultPlaybackRate = audio.playbackRate = rate;
  }

  function seek(path, seconds) {
    load(path);
    stopAt = Infinity;
    audio.currentTime = Math.max(0, seconds);
    notify();
  }

  function play(path, start, end = Infinity) {
    load(path);
    if (start !== undefined) audio.currentTime = Math.max(0, start);
    stopAt = end;
    audio.play().catch(() => {}); // browsers refuse to play before the first click or key
    notify();
  }

  function toggle(path) {
    if (path !== current || audio.paused) {
      const ended = path === current && audio.duration && audio.currentTime > audio.duration - 0.05;
      play(path, ended ? 0 : undefined);
    } else {
      audio.pause();
    }
  }

  function notify() {
    const now = { path: current, seconds: audio.currentTime, playing: !audio.paused };
    lightWords(now);
    listeners.forEach((listener) => listener(now));
  }

  function stopAtEnd() {
    if (audio.currentTime < stopAt) return;
    audio.pause();
    stopAt = Infinity;
  }

  function frame() {
    stopAtEnd();
    notify();
    if (!audio.paused) requestAnimationFrame(frame);
  }
  audio.addEventListener("play", () => requestAnimationFrame(frame));
  audio.addEventListener("timeupdate", stopAtEnd); // comes in hidden windows, too, which draw no frames
  for (const type of ["pause", "seeked", "ended", "loadedmetadata", "ratechange"]) audio.addEventListener(type, notify);

  // ---- words -------------------------------------------------------------------------------------------------
  const spans = new WeakMap(); // [data-audio] element -> {first, list of {element, start, end}}

  function spansOf(box) {
    const first = box.querySelector("[data-at]");
    const known = spans.get(box);
    if (known && known.first === first && known.stamp === box.dataset.stamp) return known.list;
    const list = [...box.querySelectorAll("[data-at]:not(.stamp)")].map((element) => {
      const [start, end] = element.dataset.at.split(",").map(Number);
      return { element, start, end };
    });
    list.sort((a, b) => a.start - b.start);
    spans.set(box, { first, list, stamp: box.dataset.stamp });
    return list;
  }

  function lightWords({ path, seconds, playing }) {
    for (const box of document.querySelectorAll("[data-audio]")) {
      const active = box.dataset.audio === path ? wordAt(spansOf(box), seconds) : null;
      const lit = box.querySelector(".playing");
      if (lit === active) continue;
      if (lit) lit.classList.remove("playing");
      if (active && (playing || seconds > 0)) active.classList.add("playing");
    }
  }

  function wordAt(list, seconds) {
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    const span = list[low - 1];
    return span && seconds < span.end ? span.element : null;
  }

  function playElement(element) {
    const box = element.closest("[data-audio]");
    if (!box || !box.dataset.audio) return;
    const [start, end] = element.dataset.at.split(",").map(Number);
    play(box.dataset.audio, Math.max(0, start - 0.05), end + 0.1);
  }

  // Walks through the unsure words of the nearest transcript, playing each.
  function nextUnsure(button) {
    const box = button.closest("[data-audio]");
    const unsure = [...box.querySelectorAll("[data-unsure]")];
    if (!unsure.length) return;
    const here = unsure.indexOf(box.querySelector(".visited"));
    box.querySelectorAll(".visited").forEach((element) => element.classList.remove("visited"));
    const next = unsure[(here + 1) % unsure.length];
    next.classList.add("visited");
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    playElement(next);
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest ? event.target : event.target.parentElement;
    const action = target && target.closest("[data-at], [data-do]");
    if (!action) return;
    if (action.dataset.do === "next-unsure") nextUnsure(action);
    else if (action.dataset.do === "copy") copy(action);
    else if (action.dataset.do === "open-tab") openTab(action.dataset.tab);
    else if (action.dataset.at) playElement(action);
  });

  async function copy(button) {
    const text = button.closest("[data-text]").dataset.text;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Could not copy: select the text";
    }
    setTimeout(() => (button.textContent = "Copy text"), 1600);
  }

  // Wide tables in a model's own description scroll; keys can scroll only what has the focus.
  new MutationObserver(() => {
    document.querySelectorAll("#model-readme table:not([tabindex])").forEach((one) => (one.tabIndex = 0));
  }).observe(document, { childList: true, subtree: true });

  // Gradio's recorder shows no message if it gets no microphone.
  window.addEventListener("unhandledrejection", (event) => {
    if (!/accessing the microphone/.test(event.reason?.message)) return;
    event.preventDefault();
    const message = document.querySelector("#message .prose, #message > div") ?? document.querySelector("#message");
    if (!message) return;
    message.querySelector(".microphone")?.remove();
    const notice = document.createElement("div");
    notice.className = "notice error microphone";
    notice.setAttribute("role", "alert");
    for (const [kind, text] of [
      ["notice-title", "The microphone could not be used"],
      ["", "Allow it for this page in the address bar of the browser, or plug one in. A file can be opened, too."],
    ]) notice.append(Object.assign(document.createElement("p"), { className: kind, textContent: text }));
    message.prepend(notice);
  });

  function openTab(label) {
    const tab = [...document.querySelectorAll("button[role=tab]")].find((b) => b.textContent.trim() === label);
    tab?.click();
    tab?.focus(); // the button that was pressed is hidden now
  }

  // ---- small things ------------------------------------------------------------------------------------------
  function bytes(base64) {
    const text = atob(base64);
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
    return array;
  }

  function clock(seconds, digits = 1) {
    seconds = Number(seconds.toFixed(digits)); // else 59.97 would be 0:60.0
    const minutes = Math.floor(seconds / 60);
    const rest = (seconds - 60 * minutes).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
    return minutes >= 60
      ? `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`
      : `${minutes}:${rest}`;
  }

  window.asr = {
    bytes,
    clock,
    player: { audio, play, seek, toggle, close, setRate, subscribe: (f) => listeners.add(f), unsubscribe: (f) => listeners.delete(f),
              get path() { return current; } },
  };
})();
