// What the player's bar has for a video beside what it has for all: speed, captions, a picture of the moment that the
// pointer is at, and chapters. Owns what it adds to the bar; ends with `close`.
import { h, setText } from './dom.js';
import { clockTime } from './format.js';
import { here } from './video-card.js';

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

export class Extras {
  /** video: as GET /videos/{id} answers. */
  constructor(player, video) {
    this.player = player;
    this.video = video;
    this.element = player.video;
    const { controls } = player;
    this.speed = h('select', { class: 'bar-select', 'aria-label': 'Speed', title: 'Speed (< and >)', onchange: () => this.#run(Number(this.speed.value)) },
      SPEEDS.map((rate) => h('option', { value: rate }, rate === 1 ? '1×' : `${rate}×`)));
    this.speed.value = '1';
    this.text = h('select', { class: 'bar-select', 'aria-label': 'Captions', title: 'Captions (c)', hidden: !video.captions.length, onchange: () => this.#caption(this.text.value) },
      h('option', { value: '' }, 'No captions'), video.captions.map((one) => h('option', { value: one.language }, one.label || one.language)));
    controls.delay.before(this.text, this.speed);
    this.tip = h('div', { class: 'seek-tip', hidden: true, 'aria-hidden': 'true' }, this.frame = h('div', { class: 'seek-frame' }), this.said = h('span', {}));
    controls.bar.parentElement.append(this.tip);
    this.marks = h('div', { class: 'seek-marks', 'aria-hidden': 'true' });
    controls.bar.parentElement.append(this.marks);
    this.#mark();
    this.onMove = (event) => this.#show(event);
    this.onLeave = () => { this.tip.hidden = true; };
    controls.bar.addEventListener('pointermove', this.onMove);
    controls.bar.addEventListener('pointerleave', this.onLeave);
    this.onKey = (event) => this.#key(event);
    document.addEventListener('keydown', this.onKey);
    if (video.storyboard) this.#load(here(video.storyboard));
    this.#remembered();
  }

  #run(rate) {
    this.element.playbackRate = rate;
    this.speed.value = String(rate);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches?.('input:not([type=range]), textarea, select')) return;
    const at = SPEEDS.indexOf(Number(this.speed.value));
    const acts = {
      '>': () => this.#run(SPEEDS[Math.min(SPEEDS.length - 1, at + 1)]), '<': () => this.#run(SPEEDS[Math.max(0, at - 1)]),
      c: () => !this.text.hidden && this.#caption(this.text.value ? '' : this.preferred ?? this.video.captions[0].language),
    };
    const act = acts[event.key] ?? (/^\d$/.test(event.key) ? () => this.player.engine?.seek(this.video.duration * Number(event.key) / 10) : null);
    if (act && act() !== false) { event.preventDefault(); this.player.controls.wake(); }
  }

  /** Captions are the player's own text track, from the file: the same in every browser. */
  #caption(language) {
    this.text.value = language;
    this.track?.remove();
    for (const old of this.element.textTracks) old.mode = 'disabled';
    this.track = null;
    const found = this.video.captions.find((one) => one.language === language);
    if (found) {
      this.preferred = language;
      this.track = h('track', { kind: 'captions', srclang: language, label: found.label || language, src: here(found.url) });
      this.element.append(this.track);
      this.track.track.mode = 'showing';
    }
    try { localStorage.setItem('sf.captions', language); } catch { /* for this time */ }
  }

  #remembered() {
    let wanted = '';
    try { wanted = localStorage.getItem('sf.captions') ?? ''; } catch { /* nothing is known */ }
    if (wanted && this.video.captions.some((one) => one.language === wanted)) this.#caption(wanted);
  }

  async #load(url) {
    const text = await fetch(url).then((answer) => (answer.ok ? answer.text() : '')).catch(() => '');
    const base = url.slice(0, url.lastIndexOf('/') + 1);
    this.cues = [...text.matchAll(/([\d:.]+) --> ([\d:.]+).*\n(\S+?)#xywh=(\d+),(\d+),(\d+),(\d+)/g)]
      .map(([, start, end, name, ...box]) => ({ start: seconds(start), end: seconds(end), url: base + name, box: box.map(Number) }));
  }

  #mark() {
    const { duration, chapters } = this.video;
    if (!duration || chapters.length < 2) return;
    this.marks.replaceChildren(...chapters.slice(1).map(({ start }) => {
      const mark = h('span', {});
      mark.style.setProperty('--at', `${(100 * start) / duration}%`);
      return mark;
    }));
  }

  #show(event) {
    const { bar } = this.player.controls;
    const box = bar.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const at = share * (Number(bar.max) - Number(bar.min));
    const chapter = this.video.chapters.findLast((one) => one.start <= at);
    setText(this.said, [clockTime(at), chapter?.title].filter(Boolean).join(' · '));
    const cue = this.cues?.find((one) => at >= one.start && at < one.end);
    this.frame.hidden = !cue;
    if (cue) {
      const [x, y, width, height] = cue.box;
      Object.assign(this.frame.style, { width: `${width}px`, height: `${height}px`, backgroundImage: `url("${cue.url}")`, backgroundPosition: `-${x}px -${y}px` });
    }
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(box.width - half, Math.max(half, share * box.width))}px`;
  }

  close() {
    document.removeEventListener('keydown', this.onKey);
    for (const one of [this.speed, this.text, this.tip, this.marks]) one.remove();
    this.track?.remove();
  }
}

function seconds(text) {
  return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}
