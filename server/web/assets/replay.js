// The chat of a recording: each message comes at the moment of the picture at which it was written. What was deleted,
// then or later, the server leaves out. Pages are read as the picture gets near them, so a long evening costs nothing.
import { api } from './api.js';
import { h } from './dom.js';
import { Messages } from './messages.js';

const PAGE = 200;
const BEFORE = 120_000; // ms of chat shown from before the moment that was jumped to
const AHEAD = 60_000;
const KEPT = 4000; // messages in memory; behind them the list begins later

export class Replay {
  /** mediaTime() → Date | null of the picture on the screen. */
  constructor(place, id, mediaTime) {
    this.id = id;
    this.mediaTime = mediaTime;
    this.messages = new Messages();
    place.replaceChildren(
      h('header', { class: 'chat-head' }, h('h2', {}, 'Chat replay')), this.messages.element,
      h('p', { class: 'chat-foot muted' }, 'What was written at this moment of the broadcast.'));
    this.messages.empty('Loading the conversation…');
    this.#jump(0);
    this.timer = setInterval(() => this.#step(), 300);
  }

  #jump(from) {
    this.from = from; // ms: what is loaded begins here
    this.cursor = null;
    this.log = []; // {at, message}, in the order of the picture
    this.shown = 0;
    this.whole = false; // read to the end
    this.round = (this.round ?? 0) + 1;
    this.messages.clear();
  }

  async #read() {
    if (this.reading || this.whole || Date.now() < (this.again ?? 0)) return;
    this.reading = true;
    const { round } = this;
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.cursor) query.set('cursor', this.cursor);
    else if (this.from) query.set('from_time', new Date(this.from).toISOString());
    try {
      const page = await api('GET', `/live/${this.id}/chat/replay?${query}`);
      if (round !== this.round) return;
      for (const message of page.items) this.log.push({ at: Date.parse(message.media_time ?? message.at), message });
      this.cursor = page.next_cursor;
      this.whole = !this.cursor;
      this.messages.empty(this.log.length ? '' : this.from ? 'Nothing was written here.' : 'Nobody wrote during this broadcast.');
      if (this.log.length > KEPT && this.shown > KEPT / 2) {
        this.log.splice(0, KEPT / 2);
        this.shown -= KEPT / 2;
        this.from = this.log[0].at;
      }
    } catch (error) {
      this.messages.empty(error.message);
      this.again = Date.now() + 5000;
    } finally {
      this.reading = false;
    }
  }

  #step() {
    const moment = this.mediaTime()?.getTime();
    if (!moment) return;
    const reach = this.whole ? Infinity : this.log.at(-1)?.at ?? this.from;
    if (moment < this.from || (this.from && moment > reach + 10 * AHEAD)) this.#jump(Math.max(0, moment - BEFORE));
    if (moment + AHEAD > reach || !this.log.length) this.#read();
    let upTo = this.shown;
    if (upTo && this.log[upTo - 1].at > moment) { // gone back a little
      upTo = 0;
      this.shown = 0;
      this.messages.clear();
    }
    while (upTo < this.log.length && this.log[upTo].at <= moment) upTo += 1;
    if (upTo === this.shown) return;
    const jumped = upTo - this.shown > 5;
    this.messages.add(this.log.slice(this.shown, upTo).slice(-PAGE).map((entry) => entry.message), { quiet: jumped });
    this.shown = upTo;
  }

  close() { clearInterval(this.timer); }
}
