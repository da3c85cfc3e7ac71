// What can be done with a message, by whom: the menu of a row, and the tools of those who moderate.
import { copy, h, toast } from './dom.js';
import { openSignIn } from './signin.js';
import { user } from './session.js';
import { dialog, item, popup } from './chat-menu.js';
import { pickEmote, quickRow } from './chat-picker.js';

// what only the staff needs is loaded when it is needed
const bans = () => import('./chat-ban.js');
const rules = () => import('./chat-rules.js');

/** Whether who reads may act on that person, as the server's server/community/chat/rights.py has it. */
function above(room, id, ownerId) {
  const me = user();
  if (!me || !room.staff || id === me.id) return false;
  if (room.role === 'platform') return true;
  return id !== ownerId && (room.role === 'owner' || !room.moderators.has(id));
}

export class Deeds {
  /** compose: {answer, change}; ended() → whether nothing is written any more. */
  constructor(room, { ownerId, compose, ended, dropped }) {
    Object.assign(this, { room, ownerId, compose, ended, dropped });
  }

  mayRemove(message) {
    const me = user();
    return Boolean(me && (message.author?.id === me.id || above(this.room, message.author?.id, this.ownerId)));
  }

  menu(message, anchor) {
    const me = user();
    const { room } = this;
    const own = me && message.author?.id === me.id;
    const open = !this.ended();
    popup(anchor, `For this message of ${message.author?.username}`, (close) => {
      const one = (text, act, kind) => item(text, () => { close(); this.#try(act); }, { kind });
      const rank = above(room, message.author?.id, this.ownerId);
      const pinned = room.pins.some((pin) => pin.id === message.id);
      return [
        open && quickRow(room.mine.get(message.id) ?? new Set(), (emoji) => { close(); this.react(message, emoji); },
          () => { close(false); pickEmote(anchor, room, (code) => this.react(message, code), { title: 'React with' }); }),
        open && one('Reply', () => this.reply(message)),
        open && own && one('Edit', () => this.compose.change(message)),
        one('Copy text', async () => toast(await copy(message.text) ? 'Copied.' : 'Your browser does not let pages copy.')),
        room.staff && (pinned ? one('Unpin', () => this.unpin(message)) : !message.hidden && one('Pin', () => room.publish({ pin: message.id }))),
        this.mayRemove(message) && one('Delete', () => this.#erase(message), 'bad'),
        rank && h('p', { class: 'menu-name', role: 'presentation' }, h('bdi', {}, message.author.username)),
        rank && room.banned.has(message.author.id) && one('Let them write again', async () => (await bans()).lift(room, message.author.id, message.author.username)),
        rank && one('Time out for 10 minutes', async () => (await bans()).timeOut(room, message.author, 600)),
        rank && one('Time out or ban…', async () => { (await bans()).banDialog(room, message.author, 'ban'); }, 'bad'),
      ];
    });
  }

  reply(message) {
    if (!user()) openSignIn('login', () => this.compose.answer(message));
    else this.compose.answer(message);
  }

  async react(message, emoji) {
    if (!user()) { openSignIn('login'); return; }
    const on = !this.room.mine.get(message.id)?.has(emoji);
    await this.#try(async () => {
      const { data } = await this.room.publish({ react: message.id, emoji, ...(on ? {} : { remove: true }) });
      this.room.reacted(message.id, emoji, on, data.counts);
    });
  }

  remove(message) { return this.#try(() => this.#erase(message)); }

  async #erase(message) {
    await this.dropped(message.id);
    this.room.drop(message.id);
  }

  unpin(message) { return this.#try(() => this.room.publish({ unpin: message.id })); }

  async #try(work) {
    try { await work(); } catch (error) { toast(error.message); }
  }

  /** Behind the gear of the chat's head. */
  tools(anchor) {
    const { room } = this;
    popup(anchor, 'Moderation', (close) => {
      const list = (text, title, build) => item(text, () => {
        close();
        this.#try(async () => { const made = (await rules())[build]; dialog(title, () => [made(room.path)]); });
      });
      return [
        item('Modes…', () => { close(); this.#try(async () => { (await import('./chat-modes.js')).modeDialog(room); }); }),
        list('Word filters…', 'Word filters', 'filtersList'),
        list('Who may not write…', 'Who may not write', 'bansList'),
        room.role === 'owner' && list('Moderators…', 'Moderators', 'moderatorsList'),
        room.role === 'owner' && list('Emotes…', 'Emotes of your channel', 'emotesList'),
      ];
    });
  }
}
