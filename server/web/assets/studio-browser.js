// Going live from this browser: what is seen and heard, how much is sent, and how it arrives.
import { Capture, possible, screenPossible } from './capture.js';
import { Chart } from './chart.js';
import { h, setText, toast } from './dom.js';
import { checkField, selectField } from './field.js';
import { bitrate } from './format.js';
import { setIcon } from './icons.js';
import { Whip } from './whip.js';

const WHIP = '/api/v1/live/whip';
const SIZES = {
  480: { width: 854, height: 480, frameRate: 30, bitrate: 1_200_000 },
  720: { width: 1280, height: 720, frameRate: 30, bitrate: 2_500_000 },
  1080: { width: 1920, height: 1080, frameRate: 30, bitrate: 4_500_000 },
};
const RATES = [600_000, 1_200_000, 2_500_000, 4_500_000, 6_000_000, 8_000_000];
const QUIET = -60; // dBFS, the left end of the meter
const SAID = { connecting: 'Connecting…', live: 'On air from this browser', reconnecting: 'The connection is lost. Coming back…', failed: 'Not on air', stopped: '' };
const LIMITED = { cpu: 'This computer cannot encode more: choose a smaller picture.', bandwidth: 'Your connection takes no more than this: the picture is made smaller.' };

export class FromBrowser {
  /** prepare: awaited before going live; changed: something went on or off air. */
  constructor({ prepare, changed }) {
    Object.assign(this, { prepare, changed });
    this.element = h('section', { class: 'panel stack studio-browser', 'aria-labelledby': 'from-browser' });
    this.heading = h('h2', { id: 'from-browser' }, 'From this browser');
    this.onLeave = (event) => { if (this.whip) event.preventDefault(); };
    this.onHide = () => this.whip?.stop();
    addEventListener('beforeunload', this.onLeave);
    addEventListener('pagehide', this.onHide);
    this.#closed();
  }

