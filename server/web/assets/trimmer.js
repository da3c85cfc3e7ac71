// Two handles on a line: from where to where. Each is a slider of its own, so keys and screen readers have both.
import { h, setText } from './dom.js';
import { clockTime } from './format.js';

const STEP = 0.1;
const LEAST = 0.5; // s between the handles

/** s as 1:02.5 */
export const moment = (seconds) => `${clockTime(Math.floor(seconds))}.${Math.floor((seconds % 1) * 10)}`;

export class Trimmer {
  /** lo, hi: ends of the line, s. longest: between the handles, s. changed(which, at): one was moved by hand. zero: what is shown as 0:00. */
  constructor({ lo, hi, start, end, longest = Infinity, zero = 0, changed = () => {} }) {
    Object.assign(this, { lo, hi, longest, zero, changed });
    const slider = (which, label) => h('input', {
      type: 'range', class: `trim-handle ${which}`, min: lo, max: hi, step: STEP, 'aria-label': label,
      oninput: () => this.#moved(which),
    });
    this.first = slider('start', 'Start');
    this.last = slider('end', 'End');
    this.said = h('output', { class: 'trim-said' });
    this.line = h('div', { class: 'trim-line' }, h('span', { class: 'trim-kept', 'aria-hidden': 'true' }), this.first, this.last);
    this.element = h('div', { class: 'trimmer' }, this.line, this.said);
    this.set(start, end);
  }

  set(start, end) {
    this.start = Math.min(Math.max(start, this.lo), this.hi - LEAST);
    this.end = Math.max(Math.min(end, this.hi), this.start + LEAST);
    this.#paint();
  }

  #moved(which) {
    // the other handle is pushed where they would cross, and pulled where it would be too long
    if (which === 'start') {
      this.start = Math.min(Number(this.first.value), this.hi - LEAST);
      this.end = Math.min(Math.max(this.end, this.start + LEAST), this.start + this.longest);
    } else {
      this.end = Math.max(Number(this.last.value), this.lo + LEAST);
      this.start = Math.max(Math.min(this.start, this.end - LEAST), this.end - this.longest);
    }
    this.#paint();
    this.changed(which, which === 'start' ? this.start : this.end);
  }

  #paint() {
    const share = (at) => `${(100 * (at - this.lo)) / Math.max(this.hi - this.lo, STEP)}%`;
    this.first.value = this.start;
    this.last.value = this.end;
    this.line.style.setProperty('--from', share(this.start));
    this.line.style.setProperty('--to', share(this.end));
    const [from, to] = [moment(this.start - this.zero), moment(this.end - this.zero)];
    this.first.setAttribute('aria-valuetext', from);
    this.last.setAttribute('aria-valuetext', to);
    setText(this.said, `${from} – ${to} · ${(this.end - this.start).toFixed(1)} s`);
  }
}
