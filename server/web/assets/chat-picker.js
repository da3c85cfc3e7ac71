// Emotes to choose from: the channel's own first, then those that every channel has.
import { h, setText } from './dom.js';
import { popup } from './chat-menu.js';
import { reactionArt } from './chat-text.js';

export const QUICK = ['👍', '❤️', '😂', '😮', '👏', '🔥'];

/** One row of reactions for a menu; given: Set of those that are ours. */
export function quickRow(given, choose, more) {
  return h('div', { class: 'quick', role: 'group', 'aria-label': 'React' },
    ...QUICK.map((emoji) => h('button', {
      class: 'quick-one', type: 'button', 'aria-pressed': String(given.has(emoji)), 'aria-label': `React with ${emoji}`, onclick: () => choose(emoji),
    }, emoji)),
    more && h('button', { class: 'quick-one', type: 'button', 'aria-label': 'More reactions', title: 'More', onclick: more }, '+'));
}

/** choose(code): `:name:`. keep: stays open for another one. */
export function pickEmote(anchor, room, choose, { title = 'Emotes', keep = false } = {}) {
  popup(anchor, title, (close) => {
    const grid = h('div', { class: 'emote-grid' });
    const nothing = h('p', { class: 'muted emote-none', role: 'status' });
    const search = h('input', { class: 'emote-search', type: 'search', placeholder: 'Find an emote', 'aria-label': 'Find an emote', autocomplete: 'off' });
    const paint = () => {
      const wanted = search.value.trim().toLowerCase().replaceAll(' ', '_');
      const group = (names, heading) => {
        const found = names.filter((name) => name.includes(wanted));
        return found.length ? [h('p', { class: 'menu-name' }, heading), h('div', { class: 'emote-row' }, ...found.map((name) => h('button', {
          class: 'quick-one', type: 'button', title: `:${name}:`, 'aria-label': name.replaceAll('_', ' '),
          onclick: () => { if (!keep) close(); choose(`:${name}:`); },
        }, reactionArt(`:${name}:`, room.emotes))))] : [];
      };
      const own = [...room.own.keys()];
      const all = (room.everywhere ?? []).map(([name]) => name).filter((name) => !room.own.has(name));
      grid.replaceChildren(...group(own, 'Of this channel'), ...group(all, 'Everywhere'));
      setText(nothing, grid.childElementCount ? '' : 'No emote is called that.');
    };
    search.addEventListener('input', paint);
    paint();
    return [search, grid, nothing];
  }, { role: 'dialog' });
}
