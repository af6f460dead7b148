// What is heard, and since when it is not: readings of a sound while it passes.

const FRAME = 0.01;          // seconds of sound that one reading of its loudness is for
const KEPT = 1500;           // such readings
const LOUD = -50;            // dBFS; what is below counts as silence
const DEEP = 25;             // dB below a voice's own peak that count as silence too
const HOLD = 250;            // ms of silence that end a sound; words have shorter pauses
const LONGEST = 3000;        // ms that a sound is followed back to its beginning

// Loudness over time, told in frames from the oldest to the newest. Times are in milliseconds of
// one clock, levels in dBFS, null for digital silence.
export class Loudness {
  #frames = [];

  add(at, level) {
    this.#frames.push({ at, level: level ?? -Infinity });
    if (this.#frames.length > KEPT) this.#frames.shift();
  }

  // When the sound that was there at `from` had ended: `from` itself where there was none, null
  // where it goes on or nothing is known yet. `at` of a frame is its end.
  silentAt(from) {
    let last = from;
    for (const { at, level } of this.#frames) {
      if (at <= from) continue;
      if (level > LOUD) last = at;
      else if (at - last >= HOLD) return last;
    }
    return null;
  }

  // When the sound that was there just before `until` had begun; null where there was none.
  beganBefore(until) {
    const frames = this.#frames.filter(({ at }) => at <= until && at > until - LONGEST);
    const peak = Math.max(...frames.slice(-30).map(({ level }) => level), -Infinity);
    const loud = Math.max(LOUD, peak - DEEP);
    let began = null, quiet = until;
    for (const { at, level } of frames.reverse()) {
      if (level > loud) quiet = began = at - FRAME * 1000;
      else if (quiet - at > HOLD) break;
    }
    return began;
  }
}

export class Ear {
  loudness = new Loudness();
  #context; #analyser; #wave; #bins; #heard = null;

  constructor(context, node) {
    this.#context = context;
    this.#analyser = new AnalyserNode(context, { fftSize: 16384, smoothingTimeConstant: 0 });
    node.connect(this.#analyser);
    this.#wave = new Float32Array(this.#analyser.fftSize);
    this.#bins = new Float32Array(this.#analyser.frequencyBinCount);
  }

  // Put what has come since the last time into `loudness`. The analyser keeps a third of a second;
  // when this is asked more rarely than that, there is a hole.
  listen() {
    const rate = this.#context.sampleRate, end = this.#context.currentTime, now = performance.now();
    const kept = Math.floor((this.#wave.length / rate - FRAME) / FRAME) * FRAME;
    this.#analyser.getFloatTimeDomainData(this.#wave);
    this.#heard = Math.max(this.#heard ?? end, end - kept);
    for (; this.#heard + FRAME <= end; this.#heard += FRAME) {
      const last = this.#wave.length - Math.round((end - this.#heard - FRAME) * rate);
      const frame = this.#wave.subarray(last - Math.round(FRAME * rate), last);
      this.loudness.add(now - (end - this.#heard - FRAME) * 1000, levelOf(frame));
    }
  }

  // dBFS of the last 43 ms; null for digital silence.
  level() {
    this.#analyser.getFloatTimeDomainData(this.#wave);
    return levelOf(this.#wave.subarray(this.#wave.length - 2048));
  }

  // The frequency of the strongest tone in Hz, between bins by a parabola through the peak's
  // three readings in dB; null where nothing stands out.
  pitch() {
    const bins = this.#bins;
    this.#analyser.getFloatFrequencyData(bins);
    const width = this.#context.sampleRate / this.#analyser.fftSize;
    let best = Math.ceil(100 / width);
    const last = Math.min(bins.length - 2, Math.floor(4000 / width));
    for (let bin = best; bin <= last; bin++) if (bins[bin] > bins[best]) best = bin;
    if (!(bins[best] > -60)) return null;
    const [a, b, c] = [bins[best - 1], bins[best], bins[best + 1]];
    const bend = a - 2 * b + c;
    const shift = Number.isFinite(bend) && bend !== 0 ? 0.5 * (a - c) / bend : 0;
    return (best + Math.max(-0.5, Math.min(0.5, shift))) * width;
  }
}

function levelOf(samples) {
  const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
  return power > 1e-9 ? 10 * Math.log10(power) : null;
}
