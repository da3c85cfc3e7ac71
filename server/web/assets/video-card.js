// A video in a list: its picture, which moves under the pointer, its length, and what it is.
import { h, picture } from './dom.js';
import { ago, clockTime, count, hue } from './format.js';

export function videoCard(item) {
  const image = picture(here(item.thumbnail));
  const ground = h('div', { class: 'card-picture' }, image, item.duration > 0 && h('span', { class: 'chip' }, clockTime(item.duration)));
  ground.style.setProperty('--hue', hue(item.owner?.username ?? item.id));
  const link = h('a', { href: `/video/${item.id}`, class: 'card-link' }, ground,
    h('div', { class: 'card-text' },
      h('span', { class: 'card-title' }, item.title || 'Untitled'),
      h('span', { class: 'card-owner' }, [item.owner?.username, viewsInWords(item.views), ago(item.published_at ?? item.created_at)].filter(Boolean).join(' · '))));
  if (item.preview && !matchMedia('(prefers-reduced-motion: reduce)').matches) moving(link, ground, item.preview);
  return h('li', { class: 'card' }, link);
}

export const viewsInWords = (views) => `${count(views ?? 0)} ${views === 1 ? 'view' : 'views'}`;

/** Pictures are beside the pages, whatever name this host has. */
export function here(url) {
  if (!url) return '';
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

function moving(link, ground, preview) {
  let moved = null;
  let wait = 0;
  const start = () => {
    wait = setTimeout(() => { moved ??= picture(here(preview)); ground.append(moved); }, 200);
  };
  const stop = () => { clearTimeout(wait); moved?.remove(); };
  link.addEventListener('pointerenter', start);
  link.addEventListener('pointerleave', stop);
  link.addEventListener('focus', start);
  link.addEventListener('blur', stop);
}
