// Two cards: what is said in a call, and the events that pass.

import { Log, detail, gist, matches } from './conversation.js';

const make = (name, text, kind) => Object.assign(
  document.createElement(name), { textContent: text ?? '' }, kind && { className: kind });

// The turns of a conversation, oldest first. Elements stay what they are while their turn grows, so
// that a screen reader is told what is new and no more.
export class Turns {
  #list; #shown = new Map();

  constructor(list) { this.#list = list; }

  clear() {
    this.#shown.clear();
    this.#list.replaceChildren();
  }

  show(turns) {
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 30;
    let changed = false;
    for (const [turn, item] of this.#shown) {
      if (turns.includes(turn)) continue;
      item.remove();
      this.#shown.delete(turn);
    }
    for (const turn of turns) {
      const words = (turn.text.trim() || (turn.who === 'you' ? '(spoken)' : '…'))
        + (turn.cut === null ? '' : ` [cut off after ${(turn.cut / 1000).toFixed(1)} s]`);
      let item = this.#shown.get(turn);
      if (!item) {
        item = make('li', '', turn.who);
        item.append(make('b', turn.who === 'you' ? 'You' : 'Agent'), make('span'));
        this.#list.append(item);
        this.#shown.set(turn, item);
      }
      if (item.lastChild.textContent !== words) {
        item.lastChild.textContent = words;
        changed = true;
      }
    }
    if (changed && atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }
}

// The events of a call, newest first: its time since the call began, which way it went, its type and
// what is worth a glance; all of it when opened.
export class Events {
  log = new Log();
  #list; #filter; #way; #count; #items = new Map(); #began = 0;

  constructor({ list, filter, way, count }) {
    [this.#list, this.#filter, this.#way, this.#count] = [list, filter, way, count];
    filter.addEventListener('input', () => this.#sift());
    way.addEventListener('change', () => this.#sift());
  }

  clear(began) {
    this.log = new Log();
    this.#began = began;
    this.#items.clear();
    this.#list.replaceChildren();
    this.#tell();
  }

  add(way, event, at) {
    const row = this.log.add(way, event, at);
    const item = this.#items.get(row.number) ?? this.#insert(row);
    item.querySelector('small').textContent = gist(row).slice(0, 120);
    item.querySelector('.many').textContent = row.count > 1 ? ` × ${row.count}` : '';
    if (item.firstChild.open) item.querySelector('pre').textContent = detail(row);
    for (const [number, old] of this.#items) {
      if (number >= this.log.oldest) break;
      old.remove();
      this.#items.delete(number);
    }
    this.#tell();
  }

  #insert(row) {
    const item = make('li'), box = make('details'), line = make('summary'), all = make('pre');
    const way = make('span', row.way === 'sent' ? '↑' : '↓', 'way');
    way.setAttribute('aria-hidden', 'true');
    const type = make('code', row.type);
    type.append(make('span', '', 'many'));
    line.append(make('time', ((row.at - this.#began) / 1000).toFixed(3)), way,
      make('span', row.way, 'visually-hidden'), type, make('small'));
    box.append(line, all);
    box.addEventListener('toggle', () => { all.textContent = box.open ? detail(row) : ''; });
    item.classList.add(row.way);
    item.classList.toggle('bad', row.type === 'error');
    item.append(box);
    item.hidden = !this.#wants(row);
    this.#items.set(row.number, item);
    this.#list.prepend(item);
    return item;
  }

  #wants(row) { return matches(row, this.#filter.value, this.#way.value); }

  #sift() {
    for (const row of this.log.rows) {
      const item = this.#items.get(row.number);
      if (item) item.hidden = !this.#wants(row);
    }
    this.#tell();
  }

  #tell() {
    const { rows, sent, received } = this.log;
    const shown = rows.filter(row => this.#wants(row)).length;
    const hidden = shown === rows.length ? '' : `, ${shown} of ${rows.length} rows shown`;
    this.#count.textContent = rows.length ? `${sent} sent, ${received} received${hidden}` : 'None yet';
  }
}
