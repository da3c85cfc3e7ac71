// The list of chat messages: rows, scrolling, the keyboard, and what is said aloud. Used live and in replays.
import { h, setText } from './dom.js';
import { calm, fillRow } from './chat-row.js';

const MOST = 300; // rows kept: a long evening must not slow the page
const SPEAK_EVERY = 6000;
const PLAIN = { emotes: new Map(), mine: new Map(), banned: new Map(), idOf: () => undefined };

export class Messages {
  /** room: what is known of the chat. deeds: {menu, reply, react, remove, mayRemove, fetch}, each only where it can be done. */
  constructor({ room = PLAIN, deeds = {} } = {}) {
    this.deeds = deeds;
    this.rows = new Map();
    this.others = new Map(); // id → a message that is answered but not on the list; null: gone
    this.answers = new Map(); // id → ids of the rows that quote it
    this.unseen = 0;
    this.unspoken = [];
    this.list = h('ol', { class: 'messages', role: 'log', 'aria-label': 'Messages', 'aria-live': 'off', 'aria-describedby': 'messages-how', tabindex: 0 });
    // a busy chat read out message by message is noise: at most one short announcement in a while
    this.voice = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.down = h('button', { class: 'button small to-bottom', type: 'button', hidden: true, onclick: () => this.toEnd() });
    this.nothing = h('p', { class: 'chat-nothing muted' });
    this.how = h('p', { class: 'visually-hidden', id: 'messages-how' }, 'Arrow keys go from message to message; Enter shows what can be done with one.');
    this.element = h('div', { class: 'messages-box' }, this.list, this.nothing, this.down, this.voice, this.how);
    this.atEnd = true;
    this.context = { room, find: (id) => this.known(id), deeds: { ...deeds, jump: (id) => this.jump(id) } };
    this.list.addEventListener('scroll', () => {
      this.atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
      if (this.atEnd) { this.unseen = 0; this.down.hidden = true; }
    }, { passive: true });
    this.list.addEventListener('unfold', () => { this.atEnd = false; });
    this.list.addEventListener('keydown', (event) => this.#key(event));
    this.list.addEventListener('focusin', ({ target }) => { const row = target.closest('.message'); if (row) calm(row, true); });
    this.list.addEventListener('focusout', ({ target, relatedTarget }) => { const row = target.closest('.message'); if (row && !row.contains(relatedTarget)) calm(row, false); });
    new ResizeObserver(() => { if (this.atEnd) this.list.scrollTop = this.list.scrollHeight; }).observe(this.list);
  }

  set room(room) { this.context.room = room; }

  empty(text) { this.emptyText = text; this.#nothing(); }
  #nothing() {
    setText(this.nothing, this.emptyText ?? '');
    this.nothing.hidden = this.rows.size > 0 || !this.emptyText;
  }

  clear() {
    this.rows.clear();
    this.others.clear();
    this.answers.clear();
    this.list.replaceChildren();
    this.unseen = 0;
    this.down.hidden = true;
    this.atEnd = true;
    this.#nothing();
  }

  find(id) { return this.rows.get(id)?.message; }

  /** For quotes: a message, null when it is gone, undefined when it is not known. */
  known(id) {
    if (!id) return undefined;
    const here = this.find(id);
    return here && !here.replaced ? here : this.others.get(id);
  }

  add(messages, { quiet = false } = {}) {
    for (const message of messages) this.put(message, quiet);
  }

  /** Show it, or in place of the one with the same id; reactions that are known stay. */
  put(message, quiet = false) {
    if (message.deleted) { this.drop(message.id); return; }
    const known = this.rows.get(message.id);
    if (known) { this.#fill(known, { ...message, reactions: message.reactions ?? known.message.reactions }); return; }
    const row = h('li', { class: 'message', tabindex: -1 });
    this.rows.set(message.id, row);
    this.#fill(row, message);
    // our own is shown from its ack, which may come before what others wrote a moment earlier
    let before = null;
    for (let last = this.list.lastElementChild; last?.classList.contains('own') && last.message.offset > message.offset; last = last.previousElementSibling) before = last;
    this.list.insertBefore(row, before);
    while (this.rows.size > MOST) this.#oldest();
    this.#nothing();
    if (this.atEnd) this.#follow();
    else if (!quiet && !row.hidden) {
      this.unseen += 1;
      setText(this.down, `${this.unseen} new ${this.unseen === 1 ? 'message' : 'messages'} ↓`);
      this.down.hidden = false;
    }
    if (!quiet && !row.hidden) { this.unspoken.push(message); this.#speak(); }
  }

  edit(message) {
    if (this.others.get(message.id)) this.others.set(message.id, message);
    const row = this.rows.get(message.id);
    if (row) this.#fill(row, { ...message, replaced: undefined, reactions: message.reactions ?? row.message.reactions });
    else this.#requote(message.id);
  }

  counts(id, counts) {
    const row = this.rows.get(id);
    if (row) this.#fill(row, { ...row.message, reactions: counts }, false);
  }

  drop(id) {
    this.others.set(id, null); // what quoted it keeps nothing of it
    const row = this.rows.get(id);
    if (row) {
      this.rows.delete(id);
      if (row.contains(document.activeElement)) (row.nextElementSibling ?? row.previousElementSibling ?? this.list).focus({ preventScroll: true });
      row.remove();
      this.unspoken = this.unspoken.filter((one) => one.id !== id);
      this.#nothing();
    }
    this.#requote(id);
  }

  /** Everything anew: who reads, emotes. */
  repaint() { for (const row of this.rows.values()) this.#fill(row, row.message, false); }

  /** All of one person. */
  person(id) { for (const row of this.rows.values()) if (row.message.author?.id === id) this.#fill(row, row.message, false); }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.atEnd = true;
    this.unseen = 0;
    this.down.hidden = true;
    this.list.focus({ preventScroll: true });
  }

  /** To the message that is quoted or pinned. */
  jump(id) {
    const row = this.rows.get(id);
    if (!row || row.hidden) { this.deeds.far?.(id); return; }
    this.atEnd = false;
    row.scrollIntoView({ block: 'center' });
    row.focus({ preventScroll: true });
    row.classList.add('found');
    setTimeout(() => row.classList.remove('found'), 2000);
  }

  #fill(row, message, requote = true) {
    const focused = row.contains(document.activeElement) ? document.activeElement : null;
    const label = focused?.getAttribute('aria-label');
    const unfolded = row.querySelector('.message-more[aria-expanded="true"]') && row.message?.text === message.text;
    fillRow(row, message, this.context);
    if (unfolded) row.querySelector('.message-more')?.click();
    if (focused && focused !== row) {
      ([...row.querySelectorAll('button')].find((one) => one.getAttribute('aria-label')?.split(',')[0] === label?.split(',')[0]) ?? row).focus({ preventScroll: true });
    }
    if (message.reply_to && !row.hidden) this.#quotes(message);
    if (requote) this.#requote(message.id);
    if (this.atEnd) this.#follow();
  }

  #quotes(message) {
    const id = message.reply_to;
    if (!this.answers.has(id)) this.answers.set(id, new Set());
    this.answers.get(id).add(message.id);
    if (this.known(id) !== undefined || !this.deeds.fetch || this.others.has(id)) return;
    this.others.set(id, undefined); // asked for once
    this.deeds.fetch(id).then((found) => {
      if (this.others.get(id) !== undefined || !this.others.has(id)) return;
      if (found === undefined) this.others.delete(id); else this.others.set(id, found);
      this.#requote(id);
    });
  }

  #requote(id) {
    for (const answer of this.answers.get(id) ?? []) {
      const row = this.rows.get(answer);
      if (row) this.#fill(row, row.message, false);
    }
  }

  #oldest() {
    const [id, row] = this.rows.entries().next().value;
    this.rows.delete(id);
    this.answers.get(row.message.reply_to)?.delete(id);
    if (!this.answers.get(row.message.reply_to)?.size) { this.answers.delete(row.message.reply_to); this.others.delete(row.message.reply_to); }
    if (!this.answers.get(id)?.size) this.others.delete(id);
    else this.others.set(id, row.message);
    row.remove();
  }

  #follow() {
    if (this.following) return;
    this.following = requestAnimationFrame(() => { this.following = 0; if (this.atEnd) this.list.scrollTop = this.list.scrollHeight; });
  }

  #key(event) {
    const { key, target } = event;
    const row = target.closest('.message');
    if (row && target !== row && !['ArrowUp', 'ArrowDown', 'Escape'].includes(key)) return;
    const visible = () => [...this.list.children].filter((one) => !one.hidden);
    let next;
    if (key === 'ArrowUp' || key === 'ArrowDown') {
      const all = visible();
      const at = row ? all.indexOf(row) : key === 'ArrowUp' ? all.length : -1;
      next = all[Math.min(Math.max(0, at + (key === 'ArrowUp' ? -1 : 1)), all.length - 1)];
    } else if (key === 'Home') [next] = visible();
    else if (key === 'End') next = visible().at(-1);
    else if (row && (key === 'Enter' || key === 'ContextMenu')) { const more = row.querySelector('[aria-haspopup]'); if (more) { event.preventDefault(); more.click(); } return; }
    else if (row && key === 'Escape') next = this.list;
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next.focus({ preventScroll: true });
    if (next !== this.list) next.scrollIntoView({ block: 'nearest' });
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
