// A player: a <video>, its engine, its bar, and the curtain that says in words what is going on.
import { Controls } from './controls.js';
import { h, setText, toast } from './dom.js';
import { Engine } from './engine.js';
import { icon } from './icons.js';

const LOW = 'sf.low'; // the wish for the shortest delay, kept for the next broadcast
const BACK = 5000; // ms after which a short delay that the network took away is tried again; doubled up to BACK_MOST
const BACK_MOST = 300_000;
const DENIED = new Set([401, 403, 404, 410]); // nobody has it, or not this one: HLS will say so
const lowWanted = () => { try { return localStorage.getItem(LOW) === 'yes'; } catch { return false; } };

/** Media is served beside the pages: the same path on the host that this page came from, whatever name it has. */
function here(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

export class Player {
  /** place: an empty element that keeps its 16:9 whatever happens in it. */
  constructor(place, { muted = false, simple = false, label = 'Video' } = {}) {
    this.place = place;
    this.video = h('video', { playsinline: true, 'aria-label': label, tabindex: -1 });
    this.video.muted = muted;
    this.video.disableRemotePlayback = true; // ManagedMediaSource asks for it
    this.spinner = h('div', { class: 'spinner', 'aria-hidden': 'true', hidden: true });
    this.title = h('strong', {});
    this.text = h('span', {});
    this.action = h('button', { class: 'button', type: 'button', hidden: true });
    this.curtain = h('div', { class: 'curtain', role: 'status', hidden: true }, this.title, this.text, this.action);
    this.banner = h('p', { class: 'player-banner', role: 'status', hidden: true });
    this.sound = h('button', { class: 'button sound', type: 'button', hidden: true, onclick: () => this.#unmute() }, icon('muted'), 'Turn the sound on');
    place.replaceChildren(this.video, this.spinner, this.banner, this.curtain, this.sound);
    place.setAttribute('tabindex', '0');
    place.setAttribute('role', 'group');
    place.setAttribute('aria-label', `${label}. Space plays and pauses, F is full screen, M mutes, arrows seek.`);
    this.controls = new Controls(place, this.video, { simple });
    this.engine = null;
    this.still = false; // it is over: a picture that stands is no longer waited for
    for (const type of ['waiting', 'seeking', 'stalled']) this.video.addEventListener(type, () => this.#busy());
    for (const type of ['playing', 'seeked', 'pause', 'canplay']) this.video.addEventListener(type, () => this.#calm());
    this.video.addEventListener('volumechange', () => { if (!this.video.muted) this.sound.hidden = true; });
  }

  #busy() {
    clearTimeout(this.spin);
    this.spin = setTimeout(() => { this.spinner.hidden = this.still || this.video.paused || !this.curtain.hidden; }, 300);
  }
  #calm() { clearTimeout(this.spin); this.spinner.hidden = true; }

  /**
   * Play an address from now on. whep: where the same is to be had within some tenths of a second, when it is; people
   * choose that in the bar, and what does not come that way comes by `url`. gone: called when there is nothing any more.
   * renew, renewIn, license: see Engine.open.
   */
  async open(url, { live, whep = null, gone = null, renew = null, renewIn = null, license = null }) {
    this.#stay();
    this.source = { url, live, whep: live && 'RTCPeerConnection' in window ? whep : null, gone, renew, renewIn, license };
    this.controls.offerLow(this.source.whep ? (on) => this.#low(on) : null, lowWanted());
    if (this.source.whep && lowWanted() && await this.#openWhep()) return;
    await this.#openHls();
  }

  async #openHls() {
    const { url, live, gone, renew, renewIn, license } = this.source;
    const engine = this.#use(new Engine(this.video));
    if (gone) engine.addEventListener('gone', gone);
    await engine.open(here(url), { live, renew, renewIn, license: license && here(license) });
    await this.#start();
  }

  /** Whether it plays that way; if not, the reason was said. */
  async #openWhep() {
    const { source } = this;
    const { WhepEngine } = await import('./whep.js');
    const engine = this.#use(new WhepEngine(this.video));
    engine.addEventListener('lost', ({ detail }) => {
      if (engine !== this.engine) return;
      this.#without(detail);
      this.#openHls();
    });
    try {
      const opened = engine.open(here(source.whep));
      this.#start(); // which waits for a picture, and for ever when the server has none to give
      await opened;
    } catch (error) {
      if (engine !== this.engine) return true; // something else plays already
      this.#without(error);
      return false;
    }
    return true;
  }

  /** By HLS then. What only the network keeps away is tried again, while that plays. */
  #without({ message, status }) {
    this.controls.showLow(false);
    if (DENIED.has(status)) return;
    toast(`The short delay is not to be had here${message ? `: ${message}` : '.'} You watch with the usual one.`);
    if (!(status >= 400 && status < 500)) this.#comeBack(BACK);
  }

  /** Look whether a picture comes that way, out of sight, and change over when one does. */
  #comeBack(wait) {
    const { source } = this;
    this.back = setTimeout(async () => {
      const { WhepEngine } = await import('./whep.js');
      const trial = this.trial = new WhepEngine(h('video', {}));
      trial.video.muted = true;
      const there = !document.hidden && !this.video.paused && await trial.open(here(source.whep)).then(() => true, () => false);
      trial.close();
      if (source !== this.source || trial !== this.trial) return; // something else plays
      if (!there) { this.#comeBack(Math.min(2 * wait, BACK_MOST)); return; }
      this.controls.showLow(true);
      if (!await this.#openWhep()) await this.#openHls();
    }, wait * (0.75 + Math.random() / 2));
  }

  /** No looking for the short delay any more. */
  #stay() {
    clearTimeout(this.back);
    this.trial?.close();
    this.trial = null;
  }

  #low(on) {
    try { localStorage.setItem(LOW, on ? 'yes' : 'no'); } catch { /* for this time */ }
    const { url, ...how } = this.source;
    this.open(url, how);
  }

  #use(engine) {
    this.engine?.close();
    this.engine = engine;
    engine.addEventListener('trouble', ({ detail }) => {
      if (detail.fatal) this.say('This cannot be played', detail.message); else this.#hitch(detail.message);
    });
    engine.addEventListener('quiet', () => this.#hitch(''));
    this.say('');
    this.#hitch('');
    this.still = false;
    this.#busy();
    this.place.dataset.open = '';
    this.controls.use(engine);
    return engine;
  }

  async #start() {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== 'NotAllowedError') return;
      this.video.muted = true; // browsers let a muted video start by itself
      await this.video.play().then(() => { this.sound.hidden = false; }).catch(() => {});
    }
  }

  #unmute() {
    this.video.muted = false;
    if (this.video.volume === 0) this.video.volume = 0.7;
    this.sound.hidden = true;
    this.place.focus();
  }

  /** The curtain over the picture; an empty title lifts it. action: {text, act}. */
  say(title, text = '', action = null) {
    this.curtain.hidden = !title;
    setText(this.title, title);
    setText(this.text, text);
    this.action.hidden = !action;
    if (action) {
      setText(this.action, action.text);
      this.action.onclick = action.act;
    }
    if (title) this.#calm();
  }

  /** A line over the picture, which goes on below it. */
  note(text) { this.noted = text; this.#banner(); }

  /** What the engine complains of; why it is so, when that is known, says more. */
  #hitch(text) { this.hitch = text; this.#banner(); }

  #banner() {
    const text = this.noted || this.hitch || '';
    this.banner.hidden = !text;
    setText(this.banner, text);
  }

  get mediaTime() { return this.engine?.mediaTime ?? null; }

  /** Let go of the source; the curtain stays. */
  stop() {
    this.#stay();
    this.engine?.close();
    this.engine = null;
    this.controls.engine = null;
    delete this.place.dataset.open;
    this.#calm();
  }

  close() { this.stop(); this.controls.close(); this.place.replaceChildren(); }
}
