// The demo's page: one call, and everything that can be said about it.
//
// The client side of signalling is `openCall` and `restartIce`, that of a conversation `openEvents`
// and `send`; that is all a client of this server needs. The rest reads what the browser, the
// transceiver and the demo tell and shows it. `window.demo.report()` returns the same as JSON.

import { Chart } from './chart.js';
import { Conversation, read } from './conversation.js';
import { Ear } from './ear.js';
import { $, ms, note, put, say, unit } from './page.js';
import { Events, Turns } from './panel.js';
import { closeAudio, openAudio, setMuted } from './sound.js';

const CALLS = '/v1/realtime/calls';
const LAYERS = ['signalling', 'ice', 'dtls', 'media'];
const POLL = 100;            // ms between readings of the browser's statistics
const SERVER_POLL = 1000;    // ms between readings of the server's
const STALLED = 1000;        // ms without a packet after which sound that is due counts as stalled
const LISTEN = 50;           // ms between readings of what is heard
const AWAITED = 4000;        // ms for which silence is waited for after an interruption

const chart = new Chart($('chart'));
const turns = new Turns($('turns'));
const events = new Events({
  list: $('events'), filter: $('events-filter'), way: $('events-way'), count: $('events-count'),
});
let call = null;             // the call being made or held; null between calls
let lastReport = null;       // what the previous call had to say
let fleet = null;            // what the demo says of its processes
let demoGone = false;        // whether it has stopped to say anything

class Call {
  source; backend;                            // `backend` as the demo describes it, null unknown
  audio = null; pc = null; url = null; etag = null;
  channel = null; conversation = new Conversation(); sent = 0; muted = false;
  phase = 'starting';                         // starting, calling, live, ended
  began = 0; at = {};                         // clock readings of each layer's first success
  layers = Object.fromEntries(LAYERS.map(name => [name, { state: 'idle', text: 'idle' }]));
  ufrag = null;                               // the server's, from its newest answer
  taken = null;                               // node that answered, as the demo says
  snapshot = null; stats = {}; restarts = 0; problem = null;
  packets = 0; grewAt = null; longestGap = 0; stalls = 0; stalled = false;
  tone = { sent: null, heard: null }; levels = { out: null, in: null };
  timers = []; reading = false;

  constructor(source, backend) {
    this.source = source;
    this.backend = backend;
    // A tone that never pauses is nobody's turn.
    this.muted = source === 'tone' && this.converses;
  }

  get converses() { return this.backend?.converses ?? false; }
  get hasEvents() { return this.channel?.readyState === 'open'; }

  get setup() {
    const at = this.at, span = (from, to) => from === undefined || to === undefined ? null : to - from;
    return {
      signalling: span(this.began || undefined, at.signalling), ice: span(at.signalling, at.ice),
      dtls: span(at.ice, at.dtls), media: span(at.dtls, at.media),
      total: span(this.began || undefined, at.media),
    };
  }

  layer(name, state, text) {
    if (state === 'ok' && this.at[name] === undefined) {
      // A later layer may be seen first where two events come in one turn: keep the order of time.
      const before = LAYERS.slice(0, LAYERS.indexOf(name)).map(each => this.at[each] ?? 0);
      this.at[name] = Math.max(performance.now(), ...before);
    }
    this.layers[name] = { state, text };
  }
}

// ---- signalling -----------------------------------------------------------------------------

async function exchange(method, url, offer, etag) {
  const headers = { 'Content-Type': 'application/sdp' };
  if (etag) headers['If-Match'] = etag;
  const response = await fetch(url, { method, headers, body: offer })
    .catch(() => { throw new Error('the demo does not answer'); });
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `${method} was answered with ${response.status}`);
  }
  return { response, answer: await response.text() };
}

async function openCall(mine) {
  const pc = mine.pc = new RTCPeerConnection();
  watch(mine, pc);
  mine.audio.stream.getTracks().forEach(track => pc.addTrack(track, mine.audio.stream));
  openEvents(mine, pc);
  await pc.setLocalDescription();
  const model = mine.backend ? `?model=${encodeURIComponent(mine.backend.name)}` : '';
  // No wait for candidates: the server learns where we are from our first check.
  const { response, answer } = await exchange('POST', CALLS + model, pc.localDescription.sdp);
  mine.url = response.headers.get('Location');
  mine.etag = response.headers.get('ETag');
  mine.taken = Number(response.headers.get('X-Demo-Node')) || null;
  if (call !== mine) { fetch(mine.url, { method: 'DELETE' }); return; }
  await take(mine, answer);
}

