// Tells the server how a video is watched, some seconds at a time: that makes views and the retention curve, together
// with what the server knows to have sent.
import { api } from './api.js';

const EVERY = 10_000;

export class Watching {
  constructor(video, player) {
    this.id = video.id;
    this.element = player.video;
    this.timer = setInterval(() => this.#tell(), EVERY);
    this.onPause = () => this.#tell();
    for (const type of ['pause', 'ended', 'seeking']) this.element.addEventListener(type, this.onPause);
    this.from = null;
    this.onTime = () => { this.from ??= this.element.currentTime; this.at = this.element.currentTime; };
    this.element.addEventListener('timeupdate', this.onTime);
  }

  /** What was played since the last time, as a stretch of the video. */
  #tell() {
    const { from, at } = this;
    this.from = null;
    if (from === null || at === undefined || at - from < 0.5) return;
    api('POST', `/videos/${this.id}/view`, { from, to: at }).catch(() => {});
  }

  close() {
    clearInterval(this.timer);
    this.#tell();
    for (const type of ['pause', 'ended', 'seeking']) this.element.removeEventListener(type, this.onPause);
    this.element.removeEventListener('timeupdate', this.onTime);
  }
}
