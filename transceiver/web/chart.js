// Two strips over one time axis: round trip above, level below. They have different units, so they
// do not share a vertical scale.

const WINDOW = 60;          // seconds shown
const FLOOR = -70;          // dBFS at the bottom of the lower strip
const STEPS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

export class Chart {
  #canvas; #samples = []; #hover = null; #dirty = true;

  constructor(canvas) {
    this.#canvas = canvas;
    const redraw = () => { this.#dirty = true; this.draw(); };
    new ResizeObserver(redraw).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
    canvas.addEventListener('pointermove', event => {
      this.#hover = event.offsetX / canvas.clientWidth;
      redraw();
    });
    canvas.addEventListener('pointerleave', () => { this.#hover = null; redraw(); });
  }

  clear() { this.#samples = []; this.#dirty = true; this.draw(); }

  // `rtt` in milliseconds and `level` in dBFS; null where there is no reading.
  add(at, rtt, level) {
    this.#samples.push({ at, rtt, level });
    while (this.#samples.length && this.#samples[0].at < at - WINDOW - 2) this.#samples.shift();
    this.#dirty = true;
  }

  draw() {
    if (!this.#dirty) return;
    this.#dirty = false;
    const canvas = this.#canvas, ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const g = canvas.getContext('2d');
    g.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = name => style.getPropertyValue(name).trim();
    g.font = '11.5px system-ui, "Liberation Sans", sans-serif';

    const left = 60, right = width - 10, axis = height - 18, gap = 20;
    const strip = (axis - gap - 8) / 2;
    const upper = { top: 8, bottom: 8 + strip }, lower = { top: 8 + strip + gap, bottom: axis };
    const end = this.#samples.length ? this.#samples.at(-1).at : 0;
    const x = at => right - (end - at) / WINDOW * (right - left);

    const peak = Math.max(1, ...this.#samples.map(sample => sample.rtt ?? 0));
    const ceiling = STEPS.find(step => step >= peak * 1.15) ?? peak * 1.2;
    const yRtt = value => upper.bottom - value / ceiling * strip;
    const yLevel = value => lower.bottom - (Math.max(FLOOR, value) - FLOOR) / -FLOOR * strip;

    g.strokeStyle = colour('--grid');
    g.fillStyle = colour('--ink-3');
    g.lineWidth = 1;
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    const line = (y, text) => {
      g.beginPath(); g.moveTo(left, Math.round(y) + .5); g.lineTo(right, Math.round(y) + .5);
      g.stroke();
      g.fillText(text, left - 8, y);
    };
    line(yRtt(0), '0'); line(yRtt(ceiling / 2), `${ceiling / 2}`); line(yRtt(ceiling), `${ceiling} ms`);
    line(yLevel(FLOOR), `−${-FLOOR}`); line(yLevel(-35), '−35'); line(yLevel(0), '0 dB');
    g.textBaseline = 'alphabetic';
    g.textAlign = 'center';
    for (let ago = 0; ago <= WINDOW; ago += 15) {
      const label = ago ? `−${ago} s` : 'now';
      g.fillText(label, Math.min(right - 10, Math.max(left + 12, x(end - ago))), height - 3);
    }

    g.save();
    g.beginPath(); g.rect(left, 0, right - left + 1, axis + 1); g.clip();
    this.#trace(g, colour('--rtt'), x, sample => sample.rtt, yRtt);
    this.#trace(g, colour('--level'), x, sample => sample.level, yLevel);
    g.restore();
    if (this.#hover !== null) this.#readout(g, colour, x, { left, right, axis, width });
  }

  #trace(g, stroke, x, read, y) {
    g.strokeStyle = stroke;
    g.lineWidth = 2;
    g.lineJoin = 'round';
    g.beginPath();
    let pen = false;
    for (const sample of this.#samples) {
      const value = read(sample);
      if (value === null) { pen = false; continue; }
      if (pen) g.lineTo(x(sample.at), y(value)); else g.moveTo(x(sample.at), y(value));
      pen = true;
    }
    g.stroke();
  }

  #readout(g, colour, x, box) {
    const px = this.#hover * box.width;
    if (px < box.left || px > box.right || !this.#samples.length) return;
    const near = this.#samples.reduce((best, sample) =>
      Math.abs(x(sample.at) - px) < Math.abs(x(best.at) - px) ? sample : best);
    if (Math.abs(x(near.at) - px) > 12) return;
    const at = Math.round(x(near.at)) + .5;
    g.strokeStyle = colour('--ink-3');
    g.lineWidth = 1;
    g.beginPath(); g.moveTo(at, 4); g.lineTo(at, box.axis); g.stroke();
    const rtt = near.rtt === null ? '–' : `${near.rtt.toFixed(1)} ms`;
    const level = near.level === null ? '–' : `${near.level.toFixed(0)} dBFS`;
    const text = `${rtt}   ${level}`;
    const wide = g.measureText(text).width + 16;
    const tip = at + wide + 8 > box.right ? at - wide - 6 : at + 6;
    g.fillStyle = colour('--ink');
    g.beginPath(); g.roundRect(tip, 6, wide, 22, 5); g.fill();
    g.fillStyle = colour('--surface');
    g.textAlign = 'left';
    g.fillText(text, tip + 8, 21);
  }
}