async function restartIce(mine) {
  const { pc } = mine;
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  const { response, answer } = await exchange('PATCH', mine.url, pc.localDescription.sdp, mine.etag);
  mine.etag = response.headers.get('ETag') ?? mine.etag;
  await take(mine, answer);
  mine.restarts += 1;
}

async function take(mine, answer) {
  await mine.pc.setRemoteDescription({ type: 'answer', sdp: answer });
  mine.ufrag = answer.match(/^a=ice-ufrag:(\S+)/m)?.[1] ?? null;
}

function watch(mine, pc) {
  const ice = { new: ['working', 'waiting'], checking: ['working', 'checking'],
    connected: ['ok', 'connected'], completed: ['ok', 'connected'],
    disconnected: ['working', 'no answer'], failed: ['failed', 'failed'], closed: ['idle', 'closed'] };
  const dtls = { new: ['working', 'waiting'], connecting: ['working', 'handshake'],
    connected: ['ok', 'connected'], failed: ['failed', 'failed'], closed: ['idle', 'closed'] };
  let transport = null;
  const look = () => {
    if (call !== mine) return;
    const before = LAYERS.map(name => mine.layers[name].text);
    if (mine.layers.signalling.state === 'ok') mine.layer('ice', ...ice[pc.iceConnectionState]);
    if (!transport && (transport = pc.getSenders()[0]?.transport ?? null)) {
      transport.addEventListener('statechange', look);
    }
    if (transport && mine.at.ice !== undefined) mine.layer('dtls', ...dtls[transport.state]);
    if (transport?.state === 'closed') return finish(mine, 'The transceiver has ended the call.');
    LAYERS.forEach((name, index) => {
      const { text } = mine.layers[name];
      if (text !== before[index] && name !== 'media') note(`${title(name)}: ${text}`);
    });
    render();
  };
  pc.addEventListener('iceconnectionstatechange', look);
  pc.addEventListener('connectionstatechange', look);
  pc.addEventListener('signalingstatechange', look);
  pc.addEventListener('track', ({ track, streams }) => {
    const stream = streams[0] ?? new MediaStream([track]);
    $('echo').srcObject = stream;
    $('echo').play().catch(() => {});
    mine.audio.in = new Ear(mine.audio.context, mine.audio.context.createMediaStreamSource(stream));
    track.addEventListener('unmute', () => readStats(mine));
  });
}

// ---- events ---------------------------------------------------------------------------------

function openEvents(mine, pc) {
  const channel = mine.channel = pc.createDataChannel('oai-events');
  channel.addEventListener('open', () => {
    if (call !== mine) return;
    mine.at.events = performance.now();
    note(`Events: open after ${ms(mine.at.events - mine.began)}`);
    render();
  });
  channel.addEventListener('message', ({ data, timeStamp }) => {
    if (call === mine) receive(mine, read(data), Math.min(performance.now(), timeStamp || Infinity));
  });
  channel.addEventListener('close', () => {
    if (call !== mine || mine.at.events === undefined) return;
    note('Events: closed', true);
    render();
  });
}

function receive(mine, event, at) {
  events.add('received', event, at);
  const cut = mine.conversation.take(event, at);
  if (cut) {
    const began = cut.by === 'speech' ? mine.audio.out?.loudness.beganBefore(cut.asked) : null;
    cut.began = began ?? cut.asked;
    note(`Cut off by ${BY[cut.by]}`);
  }
  if (event.type === 'error') note(`Error: ${event.error?.message ?? 'without a message'}`, true);
  turns.show(mine.conversation.turns);
  renderTalk(mine);
}

function send(mine, ...all) {
  if (!mine.hasEvents) return;
  for (const event of all) {
    const named = { event_id: `page_${++mine.sent}`, ...event };
    mine.channel.send(JSON.stringify(named));
    events.add('sent', named, performance.now());
  }
  turns.show(mine.conversation.turns);
  renderTalk(mine);
}

