// A chat as the server says it is: its state at a place of the log, and every change after it. The same steps after a
// broken line, after signing in, and when rights change, so that whoever comes back sees what everybody sees.
import { api } from './api.js';
import { user } from './session.js';

const AGAIN = 2000;
const MODE = { slow: 0, followers: null, subscribers: false, emotes: false, unique: false, delay: 0 };
const STAFF = new Set(['moderator', 'owner', 'platform']);

/** Fires through `on`: {clear, put(message, quiet), edit(message), drop(id), counts(id), pins, mode, person(id), role, emotes, viewers(n), state(data), trouble(text)}. */
export class Room {
  constructor(socket, channel, on) {
    this.socket = socket;
    this.channel = channel;
    this.id = channel.slice(channel.indexOf(':') + 1);
    this.path = `/live/${this.id}/chat`;
    this.staffChannel = `staff:${this.id}`;
    this.on = on;
    this.people = new Map(); // username in small letters → {id, username}
    this.everywhere = null; // emotes of every channel
    this.gone = new Set(); // deleted: an ack that comes late shows nothing
    this.empty();
  }

  empty() {
    this.mode = { ...MODE };
    this.pins = []; // messages, the last one pinned last
    this.moderators = new Set();
    this.own = new Map(); // emotes of this channel
    this.emotes = new Map(this.everywhere);
    this.banned = new Map(); // id → until
    this.mine = new Map(); // message id → Set of own reactions
    this.role = 'viewer';
    this.ban = null; // why who reads may not write
  }

  get staff() { return STAFF.has(this.role); }
  idOf(name) { return this.people.get(name.toLowerCase())?.id; }

  meet(author) { if (author?.username) this.people.set(author.username.toLowerCase(), author); }

  /** Read how it is, and go on from there. */
  async begin() {
    clearTimeout(this.timer);
    const round = this.round = (this.round ?? 0) + 1;
    const me = user();
    this.socket.open();
    try {
      const [state, own, emotes] = await Promise.all([
        api('GET', `${this.path}/state`), me ? api('GET', `${this.path}/me`) : null, this.everywhere ? null : api('GET', `${this.path}/emotes`),
      ]);
      if (round !== this.round) return;
      if (emotes) this.everywhere = emotes.everywhere.map(({ name, art }) => [name, art]);
      this.#take(state, own);
      this.#hold(round, { epoch: state.epoch, offset: state.offset });
      if (this.staff) this.#bans(round);
    } catch (error) {
      if (round !== this.round) return;
      this.on.trouble(error.message);
      this.timer = setTimeout(() => this.begin(), Math.max(AGAIN, (error.retryAfter ?? 0) * 1000) * (1 + Math.random()));
    }
  }

