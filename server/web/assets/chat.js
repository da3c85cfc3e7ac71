// The chat beside a live picture: what others write comes by the socket, what we write goes out with the moment of the
// picture that we were seeing, so that a replay can show it there.
import { openSignIn } from './signin.js';
import { h, setText, toast } from './dom.js';
import { setIcon } from './icons.js';
import { Messages } from './messages.js';
import { onChange, user } from './session.js';

const LONGEST = 500; // code points, as the server counts
const NEAR = 100;
const SILENT = 'Nobody wrote during this broadcast.';

export class Chat {
  /** place: the element to fill; mediaTime() → Date | null of the picture on the screen. */
  constructor(place, socket, channel, { ownerId, mediaTime, onViewers, onState }) {
    this.socket = socket;
    this.channel = channel;
    this.mediaTime = mediaTime;
    this.ownerId = ownerId;
    this.messages = new Messages({
      may: (message) => { const me = user(); return Boolean(me && (me.id === message.author?.id || me.id === ownerId)); },
      remove: (message) => this.#remove(message),
    });
    this.status = h('p', { class: 'chat-status', role: 'status' });
    this.input = h('textarea', {
      class: 'chat-input', rows: 1, placeholder: 'Say something', 'aria-label': 'Your message',
      enterkeyhint: 'send', 'aria-describedby': 'chat-trouble chat-left',
    });
    this.left = h('span', { class: 'chat-left', id: 'chat-left', hidden: true });
    this.send = h('button', { class: 'icon-button send', type: 'submit', 'aria-label': 'Send', title: 'Send' });
    setIcon(this.send, 'send');
    this.trouble = h('p', { class: 'chat-trouble', id: 'chat-trouble', role: 'alert', hidden: true });
    this.form = h('form', { class: 'chat-form' }, this.input, this.left, this.send);
    this.guest = h('div', { class: 'chat-guest' },
      h('button', { class: 'button primary wide', type: 'button', onclick: () => openSignIn('login', () => this.input.focus()) }, 'Sign in to write'));
    place.replaceChildren(h('header', { class: 'chat-head' }, h('h2', {}, 'Chat'), this.status), this.messages.element, this.trouble, this.form, this.guest);
    this.messages.empty('Loading the conversation…');
    this.#listen();
    this.#who();
    this.unsubscribe = onChange(() => this.#who());
    socket.addEventListener('status', ({ detail }) => this.#connection(detail));
    this.#connection({ connected: socket.ready });
    socket.subscribe(channel, {
      fresh: (items) => {
        this.messages.clear();
        this.messages.empty(this.over ? SILENT : 'Nobody has written yet. Be the first.');
        items.forEach((item) => this.#change(item.data, true));
      },
      message: (data) => this.#change(data, false),
      presence: (viewers) => onViewers?.(viewers),
      state: (data) => onState?.(data),
      closed: (text) => { this.closedText = text; this.#connection({ connected: false, closed: text }); },
    });
  }

  #listen() {
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.#publish(); });
    this.input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.#publish(); }
    });
    this.input.addEventListener('input', () => {
      this.#grow();
      this.#count();
      this.trouble.hidden = true;
      this.nonce = null; // a changed text is another message
    });
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

  #who() {
    const me = user();
    this.form.hidden = !me || Boolean(this.over);
    this.guest.hidden = Boolean(me) || Boolean(this.over);
    this.messages.repaint();
  }

  #connection({ connected, closed }) {
    clearTimeout(this.soon);
    if (connected) { this.closedText = ''; return setText(this.status, ''); }
    const text = closed || this.closedText;
    if (text) return setText(this.status, text);
    // a short break is healed before anybody needs to read about it
    this.soon = setTimeout(() => setText(this.status, 'Connecting…'), 1500);
    return undefined;
  }

  #change(data, quiet) {
    if (data?.kind === 'message') this.messages.add([data.message], { quiet });
    else if (data?.kind === 'delete') this.messages.drop(data.id);
  }

  async #publish() {
    const text = this.input.value.trim();
    if (!text || this.sending || Date.now() < (this.resting ?? 0)) return;
    const over = -this.#count();
    if (over > 0) {
      this.#say(`A message has ${LONGEST} characters at most: take away ${over}.`);
      return;
    }
    this.sending = true;
    this.send.disabled = true;
    this.trouble.hidden = true;
    this.nonce ??= Math.random().toString(36).slice(2) + Date.now().toString(36); // a second try is not a second message
    const data = { text, nonce: this.nonce };
    const moment = this.mediaTime();
    if (moment) data.media_time = moment.toISOString();
    try {
      await this.socket.publish(this.channel, data);
      this.input.value = '';
      this.nonce = null;
      this.left.hidden = true;
      this.#grow();
      this.messages.toEnd();
      this.input.focus();
    } catch (error) {
      if (error.retryAfter) this.#rest(error.retryAfter);
      else this.#say(error.message);
    } finally {
      this.sending = false;
      this.send.disabled = Date.now() < (this.resting ?? 0);
    }
  }

  #rest(seconds) {
    this.resting = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((this.resting - Date.now()) / 1000);
      if (left > 0) {
        this.#say(`That was quick. You can send this in ${left} s.`);
        this.send.disabled = true;
        setTimeout(tick, 250);
      } else { this.trouble.hidden = true; this.send.disabled = false; }
    };
    tick();
  }

  #say(text) { setText(this.trouble, text); this.trouble.hidden = !text; }

  async #remove(message) {
    try {
      await this.socket.publish(this.channel, { delete: message.id });
      this.messages.drop(message.id);
    } catch (error) {
      toast(error.message);
    }
  }

  /** The broadcast has ended: what was said stays, nothing is added. */
  finish() {
    this.over = true;
    this.messages.empty(SILENT);
    setText(this.status, 'The chat has ended.');
    this.#who();
  }
}