// Silence at the ear comes after the server's word that it has let go of what waited, or a little
// before. It is told from a pause between words by its length, so it is known later than it is.
function listen() {
  if (!call?.audio) return;
  call.audio.out?.listen();
  call.audio.in?.listen();
  const cut = call.conversation.cuts.at(-1);
  if (!cut || cut.silent !== null || performance.now() - cut.cleared > AWAITED) return;
  cut.silent = call.audio.in?.loudness.silentAt(Math.max(cut.began, cut.cleared - 100)) ?? null;
  if (cut.silent === null) return;
  const told = `Silent ${ms(cut.silent - cut.began)} after ${BY[cut.by]}`;
  say(`${told}.`);
  note(`${told}, ${ms(Math.max(0, cut.silent - cut.cleared))} after the server's word`);
  renderTalk(call);
}

// ---- a call's life --------------------------------------------------------------------------

async function begin(source) {
  const mine = call = new Call(source, chosen());
  chart.clear();
  turns.clear();
  say(source === 'tone' ? 'Calling…' : 'Asking for the microphone…');
  render();
  try {
    mine.audio = await openAudio(mine);
    if (call !== mine) return closeAudio(mine.audio);
    mine.phase = 'calling';
    mine.began = performance.now();
    events.clear(mine.began);
    mine.layer('signalling', 'working', 'offer sent');
    note(`Calling with ${source === 'tone' ? `a test tone of ${$('pitch').value} Hz` : 'the microphone'}`);
    say('Calling…');
    render();
    await openCall(mine);
    if (call !== mine) return;
    mine.phase = 'live';
    mine.layer('signalling', 'ok', 'answered');
    note(`Answered by transceiver ${mine.taken ?? '?'} in ${ms(mine.setup.signalling)}`);
    mine.layer('ice', 'working', 'checking');
    watchStats(mine);
    say('Answered. Waiting for the first audio…');
  } catch (error) {
    if (call === mine) fail(mine, error);
  }
  render();
}

function sayItFlows(mine) {
  say(mine.converses
    ? (mine.source === 'tone' ? 'Connected. Write to the agent, or unmute the tone for a while to speak.'
      : 'Connected. Speak or write, and interrupt whenever you like.')
    : (mine.source === 'tone' ? 'The tone goes out and comes back.' : 'Connected. Speak, and hear yourself.'));
}

function mute(mine, muted) {
  mine.muted = muted;
  if (mine.audio) setMuted(mine.audio, muted);
  render();
}

function reconnect() {
  const { source } = call;
  finish(call, 'Reconnecting…');
  begin(source);
}

function fail(mine, error) {
  const layer = LAYERS.find(name => mine.layers[name].state !== 'ok') ?? 'media';
  mine.layer(layer, 'failed', 'failed');
  const denied = error.name === 'NotAllowedError', absent = error.name === 'NotFoundError';
  mine.problem = denied ? 'The browser was not allowed to use the microphone. The test tone needs none.'
    : absent ? 'This machine has no microphone. The test tone needs none.' : `No call: ${error.message}`;
  finish(mine, mine.problem, true);
}

function finish(mine, message, bad = false) {
  if (call !== mine) return;
  lastReport = { ...report(), phase: 'ended' };
  mine.phase = 'ended';
  mine.timers.forEach(clearInterval);
  mine.pc?.close();
  if (mine.audio) closeAudio(mine.audio);
  if (mine.url) fetch(mine.url, { method: 'DELETE', keepalive: true }).catch(() => {});
  call = null;
  for (const name of LAYERS) {
    if (mine.layers[name].state !== 'failed') {
      mine.layers[name] = { state: 'idle', text: mine.at[name] === undefined ? 'idle' : 'ended' };
    }
  }
  say(message, bad);
  note(message, bad);
  render(mine);
  pollDemo();
}

async function onRestart() {
  const mine = call;
  if (mine?.phase !== 'live') return;
  $('restart').disabled = true;
  note('ICE restart: a new offer goes to the same call');
  try {
    await restartIce(mine);
    note(`ICE restart: answered with the ufrag ${mine.ufrag}`);
    await readServer(mine);
  } catch (error) {
    mine.problem = `ICE restart: ${error.message}`;
    note(mine.problem, true);
  }
  render();
}

// ---- figures --------------------------------------------------------------------------------

