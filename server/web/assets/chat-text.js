// The text of a message as nodes: what people typed stays text, emotes become what they stand for, and names that the
// server took as mentions are marked. Nothing here reads markup.
import { h } from './dom.js';

const PIECES = /:([a-z0-9_]{2,32}):|(?<![\p{L}\p{N}_@])@([\p{L}\p{N}_]{1,40})/gu;

/** emotes: Map name → art. mentions: ids. idOf(name) → id or undefined. me: who reads. */
export function pieces(text, { emotes, mentions = [], idOf = () => undefined, me = null }) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(PIECES)) {
    const [whole, code, name] = found;
    const made = code ? emote(emotes.get(code), whole) : mention(whole, name, { mentions, idOf, me });
    if (!made) continue;
    if (found.index > at) nodes.push(text.slice(at, found.index));
    nodes.push(made);
    at = found.index + whole.length;
  }
  if (at < text.length || !nodes.length) nodes.push(text.slice(at));
  return nodes;
}

function emote(art, code) {
  return art && h('span', { class: 'emote', role: 'img', 'aria-label': code.slice(1, -1).replaceAll('_', ' '), title: code }, art);
}

function mention(text, name, { mentions, idOf, me }) {
  if (!mentions.length) return null;
  const mine = Boolean(me) && mentions.includes(me.id) && name.toLowerCase() === me.username.toLowerCase();
  const id = idOf(name);
  // a name that nobody here has been seen under may still be one of those that the server knows
  if (!mine && id && !mentions.includes(id)) return null;
  return h('bdi', { class: mine ? 'mention mine' : 'mention' }, text);
}

/** What stands for a reaction: an emoji is itself, `:code:` is an emote. */
export function reactionArt(emoji, emotes) {
  const code = /^:([a-z0-9_]{2,32}):$/.exec(emoji)?.[1];
  return (code && emotes.get(code)) || emoji;
}

/** One line for quotes and pins read aloud. */
export const short = (text, most = 120) => ([...text].length > most ? `${[...text].slice(0, most).join('')}…` : text);
