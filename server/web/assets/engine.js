// What turns an address into a picture: hls.js in low-latency mode, or the browser's own HLS where there are no media
// source extensions. Owns the media pipeline of one <video>; dies with `close`.
import { ServerClock } from './clock.js';
import { Grant } from './grants.js';
import { playlistLoader } from './playlists.js';
import { Seats } from './seats.js';

const BEHIND = 2.5; // s past the target at which a viewer who follows is taken back to the live edge
const STEADY = 250; // ms between looks at the delay

const opusPlays = () => Boolean((window.ManagedMediaSource ?? window.MediaSource)?.isTypeSupported('audio/mp4; codecs="opus"'));

/** Fires: levels, level, trouble {message, fatal}, quiet (trouble is over), gone (404: nothing at this address). */
export class Engine extends EventTarget {
  constructor(video) {
    super();
    this.video = video;
    this.clock = new ServerClock();
    this.following = true; // at the live edge by the viewer's wish
    this.live = false;
    this.hls = null;
    this.native = false;
    this.retries = 0;
    this.timers = [];
  }

  /**
   * renew: () => Promise<{hls, renewIn}>, asked for new addresses when these are good for minutes only. license: where
   * Clear Key asks, of a video that is encrypted so.
   */
  async open(url, { live, renew = null, renewIn = null, license = null }) {
    this.url = url;
    this.license = license;
    this.grant = new Grant(url, renew);
    this.grant.start(renewIn);
    this.live = live;
    this.following = live;
    const { default: Hls } = await import('./vendor/hls.mjs').catch(() => ({ default: null }));
    if (this.closed) return;
    this.Hls = Hls;
    if (Hls?.isSupported()) this.#openHls(Hls, url, live);
    else if (this.video.canPlayType('application/vnd.apple.mpegurl')) this.#openNative(url);
    else {
      this.#say('trouble', {
        fatal: true,
        message: Hls ? 'This browser cannot play live video. A current Chrome, Edge, Firefox or Safari can.'
          : 'The player could not be loaded. Check your connection and load the page again.',
      });
    }
  }

  #openHls(Hls, url, live) {
    this.seats = new Seats();
    if (live) {
      this.seats.take(2, () => this.#tune());
      addEventListener('pagehide', () => this.seats.release(), { once: true });
    }
    const hls = this.hls = new Hls({
      lowLatencyMode: true,
      enableWorker: false, // fragmented MP4 passes through: nothing to do in a worker
      pLoader: playlistLoader(Hls.DefaultConfig.loader, this.seats, this.clock),
      startPosition: -1,
      xhrSetup: this.grant.needed ? (xhr, address) => xhr.open('GET', this.grant.of(address), true) : undefined,
      liveDurationInfinity: true,
      renderTextTracksNatively: live, // captions of videos are the page's own (video-extras.js), not shown twice
      backBufferLength: 30,
      maxBufferLength: 20,
      maxLiveSyncPlaybackRate: 1, // #steady does it, with a smaller buffer than hls.js wants for it
      liveSyncOnStallIncrease: 0.25,
      capLevelToPlayerSize: !live, // a live rung is encoded because it is asked for: only a thin line is a reason
      abrEwmaDefaultEstimate: 5_000_000,
      audioPreference: opusPlays() ? { audioCodec: 'opus' } : undefined, // is there as it came; AAC would be made for us
      testBandwidth: false,
      ...this.#keys(),
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#say('levels'));
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#say('level'));
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      if (this.live && !details.live) { this.live = false; this.#say('level'); }
      this.#tune();
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      if (this.retries) { this.retries = 0; this.#say('quiet'); }
    });
    hls.on(Hls.Events.ERROR, (_, data) => this.#error(data));
    hls.attachMedia(this.video);
    hls.loadSource(url);
    this.timers.push(setInterval(() => this.#steady(), STEADY));
  }

  /** Keys of what is encrypted whole come by the playlist; Clear Key's are asked for by the browser. */
  #keys() {
    if (!this.license) return {};
    return {
      emeEnabled: true,
      drmSystems: { 'org.w3.clearkey': { licenseUrl: this.license } },
      licenseXhrSetup: (xhr, address) => xhr.open('POST', this.grant.of(address), true),
    };
  }

  #openNative(url) {
    this.native = true;
    this.video.addEventListener('error', this.nativeError = () => {
      if (this.closed || !this.video.error) return;
      this.#retry(() => { this.video.src = this.grant.of(url); this.video.play().catch(() => {}); });
      if (this.grant.needed) this.grant.renew();
    });
    this.video.src = url;
    this.#say('levels');
  }

  #error(data) {
    const { Hls, hls } = this;
    if (!data.fatal) return;
    if (data.response?.code === 404 && data.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR) this.#say('gone');
    if (data.response?.code === 410) { // it is encrypted in another way now: whoever opened it knows how
      hls.stopLoad();
      this.#say('gone');
      return;
    }
    if (data.details === Hls.ErrorDetails.KEY_SYSTEM_NO_ACCESS) {
      hls.stopLoad();
      this.#say('trouble', { fatal: true, message: window.isSecureContext ? 'This video is encrypted in a way that this browser does not know.'
        : 'This video is encrypted, and browsers play that by https:// only.' });
      return;
    }
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.retries < 3) {
      this.retries += 1;
      hls.recoverMediaError();
      return;
    }
    if (data.response?.code === 403 && this.grant.needed) this.grant.renew();
    this.#retry(() => {
      if (hls.levels.length) hls.startLoad(this.following ? -1 : this.video.currentTime);
      else hls.loadSource(this.url);
    });
  }

  #retry(again) {
    this.retries += 1;
    const wait = Math.min(10_000, 500 * 2 ** Math.min(this.retries, 5)) * (0.75 + Math.random() / 2);
    if (this.retries > 1) this.#say('trouble', { fatal: false, message: 'The picture does not come through. Trying again…' });
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => { if (!this.closed) again(); }, wait);
  }

  /** Try now instead of after the back-off: the broadcast is said to be back, or the network is. */
  nudge() {
    if (!this.hls || !this.retries) return;
    clearTimeout(this.retryTimer);
    if (this.hls.levels.length) this.hls.startLoad(this.following ? -1 : this.video.currentTime);
    else this.hls.loadSource(this.url);
  }

  /** Without a seat news comes up to a part later: stay that much further from the edge (RFC 8216bis, 4.4.3.8). */
  #tune() {
    const details = this.hls?.latestLevelDetails;
    if (!details?.partHoldBack) return;
    const slack = this.seats.may(1) ? 0 : 2 * details.partTarget;
    const target = details.partHoldBack + slack;
    if (this.tuned !== target) this.hls.targetLatency = this.tuned = target;
  }

  /** Hold the delay: a few per cent faster when there is more than needed, slower before it runs dry. */
  #steady() {
    const { hls, video } = this;
    if (!this.live || !this.following || video.paused || video.seeking || !hls.targetLatency) {
      if (video.playbackRate !== 1 && this.steering) { video.playbackRate = 1; this.steering = false; }
      return;
    }
    const over = hls.latency - hls.targetLatency;
    const { buffered, currentTime } = video;
    const ahead = buffered.length ? buffered.end(buffered.length - 1) - currentTime : 0;
    if (over > BEHIND && hls.liveSyncPosition > currentTime) {
      video.currentTime = hls.liveSyncPosition;
      return;
    }
    let rate = 1;
    if (over > 0.12 && ahead > 0.35) rate = over > 0.6 ? 1.1 : 1.05;
    else if (ahead < 0.12 && video.readyState > 2) rate = 0.95;
    else if (this.steering && over > 0.04 && ahead > 0.35 && video.playbackRate > 1) rate = video.playbackRate;
    if (video.playbackRate !== rate) { video.playbackRate = rate; this.steering = rate !== 1; }
  }

  /** When the picture on the screen came to the server: a Date, or null when the playlist does not say. */
  get mediaTime() {
    if (this.native) {
      const start = this.video.getStartDate?.();
      return start && !Number.isNaN(start.getTime()) ? new Date(start.getTime() + this.video.currentTime * 1000) : null;
    }
    return this.hls?.playingDate ?? null;
  }

  /** Seconds from the server's receipt of the picture to this screen, or null. */
  get delay() {
    const shown = this.mediaTime;
    return shown ? Math.max(0, (this.clock.now() - shown.getTime()) / 1000) : null;
  }

  get levels() {
    return (this.hls?.levels ?? []).map((level, index) => ({
      index, height: level.height, width: level.width, bitrate: level.bitrate, frameRate: level.frameRate,
    }));
  }
  get level() { return this.hls?.currentLevel ?? -1; }
  get chosen() { return this.hls && !this.hls.autoLevelEnabled ? this.hls.currentLevel : -1; }
  choose(index) { if (this.hls) this.hls.nextLevel = index; }

  /** {start, end} of what can be watched, in the video's seconds. The end is where "live" is. */
  get window() {
    const { seekable } = this.video;
    if (!seekable.length) return null;
    const start = seekable.start(0);
    const edge = seekable.end(seekable.length - 1);
    return { start, end: this.live ? this.hls?.liveSyncPosition ?? edge : edge };
  }

  seek(to) {
    const range = this.window;
    if (!range) return;
    const at = Math.min(Math.max(to, range.start + 0.1), range.end);
    this.following = this.live && range.end - at < 1.5;
    this.video.currentTime = at;
  }

  goLive() {
    const range = this.window;
    this.following = true;
    if (range) this.video.currentTime = range.end;
    this.video.play().catch(() => {});
  }

  #say(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  close() {
    this.closed = true;
    this.timers.forEach(clearInterval);
    clearTimeout(this.retryTimer);
    this.grant?.close();
    this.seats?.release();
    this.hls?.destroy();
    if (this.nativeError) this.video.removeEventListener('error', this.nativeError);
    if (this.native) { this.video.removeAttribute('src'); this.video.load(); }
  }
}