function watchStats(mine) {
  const early = setInterval(() => {
    if (mine.at.media !== undefined) clearInterval(early);
    readStats(mine);
  }, 20);
  mine.timers.push(early, setInterval(() => readStats(mine), POLL));
  mine.timers.push(setInterval(() => readServer(mine), SERVER_POLL));
  readServer(mine);
}

async function readStats(mine) {
  // Asked while its connection closes, Firefox may never answer: the next call must not wait for it.
  if (call !== mine || mine.reading) return;
  mine.reading = true;
  try {
    const all = [...(await mine.pc.getStats()).values()];
    if (call !== mine) return;
    const get = (type, match = () => true) => all.find(stat => stat.type === type && match(stat));
    const inbound = get('inbound-rtp'), outbound = get('outbound-rtp');
    const remote = get('remote-inbound-rtp'), transport = get('transport');
    const pair = all.find(stat => stat.id === transport?.selectedCandidatePairId)
      ?? get('candidate-pair', stat => stat.selected) ?? get('candidate-pair', stat => stat.nominated);
    const ends = id => all.find(stat => stat.id === id);
    const codec = ends(inbound?.codecId) ?? ends(outbound?.codecId);
    const local = ends(pair?.localCandidateId), far = ends(pair?.remoteCandidateId);
    mine.stats = {
      packetsReceived: inbound?.packetsReceived ?? 0, packetsSent: outbound?.packetsSent ?? 0,
      packetsLost: inbound?.packetsLost ?? 0, jitter: inbound?.jitter ?? null,
      iceRoundTrip: pair?.currentRoundTripTime ?? null, rtcpRoundTrip: remote?.roundTripTime ?? null,
      remoteLost: remote?.packetsLost ?? null, remoteJitter: remote?.jitter ?? null,
      codec: codec ? `${codec.mimeType.replace('audio/', '')} ${codec.clockRate / 1000} kHz` : null,
      dtls: transport?.tlsVersion ?? null, dtlsCipher: transport?.dtlsCipher ?? null,
      srtpCipher: transport?.srtpCipher ?? null,
      local: local ? { type: local.candidateType, address: local.address ?? null, port: local.port } : null,
      remote: far ? { type: far.candidateType, address: far.address ?? null, port: far.port } : null,
    };
    notePackets(mine, mine.stats.packetsReceived);
  } finally { mine.reading = false; }
}

function notePackets(mine, count) {
  const now = performance.now();
  if (count > mine.packets) {
    if (mine.grewAt !== null) mine.longestGap = Math.max(mine.longestGap, now - mine.grewAt);
    if (mine.stalled) {
      note(`Audio is back after ${ms(now - mine.grewAt)}`);
      sayItFlows(mine);
    }
    mine.packets = count;
    mine.grewAt = now;
    mine.stalled = false;
    if (mine.at.media === undefined) {
      mine.layer('dtls', 'ok', 'connected');
      mine.layer('media', 'ok', 'flowing');
      note(`First audio ${ms(mine.setup.total)} after the button`);
      sayItFlows(mine);
    }
    mine.layer('media', 'ok', 'flowing');
  } else if (mine.converses && !mine.conversation.playing) {
    // An agent that has nothing to say sends nothing.
    mine.grewAt = null;
    if (mine.at.dtls !== undefined) mine.layer('media', mine.at.media ? 'ok' : 'working', 'quiet');
  } else if (mine.grewAt !== null && now - mine.grewAt > STALLED) {
    if (!mine.stalled) {
      mine.stalls += 1;
      note('No audio for a second', true);
      say('The sound has stopped. It comes back by itself once the relay and the transceiver are reached again.', true);
    }
    mine.stalled = true;
    mine.layer('media', 'working', 'stalled');
  } else if (mine.grewAt === null && mine.at.dtls !== undefined) {
    mine.layer('media', 'working', 'waiting');
  }
}

async function readServer(mine) {
  pollDemo();
  const response = await fetch(mine.url, { cache: 'no-store' }).catch(() => null);
  if (call !== mine || !response) return;
  if (response.status === 404) return finish(mine, 'The transceiver has ended the call.');
  if (response.ok) mine.snapshot = await response.json();
}

async function pollDemo() {
  const response = await fetch('/demo/state', { cache: 'no-store' }).catch(() => null);
  if (demoGone !== !response?.ok) {
    demoGone = !response?.ok;
    note(demoGone ? 'The demo does not answer any more' : 'The demo answers again', demoGone);
  }
  if (!response?.ok) return;
  const next = await response.json();
  if (fleet && fleet.relay.restarts !== next.relay.restarts) {
    note(`The relay was restarted: process ${next.relay.pid}`);
  }
  fleet = next;
  render();
}

