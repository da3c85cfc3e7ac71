// The chat beside a live picture: what others write comes by the socket, what we write goes out with the moment of the
// picture that we were seeing, so that a replay can show it there.
import { api } from './api.js';
import { Compose } from './chat-compose.js';
import { Deeds } from './chat-deeds.js';
import { modeLine } from './chat-mode.js';
import { Pins } from './chat-pins.js';
import { Room } from './chat-room.js';
import { h, setText, toast } from './dom.js';
import { setIcon } from './icons.js';
import { Messages } from './messages.js';
import { onChange, user } from './session.js';
import { openSignIn } from './signin.js';

const SILENT = 'Nobody wrote during this broadcast.';

export class Chat {
  /** place: the element to fill; mediaTime() → Date | null of the picture on the screen. */
  constructor(place, socket, channel, { owner, mediaTime, onViewers, onState }) {
    this.socket = socket;
    this.mediaTime = mediaTime;
    const { room } = this.#room(socket, channel, { onViewers, onState });
    if (owner) room.meet(owner);
    this.compose = new Compose(room, {
      send: (draft) => this.#send(draft), typing: (on) => socket.typing(channel, on), edit: (id, text) => this.#edit(id, text),
      names: () => this.#names(), last: () => this.#last(), back: () => this.messages.toEnd(),
    });
    this.deeds = new Deeds(room, {
      ownerId: owner?.id, compose: this.compose, ended: () => Boolean(this.over), dropped: (id) => this.#erase(id),
    });
    const { deeds } = this;
    this.messages = new Messages({
      room,
      deeds: {
        menu: (message, anchor) => deeds.menu(message, anchor), reply: (message) => deeds.reply(message), remove: (message) => deeds.remove(message),
        mayRemove: (message) => deeds.mayRemove(message), react: (message, emoji) => (this.over ? toast('The chat has ended.') : deeds.react(message, emoji)),
        fetch: (id) => this.#fetch(id), far: (id) => this.#far(id),
      },
    });
    this.pins = new Pins(room, { jump: (id) => this.messages.jump(id), unpin: (message) => deeds.unpin(message) });
    this.mode = h('p', { class: 'chat-mode', role: 'status', hidden: true });
    this.status = h('p', { class: 'chat-status', role: 'status' });
    this.tools = h('button', {
      class: 'icon-button', type: 'button', hidden: true, 'aria-label': 'Moderate', title: 'Moderate', 'aria-haspopup': 'menu', 'aria-expanded': 'false',
      onclick: () => deeds.tools(this.tools),
    });
    setIcon(this.tools, 'gear');
    this.people = h('button', {
      class: 'icon-button', type: 'button', 'aria-label': 'Who is here', title: 'Who is here', 'aria-haspopup': 'dialog', onclick: () => this.#people(channel),
    });
    setIcon(this.people, 'people');
    place.replaceChildren(h('header', { class: 'chat-head' }, h('h2', {}, 'Chat'), this.status, this.people, this.tools), this.pins.element,
      this.messages.element, this.mode, ...this.compose.parts);
    this.messages.empty('Loading the conversation…');
    this.reader = user()?.id ?? null;
    this.compose.who(false);
    this.unsubscribe = onChange(() => this.#who());
    this.heard = ({ detail }) => this.#connection(detail);
    socket.addEventListener('status', this.heard);
    this.#connection({ connected: socket.ready });
    room.begin();
  }

  #room(socket, channel, { onViewers, onState }) {
    this.room = new Room(socket, channel, {
      clear: () => {
        this.messages.clear();
        this.messages.empty(this.over ? SILENT : 'Nobody has written yet. Be the first.');
      },
      put: (message, quiet) => this.messages.put(message, quiet),
      edit: (message) => this.messages.edit(message),
      drop: (id) => { this.messages.drop(id); this.compose.dropped(id); },
      counts: (id, counts) => this.messages.counts(id, counts),
      find: (id) => this.messages.find(id),
      person: (id) => this.messages.person(id),
      emotes: () => { this.messages.repaint(); this.pins.paint(); },
      pins: () => this.pins.paint(),
      mode: () => { this.#mode(); this.compose.who(Boolean(this.over)); },
      role: () => { this.tools.hidden = !this.room.staff; this.#mode(); this.messages.repaint(); this.pins.paint(); this.compose.who(Boolean(this.over)); },
      viewers: (number) => onViewers?.(number),
      typing: (people, more) => this.compose.others(people, more),
      state: (data) => onState?.(data),
      trouble: (text) => { this.closedText = text; this.#connection({ connected: socket.ready && !text }); },
    });
    return this;
  }

  #mode() {
    const words = this.over ? [] : modeLine(this.room.mode, this.room.staff);
    const key = words.map((one) => one.textContent).join();
    if (this.mode.dataset.key === key) return;
    this.mode.dataset.key = key;
    this.mode.replaceChildren(...words);
    this.mode.hidden = !words.length;
  }

  /** Signed in or out: another view of the same chat. */
  #who() {
    const id = user()?.id ?? null;
    this.compose.who(Boolean(this.over));
    if (id === this.reader) return;
    this.reader = id;
    this.room.begin();
  }

  /** Names are for those who have one. */
  async #people(channel) {
    if (!user()) { openSignIn('login'); return; }
    try { (await import('./chat-people.js')).peopleDialog(this.socket, channel); } catch { toast('The list could not be loaded. Try again.'); }
  }

