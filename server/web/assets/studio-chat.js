// The channel's chat in the studio: who moderates, which words are filtered, emotes, who may not write.
import { h } from './dom.js';
import { bansList, emotesList, filtersList, moderatorsList } from './chat-rules.js';

const PARTS = [
  ['Moderators', moderatorsList], ['Word filters', filtersList], ['Emotes', emotesList], ['Who may not write', bansList],
];

export class ChatRules {
  constructor() {
    this.place = h('div', { class: 'stack-small' });
    this.element = h('section', { class: 'panel stack studio-chat', 'aria-labelledby': 'studio-chat', hidden: true },
      h('div', { class: 'stack-small' }, h('h2', { id: 'studio-chat' }, 'Chat'), h('p', { class: 'muted' }, 'For all your broadcasts. Modes are set beside the broadcast.')),
      this.place);
  }

  /** id: of any broadcast of ours; without one there is no chat yet. */
  show(id) {
    this.element.hidden = !id;
    if (!id || this.id) { this.id = id ?? this.id; return; }
    this.id = id;
    this.place.replaceChildren(...PARTS.map(([title, build]) => {
      const box = h('details', { class: 'fold' }, h('summary', {}, title));
      // read when it is first opened
      box.addEventListener('toggle', () => { if (box.open && box.childElementCount === 1) box.append(build(`/live/${this.id}/chat`)); });
      return box;
    }));
  }
}
