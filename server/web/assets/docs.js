// The API page: every route of /openapi.json, to be read and tried, as the person who is signed in or with a key.
import './header.js';
import { $, h, setText } from './dom.js';
import { operationRow } from './docs-operation.js';
import { field, selectField } from './field.js';
import { onChange, user } from './session.js';
import { openSignIn } from './signin.js';

const main = $('main');
const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options'];

async function open() {
  let description;
  try {
    const answer = await fetch('/openapi.json');
    if (!answer.ok) throw new Error(String(answer.status));
    description = await answer.json();
  } catch {
    main.setAttribute('aria-busy', 'false');
    main.replaceChildren(h('p', { class: 'notice bad', role: 'alert' }, 'The description did not come. Check your connection. '),
      h('p', {}, h('button', { class: 'button', type: 'button', onclick: open }, 'Try again')));
    return;
  }
  paint(description);
}

function paint(description) {
  const caller = callerBar();
  const rows = [];
  const groups = description.tags.map((tag) => {
    const mine = [];
    for (const [path, item] of Object.entries(description.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (operation?.tags?.[0] !== tag.name) continue;
        const row = operationRow({ description, method, path, operation, caller });
        row.words = [method, path, operation.summary, operation.operationId, tag.name, operation.description, ...(operation['x-scopes'] ?? []), operation['x-permission']].join(' ').toLowerCase();
        mine.push(row);
        rows.push(row);
      }
    }
    const id = `tag-${tag.name}`;
    const element = h('section', { class: 'docs-group', 'aria-labelledby': id },
      h('h2', { id }, tag.name[0].toUpperCase() + tag.name.slice(1)), tag.description && h('p', { class: 'muted' }, tag.description), ...mine.map((row) => row.element));
    return { element, mine, link: h('a', { href: `#${id}` }, tag.name[0].toUpperCase() + tag.name.slice(1)) };
  });
  const found = h('p', { class: 'muted', role: 'status' });
  const search = field('search', 'Search the routes', { type: 'search', placeholder: 'path, word or scope', autocomplete: 'off', spellcheck: 'false' });
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { element, mine, link } of groups) {
      let any = false;
      for (const row of mine) {
        const fits = words.every((word) => row.words.includes(word));
        row.element.hidden = !fits;
        any ||= fits;
        count += fits;
      }
      element.hidden = !any;
      link.hidden = !any;
    }
    setText(found, words.length ? `${count} of ${rows.length} routes` : `${rows.length} routes`);
  };
  search.input.addEventListener('input', filter);
  filter();
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(
    h('div', { class: 'docs-head' },
      h('div', { class: 'stack-small' }, h('h1', {}, description.info.title, ' API'),
        h('p', { class: 'muted' }, 'Open a route, change what it is sent, and send it. The same for programs: ', h('a', { href: '/openapi.json' }, 'openapi.json'), ' and, for the socket, ', h('a', { href: '/asyncapi.json' }, 'asyncapi.json'), '.')),
      caller.element),
    h('div', { class: 'docs-search' }, search.row, found, h('nav', { class: 'docs-tags', 'aria-label': 'Groups' }, ...groups.map((one) => one.link))),
    ...groups.map((one) => one.element));
  const go = () => {
    const row = rows.find((one) => one.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) { document.getElementById(location.hash.slice(1))?.scrollIntoView(); return; }
    row.open();
    row.element.scrollIntoView();
  };
  addEventListener('hashchange', go);
  if (location.hash) go();
}

/** Who calls: the person signed in, nobody, or a key that is typed in and kept nowhere. */
function callerBar() {
  const who = selectField('caller', 'Call as', [['me', ''], ['nobody', 'Nobody'], ['key', 'An API key']]);
  const key = field('key', 'Key', { autocomplete: 'off', spellcheck: 'false', placeholder: 'sfk_…', class: 'mono' }, 'Kept until you leave this page.');
  const into = h('button', { class: 'button small', type: 'button', onclick: () => openSignIn() }, 'Sign in');
  const show = () => {
    const me = user();
    setText(who.input.options[0], me ? me.username : 'Me, once signed in');
    into.hidden = Boolean(me) || who.value !== 'me';
    key.row.hidden = who.value !== 'key';
  };
  who.input.addEventListener('change', show);
  onChange(show);
  show();
  return {
    element: h('div', { class: 'docs-caller' }, h('div', { class: 'row docs-who' }, who.row, into), key.row),
    get who() { return who.value; },
    get key() { return key.value.trim(); },
  };
}

open();