function report() {
  const mine = call;
  if (!mine) return lastReport ?? { phase: 'idle', fleet };
  const { snapshot, stats } = mine;
  return {
    phase: mine.phase, source: mine.source, problem: mine.problem, call: mine.url?.split('/').pop() ?? null,
    layers: Object.fromEntries(LAYERS.map(name => [name, mine.layers[name].state])),
    setup: mine.setup, roundTrip: roundTripOf(stats),
    jitter: stats.jitter ?? null, loss: lossOf(stats), level: mine.levels.in, tone: { ...mine.tone },
    audio: {
      packets: mine.packets, longestGap: mine.longestGap, stalls: mine.stalls,
      silentFor: mine.grewAt === null ? null : performance.now() - mine.grewAt,
    },
    backend: mine.backend?.name ?? null, muted: mine.muted, ...reportTalk(mine),
    ufrag: mine.ufrag, taken: mine.taken, restarts: mine.restarts, stats, snapshot, fleet,
    hint: snapshot && { cluster: snapshot.cluster, node: snapshot.node, ufrag: snapshot.ufrag },
  };
}

function reportTalk({ hasEvents, conversation, at, began }) {
  const { session, response, playing, speaking, lost, turns: said, cuts } = conversation;
  const { rows, sent, received } = events.log;
  return {
    events: {
      open: hasEvents, openedIn: at.events === undefined ? null : at.events - began,
      sent, received, types: rows.slice(-60).map(({ way, type, count }) => ({ way, type, count })),
    },
    conversation: { model: session?.model ?? null, response, playing, speaking, lost, said, cuts },
  };
}

// Seconds. Firefox tells ICE's in whole milliseconds, so that RTCP's is the better one where it says 0.
const roundTripOf = stats => stats.iceRoundTrip || (stats.rtcpRoundTrip ?? null);

const lossOf = stats => {
  const expected = (stats.packetsReceived ?? 0) + (stats.packetsLost ?? 0);
  return expected ? Math.max(0, stats.packetsLost / expected) : null;
};

// ---- the page -------------------------------------------------------------------------------

const title = name => ({ signalling: 'Signalling', ice: 'ICE', dtls: 'DTLS', media: 'Audio' })[name];
function render(shown = call) {
  const busy = call !== null;
  put('call', busy ? 'Hang up' : 'Call');
  $('call').classList.toggle('hang', busy);
  $('tone').disabled = $('backend').disabled = busy;
  $('mute').disabled = !call?.audio;
  $('mute').setAttribute('aria-pressed', `${call?.muted ?? false}`);
  $('reconnect').disabled = call?.phase !== 'live';
  if (shown) put('figures-title', busy ? 'Right now' : 'When the call ended');
  $('restart').disabled = call?.phase !== 'live' || (call.at.media ?? call.at.dtls) === undefined;
  renderFleet();
  renderBackends();
  renderTalk(shown);
  $('route').classList.toggle('live', call?.layers.media.state === 'ok');
  if (!shown) return;
  renderSetup(shown);
  renderRoute(shown);
  renderFigures(shown);
}

function renderSetup(mine) {
  const { setup } = mine;
  for (const name of LAYERS) {
    const item = document.querySelector(`[data-layer="${name}"]`);
    item.dataset.state = mine.layers[name].state;
    item.querySelector('.state').textContent = mine.layers[name].text;
    item.querySelector('.time').textContent = ms(setup[name]);
    document.querySelector(`[data-part="${name}"]`).style.flexGrow = setup[name] ?? 0;
  }
  put('setup-total', ms(setup.total));
  $('split').setAttribute('aria-label', 'Set-up time by layer: '
    + LAYERS.map(name => `${title(name)} ${ms(setup[name])}`).join(', '));
}

