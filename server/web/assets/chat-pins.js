// What the staff pinned, above the messages: the last one, and the others behind a button.
import { h } from './dom.js';
import { icon } from './icons.js';
import { pieces } from './chat-text.js';
import { user } from './session.js';

export class Pins {
  /** jump(id), unpin(message). */
  constructor(room, { jump, unpin }) {
    Object.assign(this, { room, jump, unpin });
    this.at = 0; // from the last one
    this.hiddenFor = ''; // the pins that this viewer has put away
    this.element = h('section', { class: 'chat-pins', 'aria-label': 'Pinned', hidden: true });
  }

  paint() {
    const pins = this.room.pins.filter((one) => one.text !== undefined);
    const key = pins.map((one) => one.id).join();
    if (key !== this.key) this.at = 0;
    this.key = key;
    this.element.hidden = !pins.length || this.hiddenFor === key;
    if (this.element.hidden) { this.element.replaceChildren(); return; }
    const focused = this.element.contains(document.activeElement) && document.activeElement.getAttribute('aria-label');
    const message = pins[pins.length - 1 - (this.at % pins.length)];
    const button = (label, sign, act) => h('button', { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: act }, icon(sign));
    this.element.replaceChildren(
      icon('pin'),
      h('button', { class: 'pin-text', type: 'button', title: 'Go to the message', onclick: () => this.jump(message.id) },
        h('span', { class: 'visually-hidden' }, 'Pinned: '), h('bdi', { class: 'quote-name' }, message.author.username), ' ',
        h('span', { dir: 'auto' }, ...pieces(message.text, { emotes: this.room.emotes, mentions: message.mentions, idOf: (name) => this.room.idOf(name), me: user() }))),
      ...[
        pins.length > 1 && h('button', { class: 'link pin-next', type: 'button', 'aria-label': 'Next pinned message', onclick: () => { this.at += 1; this.paint(); } }, `${pins.length - (this.at % pins.length)} of ${pins.length}`),
        this.room.staff ? button('Unpin', 'close', () => this.unpin(message)) : button('Hide what is pinned', 'close', () => { this.hiddenFor = key; this.paint(); }),
      ].filter(Boolean));
    if (focused) [...this.element.querySelectorAll('button')].find((one) => one.getAttribute('aria-label') === focused)?.focus();
  }
}
