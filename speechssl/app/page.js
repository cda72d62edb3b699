// What the page does in the browser: one sound at a time, pieces of a stream, what is new in view, tabs in the address.
(() => {
  // ---- pieces of a stream, one after the other
  const LOADS = 0.05; // seconds until a player plays
  let stream = null;
  let ended = null; // the first piece of a stream that was silenced: pieces may still come

  function silence(but) {
    if (stream) {
      stream.context.close();
      ended = stream.first;
    }
    stream = null;
    document.querySelectorAll("audio").forEach((audio) => audio !== but && audio.pause());
  }

  function position() {
    return Math.max(0, stream.seconds - Math.max(0, stream.end - stream.context.currentTime));
  }

  async function schedule(playing, address) {
    const data = await (await fetch(address)).arrayBuffer();
    if (playing !== stream) return;
    const sound = await playing.context.decodeAudioData(data);
    if (playing !== stream) return;
    const node = playing.context.createBufferSource();
    node.buffer = sound;
    node.connect(playing.context.destination);
    const start = Math.max(playing.end, playing.context.currentTime + 0.05);
    node.start(start);
    playing.end = start + sound.duration;
    playing.seconds += sound.duration;
  }

  function hear(list) {
    const pieces = JSON.parse(list.dataset.pieces);
    if (pieces[0] === ended) return;
    if (stream?.first !== pieces[0]) {
      silence();
      const context = new AudioContext({ sampleRate: Number(list.dataset.rate) });
      stream = { first: pieces[0], context, known: 0, end: 0, seconds: 0, ready: Promise.resolve() };
    }
    const playing = stream;
    for (const address of pieces.slice(playing.known)) {
      playing.ready = playing.ready.then(() => schedule(playing, address)).catch(() => {});
    }
    playing.known = pieces.length;
  }

  // ---- the player: one sound, one position, several tracks
  let touched = false;
  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(kind, () => (touched = true), { capture: true, once: true });
  }

  function begin(player) {
    const audio = player.querySelector("audio");
    const playing = stream;
    if (!playing) silence();
    audio.addEventListener("loadedmetadata", () => {
      if (playing && playing === stream) audio.currentTime = Math.min(position() + LOADS, audio.duration);
    }, { once: true });
    // pieces go on until the player has loaded the place that they come to
    audio.addEventListener(playing ? "seeked" : "loadedmetadata", () => {
      if (playing !== stream) return;
      // what is shown again after a reload waits for a click
      if (touched && audio.currentTime < audio.duration) audio.play().catch(() => {});
      else silence();
    }, { once: true });
    audio.src = player.dataset.made;
  }

  function choose(button) {
    const player = button.closest(".player");
    const audio = player.querySelector("audio");
    const { currentTime, duration, paused } = audio;
    player.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
    audio.addEventListener("loadedmetadata", () => {
      // the same place in the sentence, also at another speaking rate; a recording of the voice says something else
      const share = duration ? currentTime / duration : 0;
      audio.currentTime = button.dataset.apart ? 0 : Math.min(share, 0.999) * audio.duration;
    }, { once: true });
    audio.src = button.dataset.address;
    if (!paused || !currentTime) audio.play().catch(() => {});
  }

  document.addEventListener("playing", (event) => silence(event.target), true);
  document.addEventListener("click", (event) => {
    const track = event.target.closest?.(".player button");
    if (track) choose(track);
    if (event.target.closest?.(".cancel")) silence();
    const asked = event.target.closest?.("[data-field]");
    if (asked) ask(asked.dataset);
  });

  // ---- the buttons of cards write a value into a field that nobody sees, perhaps on a tab that is not open yet
  let asks = 0;
  let wish = null;

  function ask({ field, value, tab }) {
    const heard = [...document.querySelectorAll(".heard audio")].find((audio) => audio.dataset.voice === value);
    if (field === "voices-play" && heard) {
      heard.currentTime = 0;
      heard.play().catch(() => {});
      show(heard, "center");
      return;
    }
    wish = { field, value: `${value}|${++asks}` }; // twice the same is asked twice
    if (tab) location.hash = `#${tab}`;
    if (field === "voices-edit") document.getElementById("voices-chosen").scrollIntoView({ behavior: "smooth" });
    grant();
  }

  function grant() {
    const field = wish && document.querySelector(`#${wish.field} :is(input, textarea)`);
    if (!field) return;
    field.value = wish.value;
    wish = null;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function search() {
    const words = document.querySelector("#voices-search :is(input, textarea)")?.value.toLowerCase().split(/\s+/) ?? [];
    const cards = [...document.querySelectorAll(".voice[data-words]")];
    for (const card of cards) card.hidden = !words.every((word) => card.dataset.words.includes(word));
    const none = document.querySelector(".library + p");
    if (none) none.hidden = cards.some((card) => !card.hidden);
  }

  // ---- what is new on the page; Gradio changes elements as well as it adds some
  const known = new WeakMap();

  function isNew(element, value) {
    const before = known.get(element);
    known.set(element, value);
    return before !== value;
  }

  function show(element, block, needed = 0) {
    const { top, bottom } = element.getBoundingClientRect();
    const end = needed ? top + needed : bottom;
    if (top < 0 || end > window.innerHeight - 80) element.scrollIntoView({ block, behavior: "smooth" });
  }

  // ---- settings stay in this browser, and the number of the tab in the tab
  const settings = () => JSON.parse(localStorage.getItem("speechssl-settings") ?? "{}");

  window.speechssl = {
    keep(name, value) {
      localStorage.setItem("speechssl-settings", JSON.stringify({ ...settings(), [name]: value }));
    },
    opened() {
      const tab = sessionStorage.getItem("speechssl-tab") ?? String(crypto.getRandomValues(new Uint32Array(4)));
      sessionStorage.setItem("speechssl-tab", tab);
      return JSON.stringify({ tab, kept: settings() });
    },
  };

  // ---- a person's name and purpose stay in this browser
  const KEPT = ["who", "purpose"];
  const fields = (name) => document.querySelectorAll(`[id$="-${name}"] input, [id$="-${name}"] textarea`);

  function fill(name) {
    const value = localStorage.getItem(`speechssl-${name}`);
    for (const field of fields(name)) {
      if (!isNew(field, name) || field.value || !value) continue;
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  // ---- the same tab in the other language
  const languages = () => document.querySelectorAll(".languages a");

  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.(".languages a");
    if (link) link.hash = location.hash;
  });

  document.addEventListener("input", ({ target }) => {
    const name = KEPT.find((one) => target.closest?.(`[id$="-${one}"]`));
    if (target.closest?.("#voices-search")) search();
    if (name) localStorage.setItem(`speechssl-${name}`, target.value);
  });

  // ---- Gradio closes a list as the focus leaves it, and opens it again once it comes to the key from before
  const STAYS = 100; // milliseconds
  const isList = (element) => element.matches?.("[role=combobox]");

  document.addEventListener("keydown", (event) => {
    if (["Tab", "Shift", "Control", "Alt", "Meta"].includes(event.key) && isList(event.target)) event.stopPropagation();
  }, true);

  document.addEventListener("focusout", ({ target }) => isList(target) && setTimeout(() => {
    if (target === document.activeElement || target.ariaExpanded !== "true") return;
    target.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  }, STAYS));

  // ---- why a file is not taken, in fewer words than Gradio's
  const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi)$/i;

  function explain(line) {
    const [, name, kinds] = /^Invalid file types?: (.+)\. Only (.+) allowed\.$/.exec(line.textContent) ?? [];
    if (!name) return;
    const takesVideos = VIDEO.test(name) && document.getElementById("convert-video")?.checkVisibility();
    let why = `${name} cannot be read here; give a file of these: ${kinds.replaceAll(",", ", ")}.`;
    if (kinds === "video") why = `${name} is not a video.`;
    else if (/audio/.test(kinds) && takesVideos) why = `${name} is a video: press “Take the words of a video”.`;
    else if (/audio/.test(kinds)) why = `${name} is not a recording of sound.`;
    line.firstChild.data = why;
  }

  function look() {
    KEPT.forEach(fill);
    grant();
    document.querySelectorAll(".languages a").forEach((link) => link.lang === document.documentElement.lang && (link.ariaCurrent = "true"));
    document.querySelectorAll(".live").forEach(hear);
    document.querySelectorAll(".library").forEach((library) => isNew(library, library.childElementCount) && search());
    document.querySelectorAll(".heard audio").forEach((audio) => isNew(audio, audio.src) && show(audio, "center"));
    document.querySelectorAll("[data-testid=toast-text]").forEach(explain);
    document.querySelectorAll(".player").forEach((player) => isNew(player, player.dataset.made) && begin(player));
    for (const stage of document.querySelectorAll(".stage")) {
      const card = stage.querySelector(".running, .finished");
      const state = card ? (card.matches(".running") ? "running" : "finished") : "";
      if (isNew(stage, state) && card) show(stage, "start", 300);
    }
    if (!window.isSecureContext) {
      document.querySelectorAll(".needs-https").forEach((note) => (note.closest(".block").style.display = "block"));
    }
    document.querySelectorAll("p.problem").forEach((line) => isNew(line, line.textContent) && show(line, "center"));
  }

  // ---- an answer may be lost on the way: a card at work that stands still asks the service what it should show
  const STILL = 10_000; // milliseconds; twice as many after each question
  const stands = new WeakMap();

  function askAgain() {
    for (const status of document.querySelectorAll(".status")) {
      const text = status.querySelector(".running")?.textContent;
      const before = stands.get(status);
      if (!text || before?.text !== text) {
        stands.set(status, { text, since: Date.now(), patience: STILL });
      } else if (Date.now() - before.since > before.patience) {
        stands.set(status, { text, since: Date.now(), patience: 2 * before.patience });
        ask({ field: `${status.id}-retry`, value: "" });
      }
    }
  }

  setInterval(askAgain, 1000);

  // ---- tabs in the address
  const tabs = () => [...document.querySelectorAll("[role=tab]")];
  const named = (tab) => "#" + (window.inEnglish ? inEnglish(tab) : tab.textContent).trim().toLowerCase().replaceAll(" ", "-");

  const WITHIN = { "#compare": "#verify", "#enrol-and-identify": "#verify", "#calibrate": "#verify" };
  let following = false; // a tab within another is there once the other is open

  function open(hash) {
    // those that do not fit on a phone are in a list of their own
    const all = [...tabs(), ...document.querySelectorAll(".overflow-dropdown button")];
    const wanted = all.find((tab) => named(tab) === hash);
    if (wanted && wanted.getAttribute("aria-selected") !== "true") wanted.click();
    return Boolean(wanted);
  }

  function follow() {
    const outer = WITHIN[location.hash];
    if (outer) open(outer);
    following = !open(location.hash) && Boolean(outer);
  }

  let opened = false;
  let due = 0;
  new MutationObserver(() => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      look();
      if (following) follow();
      if (!opened && tabs().length) opened = setTimeout(follow, 0);
    });
  }).observe(document.documentElement, {
    childList: true, subtree: true, characterData: true,
    attributes: true, attributeFilter: ["class", "data-made", "data-pieces"],
  });
  document.addEventListener("click", (event) => {
    const tab = event.target.closest?.("[role=tab], .overflow-dropdown button");
    if (tab && event.isTrusted) history.replaceState(null, "", named(tab));
  });
  window.addEventListener("hashchange", follow);
})();