function renderFleet() {
  if (!fleet) return;
  const { relay, transceivers } = fleet;
  $('hop-relay').classList.toggle('lost', !relay.pid);
  put('relay-text', relay.pid ? `process ${relay.pid}` : 'restarting');
  const owner = call && (call.snapshot?.node ?? call.taken);
  const wanted = transceivers.map(each => `${each.node} ${each.pid} ${each.node === owner}`).join();
  if ($('fleet').dataset.shows === wanted) return;
  $('fleet').dataset.shows = wanted;
  $('fleet').replaceChildren(...transceivers.map(each => {
    const item = document.createElement('li'), name = document.createElement('b');
    const small = document.createElement('small');
    name.textContent = `Transceiver ${each.node}`;
    small.textContent = `process ${each.pid}`;
    item.classList.toggle('owner', each.node === owner);
    if (each.node === owner) item.setAttribute('aria-current', 'true');
    item.append(name, small);
    return item;
  }));
}

const chosen = () => fleet?.backends.find(each => each.name === $('backend').value) ?? null;

function renderBackends() {
  if (!fleet) return;
  const found = fleet.backends, wanted = JSON.stringify(found);
  if ($('backend').dataset.shows !== wanted) {
    $('backend').dataset.shows = wanted;
    const before = $('backend').value || fleet.usual;
    $('backend').replaceChildren(...found.map(({ name, title, missing }) =>
      Object.assign(new Option(missing ? `${title} (not here)` : title, name), { disabled: !!missing })));
    $('backend').value = found.some(({ name, missing }) => name === before && !missing) ? before : fleet.usual;
  }
  const missing = found.filter(each => each.missing).map(each => `${each.title}: ${each.missing}.`);
  put('backend-detail', [chosen()?.detail, ...missing].filter(Boolean).join(' '));
}

const BY = { button: 'the button', message: 'your message', speech: 'your voice', agent: 'the agent itself' };

function renderTalk(mine) {
  const here = call !== null && call === mine && mine.hasEvents, talks = here && mine.converses;
  for (const id of ['message', 'send', 'interrupt']) $(id).disabled = !talks;
  const { conversation } = mine ?? {};
  put('talk-state', !call ? 'No call' : !call.converses ? `${call.backend?.title ?? 'The echo'} holds none`
    : conversation.lost ? 'Nobody is behind the server' : !here ? 'No events yet'
    : conversation.speaking ? 'Hears you' : conversation.playing ? 'Speaks'
    : conversation.response ? 'Thinks' : 'Waits');
  put('detail-events', !mine?.channel ? '–' : mine.at.events === undefined ? mine.channel.readyState
    : `${mine.channel.readyState}, in ${ms(mine.at.events - mine.began)}`);
  const cut = conversation?.cuts.at(-1);
  put('cut-by', !cut ? '–' : { button: 'Button', message: 'Message', speech: 'Voice', agent: 'Agent' }[cut.by]);
  unit('cut-silent', !cut || cut.silent === null ? null : (cut.silent - cut.began).toFixed(0), 'ms');
  put('cut-silent-sub', !cut || cut.silent === null ? 'at your ear'
    : `${Math.max(0, cut.silent - cut.cleared).toFixed(0)} ms after the server's word`);
  unit('cut-heard', typeof cut?.heard !== 'number' ? null : (cut.heard / 1000).toFixed(1), 's');
}

function renderRoute(mine) {
  const { ufrag, snapshot } = mine;
  if (ufrag && $('ufrag').textContent !== ufrag) {
    const configuration = document.createElement('b');
    configuration.textContent = ufrag[0];
    configuration.title = 'key configuration';
    $('ufrag').replaceChildren(configuration, ufrag.slice(1));
  }
  put('hint-configuration', ufrag ? ufrag[0] : '–');
  put('hint-cluster', snapshot ? `${snapshot.cluster}` : '–');
  put('hint-node', snapshot ? `${snapshot.node}` : '–');
  put('call-id', mine.url?.split('/').pop() ?? '–');
  const owner = fleet?.transceivers.find(each => each.node === mine.taken);
  put('route-text', call === null ? 'No call'
    : owner ? `Taken by transceiver ${owner.node}, process ${owner.pid}` : 'Calling');
}

