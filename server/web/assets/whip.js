// Going live from the browser (WHIP). Owns the connection; what is sent is handed in as tracks, which may be replaced
// while it runs. Comes back by itself when the network or the server was away for a moment.
import { leave, offer, report } from './rtc.js';

const LOOK = 1000;
const AGAIN = [500, 1000, 2000, 4000, 8000];
const PASSING = new Set(['in_use', 'ending', 'restarting', 'elsewhere', 'store_away', 'too_many_requests', 'rate_limited']);
const WITHOUT = 3000; // ms without an answer of the network, after which another connection is tried
const GIVE_UP = 60_000; // ms without a connection; the server waits about as long before it ends a broadcast

/** Fires: state {state: connecting | live | reconnecting | failed | stopped, message}, figures {…} each second. */
export class Whip extends EventTarget {
  /** simulcast: several sizes at once, so that viewers on a thin line get one that fits. bitrate: bit/s of the picture. */
  constructor(url, { bitrate, frameRate, simulcast = false }) {
    super();
    Object.assign(this, { url, bitrate, frameRate, simulcast });
    this.state = 'stopped';
    this.tries = 0;
  }

  /** Resolves once the server has taken the offer. Throws its reason when it did not. */
  async start({ video, audio }) {
    this.tracks = { video, audio };
    this.#become('connecting');
    try {
      await this.#connect();
    } catch (error) {
      this.stop();
      throw error;
    }
    this.timer = setInterval(() => this.#look(), LOOK);
  }

  async #connect() {
    this.#drop();
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = new MediaStream(Object.values(this.tracks).filter(Boolean));
    const { video, audio } = this.tracks;
    if (video) {
      const made = pc.addTransceiver(video, { direction: 'sendonly', streams: [stream], sendEncodings: this.#encodings() });
      this.#prefer(made, 'video/H264');
      this.sender = made.sender;
    }
    if (audio) this.sound = pc.addTransceiver(audio, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate: 128_000 }] }).sender;
    pc.addEventListener('connectionstatechange', () => {
      if (pc !== this.pc) return;
      if (pc.connectionState === 'connected') { this.tries = 0; this.silentSince = 0; this.#become('live'); }
      else if (pc.connectionState === 'failed') this.#again();
      else if (pc.connectionState === 'disconnected') { this.#become('reconnecting'); this.lostAt = Date.now(); }
    });
    const session = await offer(pc, this.url);
    if (pc !== this.pc) { leave(session); return; }
    this.session = session;
    // the server's good-bye: the state of the connection tells only half a minute later
    const { transport } = this.sender ?? this.sound;
    transport?.addEventListener('statechange', () => { if (pc === this.pc && (transport.state === 'closed' || transport.state === 'failed')) this.#again(); });
    this.last = null;
  }

  #encodings() {
    const { bitrate, frameRate } = this;
    if (!this.simulcast) return [{ maxBitrate: bitrate, maxFramerate: frameRate }];
    return [
      { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: Math.max(150_000, bitrate / 12), maxFramerate: frameRate },
      { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: bitrate / 4, maxFramerate: frameRate },
      { rid: 'h', maxBitrate: bitrate, maxFramerate: frameRate },
    ];
  }

  /** H.264 first: it plays everywhere by HLS as it is. What else the browser has stays behind it. */
  #prefer(transceiver, type) {
    const all = RTCRtpSender.getCapabilities?.('video')?.codecs ?? [];
    if (!transceiver.setCodecPreferences || !all.some((codec) => codec.mimeType === type)) return;
    const rank = (codec) => (codec.mimeType === type ? (/packetization-mode=1/.test(codec.sdpFmtpLine) ? 0 : 1) : 2);
    transceiver.setCodecPreferences([...all].sort((a, b) => rank(a) - rank(b)));
  }

  /** Another camera, another microphone, a screen: without a new connection. */
  async replace({ video, audio }) {
    if (video) { this.tracks.video = video; await this.sender?.replaceTrack(video); }
    if (audio) { this.tracks.audio = audio; await this.sound?.replaceTrack(audio); }
  }

  async setBitrate(bitrate) {
    this.bitrate = bitrate;
    const parameters = this.sender?.getParameters();
    if (!parameters?.encodings?.length) return;
    const wanted = this.#encodings();
    parameters.encodings.forEach((encoding, index) => { encoding.maxBitrate = wanted[index]?.maxBitrate ?? bitrate; });
    await this.sender.setParameters(parameters);
  }

  #again(message = '') {
    if (this.state === 'stopped' || this.waiting) return;
    this.silentSince ||= Date.now();
    if (Date.now() - this.silentSince > GIVE_UP) { this.#fail(message || 'The server could not be reached for a minute.'); return; }
    this.#become('reconnecting', message);
    this.waiting = true;
    const wait = AGAIN[Math.min(this.tries, AGAIN.length - 1)] * (0.75 + Math.random() / 2);
    this.tries += 1;
    this.timeout = setTimeout(async () => {
      this.waiting = false;
      try {
        await this.#connect();
      } catch (error) {
        // in_use: the server still believes in the connection that was lost; it finds out in some seconds
        const passing = !error.status || error.status >= 500 || PASSING.has(error.code);
        if (passing) this.#again(error.message); else this.#fail(error.message);
      }
    }, wait);
  }

  #fail(message) {
    this.stop();
    this.#become('failed', message);
  }

  async #look() {
    const { pc } = this;
    if (pc?.connectionState === 'disconnected' && Date.now() - this.lostAt > WITHOUT) this.#again();
    if (pc?.connectionState !== 'connected') return;
    const stats = await pc.getStats();
    if (pc !== this.pc) return;
    const layers = [...stats.values()].filter((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video');
    const top = layers.reduce((best, entry) => ((entry.frameHeight ?? 0) > (best?.frameHeight ?? 0) ? entry : best), layers[0]);
    const bytes = [...stats.values()].filter((entry) => entry.type === 'outbound-rtp').reduce((sum, entry) => sum + entry.bytesSent, 0);
    const remote = report(stats, 'remote-inbound-rtp', { kind: 'video' });
    const pair = [...stats.values()].find((entry) => entry.type === 'candidate-pair' && entry.nominated);
    const at = performance.now();
    if (this.last) {
      this.dispatchEvent(new CustomEvent('figures', { detail: {
        bitrate: 8000 * (bytes - this.last.bytes) / (at - this.last.at),
        frameRate: top?.framesPerSecond ?? 0,
        width: top?.frameWidth ?? 0,
        height: top?.frameHeight ?? 0,
        limited: top?.qualityLimitationReason ?? 'none', // none | cpu | bandwidth | other
        loss: remote?.fractionLost ?? 0,
        roundTrip: remote?.roundTripTime ?? pair?.currentRoundTripTime ?? 0, // s
      } }));
    }
    this.last = { bytes, at };
  }

  #become(state, message = '') {
    if (this.state === state && !message) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, message } }));
  }

  #drop() {
    const { pc, session } = this;
    this.pc = this.session = this.sender = this.sound = null;
    pc?.close();
    leave(session);
  }

  /** Nothing is sent any more; the server hears it at once. */
  stop() {
    clearInterval(this.timer);
    clearTimeout(this.timeout);
    this.waiting = false;
    this.#drop();
    this.#become('stopped');
  }
}
