// The chat of a recording: each message comes at the moment of the picture at which it was written. What was deleted
// before, the server leaves out; what is deleted or edited while one looks goes or changes here as well. Pages are read as the picture gets near them, so a long evening costs nothing.
import { api } from './api.js';
import { h, toast } from './dom.js';
import { Messages } from './messages.js';
import { onChange, user } from './session.js';

const PAGE = 200;
const BEFORE = 120_000; // ms of chat shown from before the moment that was jumped to
const AHEAD = 60_000;
const KEPT = 4000; // messages in memory; behind them the list begins later

export class Replay {
  /** mediaTime() → Date | null of the picture on the screen. */
  constructor(place, socket, broadcast, mediaTime) {
    this.id = broadcast.id;
    this.mediaTime = mediaTime;
    this.role = 'viewer';
    this.gone = new Set();
    this.room = { emotes: new Map(), mine: new Map(), banned: new Map(), idOf: () => undefined };
    this.messages = new Messages({
      room: this.room,
      deeds: {
        remove: (message) => this.#remove(message), mayRemove: (message) => this.#mayRemove(message, broadcast.owner?.id),
        fetch: (id) => this.#fetch(id), far: (id) => this.#far(id),
      },
    });
    place.replaceChildren(
      h('header', { class: 'chat-head' }, h('h2', {}, 'Chat replay')), this.messages.element,
      h('p', { class: 'chat-foot muted' }, 'What was written at this moment of the broadcast.'));
    this.messages.empty('Loading the conversation…');
    this.#jump(0);
    this.timer = setInterval(() => this.#step(), 300);
    this.#about();
    this.unsubscribe = onChange(() => this.#about());
    let held = false;
    socket.subscribe(broadcast.channel ?? `live:${this.id}`, {
      // the pages that are read are newer than this; after a long break they are read anew
      fresh: () => { if (held) this.#jump(this.from); held = true; },
      message: (data) => this.#change(data),
    });
  }

  /** What the texts need to be read, and what we may do here. */
  async #about() {
    const path = `/live/${this.id}/chat`;
    const [emotes, me] = await Promise.all([
      api('GET', `${path}/emotes`).catch(() => null), user() ? api('GET', `${path}/me`).catch(() => null) : null,
    ]);
    this.role = me?.role ?? 'viewer';
    this.room.mine = new Map(Object.entries(me?.reactions ?? {}).map(([id, given]) => [id, new Set(given)]));
    if (emotes) this.room.emotes = new Map([...emotes.everywhere, ...emotes.items].map(({ name, art }) => [name, art]));
    this.messages.repaint();
  }

  #mayRemove(message, ownerId) {
    const me = user();
    if (!me) return false;
    return message.author.id === me.id || this.role === 'owner' || this.role === 'platform'
      || (this.role === 'moderator' && !message.badge && message.author.id !== ownerId);
  }

  async #remove(message) {
    try {
      await api('DELETE', `/live/${this.id}/chat/${message.id}`);
      this.#drop(message.id);
    } catch (error) { toast(error.message); }
  }

  /** Later deletions and edits, also to what is not on the screen yet. */
  #change(data) {
    if (data?.kind === 'delete') this.#drop(data.id);
    else if (data?.kind === 'edit') {
      const entry = this.log.find(({ message }) => message.id === data.message.id);
      if (entry) entry.message = { ...data.message, reactions: entry.message.reactions };
      this.messages.edit(data.message);
    } else if (data?.kind === 'reactions') {
      const entry = this.log.find(({ message }) => message.id === data.id);
      if (entry) entry.message = { ...entry.message, reactions: data.counts };
      this.messages.counts(data.id, data.counts);
    }
  }

  #drop(id) {
    this.gone.add(id); // a page that is on its way may have it still
    const at = this.log.findIndex(({ message }) => message.id === id);
    if (at >= 0) {
      this.log.splice(at, 1);
      if (at < this.shown) this.shown -= 1;
    }
    this.messages.drop(id);
  }

  async #fetch(id) {
    const entry = this.log.find(({ message }) => message.id === id);
    if (entry) return entry.message;
    try { return await api('GET', `/live/${this.id}/chat/${id}`); } catch (error) { return error.status === 404 ? null : undefined; }
  }

  #far(id) {
    const known = this.messages.known(id);
    toast(known ? `${known.author.username}: ${known.text}` : 'It was written at another moment.');
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
      for (const message of page.items) if (!this.gone.has(message.id)) this.log.push({ at: Date.parse(message.media_time ?? message.at), message });
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

  close() {
    clearInterval(this.timer);
    this.unsubscribe();
  }
}
