// Who is here: the people who hold the chat's channel, told as they come and go while the dialog is open. Loaded when it
// is first opened.
import { api } from './api.js';
import { dialog } from './chat-menu.js';
import { h, setText } from './dom.js';
import { user } from './session.js';

const AGAIN = 5000;

/** What is shown of {count, people: Map(id → username), sampled}: guests, and whoever hides that he is here, have no names. */
function inWords({ count, people, sampled }) {
  const all = count === 1 ? 'One person is here' : `${count.toLocaleString()} people are here`;
  if (sampled) return `${all}. Some of them:`;
  const unnamed = Math.max(0, count - people.size);
  return unnamed ? `${all}, ${unnamed.toLocaleString()} of them without a name.` : `${all}.`;
}

/** Those who are followed first, then by name. */
function ordered(people, followed, me) {
  const rank = ([id]) => (id === me ? 0 : followed.has(id) ? 1 : 2);
  return [...people].sort((a, b) => rank(a) - rank(b) || a[1].localeCompare(b[1], undefined, { sensitivity: 'base' }));
}

export function peopleDialog(socket, channel) {
  const summary = h('p', { class: 'muted' }, 'Looking…');
  const list = h('ul', { class: 'rows people-here', 'aria-label': 'Names', hidden: true });
  const here = { count: 0, people: new Map(), sampled: false };
  const rows = new Map(); // id → li
  const followed = new Set();
  let known = false;
  let asked = 0;

  function row(id, username) {
    let line = rows.get(id);
    if (!line) rows.set(id, line = h('li', {}, h('bdi', {}), h('small', { class: 'muted' })));
    setText(line.firstChild, username);
    setText(line.lastChild, id === user()?.id ? 'you' : followed.has(id) ? 'you follow' : '');
    return line;
  }

  function paint() {
    if (!known) return;
    setText(summary, inWords(here));
    for (const id of [...rows.keys()]) if (!here.people.has(id)) { rows.get(id).remove(); rows.delete(id); }
    ordered(here.people, followed, user()?.id).forEach(([id, username], at) => {
      const line = row(id, username);
      if (list.children[at] !== line) list.insertBefore(line, list.children[at] ?? null);
    });
    list.hidden = !rows.size;
  }

  /** Of those who are online: whoever hides that is not named here either. Who comes may be one of them. */
  function lookWhoIsFollowed() {
    if (Date.now() - asked < AGAIN) return;
    asked = Date.now();
    api('GET', '/follows/online').then(({ items }) => { items.forEach(({ id }) => followed.add(id)); paint(); }).catch(() => {});
  }

  const watch = {
    members({ count, people, joined = [], left = [], sampled = false }) {
      if (people) here.people = new Map(people.map(({ id, username }) => [id, username]));
      for (const id of left) here.people.delete(id);
      for (const { id, username } of joined) here.people.set(id, username);
      Object.assign(here, { count, sampled });
      known = true;
      paint();
      if (people || joined.length) lookWhoIsFollowed();
    },
    closed(text) {
      known = false;
      rows.clear();
      list.replaceChildren();
      list.hidden = true;
      setText(summary, text);
    },
  };
  const closed = dialog('Who is here', () => [summary, list]);
  socket.watch(channel, watch);
  return closed.then(() => socket.unwatch(channel, watch));
}
