// Watching by WebRTC (WHEP): the picture some tenths of a second after it was taken. An engine with the shape of
// Engine, so that the player and its bar need not know; there is no window to seek in, and the server chooses the
// quality. Ends with `close`, or with `lost` when it cannot go on: then HLS plays.
import { ServerClock } from './clock.js';
import { leave, offer, report } from './rtc.js';

const PICTURE_WITHIN = 6000; // ms from the answer to the first picture
const WITHOUT = 4000; // ms without media after which it is tried anew
const TRIES = 1; // in a row, before it is given up: the player comes back to it by itself
const LOOK = 500;
const NTP = 2_208_988_800_000; // ms from 1900 to 1970

/** Fires: lost {message, status} (it cannot go on; status: of the answer that said so), trouble and quiet as Engine's. */
export class WhepEngine extends EventTarget {
  constructor(video) {
    super();
    this.video = video;
    this.clock = new ServerClock();
    this.live = true;
    this.following = true;
    this.levels = [];
    this.level = this.chosen = -1;
    this.window = null; // nothing to seek in
    this.delay = null;
    this.size = 0;
    this.onPlay = () => { this.following = true; };
    video.addEventListener('play', this.onPlay);
  }

  /** Resolves with the first picture. Throws what the server said, or that no picture came. */
  async open(url) {
    this.url = url;
    this.opening = true; // what fails now is the caller's to know
    await this.#connect();
    this.opening = false;
    this.timer = setInterval(() => this.#look(), LOOK);
  }

  async #connect() {
    this.#drop();
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = new MediaStream();
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addEventListener('track', ({ track, receiver }) => {
      stream.addTrack(track);
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0; // as little as the network allows
    });
    pc.addEventListener('connectionstatechange', () => {
      if (pc === this.pc && pc.connectionState === 'failed') this.#again('The connection was lost.');
    });
    this.bytes = 0;
    this.heard = performance.now();
    const session = await offer(pc, this.url, this.clock);
    if (this.closed || pc !== this.pc) { leave(session); throw new Error('closed'); }
    this.session = session;
    // the server's good-bye: the state of the connection tells only half a minute later
    const { transport } = pc.getReceivers()[0];
    transport?.addEventListener('statechange', () => { if (pc === this.pc && (transport.state === 'closed' || transport.state === 'failed')) this.#again(''); });
    this.video.srcObject = stream;
    await this.#picture();
  }

  #picture() {
    const { video } = this;
    return new Promise((resolve, reject) => {
      const done = (act, value) => {
        clearTimeout(timer);
        video.removeEventListener('loadeddata', seen);
        act(value);
      };
      const seen = () => done(resolve);
      const timer = setTimeout(() => done(reject, new Error('No picture came.')), PICTURE_WITHIN);
      video.addEventListener('loadeddata', seen);
    });
  }

  /** What comes, how old it is, and whether anything comes at all. */
  async #look() {
    const { pc } = this;
    if (!pc || this.looking) return;
    this.looking = true;
    try {
      const stats = await pc.getStats();
      if (pc !== this.pc) return;
      const video = report(stats, 'inbound-rtp', { kind: 'video' });
      const now = performance.now();
      if (video && video.bytesReceived !== this.bytes) {
        this.bytes = video.bytesReceived;
        this.heard = now;
        if (this.tries) { this.tries = 0; this.#say('quiet'); }
      }
      const shown = video?.estimatedPlayoutTimestamp;
      this.shown = shown ? shown - NTP : null;
      this.delay = this.shown && this.shown > 0 ? Math.max(0, (this.clock.now() - this.shown) / 1000) : null;
      if (video?.frameHeight && video.frameHeight !== this.size) {
        this.size = video.frameHeight;
        this.levels = [{ index: 0, width: video.frameWidth, height: video.frameHeight, bitrate: 0, frameRate: 0 }];
        this.level = 0;
        this.#say('level');
      }
      if (now - this.heard > WITHOUT && !this.waiting && !this.paused) this.#again('');
    } finally {
      this.looking = false;
    }
  }

  /** The broadcast is interrupted: silence is expected until it is back. */
  expectSilence(silent) {
    this.paused = silent;
    this.heard = performance.now();
  }

  #again(message) {
    if (this.closed || this.waiting || this.opening) return;
    this.tries = (this.tries ?? 0) + 1;
    if (this.tries > TRIES) { this.#say('lost', { message }); return; }
    this.waiting = true;
    this.#say('trouble', { fatal: false, message: 'The picture does not come through. Trying again…' });
    this.timeout = setTimeout(async () => {
      try {
        await this.#connect();
        this.video.play().catch(() => {});
        this.waiting = false;
      } catch (error) {
        this.waiting = false;
        if (error.status >= 400 && error.status < 500 && error.status !== 429) this.#say('lost', { message: error.message, status: error.status });
        else this.#again(error.message);
      }
    }, (this.tries - 1) * 1000 * (0.75 + Math.random() / 2));
  }

  nudge() { this.heard = performance.now(); }
  goLive() { this.following = true; this.video.play().catch(() => {}); }
  seek() {}
  choose() {}

  /** When the picture on the screen came to the server, as its sender reports say; null before the first. */
  get mediaTime() { return this.shown ? new Date(this.shown) : null; }

  #say(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #drop() {
    const { pc, session } = this;
    this.pc = this.session = null;
    pc?.close();
    leave(session);
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.timeout);
    this.video.removeEventListener('play', this.onPlay);
    this.#drop();
    this.video.srcObject = null;
  }
}
