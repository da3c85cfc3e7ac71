// One message as a row: who, when, what; what it answers, how people reacted, and a way to what can be done with it.
import { h } from './dom.js';
import { hue, time } from './format.js';
import { icon } from './icons.js';
import { user } from './session.js';
import { pieces, reactionArt, short } from './chat-text.js';

const LONG = 240; // characters; more is folded away behind a button
const BADGES = { owner: 'Owner', moderator: 'Mod' };
const HIDDEN = { shadowed: 'Others do not see this', held: 'Waits for the delay' };

/** Fill the row anew. room: what is known of the chat; find(id) → a message on the list; deeds: what can be done. */
export function fillRow(row, message, { room, find, deeds }) {
  const me = user();
  const name = message.author?.username ?? 'somebody';
  const mine = me && message.author?.id === me.id;
  const called = me && !mine && (message.mentions?.includes(me.id) || find(message.reply_to)?.author?.id === me.id);
  row.message = message;
  row.hidden = Boolean(message.replaced); // its text follows in an edit
  row.className = ['message', mine && 'own', called && 'called', message.hidden && 'unseen', room.banned.has(message.author?.id) && 'dimmed'].filter(Boolean).join(' ');
  if (row.hidden) { row.replaceChildren(); return; }
  const author = h('bdi', { class: 'message-author' }, name);
  author.style.setProperty('--hue', hue(name));
  const text = h('span', { class: 'message-text', dir: 'auto' }, ...pieces(message.text, { emotes: room.emotes, mentions: message.mentions, idOf: (one) => room.idOf(one), me }));
  const parts = [
    message.reply_to && quote(message.reply_to, { find, deeds }),
    message.badge && h('span', { class: `chat-badge ${message.badge}` }, BADGES[message.badge] ?? message.badge), author, ' ',
    message.at && h('time', { datetime: message.at, title: new Date(message.at).toLocaleString() }, time(message.at)), ' ',
    called && h('span', { class: 'visually-hidden' }, 'to you: '),
    text, message.text.length > LONG && fold(text, row),
    message.edited_at && h('span', { class: 'message-edited', title: `Edited ${new Date(message.edited_at).toLocaleString()}` }, ' (edited)'),
    message.hidden && h('span', { class: 'message-hidden' }, HIDDEN[message.hidden] ?? ''),
    room.banned.has(message.author?.id) && h('span', { class: 'message-hidden' }, 'may not write'),
    chips(message, room, deeds), tools(message, name, row, deeds),
  ];
  row.replaceChildren(...parts.filter(Boolean));
  calm(row);
}

function quote(id, { find, deeds }) {
  const known = find(id);
  const what = known === null ? 'a message that was deleted' : known && short(known.text.replace(/\s+/g, ' '));
  const line = h('button', { class: 'message-quote', type: 'button', onclick: () => deeds.jump(id) },
    h('span', { class: 'visually-hidden' }, 'Answers '), icon('reply'),
    known && h('bdi', { class: 'quote-name' }, known.author?.username ?? 'somebody'), ' ',
    h('span', { class: 'quote-text', dir: 'auto' }, what ?? 'an earlier message'));
  line.disabled = known === null;
  return line;
}

function chips(message, room, deeds) {
  const given = room.mine.get(message.id) ?? new Set();
  const counts = { ...message.reactions };
  for (const emoji of given) counts[emoji] ??= 1;
  const entries = Object.entries(counts).filter(([, number]) => number > 0);
  if (!entries.length) return null;
  return h('span', { class: 'reactions', role: 'group', 'aria-label': 'Reactions' }, ...entries.map(([emoji, number]) => {
    const art = reactionArt(emoji, room.emotes);
    const said = `${emoji.startsWith(':') ? emoji.slice(1, -1).replaceAll('_', ' ') : emoji}, ${number}${given.has(emoji) ? ', one is yours' : ''}`;
    const content = [h('span', { 'aria-hidden': 'true' }, art), h('span', { class: 'reaction-number', 'aria-hidden': 'true' }, String(number))];
    if (!deeds.react) return h('span', { class: 'reaction', role: 'img', 'aria-label': said }, ...content);
    return h('button', {
      class: 'reaction', type: 'button', 'aria-pressed': String(given.has(emoji)), 'aria-label': said, title: emoji, onclick: () => deeds.react(message, emoji),
    }, ...content);
  }));
}

function tools(message, name, row, deeds) {
  const one = (kind, label, sign, act, more = {}) => h('button', {
    class: `icon-button message-tool ${kind}`, type: 'button', 'aria-label': label, title: label.split(' ')[0], onclick: (event) => act(message, event.currentTarget, row), ...more,
  }, icon(sign));
  const all = [
    deeds.reply && one('wide-only', `Reply to ${name}`, 'reply', deeds.reply),
    deeds.menu && one('', `Actions for this message of ${name}`, 'more', deeds.menu, { 'aria-haspopup': 'menu', 'aria-expanded': 'false' }),
    deeds.remove && deeds.mayRemove?.(message) && one(`message-delete${deeds.menu ? ' wide-only' : ''}`, `Delete this message of ${name}`, 'bin', deeds.remove),
  ].filter(Boolean);
  return all.length ? h('span', { class: 'message-tools' }, ...all) : null;
}

/** Tab goes past the rows; inside the one that has the focus it goes from button to button. */
export function calm(row, on = row.contains(document.activeElement)) {
  for (const button of row.querySelectorAll('button')) button.tabIndex = on ? 0 : -1;
}

function fold(text, row) {
  text.classList.add('folded');
  const more = h('button', {
    class: 'link message-more', type: 'button', 'aria-expanded': 'false', onclick: () => {
      const folded = text.classList.toggle('folded');
      more.replaceChildren(folded ? 'more' : 'less');
      more.setAttribute('aria-expanded', String(!folded));
      if (!folded) row.dispatchEvent(new CustomEvent('unfold', { bubbles: true })); // what was opened stays in view
    },
  }, 'more');
  return more;
}