function renderFigures(mine) {
  const { stats, snapshot, tone } = mine;
  const roundTrip = roundTripOf(stats), loss = lossOf(stats);
  unit('figure-rtt', roundTrip === null ? null : (roundTrip * 1000).toFixed(1), 'ms');
  put('figure-rtt-sub', stats.rtcpRoundTrip ? `RTCP ${(stats.rtcpRoundTrip * 1000).toFixed(1)} ms` : 'ICE checks');
  unit('figure-jitter', stats.jitter == null ? null : (stats.jitter * 1000).toFixed(1), 'ms');
  const jitter = snapshot?.audio.jitter;
  put('figure-jitter-sub', jitter == null ? 'of what is heard' : `server ${(jitter * 1000).toFixed(1)} ms`);
  unit('figure-loss', loss === null ? null : (loss * 100).toFixed(1), '%');
  const there = snapshot?.audio;
  put('figure-loss-sub', there?.expected ? `server ${(100 * Math.max(0, there.lost) / there.expected).toFixed(1)} %` : 'of what is heard');
  unit('figure-tone', tone.heard === null ? null : tone.heard.toFixed(0), 'Hz');
  put('figure-tone-sub', tone.sent === null ? 'test tone only' : `sent ${tone.sent} Hz`);
  const end = each => !each ? '?' : each.address && !each.address.endsWith('.local')
    ? `${each.address}:${each.port}` : 'hidden by the browser';
  put('detail-path', stats.remote ? `${end(stats.local)} → ${end(stats.remote)}` : '–');
  const version = { FEFD: '1.2', FEFC: '1.3' }[stats.dtls] ?? snapshot?.dtls_version?.replace(/^DTLS\s*/i, '');
  const cipher = snapshot?.cipher_suite ?? stats.dtlsCipher;
  put('detail-dtls', version ? `${version}${cipher ? `, ${cipher}` : ''}` : '–');
  put('detail-srtp', snapshot?.srtp_profile ?? stats.srtpCipher ?? '–');
  put('detail-codec', stats.codec ?? '–');
  put('detail-packets', stats.packetsSent ? `${stats.packetsSent} sent, ${stats.packetsReceived} received` : '–');
  put('detail-phase', snapshot?.phase ?? '–');
}

function frame() {
  const { audio } = call ?? {};
  for (const way of ['out', 'in']) {
    const level = audio?.[way]?.level() ?? null;
    if (call) call.levels[way] = level;
    const share = level === null ? 0 : Math.max(0, Math.min(1, (level + 60) / 60));
    $(`meter-${way}`).style.transform = `scaleX(${share})`;
  }
  chart.draw();
  requestAnimationFrame(frame);
}

function sample() {
  if (!call || call.phase !== 'live') return;
  const roundTrip = roundTripOf(call.stats);
  const level = call.audio.in?.level() ?? null;
  chart.add(performance.now() / 1000, roundTrip === null ? null : roundTrip * 1000, call.grewAt ? level : null);
  if (call.source === 'tone') {
    call.tone = { sent: call.muted ? null : call.audio.oscillator.frequency.value, heard: call.audio.in?.pitch() ?? null };
  }
  render();
}

$('call').addEventListener('click', () => call ? finish(call, 'You hung up.') : begin('microphone'));
$('tone').addEventListener('click', () => call || begin('tone'));
$('restart').addEventListener('click', onRestart);
$('reconnect').addEventListener('click', () => call?.phase === 'live' && reconnect());
$('mute').addEventListener('click', () => call && mute(call, !call.muted));
$('backend').addEventListener('change', renderBackends);
$('interrupt').addEventListener('click', ({ timeStamp }) => {
  if (call) send(call, ...call.conversation.interrupt(timeStamp || performance.now()));
});
$('message-form').addEventListener('submit', event => {
  event.preventDefault();
  const text = $('message').value.trim();
  if (!text || !call?.hasEvents || !call.converses) return;
  $('message').value = '';
  send(call, ...call.conversation.write(text, performance.now()));
});
$('listen').addEventListener('change', event => { $('echo').muted = !event.target.checked; });
$('pitch').addEventListener('input', event => {
  put('pitch-text', `${event.target.value} Hz`);
  call?.audio?.oscillator?.frequency.setValueAtTime(Number(event.target.value), call.audio.context.currentTime);
});
addEventListener('pagehide', () => {
  if (call?.url) fetch(call.url, { method: 'DELETE', keepalive: true }).catch(() => {});
});
setInterval(sample, 200);
setInterval(listen, LISTEN);
setInterval(() => { if (!call) pollDemo(); }, 5000);
requestAnimationFrame(frame);
pollDemo();
window.demo = {
  report: () => JSON.parse(JSON.stringify(report())),
};
