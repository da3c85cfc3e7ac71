// The studio: sign in, prepare a broadcast, see how it goes, keep or delete what was.
import './header.js';
import { signInForm } from './signin.js';
import { api } from './api.js';
import { $, h } from './dom.js';
import { onChange, user } from './session.js';
import { FromBrowser } from './studio-browser.js';
import { ChatRules } from './studio-chat.js';
import { Live } from './studio-live.js';
import { Past } from './studio-past.js';
import { Setup } from './studio-setup.js';
import { Targets } from './studio-targets.js';

const EVERY = 4000;
const main = $('main');
let setup = null;
let browser = null;
let live = null;
let past = null;
let rules = null;
let targets = null;
let timer = 0;
let current = null;

function signedOut() {
  stop();
  const wanted = new URLSearchParams(location.search).get('mode') === 'login' ? 'login' : 'register';
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(h('div', { class: 'welcome' },
    h('div', { class: 'welcome-text' },
      h('h1', {}, 'Go live in two minutes'),
      h('ol', { class: 'steps' },
        h('li', {}, h('strong', {}, 'Make an account.'), ' It holds your stream key.'),
        h('li', {}, h('strong', {}, 'Use the camera of this device'), ', or paste address and key into your encoder: OBS, ffmpeg, a phone app.'),
        h('li', {}, h('strong', {}, 'Go live.'), ' Your page is on air about a second later, and the chat beside it.'))),
    h('div', { class: 'panel' }, signInForm({ mode: wanted }))));
}

function signedIn() {
  stop();
  setup = new Setup({ changed: refresh });
  browser = new FromBrowser({ prepare: () => setup.ready(), changed: refresh });
  live = new Live({ changed: refresh, ended: () => browser.ended() });
  past = new Past();
  rules = new ChatRules();
  targets = new Targets();
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(h('div', { class: 'studio-grid' },
    live.element, h('div', { class: 'stack studio-side' }, browser.element, setup.element, targets.element, rules.element), past.element));
  refresh();
}

/** Look which broadcast is on, and hand it to the panels. */
async function refresh() {
  clearTimeout(timer);
  if (!setup) return;
  try {
    const page = await api('GET', '/live/mine?limit=20');
    if (!setup) return;
    const open = page.items.filter((item) => item.state !== 'ended');
    const chosen = open.find((item) => item.state === 'live') ?? open.find((item) => item.state === 'interrupted') ?? open[0] ?? null;
    const before = current;
    if (chosen?.id !== current?.id) current = chosen && await api('GET', `/live/${chosen.id}`);
    if (!setup) return;
    if (before && !chosen) browser.ended();
    setup.show(current);
    targets.show(chosen);
    live.show(current, { known: past.rows.size > 0 || page.items.length > 0 });
    past.show(page);
    rules.show((chosen ?? page.items[0])?.id);
    main.querySelector('.studio-trouble')?.remove();
  } catch (error) {
    if (error.status === 401 || !setup) return;
    if (!main.querySelector('.studio-trouble')) {
      main.prepend(h('p', { class: 'notice bad studio-trouble', role: 'alert' }, error.message));
    }
  }
  timer = setTimeout(refresh, EVERY);
}

function stop() {
  clearTimeout(timer);
  live?.close();
  browser?.close();
  setup = browser = live = past = rules = targets = current = null;
}

const enter = () => (user() ? signedIn() : signedOut());
onChange(enter);
enter();
