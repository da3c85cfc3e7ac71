// The header of every page: theme, account, where we are.
import { openSignIn } from './signin.js';
import { $, h } from './dom.js';
import { setIcon } from './icons.js';
import { hue } from './format.js';
import { leave, onChange, user } from './session.js';

const root = document.documentElement;
const dark = matchMedia('(prefers-color-scheme: dark)');
const theme = () => root.dataset.theme ?? (dark.matches ? 'dark' : 'light');

function paintTheme() {
  const button = $('theme');
  setIcon(button, theme() === 'dark' ? 'sun' : 'moon');
  button.title = theme() === 'dark' ? 'Light' : 'Dark';
}

$('theme').addEventListener('click', () => {
  const next = theme() === 'dark' ? 'light' : 'dark';
  const plain = next === (dark.matches ? 'dark' : 'light');
  if (plain) delete root.dataset.theme; else root.dataset.theme = next;
  try {
    if (plain) localStorage.removeItem('sf.theme'); else localStorage.setItem('sf.theme', next);
  } catch { /* it holds until the page is left */ }
  paintTheme();
});
dark.addEventListener('change', paintTheme);
paintTheme();

function paintAccount() {
  const me = user();
  const place = $('account');
  if (!me) {
    place.replaceChildren(h('button', { class: 'button small', type: 'button', onclick: () => openSignIn() }, 'Sign in'));
    return;
  }
  const face = h('span', { class: 'face', 'aria-hidden': 'true' },
    me.picture ? h('img', { src: me.picture, alt: '', width: 36, height: 36 }) : me.username.slice(0, 1).toUpperCase());
  face.style.setProperty('--hue', hue(me.username));
  const menu = h('div', { class: 'menu account-menu', hidden: true },
    h('p', { class: 'menu-name' }, me.username),
    h('a', { class: 'menu-item', href: '/studio' }, 'Studio'),
    h('a', { class: 'menu-item', href: '/studio/videos' }, 'Your videos'),
    h('a', { class: 'menu-item', href: '/account' }, 'Account'),
    me.roles?.includes('admin') && h('a', { class: 'menu-item', href: '/admin' }, 'Administration'),
    h('button', { class: 'menu-item', type: 'button', onclick: leave }, 'Sign out'));
  const button = h('button', {
    class: 'face-button', type: 'button', 'aria-label': `Account of ${me.username}`, 'aria-expanded': 'false',
  }, face);
  const show = (open) => { menu.hidden = !open; button.setAttribute('aria-expanded', String(open)); };
  button.addEventListener('click', () => show(menu.hidden));
  place.onkeydown = (event) => { if (event.key === 'Escape' && !menu.hidden) { show(false); button.focus(); } };
  place.onfocusout = (event) => { if (event.relatedTarget && !place.contains(event.relatedTarget)) show(false); };
  document.addEventListener('pointerdown', (event) => { if (!place.contains(event.target)) show(false); });
  place.replaceChildren(button, menu);
}

onChange(paintAccount);
paintAccount();
document.querySelector(`[data-nav="${document.body.dataset.page}"]`)?.setAttribute('aria-current', 'page');
