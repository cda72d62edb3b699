// The tab Live: a microphone, the WebSocket /live, and an AudioWorklet between them.
(() => {
  // ---- in the thread of the sound: what is heard goes out in blocks, what comes waits a little and is played
  function worklet() {
    const FADE = 128; // samples, one call
    registerProcessor("speechssl-live", class extends AudioWorkletProcessor {
      constructor() {
        super();
        this.block = new Int16Array(Math.round(sampleRate / 100));
        this.running = false;
        this.open = true;
        this.port.onmessage = ({ data }) => this.take(data);
      }

      take(data) {
        if (data instanceof ArrayBuffer) {
          const sound = Float32Array.from(new Int16Array(data), (one) => one / 32767);
          if (sound.length) this.waiting.push(sound);
          this.count += sound.length;
        } else if (data.start) {
          Object.assign(this, { running: true, filled: 0, captured: 0, played: 0, waiting: [], count: 0, playing: false,
                                xruns: 0, delay: data.latency, spare: data.spare * sampleRate, high: 0, low: 0, calls: 0 });
        } else if (data.skipped) {
          this.played += data.skipped;
        } else if ("open" in data) {
          this.open = data.open;
        } else if (data.stop) {
          this.running = false;
        }
      }

      next(length) { // takes so many samples, or those that there are
        const made = new Float32Array(length);
        let filled = 0;
        while (filled < length && this.waiting.length) {
          const part = this.waiting[0].subarray(0, length - filled);
          made.set(part, filled);
          filled += part.length;
          if (part.length === this.waiting[0].length) this.waiting.shift();
          else this.waiting[0] = this.waiting[0].subarray(part.length);
        }
        this.count -= filled;
        this.played += filled;
        return [made, filled];
      }

      isSilent(length) {
        const head = this.waiting[0];
        return head && head.length >= length && head.subarray(0, length).every((one) => one === 0);
      }

      rise(made) { for (let n = 0; n < FADE; n++) made[n] *= n / FADE; }

      fall(made, filled) { for (let n = 0; n < filled; n++) made[n] *= 1 - n / filled; }

      play(made) {
        const length = made.length;
        const wanted = this.spare + length;
        if (!this.playing) {
          if (this.count < wanted) return;
          this.next(Math.floor(this.count - wanted)); // came too late to be heard
          this.playing = true;
          made.set(this.next(length)[0]);
          this.rise(made);
          return;
        }
        // what waits too long is left out: pauses, as they come, and what came after a stall
        while (this.count > wanted + length && this.isSilent(length)) this.next(length);
        const [sound, filled] = this.next(length);
        made.set(sound);
        if (filled < length) {
          this.xruns += 1;
          this.playing = false;
          this.spare = Math.min(this.spare + 0.02 * sampleRate, 0.3 * sampleRate);
          this.fall(made, filled);
        } else if (this.count > wanted + 0.1 * sampleRate) {
          this.xruns += 1;
          this.next(Math.floor(this.count - wanted));
          const [after] = this.next(length);
          this.fall(made, length);
          this.rise(after);
          for (let n = 0; n < length; n++) made[n] += after[n];
        }
      }

      hear(sound, length) {
        for (let n = 0; n < length; n++) {
          const one = this.open && sound ? Math.max(-1, Math.min(1, sound[n])) : 0;
          this.high = Math.max(this.high, Math.abs(one));
          this.block[this.filled++] = Math.round(32767 * one);
          if (this.filled < this.block.length) continue;
          this.port.postMessage(this.block.buffer, [this.block.buffer]);
          this.block = new Int16Array(Math.round(sampleRate / 100));
          this.filled = 0;
        }
        this.captured += length;
      }

      process([input], [output]) {
        const made = output[0];
        if (!this.running) return true;
        this.play(made);
        // a sample and the same one spoken are so many samples apart
        const apart = this.captured - this.played + this.delay;
        for (const one of made) this.low = Math.max(this.low, Math.abs(one));
        this.hear(input[0], made.length);
        if (++this.calls % 40 === 0) {
          this.port.postMessage({ seconds: apart / sampleRate, xruns: this.xruns, input: this.high, output: this.low });
          this.high = this.low = 0;
        }
        return true;
      }
    });
  }

  // ---- in the page
  const find = (name) => document.getElementById(`live-${name}`);
  const LEVEL = 60; // dB of a meter
  let now = null; // what runs: socket, context, node, source, stream, gain
  let missing = 0; // xruns that the service counted

  function card(kind, head, text) {
    const shown = find("card");
    shown.className = `card ${kind}`;
    shown.firstChild.textContent = head;
    shown.lastChild.textContent = text.charAt(0).toUpperCase() + text.slice(1);
  }

  const HEADPHONES = "Wear headphones. Push to talk, the voice and the devices can be changed while you speak.";

  function end(kind, head, text) {
    if (!now) return;
    const { socket, context, stream, node } = now;
    now = null;
    node?.port.postMessage({ stop: true });
    socket?.close();
    stream?.getTracks().forEach((track) => track.stop());
    context?.close();
    find("talk").hidden = true;
    for (const name of ["input", "output"]) find(name).value = 0;
    card(kind, head, text);
  }

  async function microphone() {
    const id = find("microphone").value;
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return navigator.mediaDevices.getUserMedia({ audio: { ...wanted, ...(id && { deviceId: { exact: id } }) } });
  }

  async function devices() {
    for (const [kind, name] of [["audioinput", "microphone"], ["audiooutput", "loudspeaker"]]) {
      const list = find(name);
      if (!list) return; // the tab is not shown yet
      if (name === "loudspeaker") list.parentNode.hidden = !("setSinkId" in AudioContext.prototype);
      const found = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === kind && one.deviceId);
      const options = found.map((one, number) => new Option(one.label || `${kind} ${number + 1}`, one.deviceId));
      for (const one of options) one.translate = false;
      const before = list.value;
      list.replaceChildren(new Option("System default", ""), ...options);
      list.value = found.some((one) => one.deviceId === before) ? before : "";
    }
  }

  async function plug(live) {
    const stream = await microphone();
    if (live !== now) return stream.getTracks().forEach((track) => track.stop());
    live.source?.disconnect();
    live.stream?.getTracks().forEach((track) => track.stop());
    live.stream = stream;
    live.source = live.context.createMediaStreamSource(stream);
    live.source.connect(live.node);
    const [track] = stream.getAudioTracks();
    track.addEventListener("ended", () => live === now && live.stream === stream && card("warn",
      "The microphone is gone", "Plug it in again, or choose another one."));
  }

  function attest(agreed, who, purpose) {
    return agreed ? `${who.replaceAll(":", " ")}: ${purpose}` : "";
  }

  async function start(voice, agreed, who, purpose, latency, push, monitor, record, session) {
    if (now) return;
    const live = (now = {});
    missing = 0;
    find("made").replaceChildren();
    card("running muted", "Starting", "Allow the microphone if the browser asks.");
    if (!navigator.mediaDevices) {
      return end("bad", "No microphone on this page", "Browsers give the microphone to pages with https, and to pages " +
                 "of the same machine.");
    }
    try {
      live.context = new AudioContext({ latencyHint: "interactive" });
      const module = URL.createObjectURL(new Blob([`(${worklet})()`], { type: "text/javascript" }));
      await live.context.audioWorklet.addModule(module);
      if (live !== now) return;
      live.node = new AudioWorkletNode(live.context, "speechssl-live", { outputChannelCount: [1] });
      live.gain = new GainNode(live.context, { gain: monitor ? 1 : 0 });
      live.node.connect(live.gain).connect(live.context.destination);
      live.node.port.onmessage = ({ data }) => heard(live, data);
      await plug(live);
      await sink();
      await devices();
      await live.context.resume();
    } catch (error) {
      const said = { NotAllowedError: "The browser did not allow it; allow the microphone for this page.",
                     NotFoundError: "There is none; plug one in.", OverconstrainedError: "It is gone; choose another one.",
                     NotReadableError: "Another program uses it; close that one." };
      if (live === now) end("bad", "The microphone cannot be used", said[error.name] ?? String(error.message));
      return;
    }
    if (live !== now) return;
    pushed(push);
    const address = new URL("live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    live.socket = new WebSocket(address);
    live.socket.binaryType = "arraybuffer";
    live.socket.onopen = () => live.socket.send(JSON.stringify({
      voice, consent: attest(agreed, who, purpose), latency, record, session_hash: session,
      sample_rate: live.context.sampleRate, sample_format: "int16" }));
    live.socket.onmessage = ({ data }) => {
      if (live !== now) return;
      if (typeof data === "string") told(live, JSON.parse(data));
      else live.node.port.postMessage(data, [data]);
    };
    live.socket.onclose = () => live === now && end("bad", "The connection was lost", "Start again.");
  }

  function heard(live, data) {
    if (live !== now) return;
    if (data instanceof ArrayBuffer) {
      const second = 2 * live.context.sampleRate;
      if (live.socket.bufferedAmount < second) live.socket.send(data);
      else { // the network is too slow
        missing += 1;
        live.node.port.postMessage({ skipped: data.byteLength / 2 });
      }
      return;
    }
    const { context, stream } = live;
    const devices = context.baseLatency + (context.outputLatency || 0) +
      (stream.getAudioTracks()[0]?.getSettings().latency || 0);
    const ms = (seconds) => `${Math.round(1000 * seconds)} ms`;
    const rest = data.seconds - live.delay;
    find("delay").textContent =
      `${ms(data.seconds + devices)}: conversion ${ms(live.delay)}, network and waiting ${ms(rest)}, devices ${ms(devices)}`;
    find("delay").dataset.ms = 1000 * (data.seconds + devices);
    find("xruns").textContent = data.xruns + missing + live.missing;
    for (const name of ["input", "output"]) {
      find(name).value = Math.max(0, LEVEL + 20 * Math.log10(data[name] || 1e-9));
    }
  }

  function told(live, message) {
    const { type, text } = message;
    if (type === "waiting") card("running muted", "Somebody else speaks live", `You are next after them: ${text}.`);
    else if (type === "ready") {
      live.delay = message.delay_ms / 1000;
      live.missing = 0;
      card("running good", "You are heard in another voice", HEADPHONES);
      live.node.port.postMessage({ start: true, latency: message.latency, spare: 0.02 + 1.2e-3 * message.work_ms });
    } else if (type === "state") {
      live.missing = message.xruns;
      find("load").textContent = `${Math.round(100 * message.load)} %`;
      if (message.clipped > 20 && !live.clips) {
        live.clips = true;
        card("running warn", "The microphone is too loud and clips", "Turn it down in the settings of the system.");
      }
    } else if (type === "slow") card("running warn", "The service is too slow", text);
    else if (type === "voice") card("running good", "You are heard in another voice", HEADPHONES);
    else if (type === "refused") card("running warn", "The voice stays as it is", text);
    else if (type === "error") end("bad", "It does not work like this", text);
    else if (type === "ended") {
      made(message);
      end("muted", "Speak in another voice", text === "ended" ? `You spoke for ${Math.round(message.seconds)} s.` : text);
    }
  }

  function made({ file }) {
    if (!file) return;
    const links = [["Download recording", file], ["Download receipt", `${file}.receipt.json`]].map(([label, path]) => {
      const link = document.createElement("a");
      link.href = `gradio_api/file=${encodeURI(path)}`;
      link.download = path.split("/").pop();
      link.textContent = label;
      return link;
    });
    find("made").replaceChildren(links[0], " ", links[1]);
  }

  function stop() {
    const live = now;
    if (!live) return;
    if (live.socket?.readyState !== WebSocket.OPEN || live.delay === undefined) return end("muted", "Stopped", "");
    live.node.port.postMessage({ stop: true });
    live.socket.send(JSON.stringify({ end: true }));
  }

  function change(voice, agreed, who, purpose) {
    if (now?.delay === undefined) return;
    now.socket.send(JSON.stringify({ voice, consent: attest(agreed, who, purpose) }));
  }

  function monitor(on) {
    if (now?.gain) now.gain.gain.value = on ? 1 : 0;
  }

  async function sink() {
    const id = find("loudspeaker").value;
    if (now?.context.setSinkId && id !== now.context.sinkId) await now.context.setSinkId(id);
  }

  // ---- push to talk
  let isPush = false;

  function pushed(on) {
    isPush = on;
    find("talk").hidden = !on || !now;
    talk(false);
  }

  function talk(on) {
    find("talk").setAttribute("aria-pressed", String(on));
    now?.node?.port.postMessage({ open: on || !isPush });
  }

  const isTalk = (event) => event.target.id === "live-talk";
  const isKey = (event) => isTalk(event) && [" ", "Enter"].includes(event.key);
  document.addEventListener("pointerdown", (event) => isTalk(event) && talk(true));
  for (const kind of ["pointerup", "pointercancel", "blur"]) window.addEventListener(kind, () => isPush && talk(false));
  document.addEventListener("keydown", (event) => isKey(event) && (event.preventDefault(), talk(true)));
  document.addEventListener("keyup", (event) => isKey(event) && talk(false));
  document.addEventListener("change", ({ target }) => {
    const live = now;
    if (target.id === "live-loudspeaker") sink().catch((error) => card("running warn", "No sound there", error.message));
    if (target.id === "live-microphone" && live?.node) {
      plug(live).catch(() => card("running warn", "The microphone cannot be used", "Choose another one."));
    }
  });
  document.addEventListener("click", (event) => {
    if (navigator.mediaDevices && event.target.closest?.("[data-tab-id=live]")) devices();
  });

  window.speechssl.live = { start, stop, change, monitor, push: pushed };
})();
