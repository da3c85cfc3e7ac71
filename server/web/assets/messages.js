// The list of chat messages: rows, scrolling, and what is said aloud. Used live and in replays.
import { h, setText } from './dom.js';
import { hue, time } from './format.js';
import { icon } from './icons.js';

const MOST = 300; // rows kept: a long evening must not slow the page
const SPEAK_EVERY = 6000;
const LONG = 240; // characters; more is folded away behind a button

export class Messages {
  /** may(message) → whether this viewer may delete it; remove(message) does it. */
  constructor({ may = () => false, remove = () => {} } = {}) {
    this.may = may;
    this.remove = remove;
    this.rows = new Map();
    this.unseen = 0;
    this.unspoken = [];
    this.list = h('ol', { class: 'messages', role: 'log', 'aria-label': 'Messages', 'aria-live': 'off', tabindex: 0 });
    // a busy chat read out message by message is noise: at most one short announcement in a while
    this.voice = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.down = h('button', { class: 'button small to-bottom', type: 'button', hidden: true, onclick: () => this.toEnd() });
    this.nothing = h('p', { class: 'chat-nothing muted' });
    this.element = h('div', { class: 'messages-box' }, this.list, this.nothing, this.down, this.voice);
    this.atEnd = true;
    this.list.addEventListener('scroll', () => {
      this.atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
      if (this.atEnd) { this.unseen = 0; this.down.hidden = true; }
    }, { passive: true });
    new ResizeObserver(() => { if (this.atEnd) this.list.scrollTop = this.list.scrollHeight; }).observe(this.list);
  }

  empty(text) { this.emptyText = text; this.#nothing(); }
  #nothing() {
    setText(this.nothing, this.emptyText ?? '');
    this.nothing.hidden = this.rows.size > 0 || !this.emptyText;
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
    this.unseen = 0;
    this.down.hidden = true;
    this.atEnd = true;
    this.#nothing();
  }

  add(messages, { quiet = false } = {}) {
    const batch = document.createDocumentFragment();
    let fresh = 0;
    for (const message of messages) {
      if (message.deleted || this.rows.has(message.id)) continue;
      const row = this.#row(message);
      this.rows.set(message.id, row);
      batch.append(row);
      fresh += 1;
      if (!quiet) this.unspoken.push(message);
    }
    if (!fresh) return;
    this.list.append(batch);
    while (this.rows.size > MOST) {
      const [id, row] = this.rows.entries().next().value;
      this.rows.delete(id);
      row.remove();
    }
    this.#nothing();
    if (this.atEnd) this.list.scrollTop = this.list.scrollHeight;
    else {
      this.unseen += fresh;
      setText(this.down, `${this.unseen} new ${this.unseen === 1 ? 'message' : 'messages'} ↓`);
      this.down.hidden = false;
    }
    if (!quiet) this.#speak();
  }

  drop(id) {
    const row = this.rows.get(id);
    if (!row) return;
    this.rows.delete(id);
    if (row.contains(document.activeElement)) this.list.focus();
    row.remove();
    this.#nothing();
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.list.focus({ preventScroll: true });
  }

  /** Who may delete what has changed (signed in, signed out). */
  repaint() {
    for (const row of this.rows.values()) row.querySelector('.message-delete')?.toggleAttribute('hidden', !this.may(row.message));
  }

  #row(message) {
    const name = message.author?.username ?? 'somebody';
    const author = h('span', { class: 'message-author' }, name);
    author.style.setProperty('--hue', hue(name));
    const bin = h('button', {
      class: 'icon-button message-delete', type: 'button', hidden: !this.may(message),
      'aria-label': `Delete this message of ${name}`, title: 'Delete', onclick: () => this.remove(message),
    }, icon('bin'));
    const text = h('span', { class: 'message-text', dir: 'auto' }, message.text);
    const row = h('li', { class: 'message' }, author, ' ',
      message.at && h('time', { datetime: message.at, title: new Date(message.at).toLocaleString() }, time(message.at)), ' ',
      text, message.text.length > LONG && this.#fold(text), bin);
    row.message = message;
    return row;
  }

  #fold(text) {
    text.classList.add('folded');
    const more = h('button', {
      class: 'link message-more', type: 'button', 'aria-expanded': 'false', onclick: () => {
        const folded = text.classList.toggle('folded');
        setText(more, folded ? 'more' : 'less');
        more.setAttribute('aria-expanded', String(!folded));
        if (!folded) this.atEnd = false; // what was opened stays in view
      },
    }, 'more');
    return more;
  }

  #speak() {
    if (this.speaking || !this.unspoken.length) return;
    const last = this.unspoken.at(-1);
    const others = this.unspoken.length - 1;
    this.unspoken = [];
    setText(this.voice, `${last.author?.username ?? 'Somebody'}: ${last.text}${others ? `, and ${others} more` : ''}`);
    this.speaking = setTimeout(() => { this.speaking = 0; this.#speak(); }, SPEAK_EVERY);
  }
}
