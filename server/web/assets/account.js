// The account page: its sections, one at a time, read when they are first opened and kept while the page is there.
import './header.js';
import { $, h } from './dom.js';
import { onChange, user } from './session.js';
import { signInForm } from './signin.js';

const SECTIONS = [
  ['profile', 'Profile', () => import('./account-profile.js')],
  ['preferences', 'Preferences', () => import('./account-preferences.js')],
  ['privacy', 'Privacy', () => import('./account-privacy.js')],
  ['security', 'Security', () => import('./account-security.js')],
  ['sessions', 'Sessions and log', () => import('./account-sessions.js')],
  ['keys', 'API keys', () => import('./account-keys.js')],
  ['data', 'Your data', () => import('./account-data.js')],
];
const main = $('main');
let shownFor; // id of the account that the page shows
let opened = new Map();
let farewell = null;

/** The last word after leaving, in place of the form that signs in. */
export function sayGoodbye(...children) { farewell = children; }

function paint() {
  const me = user();
  if (shownFor === (me?.id ?? null)) return;
  shownFor = me?.id ?? null;
  opened = new Map();
  main.setAttribute('aria-busy', 'false');
  if (!me) {
    const words = farewell ?? [signInForm({ mode: 'login' })];
    farewell = null;
    main.replaceChildren(h('div', { class: 'panel alone' }, ...words));
    document.title = 'Account – Social Flow';
    return;
  }
  const links = SECTIONS.map(([key, name]) => h('a', { href: `#${key}`, dataset: { section: key } }, name));
  main.replaceChildren(
    h('div', { class: 'account-grid' },
      h('nav', { class: 'sections', 'aria-label': 'Account' }, h('h1', {}, 'Account'), h('div', { class: 'section-links' }, ...links)),
      h('div', { id: 'section', class: 'section' })));
  show();
}

async function show() {
  const place = $('section');
  if (!place) return;
  const [key, name, load] = SECTIONS.find(([one]) => one === location.hash.slice(1)) ?? SECTIONS[0];
  document.title = `${name} – Social Flow`;
  for (const link of document.querySelectorAll('.section-links a')) {
    if (link.dataset.section === key) {
      link.setAttribute('aria-current', 'page');
      const row = link.parentElement; // a row that scrolls on a phone; the page itself must not move
      row.scrollTo({ left: link.offsetLeft - row.offsetLeft - row.clientWidth / 3 });
    } else link.removeAttribute('aria-current');
  }
  if (!opened.has(key)) {
    const made = h('div', { class: 'stack-wide', dataset: { part: key } });
    opened.set(key, made);
    place.append(made);
    try {
      const { default: build } = await load();
      made.append(...build());
    } catch {
      opened.delete(key);
      made.replaceChildren(h('p', { class: 'notice bad', role: 'alert' }, 'This part did not load. Check your connection and load the page again.'));
    }
  }
  for (const [other, element] of opened) element.hidden = other !== key;
}

addEventListener('hashchange', () => { show(); scrollTo(0, 0); });
onChange(paint);
paint();
