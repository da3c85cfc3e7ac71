// API keys: made with scopes and an end, shown once, deleted.
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { checkField, field, selectField } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { action, copyLine, loaded, panel } from './section.js';

/** A call with which a fresh key can be tried, by the scope that it needs. */
const TRIALS = { 'profile:read': '/users/me', 'live:read': '/live/mine' };
const LIVES = [['30', '30 days'], ['90', '90 days'], ['365', 'A year'], ['', 'Never'], ['date', 'On a day…']];

export default function build() {
  const fresh = h('div', { hidden: true });
  const body = loaded(() => api('GET', '/keys'), ({ items, available }) => [
    panel('API keys', 'With a key, a program of yours calls the API as you, for what the key allows. Give each program its own.',
      items.length ? h('ul', { class: 'rows' }, ...items.map((key) => row(key, again))) : h('p', { class: 'muted' }, 'You have none.'),
      h('p', { class: 'hint' }, 'What there is to call: ', h('a', { href: '/docs' }, 'the API page'), '.')),
    makePanel(available, (made) => { show(made); again(); }),
  ]);
  const again = () => body.load({ quietly: true });
  const show = ({ key, secret }) => {
    const opened = Object.keys(TRIALS).find((scope) => key.scopes.includes(scope));
    const done = h('button', { class: 'button small primary', type: 'button', onclick: () => { fresh.hidden = true; fresh.replaceChildren(); } }, 'I have kept it');
    fresh.replaceChildren(h('section', { class: 'panel stack recovery', 'aria-labelledby': 'fresh-key' },
      h('h2', { id: 'fresh-key', tabindex: '-1' }, `Your key “${key.name}”`),
      h('p', {}, 'Copy it now: it is shown this once and kept nowhere. Whoever has it can do what it allows.'),
      copyLine('Key', secret),
      opened && copyLine('Try it', `curl -H 'Authorization: Bearer ${secret}' ${location.origin}/api/v1${TRIALS[opened]}`), h('div', {}, done)));
    fresh.hidden = false;
    fresh.querySelector('h2').focus();
    fresh.scrollIntoView({ block: 'center' });
  };
  body.place.className = 'stack-wide';
  return [fresh, body.place];
}

function row(key, again) {
  const over = key.expires_at && Date.parse(key.expires_at) < Date.now();
  const remove = action('Delete', async () => {
    if (!await confirm(`Delete ${key.name}?`, 'Programs that use this key are refused within two seconds.', 'Delete it')) return;
    await api('DELETE', `/keys/${key.id}`);
    toast('The key is deleted.');
    again();
  }, { kind: 'danger', label: `Delete ${key.name}` });
  const end = over ? `expired ${day(key.expires_at)}` : key.expires_at ? `until ${day(key.expires_at)}` : 'never expires';
  return h('li', {}, h('div', { class: 'row-line' },
    h('div', { class: 'row-text' },
      h('span', { class: 'row' }, h('strong', { class: 'long' }, key.name), h('code', { class: 'mono muted' }, `sfk_${key.prefix}…`), over && h('span', { class: 'badge interrupted' }, 'Expired')),
      h('small', { class: 'muted' }, `Made ${day(key.created_at)}, ${end}, ${key.last_used_at ? `last used ${day(key.last_used_at)}` : 'not used yet'}`),
      h('span', { class: 'chips' }, ...key.scopes.map((scope) => h('code', { class: 'badge' }, scope)))),
    remove.button), remove.trouble);
}

function makePanel(available, made) {
  const name = field('name', 'Name', { required: true, maxlength: 60, autocomplete: 'off', placeholder: 'overlay on my stream' });
  const life = selectField('life', 'It ends', LIVES);
  life.value = '90';
  const date = field('expires_at', 'Last day', { type: 'date', min: new Date(Date.now() + 86_400_000).toISOString().slice(0, 10) });
  date.row.hidden = true;
  life.input.addEventListener('change', () => { date.row.hidden = life.value !== 'date'; });
  const boxes = new Map(available.map((scope) => [scope, checkField(scope, scope.endsWith(':read') ? 'Read' : 'Change')]));
  const tags = [...new Set(available.map((scope) => scope.split(':')[0]))];
  const wrong = h('span', { class: 'wrong', id: 'scopes-wrong' });
  const scopes = {
    row: h('fieldset', { class: 'plain', 'aria-describedby': 'scopes-wrong' }, h('legend', {}, 'What it may do'),
      h('div', { class: 'scopes' }, ...tags.map((tag) => h('div', { class: 'scope', role: 'group', 'aria-label': tag }, h('strong', {}, tag[0].toUpperCase() + tag.slice(1)),
        ...['read', 'write'].map((what) => boxes.get(`${tag}:${what}`)?.row)))), wrong),
    input: { focus: () => boxes.values().next().value?.input.focus() },
    say: (text) => { wrong.textContent = text; },
  };
  const chosen = () => [...boxes].filter(([, box]) => box.value).map(([scope]) => scope);
  const expires = () => {
    if (life.value === '') return null;
    if (life.value === 'date') return new Date(`${date.value}T23:59:59`).toISOString();
    return new Date(Date.now() + Number(life.value) * 86_400_000).toISOString();
  };
  const sent = form({
    label: 'Make a key', fields: { name, scopes, life, expires_at: date }, submit: 'Make the key',
    rows: [name.row, scopes.row, h('div', { class: 'columns' }, life.row, date.row)],
    check: () => [
      ['name', name.value.trim() ? '' : 'Fill this in.'], ['scopes', chosen().length ? '' : 'Choose one at least.'],
      ['expires_at', life.value === 'date' && !(Date.parse(`${date.value}T23:59:59`) > Date.now()) ? 'Choose a day that is to come.' : ''],
    ],
    send: () => api('POST', '/keys', { name: name.value.trim(), scopes: chosen(), expires_at: expires() }),
    done: (key) => { name.value = ''; made(key); },
  });
  return panel('Make a key', '', sent.element);
}
