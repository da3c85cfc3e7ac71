// A small line over the last minutes. Drawn as SVG; read aloud as one sentence; a pointer shows any moment of it.
import { h, setText } from './dom.js';

const NS = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 64;

function svg(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export class Chart {
  /** span: seconds shown; write(value) → text; floor: smallest top of the scale; wrong(value) → marks a bad value. */
  constructor(name, { span = 300, write, floor = 1, wrong = () => false }) {
    Object.assign(this, { name, span, write, floor, wrong });
    this.points = []; // {at: ms, value}
    this.area = svg('path', { class: 'chart-area' });
    this.line = svg('path', { class: 'chart-line' });
    this.mark = svg('line', { class: 'chart-mark', y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
    this.picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', class: 'chart' });
    this.picture.append(this.area, this.line, this.mark);
    this.value = h('strong', {}, '–');
    this.when = h('small', {}, ' ');
    this.element = h('div', { class: 'measure' }, h('div', { class: 'measure-head' }, h('span', {}, name), this.value), this.picture, this.when);
    this.picture.addEventListener('pointermove', (event) => this.#point(event));
    this.picture.addEventListener('pointerleave', () => { this.pointed = null; this.#paint(); });
  }

  add(value, at = Date.now()) {
    this.points.push({ at, value });
    while (this.points.length && this.points[0].at < at - this.span * 1000) this.points.shift();
    this.#paint();
  }

  /** ms across: grows with what is known, so that the first minute is not a sliver. */
  get #across() { return Math.min(this.span * 1000, Math.max(60_000, this.points.at(-1).at - this.points[0].at)); }
  #x(at) { return WIDTH * (1 - (this.points.at(-1).at - at) / this.#across); }
  get #spanText() { const minutes = Math.round(this.#across / 60_000); return minutes < 2 ? 'last minute' : `last ${minutes} min`; }

  #paint() {
    const last = this.points.at(-1);
    if (!last) return;
    const top = Math.max(this.floor, ...this.points.map((point) => point.value)) * 1.15;
    const y = (value) => (HEIGHT - 3) * (1 - value / top) + 1.5;
    let path = '';
    let before = null;
    for (const point of this.points) {
      const gap = !before || point.at - before.at > 8000; // nothing was measured in between: draw nothing
      path += `${gap ? 'M' : 'L'}${this.#x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
      before = point;
    }
    this.line.setAttribute('d', path);
    this.area.setAttribute('d', `M${this.#x(this.points[0].at)} ${HEIGHT}${this.points.map((p) => `L${this.#x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`).join('')}L${WIDTH} ${HEIGHT}Z`);
    const shown = this.pointed ?? last;
    setText(this.value, this.write(shown.value));
    setText(this.when, shown === last ? this.#spanText : new Date(shown.at).toLocaleTimeString());
    this.element.dataset.wrong = String(this.wrong(last.value));
    const x = this.pointed ? this.#x(this.pointed.at) : -9;
    this.mark.setAttribute('x1', x);
    this.mark.setAttribute('x2', x);
    this.picture.setAttribute('aria-label', `${this.name}: now ${this.write(last.value)}`);
  }

  #point(event) {
    if (!this.points.length) return;
    const box = this.picture.getBoundingClientRect();
    const at = this.points.at(-1).at - this.#across * (1 - (event.clientX - box.left) / box.width);
    this.pointed = this.points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    this.#paint();
  }
}
