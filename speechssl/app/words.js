// Shows the page in another language than English. ``words`` has the English texts and what they become; the server
// sends this, as the first script of the page, with the words of one language. CONTRIBUTING.md says how words are written.
((words) => {
  // what people wrote or made is never translated
  const KEPT = "[translate=no], .notranslate";
  const KEPT_TEXT = `${KEPT}, script, style, textarea, code, pre, .file-preview, .json-holder`;
  // among names only what speechssl puts before those of its own voices, which nobody else can choose
  const NAMES = ".names :is([role=listbox], input), #enrol-table td";
  const OWN = "bundled: ";
  const ATTRIBUTES = ["placeholder", "aria-label", "title", "alt"];
  const LONGEST = 800; // characters
  const MOST_PARTS = 24; // of a text that may be several
  const MOST = 10_000; // texts that are known to be translated
  const KINDS = { "{}": "(.+?)", "{n}": "([-–]?\\d[\\d.]*)", "{file}": "(.+\\.\\w+)", "{words}": "(.+?)" };
  const PLACE = /\{(?:\d+|n|file|words)?\}/g;
  const MEASURE = /^[-–]?\d+\.\d+( ?%| ?[A-Za-z]{1,4})?$/;
  const comma = (1.5).toLocaleString(document.documentElement.lang)[1];
  const bare = (text) => (text.endsWith(".") ? text.slice(0, -1) : text);
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const exact = new Map(Object.entries(words).map((pair) => pair.map(bare)));

  // what is no sentence in Python often becomes one on the page: with a capital and a full stop
  const patterns = [...exact].filter(([key]) => key.match(PLACE)).map(([key, said]) => {
    const kinds = key.match(PLACE);
    const parts = key.split(PLACE);
    const regexes = kinds.map((kind) => KINDS[kind] ?? "");
    if (key.startsWith("{}")) regexes[0] = "((?:(?!: ).)+?)"; // what comes before ": " is a text of its own
    const sources = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    if (/^\p{L}/u.test(key)) sources[0] = `[${key[0]}${key[0].toUpperCase()}]${sources[0].slice(1)}`;
    return {
      said, kinds, key,
      literal: parts.map((part, at) => (at ? part : part.slice(1)))
        .reduce((one, other) => (other.length > one.length ? other : one)),
      weight: parts.join("").length,
      regex: new RegExp(`^${sources.map((part, at) => part + (regexes[at] ?? "")).join("")}$`),
    };
  }).sort((one, other) => other.weight - one.weight); // what says more comes first

  const number = (text) => (MEASURE.test(text) ? text.replace(".", comma) : text);

  function filled({ said, kinds, key }, values, text) {
    const parts = values.map((value, at) => (
      kinds[at] === "{words}" ? translated(value) : kinds[at] === "{n}" ? number(value) : value));
    if (parts.includes(undefined)) return undefined;
    let next = 0;
    const found = said.replace(PLACE, (place) => parts[/\d/.test(place) ? place.slice(1, -1) - 1 : next++]);
    return key[0] !== text[0] && key[0] !== "{" ? capital(found) : found;
  }

  function find(text) {
    if (exact.has(text)) return exact.get(text);
    const small = text[0].toLowerCase() + text.slice(1);
    if (exact.has(small)) return capital(exact.get(small));
    for (const one of patterns) {
      const values = text.includes(one.literal) && one.regex.exec(text);
      const found = values ? filled(one, values.slice(1), text) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function sentence(text) {
    const plain = bare(text);
    const found = plain ? find(plain) : undefined;
    return found === undefined || plain === text || /[!?]$/.test(found) ? found : `${found}.`;
  }

  // several texts in a row, as long ones as there are, since a text may have such marks of its own
  function several(text, mark) {
    const parts = text.split(mark);
    if (parts.length > MOST_PARTS) return undefined;
    const found = [];
    for (let at = 0; at < parts.length;) {
      let end = parts.length - (at === 0);
      let one;
      while (end > at && (one = sentence(parts.slice(at, end).join(mark))) === undefined) end--;
      if (one === undefined) return undefined;
      found.push(one);
      at = end;
    }
    return found.join(mark);
  }

  function translated(text) {
    if (!/\p{L}/u.test(text) || MEASURE.test(text)) return number(text);
    const found = sentence(text);
    if (found !== undefined) return found;
    for (const mark of ["; ", " · ", ", "]) {
      const list = text.includes(mark) ? several(text, mark) : undefined;
      if (list !== undefined) return list;
    }
    return undefined;
  }

  // ---- the page
  const known = new WeakMap(); // of texts: what they were, and what they became
  const made = new Set();

  function shown(text) {
    const plain = text.trim().replace(/\s+/g, " ");
    if (!plain || plain.length > LONGEST || made.has(plain)) return text;
    const found = translated(plain);
    if (found === undefined) {
      window.untranslated?.add(plain); // for those who write words
      return text;
    }
    if (made.size > MOST) made.clear();
    made.add(found);
    return text.replace(/\S[^]*\S|\S/, () => found);
  }

  const isName = (element, text) => (element.closest(NAMES) && !text.trimStart().startsWith(OWN))
    || (element.closest("#history-table td") && text.includes("“")); // what was spoken

  function write(node) {
    const before = node.data;
    const parent = node.parentElement;
    if (known.get(node)?.after === before || !parent || parent.closest(KEPT_TEXT) || isName(parent, before)) return;
    const after = shown(before);
    known.set(node, { before, after });
    if (after !== before) node.data = after;
  }

  function mark(element) {
    if (element.closest(KEPT)) return;
    for (const name of ATTRIBUTES) {
      const before = element.getAttribute(name);
      const after = before && shown(before);
      if (after !== before) element.setAttribute(name, after);
    }
    if (element instanceof HTMLInputElement && isChosen(element)) element.value = element.value; // through the setter
  }

  function look(node) {
    if (node.nodeType === Node.TEXT_NODE) write(node);
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    mark(node);
    const below = document.createTreeWalker(node, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (below.nextNode()) (below.currentNode.nodeType === Node.TEXT_NODE ? write : mark)(below.currentNode);
  }

  // what is chosen from a list stands in a field: one that nobody can write into, or one with a name
  const isChosen = (input) => input.readOnly || input.matches(NAMES);
  const setting = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  Object.defineProperty(HTMLInputElement.prototype, "value", {
    ...setting,
    set(value) {
      const words = typeof value === "string" && isChosen(this) && !isName(this, value);
      setting.set.call(this, words ? shown(value) : value);
    },
  });

  // the text of an element in English
  window.inEnglish = (element) => [...element.childNodes].map((one) => known.get(one)?.before ?? one.textContent).join("");

  new MutationObserver((changes, observer) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(look);
      else if (type === "attributes") mark(target);
      else write(target);
    }
    observer.takeRecords(); // what was just written
  }).observe(document, {
    childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: [...ATTRIBUTES, "readonly"],
  });
})