  #connection({ connected, closed }) {
    clearTimeout(this.soon);
    if (connected) { setText(this.status, this.over ? 'The chat has ended.' : ''); return; }
    const text = closed || this.closedText;
    if (text) { setText(this.status, text); return; }
    // a short break is healed before anybody needs to read about it
    this.soon = setTimeout(() => setText(this.status, 'Connecting…'), 1500);
  }

  async #send(draft) {
    const moment = this.mediaTime();
    const { data } = await this.room.publish(moment ? { ...draft, media_time: moment.toISOString() } : draft);
    if (data?.message) this.room.put(data.message, true);
    return data;
  }

  async #edit(id, text) {
    const { data } = await this.room.publish({ edit: id, text });
    this.room.apply({ kind: 'edit', message: data.message });
  }

  /** Over the socket while it may be written; afterwards as over HTTP, which takes it still. */
  async #erase(id) {
    if (this.over) await api('DELETE', `${this.room.path}/${id}`);
    else await this.room.publish({ delete: id });
  }

  /** A message that is answered or pinned, but not on the list: itself, null when it is gone, undefined when nobody knows. */
  async #fetch(id) {
    try { return await api('GET', `${this.room.path}/${id}`); } catch (error) { return error.status === 404 ? null : undefined; }
  }

  #far(id) {
    const known = this.messages.known(id) ?? this.room.pins.find((one) => one.id === id);
    toast(known ? `${known.author.username}: ${known.text}` : 'It is further back than this list goes.');
  }

  /** Who was here, the last one first. */
  #names() {
    const me = user()?.username;
    const seen = [...this.messages.rows.values()].reverse().map((row) => row.message.author?.username);
    return [...new Set([...seen, ...[...this.room.people.values()].map((one) => one.username)])].filter((name) => name && name !== me);
  }

  #last() {
    const me = user()?.id;
    return [...this.messages.rows.values()].reverse().find((row) => row.message.author?.id === me)?.message;
  }

  /** The broadcast has ended: what was said stays, nothing is added. */
  finish() {
    this.over = true;
    this.people.hidden = true;
    this.messages.empty(SILENT);
    this.compose.who(true);
    this.#mode();
    setText(this.status, 'The chat has ended.');
  }

  close() {
    this.unsubscribe();
    this.socket.removeEventListener('status', this.heard);
    clearTimeout(this.soon);
    this.compose.who(true);
    this.room.close();
  }
}
