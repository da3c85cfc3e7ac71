// The player's bar: play, sound, seeking, going live, quality, delay, small and full screen; and its keys.
import { h, setText } from './dom.js';
import { bitrate, clockTime } from './format.js';
import { setIcon } from './icons.js';

const STEP = 5; // s an arrow key moves
const IDLE = 2600; // ms until the bar steps back while playing

function iconButton(name, label, act) {
  const button = h('button', { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: act });
  setIcon(button, name);
  return button;
}

export class Controls {
  /** frame: the element that goes full screen and gets the keys; engine: an Engine or a stand-in with its shape. */
  constructor(frame, video, { simple = false } = {}) {
    this.frame = frame;
    this.video = video;
    this.engine = null;
    this.play = iconButton('play', 'Play (k)', () => this.toggle());
    this.mute = iconButton('volume', 'Mute (m)', () => { video.muted = !video.muted; });
    this.volume = h('input', {
      type: 'range', min: 0, max: 1, step: 0.05, class: 'volume', 'aria-label': 'Volume',
      oninput: () => { video.volume = Number(this.volume.value); video.muted = video.volume === 0; },
    });
    this.bar = h('input', {
      type: 'range', min: 0, max: 1, step: 'any', class: 'seek', 'aria-label': 'Position', disabled: true,
      oninput: () => this.#drag(), onchange: () => this.#drop(),
    });
    this.live = h('button', { class: 'live-button', type: 'button', hidden: true, onclick: () => this.engine.goLive() });
    this.clock = h('span', { class: 'clock' });
    this.delay = h('span', {
      class: 'delay', hidden: true, tabindex: 0, title: 'Delay: from the moment the server received this picture until now',
    });
    this.low = h('button', {
      class: 'low-button', type: 'button', hidden: true, 'aria-pressed': 'false', title: 'Shortest delay, by WebRTC: without going back in time',
      onclick: () => { const on = this.low.getAttribute('aria-pressed') !== 'true'; this.showLow(on); this.onLow?.(on); },
    }, 'Low delay');
    this.quality = h('button', {
      class: 'quality', type: 'button', 'aria-haspopup': 'true', 'aria-expanded': 'false', hidden: true, title: 'Quality',
      onclick: () => this.#menu(this.menu.hidden),
    });
    this.menu = h('div', { class: 'menu quality-menu', role: 'radiogroup', 'aria-label': 'Quality', hidden: true });
    this.pip = iconButton('pip', 'Picture in picture', () => this.#pip());
    this.pip.hidden = !document.pictureInPictureEnabled || simple;
    this.full = iconButton('full', 'Full screen (f)', () => this.fullscreen());
    this.element = h('div', { class: 'controls' },
      h('div', { class: 'seek-row' }, this.bar),
      h('div', { class: 'controls-row' }, this.play, this.mute, this.volume, this.live, this.clock,
        h('span', { class: 'grow' }), this.delay, this.low, h('div', { class: 'menu-anchor' }, this.menu, this.quality), this.pip, this.full));
    frame.append(this.element);
    this.#listen();
    this.timer = setInterval(() => this.refresh(), 250);
  }

  #listen() {
    const { frame, video } = this;
    for (const type of ['play', 'pause', 'volumechange', 'seeked', 'ended']) video.addEventListener(type, () => this.refresh());
    video.addEventListener('pause', () => this.wake());
    video.addEventListener('click', (event) => {
      // a first touch brings the bar; a mouse click is play and pause
      if (event.pointerType === 'touch') { if (frame.dataset.idle !== undefined) this.wake(); else this.#rest(); } else this.toggle();
    });
    video.addEventListener('dblclick', () => this.fullscreen());
    frame.addEventListener('pointermove', (event) => { if (event.pointerType !== 'touch') this.wake(); });
    frame.addEventListener('focusin', () => this.wake());
    frame.addEventListener('keydown', (event) => this.#key(event));
    this.onPageKey = (event) => { if (event.target === document.body) this.#key(event); };
    document.addEventListener('keydown', this.onPageKey);
    this.onFull = () => {
      const on = document.fullscreenElement === frame;
      setIcon(this.full, on ? 'unfull' : 'full');
      this.full.setAttribute('aria-label', on ? 'Leave full screen (f)' : 'Full screen (f)');
    };
    document.addEventListener('fullscreenchange', this.onFull);
    this.onOutside = (event) => { if (!this.menu.hidden && !event.target.closest?.('.menu-anchor')) this.#menu(false); };
    document.addEventListener('pointerdown', this.onOutside);
    try {
      video.volume = Number(localStorage.getItem('sf.volume') ?? 1);
      video.addEventListener('volumechange', () => localStorage.setItem('sf.volume', String(video.volume)));
    } catch { /* the volume is forgotten, no harm */ }
    this.wake();
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const on = event.target;
    if (on.matches?.('textarea, select, [type=text], [type=email], [type=password]')) return;
    const ranged = on.matches?.('[type=range]');
    const pressed = on.matches?.('button, a');
    const acts = {
      ' ': () => !pressed && this.toggle(), k: () => this.toggle(), f: () => this.fullscreen(),
      m: () => { this.video.muted = !this.video.muted; },
      ArrowLeft: () => (!ranged || on === this.bar) && this.#step(-STEP),
      ArrowRight: () => (!ranged || on === this.bar) && this.#step(STEP),
      ArrowUp: () => !ranged && this.#louder(0.1), ArrowDown: () => !ranged && this.#louder(-0.1),
      l: () => this.engine?.live && this.engine.goLive(),
      Escape: () => { if (this.menu.hidden) return false; this.#menu(false); this.quality.focus(); return true; },
    };
    const act = acts[event.key] ?? acts[event.key.toLowerCase()];
    if (act && act() !== false) { event.preventDefault(); this.wake(); }
  }

  toggle() {
    const { video, engine } = this;
    if (video.paused) {
      if (video.ended) video.currentTime = engine?.window?.start ?? 0;
      video.play().catch(() => {});
    } else {
      video.pause();
      if (engine) engine.following = false;
    }
  }

  #step(by) { this.engine?.seek(this.video.currentTime + by); this.refresh(); }
  #louder(by) { this.video.muted = false; this.video.volume = Math.min(1, Math.max(0, this.video.volume + by)); }
  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.frame.requestFullscreen) this.frame.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.(); // iPhone
  }
  #pip() {
    if (document.pictureInPictureElement) document.exitPictureInPicture();
    else this.video.requestPictureInPicture().catch(() => {});
  }

  #drag() { this.dragging = true; setText(this.clock, this.#label(Number(this.bar.value))); }
  #drop() { this.dragging = false; this.engine?.seek(Number(this.bar.value)); this.refresh(); }

  wake() {
    delete this.frame.dataset.idle;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.#rest(), IDLE);
  }
  #rest() {
    const busy = this.video.paused || !this.menu.hidden || this.element.contains(document.activeElement) && document.activeElement.matches(':focus-visible');
    if (!busy) this.frame.dataset.idle = '';
  }

  /** A new source: what the bar shows depends on it. */
  use(engine) {
    this.engine = engine;
    engine.addEventListener('levels', () => this.#levels());
    engine.addEventListener('level', () => this.#levels());
    this.refresh();
  }

  /** act(on): what the switch does; null: there is no shorter delay to be had. */
  offerLow(act, on) {
    this.onLow = act;
    this.low.hidden = !act;
    this.showLow(on);
  }

  showLow(on) { this.low.setAttribute('aria-pressed', String(Boolean(on))); }

  #levels() {
    const { engine } = this;
    const name = (level) => (level.height ? `${level.height}p${level.frameRate >= 45 ? Math.round(level.frameRate) : ''}` : 'Sound');
    const current = engine.levels[engine.level] ?? engine.levels[0];
    this.quality.hidden = !current;
    if (!current) return;
    setText(this.quality, name(current));
    this.quality.setAttribute('aria-label', `Quality: ${name(current)}`);
    const option = (text, detail, index) => h('button', {
      class: 'menu-item', type: 'button', role: 'radio', 'aria-checked': String(engine.chosen === index || (index === 0 && engine.levels.length === 1)),
      onclick: () => { engine.choose(index); this.#menu(false); this.quality.focus(); setTimeout(() => this.#levels(), 50); },
    }, h('span', {}, text), h('small', {}, detail));
    const options = [...engine.levels].reverse().map((level) => option(
      name(level), [level.width && `${level.width} × ${level.height}`, bitrate(level.bitrate)].filter(Boolean).join(' · '), level.index));
    if (engine.levels.length > 1) options.unshift(option('Automatic', 'fits your connection', -1));
    this.menu.replaceChildren(...options);
  }

  #menu(open) {
    this.menu.hidden = !open;
    this.quality.setAttribute('aria-expanded', String(open));
    if (open) (this.menu.querySelector('[aria-checked=true]') ?? this.menu.firstElementChild)?.focus();
  }

  #label(at) {
    const range = this.engine?.window;
    if (!range) return '';
    if (!this.engine.live) return `${clockTime(at - range.start)} / ${clockTime(range.end - range.start)}`;
    const behind = range.end - at;
    return behind < 2 ? '' : `−${clockTime(behind)}`;
  }

  refresh() {
    const { video, engine } = this;
    setIcon(this.play, video.paused ? 'play' : 'pause');
    this.play.setAttribute('aria-label', video.paused ? 'Play (k)' : 'Pause (k)');
    setIcon(this.mute, video.muted || video.volume === 0 ? 'muted' : 'volume');
    this.mute.setAttribute('aria-label', video.muted ? 'Sound on (m)' : 'Mute (m)');
    this.volume.value = video.muted ? 0 : video.volume;
    this.volume.style.setProperty('--fill', `${this.volume.value * 100}%`);
    if (!engine) return;
    const range = engine.window;
    this.bar.parentElement.hidden = engine.live && !range && Boolean(engine.pc); // nothing to seek in
    const usable = Boolean(range && range.end - range.start > 1);
    this.bar.disabled = !usable;
    if (usable && !this.dragging) {
      const at = Math.min(range.end, Math.max(range.start, video.currentTime));
      const follows = engine.live && engine.following;
      this.bar.min = range.start;
      this.bar.max = range.end;
      this.bar.value = follows ? range.end : at;
      this.bar.style.setProperty('--fill', follows ? '100%' : `${((at - range.start) / (range.end - range.start)) * 100}%`);
      this.bar.setAttribute('aria-valuetext', follows ? 'live' : this.#label(at) || 'live');
      setText(this.clock, follows ? '' : this.#label(at));
    }
    this.live.hidden = !engine.live;
    if (engine.live) {
      const at = engine.following && !video.paused;
      this.live.dataset.at = at ? 'edge' : 'behind';
      setText(this.live, at ? 'Live' : 'Go live');
      this.live.setAttribute('aria-label', at ? 'You are watching live' : 'Go live (l)');
    }
    const { delay } = engine;
    this.delay.hidden = !engine.live || delay === null || video.paused;
    if (!this.delay.hidden) {
      setText(this.delay, delay < 60 ? `${delay.toFixed(1)} s` : clockTime(delay));
      this.delay.setAttribute('aria-label', `Delay ${delay.toFixed(1)} seconds`);
    }
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.idle);
    document.removeEventListener('keydown', this.onPageKey);
    document.removeEventListener('fullscreenchange', this.onFull);
    document.removeEventListener('pointerdown', this.onOutside);
    this.element.remove();
  }
}
