// The lists of a channel's chats: who moderates, which words are filtered, emotes, who may not write. In dialogs beside
// the chat, and in the studio. They hold for all chats of one owner; the path is that of any of them.
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { field, selectField } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { action, loaded } from './section.js';

const ACTIONS = [['refuse', 'Refuse the message'], ['mask', 'Put stars in its place'], ['shadow', 'Show it to its author alone']];
const KINDS = { ban: 'Banned', timeout: 'Timed out', shadow: 'Shadow-banned' };
const inWords = (value, pairs) => pairs.find(([key]) => key === value)?.[1] ?? value;

/** The emoji with single spaces between them, as the server keeps them, however they were typed. */
const apart = (text) => [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment.trim()).filter(Boolean).join(' ');

/** A list that is read, a line for each, and below it the form that adds to it. */
function list(read, { line, none, add }) {
  const body = loaded(read, ({ items, next_cursor: further }) => [
    items.length ? h('ul', { class: 'rows' }, ...items.map((item) => line(item, () => body.load({ quietly: true })))) : h('p', { class: 'muted' }, none),
    further && h('p', { class: 'muted' }, 'The latest hundred are shown.'),
  ]);
  return h('div', { class: 'stack' }, body.place, add?.(() => body.load({ quietly: true })));
}

function line(words, small, button) {
  return h('li', {}, h('div', { class: 'row-line' },
    h('div', { class: 'row-text' }, h('strong', {}, ...[words].flat()), small && h('small', { class: 'muted' }, small)), button?.button), button?.trouble);
}

export function moderatorsList(path) {
  return list(() => api('GET', `${path}/moderators`), {
    none: 'Nobody besides you.',
    line: ({ user, at }, again) => line(h('bdi', {}, user.username), `Since ${day(at)}`, action('Dismiss', async () => {
      if (!await confirm(`Dismiss ${user.username}?`, 'From this moment on your chats are not moderated by this person.', 'Dismiss')) return;
      await api('DELETE', `${path}/moderators/${user.id}`);
      again();
    }, { kind: 'danger', label: `Dismiss ${user.username}` })),
    add: (again) => {
      const name = field('username', 'Let somebody moderate', { autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false', maxlength: 40 }, 'The username. Moderators delete, pin, time out, ban, filter words and change the mode, in all your chats.');
      return form({
        fields: { username: name }, label: 'Add a moderator', submit: 'Add', kind: '',
        check: () => [['username', name.value.trim() ? '' : 'Whom? Give a username.']],
        at: { not_found: ['username', 'Nobody here is called that.'], unknown_user: ['username', 'Nobody here is called that.'] },
        send: async () => {
          const found = await api('GET', `/users/${encodeURIComponent(name.value.trim().replace(/^@/, ''))}`);
          await api('PUT', `${path}/moderators/${found.id}`);
        },
        done: () => { name.value = ''; again(); },
      }).element;
    },
  });
}

export function filtersList(path) {
  return list(() => api('GET', `${path}/filters`), {
    none: 'No words are filtered.',
    line: ({ id, pattern, action: what }, again) => line(h('bdi', {}, pattern), inWords(what, ACTIONS), action('Remove', async () => {
      await api('DELETE', `${path}/filters/${id}`);
      again();
    }, { label: `Remove the filter ${pattern}` })),
    add: (again) => {
      const pattern = field('pattern', 'Word, or words that follow each other', { maxlength: 60, autocomplete: 'off', autocapitalize: 'none' }, 'A * at its beginning or end stands for any letters: spoiler*');
      const what = selectField('action', 'What happens', ACTIONS);
      return form({
        fields: { pattern, action: what }, label: 'Filter a word', submit: 'Add', kind: '', at: { bad_pattern: 'pattern' },
        check: () => [['pattern', pattern.value.trim() ? '' : 'Which word?']],
        send: () => api('POST', `${path}/filters`, { pattern: pattern.value.trim(), action: what.value }),
        done: () => { pattern.value = ''; again(); },
      }).element;
    },
  });
}

export function emotesList(path) {
  return list(() => api('GET', `${path}/emotes`), {
    none: 'Your channel has no emotes of its own yet.',
    line: ({ name, art }, again) => line([h('span', { class: 'emote' }, art), ` :${name}:`], '', action('Remove', async () => {
      await api('DELETE', `${path}/emotes/${name}`);
      again();
    }, { label: `Remove the emote ${name}` })),
    add: (again) => {
      const name = field('name', 'Name', { maxlength: 32, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' }, 'Small letters, digits and _. People write :name:');
      const art = field('art', 'Emoji that stand for it', { maxlength: 32, autocomplete: 'off' });
      return form({
        fields: { name, art }, label: 'Make an emote', submit: 'Add', kind: '', at: { bad_emote: 'art' },
        check: () => [['name', /^[a-z0-9_]{2,32}$/.test(name.value.trim()) ? '' : 'Two to 32 of a–z, 0–9 and _.'], ['art', art.value.trim() ? '' : 'One emoji, or a few.']],
        send: () => api('PUT', `${path}/emotes/${encodeURIComponent(name.value.trim())}`, { art: apart(art.value) }),
        done: () => { name.value = art.value = ''; again(); },
      }).element;
    },
  });
}

export function bansList(path) {
  return list(() => api('GET', `${path}/bans?limit=100`), {
    none: 'Everybody may write.',
    line: ({ user, kind, until, reason, at }, again) => line(h('bdi', {}, user.username),
      [KINDS[kind] ?? kind, until ? `until ${day(until)}` : `since ${day(at)}`, reason && `“${reason}”`].filter(Boolean).join(' · '),
      action('Lift', async () => {
        await api('DELETE', `${path}/bans/${user.id}`);
        toast(`${user.username} may write again.`);
        again();
      }, { label: `Lift what holds for ${user.username}` })),
  });
}
