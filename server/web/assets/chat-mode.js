// How the chat is restricted, in words for everybody, and the dialog in which its staff changes that.
import { api } from './api.js';
import { h } from './dom.js';
import { checkField, selectField } from './field.js';
import { form } from './form.js';
import { dialog } from './chat-menu.js';

const spell = (seconds) => (seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);
const minutes = (number) => (number < 120 ? `${number} min` : number < 2880 ? `${Math.round(number / 60)} h` : `${Math.round(number / 1440)} days`);

/** [[name, what it means, how much], …] of what holds. */
export function modeInWords(mode) {
  return [
    mode.slow > 0 && ['Slow mode', `one message each ${spell(mode.slow)}`, spell(mode.slow)],
    mode.followers !== null && ['Followers only', mode.followers > 0 ? `who has followed for ${minutes(mode.followers)} may write` : 'who follows the channel may write', mode.followers > 0 && minutes(mode.followers)],
    mode.subscribers && ['Subscribers only', 'who subscribes to the channel may write'],
    mode.emotes && ['Emotes only', 'nothing but emotes and emoji'],
    mode.unique && ['No repeats', 'nothing that was said a short while ago'],
    mode.delay > 0 && ['Delay', `messages appear after ${spell(mode.delay)}`, spell(mode.delay)],
  ].filter(Boolean);
}

/** The line above the input; a phone has room for the names alone. */
export function modeLine(mode, staff) {
  const all = modeInWords(mode);
  if (!all.length) return [];
  return [
    ...all.map(([name, sentence, amount]) => h('span', { class: 'mode', title: sentence }, h('strong', {}, name),
      h('span', { class: 'mode-long' }, `: ${sentence}`), amount && h('span', { class: 'mode-short', 'aria-hidden': 'true' }, `: ${amount}`))),
    staff && h('span', { class: 'mode muted' }, 'not for you'),
  ].filter(Boolean);
}

const SLOW = [0, 3, 5, 10, 30, 60, 120, 300, 900];
const FOLLOWERS = ['', 0, 10, 60, 1440, 10_080, 43_200];
const DELAY = [0, 2, 5, 10, 20, 30];

/** values with the one that holds among them, so that opening and saving changes nothing. */
const withOne = (values, one) => (values.includes(one) ? values : [...values, one].sort((a, b) => a - b));

export function modeDialog(room) {
  const { mode } = room;
  return dialog('How this chat works', (close) => {
    const fields = {
      slow: selectField('slow', 'Slow mode', withOne(SLOW, mode.slow).map((one) => [one, one ? `One message each ${spell(one)}` : 'Off'])),
      followers: selectField('followers', 'Followers only', withOne(FOLLOWERS, mode.followers ?? '').map((one) => [one, one === '' ? 'Off' : one ? `Who has followed for ${minutes(one)}` : 'All followers'])),
      delay: selectField('delay', 'Delay', withOne(DELAY, mode.delay).map((one) => [one, one ? `Others see messages after ${spell(one)}` : 'Off']), 'Time for moderators to delete before anybody sees it.'),
      subscribers: checkField('subscribers', 'Subscribers only'),
      emotes: checkField('emotes', 'Emotes only', 'Nothing but emotes and emoji.'),
      unique: checkField('unique', 'No repeats', 'Nothing that was said in the last minutes.'),
    };
    fields.slow.value = mode.slow;
    fields.followers.value = mode.followers ?? '';
    fields.delay.value = mode.delay;
    for (const one of ['subscribers', 'emotes', 'unique']) fields[one].value = mode[one];
    const made = form({
      fields, label: 'Modes', submit: 'Apply',
      send: () => api('PATCH', `${room.path}/mode`, {
        slow: Number(fields.slow.value), followers: fields.followers.value === '' ? null : Number(fields.followers.value), delay: Number(fields.delay.value),
        subscribers: fields.subscribers.value, emotes: fields.emotes.value, unique: fields.unique.value,
      }),
      done: close,
    });
    return [h('p', { class: 'muted' }, 'Those who moderate are exempt from all of it.'), made.element];
  });
}

/** "at 18:40", or with the day when it is another one. */
export function until(moment) {
  const then = new Date(moment);
  const near = then - Date.now() < 20 * 3600_000;
  return near ? `at ${then.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })}` : `on ${then.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })}`;
}
