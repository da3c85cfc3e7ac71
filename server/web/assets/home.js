// What is live now: cards that come, change and go by themselves, without moving what stays.
import './header.js';
import { api } from './api.js';
import { $, h, picture, setText } from './dom.js';
import { hue, liveFor, viewers } from './format.js';

const EVERY = 5000;
const PICTURE_AGE = 10_000;
const cards = new Map();
let pages = 1; // how many pages the viewer has asked to see
let timer = 0;
let failures = 0;

async function load() {
  const items = [];
  let cursor = null;
  for (let page = 0; page < pages; page++) {
    const answer = await api('GET', `/live?limit=24${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  return { items, more: Boolean(cursor) };
}

async function update() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const { items, more } = await load();
    failures = 0;
    $('trouble').hidden = true;
    paint(items);
    $('more').hidden = !more;
  } catch (error) {
    failures += 1;
    if (failures > 1 || !cards.size) {
      setText($('trouble'), error.message);
      $('trouble').hidden = false;
      for (const bone of document.querySelectorAll('.card.skeleton')) bone.remove();
    }
  }
  timer = setTimeout(update, EVERY * Math.min(6, 1 + failures));
}

function paint(items) {
  const list = $('cards');
  list.setAttribute('aria-busy', 'false');
  for (const bone of list.querySelectorAll('.skeleton')) bone.remove();
  const seen = new Set(items.map((item) => item.id));
  for (const [id, card] of cards) {
    if (!seen.has(id)) { card.element.remove(); cards.delete(id); }
  }
  items.forEach((item, index) => {
    let card = cards.get(item.id);
    if (!card) cards.set(item.id, card = makeCard(item));
    card.update(item);
    if (list.children[index] !== card.element) list.insertBefore(card.element, list.children[index] ?? null);
  });
  $('empty').hidden = items.length > 0;
  setText($('count'), items.length ? `${items.length}${$('more').hidden ? '' : '+'} ${items.length === 1 ? 'broadcast' : 'broadcasts'}` : '');
}

function makeCard(item) {
  const image = picture('');
  const badge = h('span', { class: 'badge live' }, 'Live');
  const watching = h('span', { class: 'chip' });
  const title = h('span', { class: 'card-title' });
  const owner = h('span', { class: 'card-owner' });
  const ground = h('div', { class: 'card-picture' }, image, badge, watching);
  ground.style.setProperty('--hue', hue(item.owner?.username ?? item.id));
  const element = h('li', { class: 'card' },
    h('a', { href: `/watch/${item.id}`, class: 'card-link' }, ground, h('div', { class: 'card-text' }, title, owner)));
  let stamp = 0;
  return {
    element,
    update(fresh) {
      setText(title, fresh.title || 'Untitled');
      setText(owner, [fresh.owner?.username, fresh.started_at ? liveFor(fresh.started_at) : ''].filter(Boolean).join(' · '));
      setText(watching, viewers(fresh.viewers ?? 0));
      badge.className = `badge ${fresh.state}`;
      setText(badge, fresh.state === 'interrupted' ? 'Back soon' : 'Live');
      const now = Math.floor(Date.now() / PICTURE_AGE);
      if (fresh.thumbnail && now !== stamp) {
        stamp = now;
        image.src = `${fresh.thumbnail}${fresh.thumbnail.includes('?') ? '&' : '?'}t=${now}`;
      }
    },
  };
}

$('more').addEventListener('click', () => { pages += 1; update(); });
document.addEventListener('visibilitychange', update);
addEventListener('online', update);
update();