  #closed(said = '') {
    const why = !possible() ? 'Browsers give camera and microphone to pages with https:// only (or on localhost). Use an encoder, or open this page by https.' : '';
    const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: !said }, said);
    this.element.replaceChildren(this.heading,
      h('p', { class: 'muted' }, why || 'No program needed: your camera or screen, and your microphone.'), trouble,
      h('div', { class: 'row' },
        h('button', { class: 'button primary', type: 'button', disabled: !possible(), onclick: () => this.#open('camera') }, 'Use the camera'),
        screenPossible() && h('button', { class: 'button', type: 'button', onclick: () => this.#open('screen') }, 'Share the screen')));
  }

  async #open(source) {
    const capture = this.capture = new Capture();
    const size = SIZES[recall('size', '720')] ?? SIZES[720];
    try {
      if (source === 'camera') await capture.camera(recall('camera', ''), size).catch(retry(() => capture.camera('', size)));
      else await capture.screen(size);
    } catch (error) {
      this.#shut();
      this.#closed(error.message);
      return;
    }
    // a broadcast without a microphone is still one
    await capture.microphone(recall('microphone', '')).catch(retry(() => capture.microphone(''))).catch((error) => { capture.silence(); toast(error.message); });
    this.#build();
    capture.addEventListener('devices', () => this.#devices());
    capture.addEventListener('picture', ({ detail }) => { this.#preview(); this.whip?.replace({ video: detail.track }).catch((error) => this.#trouble(error.message)); });
    capture.addEventListener('ended', ({ detail }) => this.#ended(detail.source));
    this.#devices();
    this.#preview();
    this.meter = setInterval(() => this.#level(), 80);
  }

  #build() {
    const { capture } = this;
    this.video = h('video', { playsinline: true, autoplay: true, 'aria-label': 'Your picture, as only you see it' });
    this.video.muted = true;
    this.bar = h('div', { class: 'level', role: 'meter', 'aria-label': 'Level of the sound', 'aria-valuemin': QUIET, 'aria-valuemax': 0 }, h('span', {}));
    this.mute = h('button', { class: 'icon-button', type: 'button', 'aria-pressed': 'false', onclick: () => this.#mute(!capture.muted) });
    this.camera = selectField('camera', 'Camera', []);
    this.microphone = selectField('microphone', 'Microphone', []);
    this.size = selectField('size', 'Picture', Object.entries(SIZES).map(([name, one]) => [name, `${name}p, ${one.frameRate} pictures a second`]));
    this.rate = selectField('bitrate', 'Bit rate', RATES.map((rate) => [String(rate), bitrate(rate)]));
    this.layers = checkField('simulcast', 'Three sizes at once', 'For viewers on thin lines. Takes a third more of your connection and processor.');
    this.size.value = recall('size', '720');
    this.rate.value = recall('bitrate', String(SIZES[this.size.value].bitrate));
    this.layers.value = recall('simulcast', '') === 'yes';
    this.camera.input.addEventListener('change', () => this.#picture(() => capture.camera(this.camera.value, this.#chosen())));
    this.microphone.input.addEventListener('change', () => this.#picture(() => capture.microphone(this.microphone.value)));
    this.size.input.addEventListener('change', () => {
      this.rate.value = String(this.#chosen().bitrate);
      this.#rate();
      if (capture.source === 'camera') this.#picture(() => capture.camera(this.camera.value, this.#chosen()));
    });
    this.rate.input.addEventListener('change', () => this.#rate());
    this.swap = h('button', { class: 'button', type: 'button', hidden: !screenPossible(), onclick: () => this.#swap() });
    this.go = h('button', { class: 'button primary', type: 'button', onclick: () => (this.whip ? this.#stop() : this.#start()) });
    this.said = h('p', { class: 'hint', role: 'status' });
    this.wrong = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.sent = new Chart('Sent', { write: bitrate, floor: 1e6 });
    this.frames = new Chart('Frame rate sent', { write: (value) => (value ? `${value.toFixed(0)} fps` : '–'), floor: 30 });
    this.loss = new Chart('Lost on the way', { write: (value) => `${(100 * value).toFixed(1)} %`, floor: 0.05, wrong: (value) => value > 0.05 });
    this.measures = h('div', { class: 'measures', hidden: true }, this.sent.element, this.frames.element, this.loss.element);
    this.facts = h('p', { class: 'muted' });
    this.element.replaceChildren(this.heading,
      h('div', { class: 'player own-picture' }, this.video),
      h('div', { class: 'row sound-row' }, this.mute, this.bar),
      this.wrong,
      h('div', { class: 'row' }, this.go, this.swap, h('button', { class: 'button', type: 'button', onclick: () => this.#quit() }, 'Close')),
      this.said, this.facts, this.measures,
      h('details', { class: 'fold' }, h('summary', {}, 'Devices and quality'),
        h('div', { class: 'stack-small' }, this.camera.row, this.microphone.row, h('div', { class: 'columns' }, this.size.row, this.rate.row), this.layers.row)));
    this.#mute(false);
    this.#say('stopped');
  }

  #chosen() { return SIZES[this.size.value] ?? SIZES[720]; }

  #devices() {
    fill(this.camera, this.capture.devices.camera, this.capture.cameraId, 'Camera');
    fill(this.microphone, this.capture.devices.microphone, this.capture.microphoneId, 'Microphone');
  }

  #preview() {
    const { capture } = this;
    if (!this.video || !capture.picture) return;
    this.video.srcObject = new MediaStream([capture.picture]);
    this.video.classList.toggle('mirrored', capture.source === 'camera');
    this.video.play().catch(() => {});
    setText(this.swap, capture.source === 'camera' ? 'Share the screen' : 'Back to the camera');
    this.camera.row.hidden = capture.source !== 'camera';
  }

  /** What changes the picture or the sound, and may be refused: what was there stays. */
  async #picture(change) {
    this.#trouble('');
    try { await change(); } catch (error) { this.#trouble(error.message); }
    if (!this.capture) return;
    this.#devices();
    remember('size', this.size.value);
    remember('camera', this.capture.cameraId ?? '');
    remember('microphone', this.capture.microphoneId ?? '');
  }

  #swap() {
    const { capture } = this;
    return this.#picture(() => (capture.source === 'camera' ? capture.screen(this.#chosen()) : capture.camera(this.camera.value, this.#chosen())));
  }

  #rate() {
    remember('bitrate', this.rate.value);
    this.whip?.setBitrate(Number(this.rate.value)).catch((error) => this.#trouble(error.message));
  }

  #mute(muted) {
    this.capture.muted = muted;
    setIcon(this.mute, muted ? 'muted' : 'volume');
    this.mute.setAttribute('aria-pressed', String(muted));
    this.mute.setAttribute('aria-label', muted ? 'You are muted: turn the microphone on' : 'Mute the microphone');
    this.mute.title = this.mute.getAttribute('aria-label');
  }

  #level() {
    const level = Math.max(QUIET, this.capture?.level() ?? QUIET);
    this.bar.firstChild.style.setProperty('--level', 1 - level / QUIET);
    this.bar.dataset.loud = String(level > -3);
    this.bar.setAttribute('aria-valuenow', Math.round(level));
    this.bar.setAttribute('aria-valuetext', level <= QUIET ? 'silent' : level > -3 ? 'too loud' : `${Math.round(level)} decibels`);
  }

  async #start() {
    this.#trouble('');
    const { capture } = this;
    remember('simulcast', this.layers.value ? 'yes' : '');
    const whip = this.whip = new Whip(WHIP, { bitrate: Number(this.rate.value), frameRate: this.#chosen().frameRate, simulcast: this.layers.value });
    whip.addEventListener('state', ({ detail }) => { if (whip === this.whip) this.#state(detail); });
    whip.addEventListener('figures', ({ detail }) => { if (whip === this.whip) this.#figures(detail); });
    this.go.disabled = true;
    try {
      await this.prepare();
      await whip.start({ video: capture.picture, audio: capture.sound });
      this.lock = await navigator.wakeLock?.request('screen').catch(() => null); // a phone must not fall asleep
    } catch (error) {
      this.whip = null;
      this.#say('failed', '');
      this.#trouble(error.message);
    } finally {
      this.go.disabled = false;
    }
    this.changed();
  }

  #state({ state, message }) {
    if (state === 'failed') { this.whip = null; this.#trouble(message); }
    this.#say(state);
    if (state === 'live' || state === 'failed') this.changed();
  }

  #say(state) {
    setText(this.said, SAID[state] ?? '');
    const on = Boolean(this.whip);
    setText(this.go, on ? 'Stop sending' : 'Go live');
    this.go.className = on ? 'button danger' : 'button primary';
    this.layers.input.disabled = on;
    if (!on) setText(this.facts, '');
  }

  #figures({ bitrate: sent, frameRate, width, height, limited, loss, roundTrip }) {
    this.measures.hidden = false;
    this.sent.add(sent);
    this.frames.add(frameRate);
    this.loss.add(loss);
    setText(this.facts, [width && `${width} × ${height}`, roundTrip && `${Math.round(roundTrip * 1000)} ms there and back`, LIMITED[limited]].filter(Boolean).join(' · '));
  }

  #ended(source) {
    if (source === 'screen') this.#picture(() => this.capture.camera(this.camera.value, this.#chosen()));
    else this.#trouble(`The ${source} was unplugged, or its permission taken back. Choose another below.`);
  }

  #trouble(text) {
    if (!this.wrong) return;
    this.wrong.hidden = !text;
    setText(this.wrong, text);
  }

  #stop() {
    const { whip } = this;
    this.whip = null;
    whip?.stop();
    this.lock?.release().catch(() => {});
    this.#say('stopped');
    this.changed();
  }

  #quit() {
    if (this.whip) this.#stop();
    this.#shut();
    this.#closed();
  }

  #shut() {
    clearInterval(this.meter);
    this.capture?.close();
    this.capture = null;
  }

  /** The broadcast was ended from here or elsewhere: nothing is left to send to. */
  ended() { if (this.whip) this.#stop(); }

  close() {
    removeEventListener('beforeunload', this.onLeave);
    removeEventListener('pagehide', this.onHide);
    this.whip?.stop();
    this.whip = null;
    this.#shut();
  }
}

/** A device that was remembered may be gone: then any. What the person refused is not asked again. */
const retry = (other) => (error) => {
  if (error.name === 'OverconstrainedError' || error.name === 'NotFoundError') return other();
  throw error;
};

function fill(select, devices, chosen, name) {
  select.input.replaceChildren(...devices.map((device, index) => h('option', { value: device.deviceId }, device.label || `${name} ${index + 1}`)));
  select.row.hidden = devices.length === 0;
  if (chosen) select.value = chosen;
}

function recall(name, otherwise) {
  try { return localStorage.getItem(`sf.send.${name}`) ?? otherwise; } catch { return otherwise; }
}
function remember(name, value) {
  try { localStorage.setItem(`sf.send.${name}`, value); } catch { /* forgotten, no harm */ }
}
