// How the chat is restricted, in words for everybody.
import { h } from './dom.js';

export const spell = (seconds) => (seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);
export const minutes = (number) => (number < 120 ? `${number} min` : number < 2880 ? `${Math.round(number / 60)} h` : `${Math.round(number / 1440)} days`);

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

/** "at 18:40", or with the day when it is another one. */
export function until(moment) {
  const then = new Date(moment);
  const near = then - Date.now() < 20 * 3600_000;
  return near ? `at ${then.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })}` : `on ${then.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })}`;
}
