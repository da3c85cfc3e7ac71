// For who administers: what an account may do, and the security log of all accounts.
import './header.js';
import { describe, details } from './account-log.js';
import { api } from './api.js';
import { $, h } from './dom.js';
import { checkField, field, selectField } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { action, loaded, panel } from './section.js';
import { onChange, user } from './session.js';
import { signInForm } from './signin.js';

const main = $('main');
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
let shownFor;

function paint() {
  const me = user();
  if (shownFor === (me?.id ?? null)) return;
  shownFor = me?.id ?? null;
  main.setAttribute('aria-busy', 'false');
  if (!me) { main.replaceChildren(h('div', { class: 'panel alone' }, signInForm())); return; }
  const log = new Log();
  const found = h('div', { class: 'stack-wide' });
  main.replaceChildren(h('div', { class: 'stack-wide' }, h('h1', {}, 'Administration'),
    lookUp((office, choices) => { found.replaceChildren(officePanel(office, choices)); log.of(office); }), found, log.element));
}

function lookUp(done) {
  const name = field('account', 'Username or id', { required: true, maxlength: 100, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
  const sent = form({
    label: 'Find an account', fields: { account: name }, submit: 'Find', kind: '',
    check: () => [['account', name.value.trim() ? '' : 'Fill this in.']],
    at: { no_such_person: ['account', 'Nobody has this username, or the account is closed: try its id.'], no_such_account: 'account' },
    send: async () => {
      const typed = name.value.trim();
      const id = UUID.test(typed) ? typed : (await api('GET', `/users/${encodeURIComponent(typed)}`)).id;
      const [office, choices] = await Promise.all([api('GET', `/admin/users/${id}/roles`), offered()]);
      return { office, choices };
    },
    done: ({ office, choices }) => done(office, choices),
  });
  return panel('Find an account', '', sent.element);
}

/** The roles and tiers that there are, as the API describes them. */
async function offered() {
  const { components: { schemas } } = await (await fetch('/openapi.json')).json();
  return { roles: schemas.RolesBody.properties.roles.items.enum, tiers: schemas.TierBody.properties.tier.enum };
}

function officePanel(office, { roles, tiers }) {
  const boxes = Object.fromEntries(roles.map((role) => [role, checkField(role, role)]));
  const tier = selectField('tier', 'Tier of rate limits', tiers.map((one) => [one, one]));
  const may = h('p', { class: 'chips' });
  const fill = (fresh) => {
    for (const role of roles) boxes[role].value = fresh.roles.includes(role);
    tier.value = fresh.tier;
    may.replaceChildren(...(fresh.permissions.length ? fresh.permissions.map((one) => h('code', { class: 'badge' }, one)) : ['No permissions beyond those of everybody.']));
  };
  const given = form({
    label: 'Roles', fields: {}, submit: 'Give these roles', said: 'They hold.', kind: '', rows: [h('fieldset', { class: 'plain' }, h('legend', {}, 'Roles'), h('div', { class: 'options' }, ...Object.values(boxes).map((one) => one.row))), may],
    send: () => api('PUT', `/admin/users/${office.id}/roles`, { roles: roles.filter((role) => boxes[role].value) }), done: fill,
  });
  const put = form({
    label: 'Tier', fields: { tier }, submit: 'Set the tier', said: 'It holds.', kind: '',
    send: () => api('PUT', `/admin/users/${office.id}/tier`, { tier: tier.value }),
    done: (fresh) => { tier.value = fresh.tier; }, // roles that are being chosen stay as they are
  });
  fill(office);
  return panel(office.username, office.id, given.element, put.element);
}

/** The log of one account or of all. */
class Log {
  constructor() {
    this.who = null;
    this.title = h('p', { class: 'muted', role: 'status' }, 'Of all accounts.');
    const all = h('button', { class: 'button small', type: 'button', onclick: () => this.of(null) }, 'Of all accounts');
    this.event = field('event', 'Event', { autocomplete: 'off', spellcheck: 'false', placeholder: 'roles.changed' }, 'Only lines of this event; empty: all.');
    const narrow = form({ label: 'Narrow the log', fields: { event: this.event }, submit: 'Show', kind: '', send: () => this.#read(''), done: () => this.body.load({ quietly: true }), foot: [all] });
    this.body = loaded(() => this.#read(''), (page) => this.#paint(page));
    this.element = panel('Security log', '', this.title, narrow.element, this.body.place);
  }

  of(office) {
    this.who = office;
    this.title.textContent = office ? `Of ${office.username}.` : 'Of all accounts.';
    this.body.load({ quietly: true });
  }

  #read(cursor) {
    const query = new URLSearchParams({ limit: '30' });
    if (this.who) query.set('user', this.who.id);
    if (this.event.value.trim()) query.set('event', this.event.value.trim());
    if (cursor) query.set('cursor', cursor);
    return api('GET', `/admin/audit?${query}`);
  }

  #paint(first) {
    const list = h('ul', { class: 'rows log' });
    let cursor;
    const add = (page) => {
      list.append(...page.items.map(line));
      cursor = page.next_cursor;
      more.button.hidden = !cursor;
    };
    const more = action('Show more', async () => add(await this.#read(cursor)));
    add(first);
    return [list.children.length ? list : h('p', { class: 'muted' }, 'There is nothing.'), h('div', { class: 'row' }, more.button), more.trouble];
  }
}

function line(one) {
  const about = [`account ${one.user_id}`, one.actor_id && `by ${one.actor_id}`, one.address, details(one.details)].filter(Boolean).join(' · ');
  return h('li', {}, h('div', { class: 'log-line' }, h('time', { datetime: one.at, class: 'muted' }, day(one.at)),
    h('div', { class: 'row-text' }, h('strong', { title: one.event }, describe(one.event)), h('small', { class: 'muted', title: one.user_agent }, about))));
}

onChange(paint);
paint();
