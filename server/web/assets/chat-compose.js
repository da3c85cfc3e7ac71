// Where one writes: the draft, what it answers or edits, when it may go, and why it may not. A draft that was refused
// stays as it was, with the reason beside it.
import { h, setText } from './dom.js';
import { setIcon } from './icons.js';
import { pickEmote } from './chat-picker.js';
import { Suggest } from './chat-suggest.js';
import { short } from './chat-text.js';
import { until } from './chat-mode.js';
import { openSignIn } from './signin.js';
import { user } from './session.js';

const LONGEST = 500; // code points, as the server counts
const NEAR = 100;

const TYPING_EVERY = 3000; // the server forgets it after twice that

export class Compose {
  /** send({text, nonce, reply_to}) → ack's data; edit(id, text); names() for mentions; last() → own last message. */
  constructor(room, { send, edit, names, last, back, typing }) {
    Object.assign(this, { room, send, edit, last, back, typing });
    this.typedAt = 0; // when the others were told last that something is being written; 0: it is not
    this.answering = null;
    this.editing = null;
    this.input = h('textarea', {
      class: 'chat-input', rows: 1, placeholder: 'Say something', 'aria-label': 'Your message',
      enterkeyhint: 'send', 'aria-describedby': 'chat-trouble chat-hint chat-left',
    });
    this.left = h('span', { class: 'chat-left', id: 'chat-left', hidden: true });
    this.button = h('button', { class: 'icon-button send', type: 'submit', 'aria-label': 'Send', title: 'Send' });
    setIcon(this.button, 'send');
    this.emote = h('button', {
      class: 'icon-button', type: 'button', 'aria-label': 'Emotes', title: 'Emotes', 'aria-haspopup': 'dialog', 'aria-expanded': 'false',
      onclick: () => pickEmote(this.emote, room, (code) => this.insert(code)),
    });
    setIcon(this.emote, 'face');
    this.trouble = h('p', { class: 'chat-trouble', id: 'chat-trouble', role: 'alert', hidden: true });
    this.hint = h('p', { class: 'chat-hint', id: 'chat-hint', hidden: true });
    this.typists = h('p', { class: 'chat-hint chat-typing', hidden: true });
    this.voice = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.barred = h('p', { class: 'chat-barred', role: 'alert', hidden: true });
    this.banner = h('div', { class: 'chat-banner', hidden: true });
    this.suggest = new Suggest(this.input, { names, emotes: () => room.emotes });
    this.form = h('form', { class: 'chat-form', 'aria-label': 'Write' }, this.suggest.element, this.input, this.left, this.emote, this.button);
    this.guest = h('div', { class: 'chat-guest' },
      h('button', { class: 'button primary wide', type: 'button', onclick: () => openSignIn('login', () => this.input.focus()) }, 'Sign in to write'));
    this.parts = [this.typists, this.barred, this.trouble, this.hint, this.banner, this.form, this.guest, this.voice];
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.#go(); });
    this.input.addEventListener('keydown', (event) => this.#key(event));
    this.input.addEventListener('input', () => {
      this.#grow();
      this.#count();
      this.#say('');
      this.refused = false;
      this.nonce = null; // a changed text is another message
      this.#tick();
      this.#typed();
    });
  }

  /** Who else is writing. */
  others(people, more) {
    const names = people.map((one) => one.username);
    if (more) names.push(`${more} more`);
    this.typists.hidden = !names.length;
    const all = names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names[0];
    setText(this.typists, names.length ? `${all} ${people.length + more > 1 ? 'are' : 'is'} typing…` : '');
  }

  #typed() {
    const writes = Boolean(this.input.value.trim()) && !this.editing;
    if (writes ? Date.now() - this.typedAt < TYPING_EVERY : !this.typedAt) return;
    this.typedAt = writes ? Date.now() : 0;
    this.typing(writes);
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); this.#go(); }
    else if (event.key === 'Escape' && (this.answering || this.editing)) { event.preventDefault(); this.leave(); }
    else if (event.key === 'ArrowUp' && !this.input.value && !this.editing) {
      const mine = this.last();
      if (mine) { event.preventDefault(); this.change(mine); }
    }
  }

  /** Who writes, and whether he may, has changed. over: the chat has ended. */
  who(over) {
    const me = user();
    const { ban } = this.room;
    this.over = over;
    this.form.hidden = !me || over;
    this.guest.hidden = Boolean(me) || over;
    clearTimeout(this.freed);
    const until_ = ban?.until && Date.parse(ban.until) - Date.now();
    const barred = Boolean(me && ban && !over && (until_ === null || until_ > 0));
    this.barred.hidden = !barred;
    if (barred) {
      setText(this.barred, `${ban.until ? `You were timed out: you may write here again ${until(ban.until)}.` : 'You were banned: you may read here, but not write.'}${ban.reason ? ` Reason: ${ban.reason}` : ''}`);
      if (until_) this.freed = setTimeout(() => this.room.again(), Math.min(until_ + 500, 2 ** 31 - 1));
      this.#say('');
    }
    this.isBarred = barred;
    if (over || !me) { this.leave(false); this.#say(''); }
    if (this.room.staff || (this.slowed && !this.room.mode.slow)) this.resting = 0;
    this.#tick();
  }

  insert(code) {
    const { value, selectionStart: at } = this.input;
    const before = at && !/\s$/.test(value.slice(0, at)) ? ' ' : '';
    this.input.setRangeText(`${before}${code} `, at, this.input.selectionEnd, 'end');
    this.input.dispatchEvent(new Event('input'));
    this.input.focus();
  }

  answer(message) {
    if (this.editing) this.leave(false);
    this.answering = message;
    this.#header('Reply to ', message, 'Do not reply');
  }

  change(message) {
    if (!this.editing) this.draft = this.input.value;
    this.answering = null;
    this.editing = message;
    this.#write(message.text);
    this.#header('Editing: ', message, 'Leave it as it was');
  }

  #header(words, message, cancel) {
    const close = h('button', { class: 'icon-button', type: 'button', 'aria-label': cancel, title: cancel, onclick: () => this.leave() });
    setIcon(close, 'close');
    this.banner.replaceChildren(h('span', { class: 'banner-text' }, words, h('bdi', { class: 'quote-name' }, message.author?.username ?? ''), ' ', h('span', { dir: 'auto' }, short(message.text))), close);
    this.banner.hidden = false;
    setText(this.voice, `${words}${message.author?.username}: ${short(message.text)}`);
    this.input.focus();
  }

  /** Neither an answer nor an edit any more; the draft from before the edit comes back. */
  leave(focus = true) {
    const edited = this.editing;
    this.answering = this.editing = null;
    this.banner.hidden = true;
    if (edited) { this.#write(this.draft ?? ''); this.draft = ''; this.#say(''); }
    if (focus) this.input.focus();
  }

  /** What was answered or edited is gone. */
  dropped(id) {
    if (this.editing?.id === id) { this.leave(false); this.#say('The message that you edited was deleted.'); }
    else if (this.answering?.id === id) { this.leave(false); this.#say('The message that you answered was deleted. Sent now, your text stands for itself.'); }
  }

  #write(text) {
    this.input.value = text;
    this.nonce = null;
    this.#grow();
    this.#count();
  }

  /** How many characters are left; nothing is ever cut, a text that is too long stays for its author to shorten. */
  #count() {
    const left = LONGEST - [...this.input.value.trim()].length;
    this.left.hidden = left > NEAR;
    this.left.classList.toggle('over', left < 0);
    setText(this.left, left < 0 ? `${-left} too many` : `${left} left`);
    return left;
  }

  #grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(this.input.scrollHeight, 120)}px`;
  }

  async #go() {
    const text = this.input.value.trim();
    const { editing, answering } = this;
    if (!text || this.sending || this.isBarred) return;
    if (!editing && Date.now() < (this.resting ?? 0)) { this.refused = true; this.#tick(); return; }
    const over = -this.#count();
    if (over > 0) {
      this.#say(`A message has ${LONGEST} characters at most: take away ${over}.`);
      return;
    }
    this.sending = true;
    this.button.disabled = true;
    this.#say('');
    this.nonce ??= Math.random().toString(36).slice(2) + Date.now().toString(36); // a second try is not a second message
    const typed = this.input.value;
    try {
      if (editing) await this.edit(editing.id, text);
      const sent = editing ? null : await this.send({ text, nonce: this.nonce, ...(answering ? { reply_to: answering.id } : {}) });
      if (editing) this.leave();
      else if (this.input.value === typed) { // what was typed meanwhile is the next message
        this.#write('');
        if (this.answering === answering) { this.answering = null; this.banner.hidden = true; }
      }
      this.nonce = null;
      this.typedAt = 0;
      this.#allow(sent?.allowance);
      this.back();
    } catch (error) {
      this.#explain(error);
    } finally {
      this.sending = false;
      this.#tick();
    }
  }

  /** The ack says when the next one may go. */
  #allow(allowance) {
    if (!allowance || allowance.left === null || allowance.left > 0 || !allowance.next_in) return;
    this.resting = Date.now() + allowance.next_in * 1000;
    this.slowed = this.room.mode.slow > 0;
    if (allowance.next_in >= 3) setText(this.voice, `Your next message may go in ${Math.ceil(allowance.next_in)} seconds.`);
  }

  #explain(error) {
    if (error.code === 'banned') { this.room.again(); this.#say(error.message); return; }
    if (error.code === 'unknown_message' && this.answering) { this.dropped(this.answering.id); return; }
    if (!error.retryAfter) { this.#say(error.message); return; }
    this.resting = Date.now() + error.retryAfter * 1000;
    this.slowed = error.code === 'slow_mode';
    this.why = { slow_mode: 'Slow mode.', rate_limited: 'That was quick.' }[error.code] ?? error.message;
    this.refused = true;
  }

  #tick() {
    clearTimeout(this.timer);
    const wait = Math.ceil(((this.resting ?? 0) - Date.now()) / 1000);
    const waits = wait > 0 && !this.over;
    this.button.disabled = Boolean(this.sending || this.isBarred || (waits && !this.editing));
    this.hint.hidden = !waits || this.refused || this.isBarred;
    if (waits) {
      const time = wait < 100 ? `${wait} s` : `${Math.ceil(wait / 60)} min`;
      setText(this.hint, `Next message in ${time}`);
      if (this.refused) this.#say(`${this.why ?? (this.slowed ? 'Slow mode.' : 'That was quick.')} You can send this in ${time}.`, wait);
      this.timer = setTimeout(() => this.#tick(), 250);
    } else if (this.refused) { this.refused = false; this.why = ''; this.#say(''); }
  }

  /** A number that counts down is not said aloud each second. */
  #say(text, counting = 0) {
    this.trouble.setAttribute('aria-live', counting && !this.trouble.hidden ? 'off' : 'assertive');
    setText(this.trouble, text);
    this.trouble.hidden = !text;
  }
}