  #take(state, own) {
    this.empty();
    this.mode = state.mode;
    this.pins = state.pins;
    this.moderators = new Set(state.moderators);
    for (const { name, art } of state.emotes) { this.own.set(name, art); this.emotes.set(name, art); }
    this.#self(own);
    for (const message of [...state.pins, ...state.messages]) this.meet(message.author);
    this.on.clear();
    for (const message of state.messages) this.on.put(message, true);
    this.on.emotes();
    this.on.role();
    this.on.mode();
    this.on.pins();
    this.on.trouble('');
  }

  /** Who may not write already: the state does not say it, and only the staff may ask. */
  async #bans(round) {
    const page = await api('GET', `${this.path}/bans?limit=100`).catch(() => null);
    if (!page || round !== this.round) return;
    for (const { user: { id }, kind, until } of page.items) {
      if (kind === 'shadow') continue; // his messages say so themselves
      this.banned.set(id, until);
      this.on.person(id);
    }
  }

  #self(own) {
    this.role = own?.role ?? 'viewer';
    this.ban = own?.ban ?? null;
    for (const [id, given] of Object.entries(own?.reactions ?? {})) this.mine.set(id, new Set(given));
  }

  /** The staff reads its own channel, where nothing is hidden; viewers and state come by the other. */
  #hold(round, since) {
    const mine = () => round === this.round;
    const again = (wait = 300) => {
      if (!mine()) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.begin(), wait * (1 + 3 * Math.random()));
    };
    const changes = {
      fresh: () => again(), // what was missed is too much for the log: begin anew
      message: (data) => { if (mine()) this.apply(data); },
      closed: (text, code) => {
        if (code === 'history_discarded' || code === 'forbidden') again(); // what we may see is another thing now
        else if (code === 'unauthenticated' && user()) again(AGAIN); // a token ran out; the socket is renewing it
        else this.on.trouble(text);
      },
    };
    const aside = {
      presence: (viewers) => this.on.viewers(viewers), state: (data) => this.on.state(data),
      typing: (people, more) => this.on.typing(people, more),
    };
    if (this.staff) {
      this.socket.subscribe(this.channel, { ...aside, closed: changes.closed }, since);
      this.socket.subscribe(this.staffChannel, changes, since);
    } else {
      this.socket.unsubscribe(this.staffChannel);
      this.socket.subscribe(this.channel, { ...aside, ...changes }, since);
    }
  }

  /** One change; applying it twice harms nothing. */
  apply(data, quiet = false) {
    switch (data?.kind) {
      case 'message': this.put(data.message, quiet); break;
      case 'edit': this.meet(data.message.author); this.on.edit(data.message); this.#repin(data.message); break;
      case 'delete': this.drop(data.id); break;
      case 'reactions': this.on.counts(data.id, data.counts); break;
      case 'pin': this.#pin(data.id); break;
      case 'unpin': this.#unpin(data.id); break;
      case 'mode': this.mode = data.mode; this.on.mode(); break;
      case 'ban': this.#banned(data); break;
      case 'unban': this.banned.delete(data.user); this.on.person(data.user); if (data.user === user()?.id) this.again(); break;
      case 'moderator': this.#appointed(data); break;
      case 'emotes': this.#emote(data); break;
      default: // a place that is taken by what is not for us, or something newer
    }
  }

  put(message, quiet = false) {
    if (this.gone.has(message.id)) return;
    this.meet(message.author);
    if (message.deleted) this.drop(message.id); else this.on.put(message, quiet);
    if (!message.replaced) this.#repin(message);
  }

  drop(id) {
    this.gone.add(id);
    if (this.gone.size > 1000) this.gone.delete(this.gone.values().next().value);
    this.mine.delete(id);
    this.on.drop(id);
    this.#unpin(id);
  }

  #repin(message) {
    const at = this.pins.findIndex((one) => one.id === message.id);
    if (at < 0) return;
    this.pins[at] = message;
    this.on.pins();
  }

  async #pin(id) {
    if (this.pins.some((one) => one.id === id)) return;
    const place = { id };
    this.pins.push(place); // its place among the others, while it is fetched
    const found = this.on.find(id) ?? await api('GET', `${this.path}/${id}`).catch(() => null);
    const at = this.pins.indexOf(place);
    if (at < 0) return;
    if (found) this.pins[at] = found; else this.pins.splice(at, 1);
    this.on.pins();
  }

  #unpin(id) {
    const left = this.pins.filter((one) => one.id !== id);
    if (left.length === this.pins.length) return;
    this.pins = left;
    this.on.pins();
  }

  #banned(data) {
    if (!data.shadow) this.banned.set(data.user, data.until);
    this.on.person(data.user);
    if (data.user === user()?.id && !data.shadow) this.again();
  }

  #appointed({ user: id, moderates }) {
    if (moderates) this.moderators.add(id); else this.moderators.delete(id);
    this.on.person(id);
    if (id === user()?.id && this.role !== 'owner' && this.role !== 'platform' && this.staff !== moderates) this.begin();
  }

  #emote({ name, art }) {
    if (art) this.own.set(name, art); else this.own.delete(name);
    this.emotes = new Map([...(this.everywhere ?? []), ...this.own]);
    this.on.emotes();
  }

  /** What we are here has changed. */
  async again() {
    try {
      this.#self(await api('GET', `${this.path}/me`));
      this.on.role();
    } catch { /* the next refusal says it too */ }
  }

  /** Ours to a message, after an ack: what stands there now and what is ours of it. */
  reacted(id, emoji, on, counts) {
    const given = this.mine.get(id) ?? new Set();
    if (on) given.add(emoji); else given.delete(emoji);
    this.mine.set(id, given);
    this.on.counts(id, counts);
  }

  publish(data) { return this.socket.publish(this.channel, data); }

  close() {
    this.round += 1;
    clearTimeout(this.timer);
    this.socket.unsubscribe(this.staffChannel);
    this.socket.unsubscribe(this.channel);
  }
}
