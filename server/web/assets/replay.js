// The chat of a recording: each message comes at the moment of the picture at which it was written. What was deleted,
// then or later, is not shown.
import { api } from './api.js';
import { h, setText } from './dom.js';
import { Messages } from './messages.js';

const PAGE = 200;
const MOST = 20_000; // changes read: beyond this a replay shows the first part of its chat
const SHOWN = 200;

/** The log in the order of the picture: [{at: ms, message}], without what is deleted. */
export function replayOrder(items) {
  const kept = new Map();
  for (const item of items) {
    const data = item.data ?? item;
    if (data.kind === 'message') kept.set(data.message.id, data.message);
    else if (data.kind === 'delete') kept.delete(data.id);
  }
  return [...kept.values()]
    .map((message) => ({ at: Date.parse(message.media_time ?? message.at), message }))
    .sort((a, b) => a.at - b.at || (a.message.offset ?? 0) - (b.message.offset ?? 0));
}

export async function readLog(id) {
  const items = [];
  let since = 0;
  while (items.length < MOST) {
    const page = await api('GET', `/live/${id}/chat?since=${since}&limit=${PAGE}`);
    items.push(...page.items);
    const next = page.offset ?? page.items.at(-1)?.offset ?? since;
    if (!page.items.length || next <= since || page.items.length < PAGE) break;
    since = next;
  }
  return items;
}

export class Replay {
  constructor(place, id, mediaTime) {
    this.mediaTime = mediaTime;
    this.messages = new Messages();
    this.status = h('p', { class: 'chat-status', role: 'status' });
    place.replaceChildren(
      h('header', { class: 'chat-head' }, h('h2', {}, 'Chat replay'), this.status), this.messages.element,
      h('p', { class: 'chat-foot muted' }, 'You see what was written at this moment of the broadcast.'));
    this.messages.empty('Loading the conversation…');
    this.shown = 0; // how many of the log are on the screen
    this.log = null;
    this.#load(id);
    this.timer = setInterval(() => this.#step(), 300);
  }

  async #load(id) {
    try {
      this.log = replayOrder(await readLog(id));
      this.messages.empty(this.log.length ? 'Nothing has been written up to here.' : 'Nobody wrote during this broadcast.');
      setText(this.status, this.log.length ? `${this.log.length} ${this.log.length === 1 ? 'message' : 'messages'}` : '');
    } catch (error) {
      this.messages.empty(error.message);
    }
  }

  #step() {
    const moment = this.mediaTime()?.getTime();
    if (!this.log || !moment) return;
    let upTo = this.shown;
    if (upTo && this.log[upTo - 1].at > moment) { // gone back
      upTo = 0;
      this.shown = 0;
      this.messages.clear();
    }
    while (upTo < this.log.length && this.log[upTo].at <= moment) upTo += 1;
    if (upTo === this.shown) return;
    const jump = upTo - this.shown > 5;
    this.messages.add(this.log.slice(Math.max(this.shown, upTo - SHOWN), upTo).map((entry) => entry.message), { quiet: jump });
    this.shown = upTo;
  }

  close() { clearInterval(this.timer); }
}
