// Profile: what others see. Picture, name, words, links; and the username.
import { avatarPanel } from './account-avatar.js';
import { h, setText } from './dom.js';
import { field } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { Edited, loaded, panel } from './section.js';
import { know } from './session.js';

const MOST_LINKS = 8;

export default function build() {
  const me = new Edited('/users/me');
  const { place } = loaded(() => me.read(), (data) => {
    know({ username: data.username, picture: data.avatar?.small ?? null });
    return [avatarPanel(data, () => me.passed().catch(() => {})), wordsPanel(me), namePanel(me)];
  });
  place.className = 'stack-wide';
  return [place];
}

function wordsPanel(me) {
  const fields = {
    display_name: field('display_name', 'Display name', { maxlength: 50, autocomplete: 'name' }, 'Shown beside your username. Empty: the username alone.'),
    bio: field('bio', 'About you', { maxlength: 500, rows: 4 }, '', 'textarea'),
    website: field('website', 'Website', { type: 'url', maxlength: 500, autocomplete: 'url', placeholder: 'https://…', inputmode: 'url' }),
    location: field('location', 'Place', { maxlength: 100, autocomplete: 'off' }),
  };
  const left = () => setText(fields.bio.hint, `${500 - [...fields.bio.value].length} characters left`);
  fields.bio.input.addEventListener('input', left);
  const links = new Links();
  const fill = (data) => {
    for (const [name, one] of Object.entries(fields)) { one.value = data[name]; one.say(''); }
    links.fill(data.links);
    left();
  };
  const body = () => ({
    ...Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value.trim()])), links: links.values(),
  });
  const made = form({
    label: 'Profile', fields: { ...fields, links }, rows: [...Object.values(fields).map((one) => one.row), links.row], said: 'Saved.',
    check: () => [['website', web(fields.website.value)], ['links', links.wrong()]],
    send: () => me.write('PATCH', body()),
    conflict: { again: () => me.over('PATCH', body()), reload: async () => fill(await me.read()) },
    done: fill,
  });
  fill(me.data);
  return panel('Profile', 'What others see of you, as far as your privacy settings let them.', made.element);
}

const web = (text) => (text.trim() && !/^https?:\/\/\S+$/i.test(text.trim()) ? 'An address begins with https:// or http://.' : '');

/** A list of links with names; one field to the form. */
class Links {
  constructor() {
    this.list = h('div', { class: 'stack-small' });
    this.note = h('span', { class: 'wrong', id: 'links-wrong' });
    this.more = h('button', { class: 'button small', type: 'button', onclick: () => { this.#add({ label: '', url: '' }); this.list.lastChild.querySelector('input').focus(); } }, 'Add a link');
    this.row = h('fieldset', { class: 'plain', 'aria-describedby': 'links-wrong' }, h('legend', {}, 'Links'), this.list, h('div', {}, this.more), this.note);
    this.input = { focus: () => (this.list.querySelector('input') ?? this.more).focus() };
  }

  fill(items) {
    this.list.replaceChildren();
    for (const item of items) this.#add(item);
    this.#count();
  }

  #add({ label, url }) {
    const name = h('input', { value: label, maxlength: 40, 'aria-label': 'Name of the link', placeholder: 'Name', name: 'link-name' });
    const address = h('input', { value: url, maxlength: 500, type: 'url', 'aria-label': 'Address of the link', placeholder: 'https://…', name: 'link-address', inputmode: 'url' });
    const row = h('div', { class: 'link-row field' }, name, address,
      h('button', { class: 'button small', type: 'button', 'aria-label': 'Remove this link', onclick: () => { row.remove(); this.#count(); this.more.focus(); } }, 'Remove'));
    this.list.append(row);
    this.#count();
  }

  #count() { this.more.hidden = this.list.children.length >= MOST_LINKS; }

  values() {
    return [...this.list.children].map((row) => [...row.querySelectorAll('input')].map((input) => input.value.trim()))
      .filter(([label, url]) => label || url).map(([label, url]) => ({ label, url }));
  }

  wrong() {
    for (const { label, url } of this.values()) {
      if (!label || !url) return 'Each link needs a name and an address.';
      if (web(url)) return `${label}: ${web(url)}`;
    }
    return '';
  }

  say(text) { setText(this.note, text); }
}

function namePanel(me) {
  const name = field('username', 'Username', {
    required: true, minlength: 3, maxlength: 30, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false',
  });
  const fill = (data) => {
    name.value = data.username;
    const from = data.username_change_from;
    setText(name.hint, from ? `You changed it not long ago. From ${day(from)} on you can change it again; capitals at any time.`
      : 'Letters, digits, . _ and -. After a change you wait a while until the next; the old name stays kept for you.');
  };
  const body = () => ({ username: name.value.trim() });
  const path = '/users/me/username';
  const made = form({
    label: 'Username', fields: { username: name }, submit: 'Change username', said: 'Changed.', kind: '',
    check: () => [['username', !/^[A-Za-z0-9_.-]{3,30}$/.test(name.value.trim()) ? '3 to 30 letters, digits, . _ or -, please.' : name.value.trim() === me.data.username ? 'This is your username already.' : '']],
    at: { username_taken: ['username', 'This username is taken; choose another.'], username_changed_lately: 'username' },
    send: () => me.write('PUT', body(), path),
    conflict: { again: () => me.over('PUT', body(), path), reload: async () => fill(await me.read()) },
    done: (data) => { fill(data); know({ username: data.username }); },
  });
  fill(me.data);
  return panel('Username', 'Your address here, and what you sign in with.', made.element);
}

