// What the events of a call mean, and which events mean what a person wants.
//
// Everything here is plain data in and out, without a page or a connection: `Conversation` follows
// the Realtime events of one call, `Log` keeps them for the eye. Event names are the public ones;
// those of the protocol's beta are understood beside them.

const TURNS = 50;            // things said that are kept
const WORDS = 4000;          // characters of each
const CUTS = 20;             // interruptions that are kept
const SOON = 3000;           // ms within which an interruption shows what it has done

const RESPONSE_TEXT = new Set([
  'response.output_audio_transcript.delta', 'response.output_text.delta',
  'response.audio_transcript.delta', 'response.text.delta',
]);

export class Conversation {
  session = null;              // as the server last told it
  response = null;             // the id of the response being made
  playing = false;             // whether the agent is being heard
  speaking = false;            // whether the server hears the client speak
  lost = null;                 // why there is nobody behind the server, while there is nobody
  turns = [];                  // { who: 'you' | 'agent', item, text, cut }
  cuts = [];                   // see `cut` below
  #asked = null; #speech = null;

  // An event of the server, which came at `at` (ms of any clock). The interruption that it makes
  // known, if it does.
  take(event, at) {
    if (RESPONSE_TEXT.has(event.type)) this.#says(event.item_id, String(event.delta ?? ''));
    switch (event.type) {
      case 'session.created': case 'session.updated': this.session = event.session ?? null; break;
      case 'response.created': this.response = event.response?.id ?? null; break;
      case 'response.done': this.response = null; break;
      case 'input_audio_buffer.speech_started': this.speaking = true; this.#speech = at; break;
      case 'input_audio_buffer.speech_stopped': this.speaking = false; break;
      case 'input_audio_buffer.committed': this.#turn('you', event.item_id).spoken = true; break;
      case 'conversation.item.input_audio_transcription.completed':
        this.#turn('you', event.item_id).text = String(event.transcript ?? '').slice(0, WORDS); break;
      case 'output_audio_buffer.started': this.playing = true; break;
      case 'output_audio_buffer.stopped': this.playing = false; break;
      case 'output_audio_buffer.cleared': return this.#cleared(at);
      case 'conversation.item.truncated': this.#truncated(event); break;
      case 'error': this.lost = event.error?.code === 'backend_lost' ? event.error.message : this.lost; break;
      case 'backend.restored': this.lost = null; break;
    }
    return null;
  }

  // What to send to silence the agent, which a person has asked for at `at`. The stop of what is
  // being made comes first, or more of it would follow what is cleared.
  interrupt(at, by = 'button') {
    this.#asked = { by, at };
    const cancel = this.response === null ? [] : [{ type: 'response.cancel' }];
    return [...cancel, { type: 'output_audio_buffer.clear' }];
  }

  // What to send to say something in writing and have it answered.
  write(text, at) {
    const before = this.response !== null || this.playing ? this.interrupt(at, 'message') : [];
    this.#add({ who: 'you', item: null, text: text.slice(0, WORDS), cut: null });
    const content = [{ type: 'input_text', text }];
    return [
      ...before,
      { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } },
      { type: 'response.create' },
    ];
  }

  #cleared(at) {
    const before = this.cuts.at(-1);
    // One silence may clear several responses.
    if (before && !this.playing && at - before.cleared < 200) return null;
    this.playing = false;
    const asked = this.#asked !== null && at - this.#asked.at < SOON ? this.#asked : null;
    const spoken = this.#speech !== null && at - this.#speech < SOON;
    this.#asked = null;
    // `by` whom, when it was asked for (of speech: when the server said that it heard it), when the
    // server said that it was done, when it was silent at the ear, and how many ms of the answer
    // had been heard by then.
    const cut = {
      by: asked ? asked.by : spoken ? 'speech' : 'agent',
      asked: asked ? asked.at : spoken ? this.#speech : at,
      cleared: at, silent: null, heard: null,
    };
    this.cuts.push(cut);
    if (this.cuts.length > CUTS) this.cuts.shift();
    return cut;
  }

  #truncated({ item_id: item, audio_end_ms: end }) {
    const cut = this.cuts.at(-1), turn = this.turns.find(each => each.item === item);
    if (cut && cut.heard === null) cut.heard = end;
    if (turn) turn.cut = end;
  }

  #says(item, words) {
    const turn = this.#turn('agent', item);
    turn.text = (turn.text + words).slice(0, WORDS);
  }

  #turn(who, item) {
    return this.turns.findLast(each => each.item === item && each.who === who)
      ?? this.#add({ who, item, text: '', cut: null });
  }

  #add(turn) {
    this.turns.push(turn);
    if (this.turns.length > TURNS) this.turns.shift();
    return turn;
  }
}

