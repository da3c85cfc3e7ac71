// Camera, screen and microphone as two tracks: one picture, one sound. The sound goes through a mixer, so that a
// microphone, and what a shared screen plays, are one track that stays the same whatever is plugged in. Ends with `close`.

const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia);
export const screenPossible = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** Fires: devices (the lists have changed), picture {track}, ended {source: camera | screen | microphone}. */
export class Capture extends EventTarget {
  constructor() {
    super();
    this.devices = { camera: [], microphone: [] };
    this.onDevices = () => this.#list();
    navigator.mediaDevices.addEventListener?.('devicechange', this.onDevices);
  }

  get sound() { return this.out?.stream.getAudioTracks()[0] ?? null; }

  async #list() {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
    this.devices = { camera: of('videoinput'), microphone: of('audioinput') };
    this.#say('devices');
  }

  /** size: {width, height, frameRate}. Throws in words that people understand. */
  async camera(deviceId, size) {
    const wanted = { width: { ideal: size.width }, height: { ideal: size.height }, frameRate: { ideal: size.frameRate } };
    const stream = await ask(() => navigator.mediaDevices.getUserMedia({
      video: { ...wanted, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) },
    }), 'camera');
    this.#show(stream, 'camera');
    await this.#list();
    this.cameraId = this.picture.getSettings().deviceId;
  }

  async screen(size) {
    const stream = await ask(() => navigator.mediaDevices.getDisplayMedia({
      video: { width: { max: size.width }, height: { max: size.height }, frameRate: { max: size.frameRate } }, audio: true,
    }), 'screen');
    this.#show(stream, 'screen');
    this.picture.contentHint = 'detail';
  }

  #show(stream, source) {
    this.#stop('pictureStream');
    this.played?.disconnect();
    this.played = null;
    this.pictureStream = stream;
    this.source = source;
    const picture = this.picture = stream.getVideoTracks()[0];
    picture.addEventListener('ended', () => { if (picture === this.picture) this.#say('ended', { source }); });
    if (stream.getAudioTracks().length) {
      this.#mixer();
      this.played = this.context.createMediaStreamSource(stream);
      this.played.connect(this.out);
    }
    this.#say('picture', { track: picture });
  }

  async microphone(deviceId) {
    const stream = await ask(() => navigator.mediaDevices.getUserMedia({
      audio: { ...SOUND, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) },
    }), 'microphone');
    this.#mixer();
    this.#stop('soundStream');
    this.heard?.disconnect();
    this.soundStream = stream;
    this.heard = this.context.createMediaStreamSource(stream);
    this.heard.connect(this.gain);
    const track = stream.getAudioTracks()[0];
    this.microphoneId = track.getSettings().deviceId;
    track.addEventListener('ended', () => { if (stream === this.soundStream) this.#say('ended', { source: 'microphone' }); });
    await this.#list();
  }

  #mixer() {
    if (this.context) return;
    const context = this.context = new AudioContext({ latencyHint: 'interactive' });
    this.out = context.createMediaStreamDestination();
    this.gain = context.createGain();
    this.gain.connect(this.out);
    this.meter = context.createAnalyser();
    this.meter.fftSize = 1024;
    context.createMediaStreamSource(this.out.stream).connect(this.meter);
    this.samples = new Float32Array(this.meter.fftSize);
    context.resume().catch(() => {});
  }

  /** Without a microphone there is still a sound track, a silent one: players like a broadcast to keep its shape. */
  silence() { this.#mixer(); }

  set muted(muted) { this.isMuted = muted; if (this.gain) this.gain.gain.value = muted ? 0 : 1; }
  get muted() { return Boolean(this.isMuted); }
  set dark(dark) { if (this.picture) this.picture.enabled = !dark; }

  /** Peak of the last moment in dBFS; −Infinity for silence. */
  level() {
    if (!this.meter) return -Infinity;
    this.meter.getFloatTimeDomainData(this.samples);
    let peak = 0;
    for (const sample of this.samples) peak = Math.max(peak, Math.abs(sample));
    return 20 * Math.log10(peak);
  }

  #stop(name) { this[name]?.getTracks().forEach((track) => track.stop()); this[name] = null; }
  #say(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  close() {
    navigator.mediaDevices.removeEventListener?.('devicechange', this.onDevices);
    this.#stop('pictureStream');
    this.#stop('soundStream');
    this.picture = null;
    this.context?.close().catch(() => {});
    this.context = null;
  }
}

const WHY = {
  NotAllowedError: (what) => (what === 'screen' ? 'No screen was chosen.' : `The browser may not use the ${what}. Allow it in the address bar, and try again.`),
  NotFoundError: (what) => `There is no ${what} on this device.`,
  NotReadableError: (what) => `The ${what} is used by another program, or does not answer.`,
  OverconstrainedError: (what) => `This ${what} is gone. Choose another.`,
};

async function ask(request, what) {
  try {
    return await request();
  } catch (error) {
    throw Object.assign(new Error(WHY[error.name]?.(what) ?? `The ${what} cannot be used: ${error.message}`), { name: error.name });
  }
}
