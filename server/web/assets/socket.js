// One WebSocket for a page: signs in, holds channels, comes back by itself and asks for exactly what it missed.
// What the close codes mean is in the server's realtime/protocol/codes.py; the ranges say how to come back.
import { ApiError, sentence } from './api.js';
import { onChange, token, user } from './session.js';

const ACK_TIMEOUT = 8000;
const SILENCE = 45_000;
const PING = 20_000;

/** Fires `status` {connected, closed}. Channels get their own callbacks. */
export class Socket extends EventTarget {
  constructor() {
    super();
    this.channels = new Map(); // name → {epoch, offset, on, subscribed}
    this.waiting = new Map(); // id → {resolve, reject, timer}
    this.number = 0;
    this.failures = 0;
    this.socket = null;
    this.ready = false;
    this.stopped = false;
    onChange(() => this.#restart());
    addEventListener('online', () => this.#hurry());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#hurry(); });
    addEventListener('pageshow', (event) => { if (event.persisted) this.#hurry(); });
  }

  /**
   * on: {message(data, offset), fresh(items), presence(n), state(data), closed(text, code)}. since: {epoch, offset} to
   * go on from. A channel that is held already begins again, with `on`.
   */
  subscribe(channel, on, since) {
    const held = { on, epoch: since?.epoch ?? null, offset: since?.offset ?? 0, watch: this.channels.get(channel)?.watch ?? null };
    this.channels.set(channel, held);
    if (!this.socket) this.#connect();
    else if (this.ready) this.#join(channel, held);
  }

  /** Before anything is held: who subscribes in a moment does not wait for the line then. */
  open() { if (!this.socket) this.#connect(); }

  unsubscribe(channel) {
    if (this.channels.delete(channel) && this.ready) this.#ask({ type: 'unsubscribe', channel }).catch(() => {});
  }

  /** Be told who is in a channel that is held: watch {members(told), closed(text)}, as docs/realtime.md has `members`. */
  watch(channel, watch) {
    const held = this.channels.get(channel);
    if (!held) { watch.closed('The chat is over.'); return; }
    held.watch = watch;
    if (this.ready) this.#join(channel, held);
  }

  unwatch(channel, watch) {
    const held = this.channels.get(channel);
    if (held?.watch !== watch) return;
    held.watch = null;
    if (this.ready) this.#join(channel, held);
  }

  /** Resolves with the ack when the server has it on disk; rejects with an ApiError in words. */
  async publish(channel, data) {
    if (!this.ready && !this.failures && this.socket) await this.#soon();
    return this.#ask({ type: 'publish', channel, data });
  }

  /** The person is writing there, or no more; that it is not told harms nobody. */
  typing(channel, typing) {
    if (this.ready) this.#ask({ type: 'typing', channel, typing }).catch(() => {});
  }

  /** The first connection is on its way: what is sent meanwhile goes with it. */
  #soon() {
    return new Promise((resolve) => {
      const done = () => { clearTimeout(timer); this.removeEventListener('status', done); resolve(); };
      const timer = setTimeout(done, ACK_TIMEOUT / 2);
      this.addEventListener('status', done);
    });
  }

  #ask(message) {
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new ApiError('You are not connected. Your text is kept; try again in a moment.'));
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new ApiError('The server did not answer in time. Try again.', { code: 'unavailable' }));
      }, ACK_TIMEOUT);
      this.waiting.set(id, { resolve, reject, timer });
      this.socket.send(JSON.stringify({ ...message, id }));
    });
  }

  async #connect() {
    if (this.socket || this.stopped) return;
    clearTimeout(this.timer);
    const place = this.socket = {}; // taken while the token is fetched
    const access = await token().catch(() => null);
    if (this.socket !== place) return;
    const address = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
    const protocols = ['socialflow.v1.json'];
    if (access) protocols.push(`token.${access}`);
    const socket = this.socket = new WebSocket(address, protocols);
    socket.addEventListener('message', (event) => { this.heard = Date.now(); this.#receive(JSON.parse(event.data)); });
    socket.addEventListener('close', (event) => this.#lost(socket, event.code));
    this.heard = Date.now();
    clearInterval(this.pulse);
    this.pulse = setInterval(() => this.#beat(socket), PING);
  }

  #beat(socket) {
    if (Date.now() - this.heard > SILENCE) return this.#lost(socket, 1006);
    if (this.ready) this.#ask({ type: 'ping' }).catch(() => {});
    return undefined;
  }

  #lost(socket, code) {
    if (this.socket !== socket) return;
    socket.close?.();
    this.socket = null;
    this.ready = false;
    clearInterval(this.pulse);
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(new ApiError('The connection broke. Your text is kept; try again in a moment.', { code: 'unavailable' }));
    }
    this.waiting.clear();
    if (this.stopped) return;
    if ((code >= 4200 && code < 4300) || [1002, 1003, 1007, 1008, 1009].includes(code)) {
      this.#status(code === 4202 ? 'Sign in again to go on.' : 'The server refuses this page. Load it again.');
      this.refused = true;
      return;
    }
    this.failures += 1;
    const backOff = code >= 4100 && code < 4200 ? 5000 * 2 ** Math.min(this.failures - 1, 4) : 400 * 2 ** Math.min(this.failures - 1, 6);
    const wait = Math.min(backOff, 60_000) * (0.5 + Math.random() * 0.5) + (this.failures === 1 ? Math.random() * 600 : 0);
    this.#status('');
    this.timer = setTimeout(() => this.#connect(), wait);
  }

  #hurry() {
    if (!this.channels.size || this.refused) return;
    if (!this.socket) this.#connect();
    else if (this.ready) this.#beat(this.socket);
  }

  /** Signed in or out: the same channels, as somebody else. */
  #restart() {
    if (!this.channels.size) return;
    this.refused = false;
    const old = this.socket;
    this.socket = null;
    this.ready = false;
    old?.close?.();
    this.failures = 0;
    this.#connect();
  }

  #status(closed) {
    this.dispatchEvent(new CustomEvent('status', { detail: { connected: this.ready, closed } }));
  }

  async #join(channel, held) {
    const since = held.epoch ? { epoch: held.epoch, offset: held.offset } : undefined;
    const { watch } = held;
    try {
      const ack = await this.#ask({ type: 'subscribe', channel, since, ...(watch ? { presence: true } : {}) });
      if (this.channels.get(channel) !== held) return;
      const items = ack.messages ?? [];
      const recovered = Boolean(since && ack.recovered);
      held.epoch = ack.epoch;
      held.offset = ack.offset;
      if (recovered) items.forEach((item) => held.on.message?.(item.data, item.offset));
      else held.on.fresh?.(items);
      held.on.presence?.(ack.viewers);
      if (ack.state) held.on.state?.(ack.state);
    } catch (error) {
      if (watch && held.watch === watch && error.code !== 'unavailable' && error.code !== 'rate_limited') {
        this.#unseen(held, error.message); // perhaps it is this alone that was refused
        if (this.ready && this.channels.get(channel) === held) this.#join(channel, held);
      } else if (error.code !== 'unavailable' && error.code !== 'rate_limited') held.on.closed?.(error.message, error.code);
      else if (this.ready) {
        setTimeout(() => { if (this.ready && this.channels.get(channel) === held) this.#join(channel, held); }, Math.max(2000, error.retryAfter * 1000) * (1 + Math.random()));
      }
    }
  }

  #unseen(held, text) {
    const { watch } = held;
    held.watch = null;
    watch?.closed(text);
  }

  #receive(message) {
    const held = this.channels.get(message.channel);
    switch (message.type) {
      case 'welcome':
        this.ready = true;
        this.failures = 0;
        this.#status('');
        for (const [channel, one] of this.channels) this.#join(channel, one);
        if (user() && !message.user) this.#authenticate();
        break;
      case 'ack':
      case 'error': {
        const asked = this.waiting.get(message.id);
        if (!asked) break;
        this.waiting.delete(message.id);
        clearTimeout(asked.timer);
        if (message.type === 'ack') asked.resolve(message);
        else asked.reject(new ApiError(sentence(message.message), { code: message.code, retryAfter: message.retry_after ?? 0 }));
        break;
      }
      case 'message':
        if (!held) break;
        if (held.epoch && message.epoch === held.epoch) {
          if (message.offset <= held.offset) break; // had it
          if (message.offset > held.offset + 1) { this.#join(message.channel, held); break; } // a hole: ask for it
        }
        held.epoch = message.epoch;
        held.offset = message.offset;
        held.on.message?.(message.data, message.offset);
        break;
      case 'presence': held?.on.presence?.(message.viewers); break;
      case 'members': held?.watch?.members(message); break;
      case 'members_closed': if (held) this.#unseen(held, sentence(message.message)); break;
      case 'typing': held?.on.typing?.(message.people, message.more); break;
      case 'state': held?.on.state?.(message.data); break;
      case 'closed': held?.on.closed?.(sentence(message.message), message.code); break;
      case 'notice': if (message.code === 'token_expired') this.#authenticate(); break;
      default: // a newer server may say more
    }
  }

  async #authenticate() {
    const access = await token().catch(() => null);
    if (access) this.#ask({ type: 'authenticate', token: access }).catch(() => {});
  }

  close() {
    this.stopped = true;
    clearTimeout(this.timer);
    clearInterval(this.pulse);
    this.socket?.close?.();
  }
}
