// Your videos: uploads that go on after a break, what becomes of each, and what can be changed.
import './header.js';
import { signInForm } from './signin.js';
import { api } from './api.js';
import { $, h, setText } from './dom.js';
import { Row } from './library-row.js';
import { Uploads } from './library-upload.js';
import { onChange, user } from './session.js';

const EVERY = 3000;
const RESTING = 15_000;
const main = $('main');
const MOVING = new Set(['uploading', 'processing', 'playable']);
let rows = new Map();
let list = null;
let uploads = null;
let nothing = null;
let more = null;
let cursor;
let timer = 0;
let trouble = null;

function signedOut() {
  stop();
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(h('div', { class: 'welcome' },
    h('div', { class: 'welcome-text' }, h('h1', {}, 'Your videos'),
      h('p', { class: 'muted' }, 'Sign in to upload videos and see what became of them.')),
    h('div', { class: 'panel' }, signInForm({ mode: 'login' }))));
}

function signedIn() {
  stop();
  rows = new Map();
  cursor = undefined;
  list = h('ul', { class: 'library-list' });
  nothing = h('p', { class: 'muted', hidden: true }, 'Nothing yet. Drop a file above.');
  more = h('button', { class: 'button', type: 'button', hidden: true, onclick: () => readMore() }, 'Show more');
  trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  uploads = new Uploads({ changed: refresh });
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(
    h('div', { class: 'row between' }, h('h1', {}, 'Your videos'), h('a', { class: 'button', href: '/studio' }, 'Go live')),
    uploads.element, trouble,
    h('section', { class: 'panel stack', 'aria-label': 'Videos' }, nothing, list, h('div', {}, more)));
  refresh().then(() => open(location.hash.slice(1)));
}

async function refresh() {
  clearTimeout(timer);
  if (!list) return;
  try {
    const page = await api('GET', '/videos/mine?limit=20');
    if (!list) return;
    cursor ??= page.next_cursor;
    for (const item of [...page.items].reverse()) if (!rows.has(item.id)) list.prepend(row(item));
    for (const item of page.items) rows.get(item.id)?.update(item);
    nothing.hidden = rows.size > 0;
    more.hidden = !cursor;
    trouble.hidden = true;
    timer = setTimeout(refresh, page.items.some((item) => MOVING.has(item.state)) ? EVERY : RESTING);
  } catch (error) {
    if (error.status === 401 || !list) return;
    setText(trouble, error.message);
    trouble.hidden = false;
    timer = setTimeout(refresh, RESTING);
  }
}

async function readMore() {
  more.disabled = true;
  try {
    const page = await api('GET', `/videos/mine?limit=20&cursor=${encodeURIComponent(cursor)}`);
    cursor = page.next_cursor;
    for (const item of page.items) if (!rows.has(item.id)) list.append(row(item));
    more.hidden = !cursor;
  } catch (error) {
    setText(trouble, error.message);
    trouble.hidden = false;
  } finally { more.disabled = false; }
}

function row(item) {
  const made = new Row(item, {
    changed: refresh,
    gone: () => { made.element.remove(); rows.delete(item.id); nothing.hidden = rows.size > 0; },
  });
  rows.set(item.id, made);
  return made.element;
}

async function open(id) {
  if (!id) return;
  if (!rows.has(id)) {
    const item = await api('GET', `/videos/${encodeURIComponent(id)}`).catch(() => null);
    if (!item || item.owner?.id !== user()?.id) return;
    list.append(row(item));
  }
  rows.get(id).edit();
}

function stop() {
  clearTimeout(timer);
  uploads?.close();
  list = uploads = null;
}

const enter = () => (user() ? signedIn() : signedOut());
onChange(enter);
addEventListener('hashchange', () => open(location.hash.slice(1)));
enter();
