"use strict";
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// --- the list ---------------------------------------------------------------------------------

const form = one("form");
const body = one(".cases tbody");
const rows = all("tr", body);
const order = new Map(rows.map((row, index) => [row, index]));
const words = new Map(
  rows.map((row) => [row, `${row.textContent} ${row.dataset.words}`.toLowerCase()]),
);

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const terms = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (list, value) => !value || list.split(" ").includes(value);
  let count = 0;
  for (const row of rows) {
    const { verdict, profile, level } = row.dataset;
    row.hidden = !(
      has(verdict, wanted.verdict) &&
      has(profile, wanted.profile) &&
      has(level, wanted.level) &&
      terms.every((term) => words.get(row).includes(term))
    );
    if (!row.hidden) count += 1;
  }
  for (const tile of all(".tile"))
    tile.setAttribute("aria-pressed", String(tile.dataset.verdict === wanted.verdict));
  one("output").textContent = `${count} of ${rows.length}`;
  one(".nothing").hidden = count > 0;
}

function choose(choice) {
  form.reset();
  for (const [name, value] of Object.entries(choice))
    if (form.elements[name]) form.elements[name].value = value;
  filter();
}

function sort(head) {
  const key = head.dataset.sort;
  const cell = head.closest("th");
  const down = cell.getAttribute("aria-sort") === "ascending";
  for (const other of all(".cases th[aria-sort]")) other.setAttribute("aria-sort", "none");
  cell.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) =>
    key === "name" ? row.cells[0].textContent : key === "verdict" ? -row.dataset.rank : row.dataset[key];
  const numbers = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) =>
    typeof a === "number" ? a - b : numbers.compare(a, b);
  const sorted = [...rows].sort(
    (a, b) =>
      (down ? -1 : 1) * compare(value(a), value(b)) || compare(order.get(a), order.get(b)),
  );
  body.append(...sorted);
}

form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of all(".tile, .matrix button, .all"))
  button.addEventListener("click", () => {
    const again = button.getAttribute("aria-pressed") === "true";
    choose(again ? {} : { ...button.dataset });
    if (!button.matches(".tile")) one("#cases").scrollIntoView();
  });
for (const head of all("[data-sort]")) head.addEventListener("click", () => sort(head));

// --- a case -----------------------------------------------------------------------------------

async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The blocks of a pcapng file that are ours to read: packets in order, and the key log.
function readCapture(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const found = { packets: [], keys: new Uint8Array() };
  for (let at = 0; at + 12 <= data.length; at += view.getUint32(at + 4, true)) {
    const kind = view.getUint32(at, true);
    if (kind === 6) found.packets.push(data.subarray(at + 28, at + 28 + view.getUint32(at + 20, true)));
    if (kind === 10) found.keys = data.subarray(at + 16, at + 16 + view.getUint32(at + 12, true));
  }
  return found;
}

function payload(packet) {
  const header = packet[0] >> 4 === 4 ? 4 * (packet[0] & 15) : 40;
  return packet.subarray(header + 8);
}

function dump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    const octets = part.map((octet) => octet.toString(16).padStart(2, "0"));
    const left = octets.slice(0, 8).join(" ").padEnd(24);
    const right = octets.slice(8).join(" ").padEnd(23);
    const text = part.map((octet) => (octet > 31 && octet < 127 ? String.fromCharCode(octet) : "·"));
    lines.push(`${at.toString(16).padStart(4, "0")}  ${left} ${right}  ${text.join("")}`);
  }
  return lines.join("\n");
}

function toggleBytes(button, capture) {
  const row = button.closest("tr");
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    row.nextElementSibling.remove();
    return;
  }
  const shown = document.createElement("tr");
  shown.className = "bytes";
  const cell = shown.insertCell();
  cell.colSpan = 5;
  const text = document.createElement("pre");
  const packet = capture?.packets[button.dataset.packet - 1];
  text.textContent = packet ? dump(payload(packet)) : "The capture was not kept in this page.";
  cell.append(text);
  row.after(shown);
}

async function fill(section) {
  const packed = one(".packed", section);
  if (!packed || packed.dataset.done) return;
  packed.dataset.done = "yes";
  const place = one(".packets", section);
  place.innerHTML = new TextDecoder().decode(await unpack(packed.textContent));
  const kept = one(".capture", section);
  const data = kept ? await unpack(kept.textContent) : null;
  const capture = data && readCapture(data);
  for (const link of all(".download", section)) {
    const content = link.dataset.what === "keys" ? capture.keys : data;
    link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  }
  for (const button of all("button[data-packet]", place))
    button.addEventListener("click", () => toggleBytes(button, capture));
  for (const arrow of all("g[data-packet]", place))
    arrow.addEventListener("click", () => {
      const button = one(`button[data-packet="${arrow.dataset.packet}"]`, place);
      if (!button) return;
      if (button.getAttribute("aria-expanded") !== "true") button.click();
      button.scrollIntoView({ block: "center" });
      button.focus({ preventScroll: true });
    });
}

// Previous and next follow the list as it is filtered and sorted at the time.
function neighbours(section) {
  const shown = all("tr:not([hidden]) a", body);
  const here = shown.findIndex((link) => link.getAttribute("href") === `#${section.id}`);
  if (here < 0) return;
  for (const [rel, step] of [["prev", -1], ["next", 1]]) {
    const link = one(`nav [rel="${rel}"]`, section);
    const other = shown[here + step];
    if (!link) continue;
    link.hidden = !other;
    if (!other) continue;
    link.href = other.getAttribute("href");
    link.title = other.textContent;
  }
}

// The browser has jumped by the time the hash changes, so where the list stood is kept before.
let listAt = 0;
let inCase = false;
addEventListener(
  "click",
  (event) => {
    if (!inCase && event.target.closest("a")) listAt = window.scrollY;
  },
  true,
);

function route() {
  const section = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (section?.matches(".case")) {
    inCase = true;
    window.scrollTo(0, 0);
    neighbours(section);
    fill(section).catch((error) => {
      one(".packets", section).textContent = `The datagrams could not be unpacked: ${error.message}`;
    });
  } else if (inCase) {
    inCase = false;
    window.scrollTo(0, listAt);
  }
}

for (const button of all(".copy"))
  button.addEventListener("click", async () => {
    const command = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

addEventListener("hashchange", route);
filter();
route();