const ROWS = 400;            // rows of a log; the oldest go
const NEAR = 12;             // rows back among which a delta finds those before it
const TEXT = 4000;           // characters of one row's detail

export class Log {
  rows = [];                   // oldest first
  sent = 0; received = 0;
  #number = 0;

  // Keep an event that was 'sent' or 'received' at `at`. Its row: a new one, or the one of the
  // deltas before it.
  add(way, event, at) {
    this[way] += 1;
    const known = this.#before(way, event);
    if (known) {
      known.count += 1;
      known.text = (known.text + deltaOf(event)).slice(0, TEXT);
      return known;
    }
    const row = {
      number: this.#number++, way, type: String(event.type), at, count: 1, text: deltaOf(event), event,
    };
    this.rows.push(row);
    if (this.rows.length > ROWS) this.rows.shift();
    return row;
  }

  // The first row that is still there.
  get oldest() { return this.rows[0]?.number ?? 0; }

  #before(way, event) {
    if (typeof event.type !== 'string' || !event.type.endsWith('.delta')) return null;
    const same = each => each.way === way && each.type === event.type
      && each.event.item_id === event.item_id && each.event.response_id === event.response_id;
    return this.rows.slice(-NEAR).findLast(same) ?? null;
  }
}

const deltaOf = event => typeof event.delta === 'string' ? event.delta.slice(0, TEXT) : '';

// Whether a row is among those that a person wants to see. `words` of `wanted`, separated by spaces,
// are parts of types; one with a minus in front is a part that is not wanted.
export function matches(row, wanted, way) {
  if (way !== 'both' && row.way !== way) return false;
  const words = wanted.toLowerCase().split(/\s+/).filter(word => word.replace(/^-/, ''));
  const type = row.type.toLowerCase();
  const without = words.filter(word => word[0] === '-').map(word => word.slice(1));
  const withs = words.filter(word => word[0] !== '-');
  return !without.some(word => type.includes(word))
    && (withs.length === 0 || withs.some(word => type.includes(word)));
}

// The one thing about an event that is worth a glance.
export function gist(row) {
  const { event } = row;
  if (row.text) return row.text;
  if (event.error) return [event.error.code, event.error.message].filter(Boolean).join(': ');
  if (event.response?.status) {
    return [event.response.status, event.response.status_details?.reason].filter(Boolean).join(', ');
  }
  if (typeof event.audio_end_ms === 'number') return `after ${seconds(event.audio_end_ms)}`;
  if (typeof event.audio_start_ms === 'number') return `at ${seconds(event.audio_start_ms)}`;
  if (typeof event.transcript === 'string') return event.transcript.slice(0, TEXT);
  const words = (event.item?.content ?? []).map?.(part => part.text ?? part.transcript).find(Boolean);
  if (words) return String(words).slice(0, TEXT);
  return event.item?.role ?? '';
}

// All of an event, for reading.
export function detail(row) {
  const shown = row.count > 1 ? { ...row.event, delta: row.text, '(events)': row.count } : row.event;
  const text = JSON.stringify(shown, null, 2);
  return text.length > TEXT ? `${text.slice(0, TEXT)}…` : text;
}

// A message of the channel as an event; one that is none is shown as what it is.
export function read(message) {
  try {
    const event = JSON.parse(message);
    if (typeof event === 'object' && event !== null && typeof event.type === 'string') return event;
  } catch { /* told below */ }
  return { type: '(not an event)', message: String(message).slice(0, TEXT) };
}

const seconds = ms => `${(ms / 1000).toFixed(2)} s`;
