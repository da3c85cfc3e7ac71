// One video: its picture as soon as the first rendition is there, what it is, and what to see next.
import './header.js';
import { api } from './api.js';
import { $, copy, h, picture, setText, toast } from './dom.js';
import { ago, clockTime, count, hue } from './format.js';
import { Player } from './player.js';
import { onChange, user } from './session.js';
import { openSignIn } from './signin.js';
import { here, viewsInWords } from './video-card.js';
import { Extras } from './video-extras.js';
import { Watching } from './video-watching.js';

const LOOK_AGAIN = 3000;
const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const player = new Player($('player'));
let video = null;
let extras = null;
let watching = null;
let playing = '';
let sizes = 0; // renditions there were when it was opened
let timer = 0;
let resume = null; // where it was, when it has to be opened again

async function look() {
  clearTimeout(timer);
  try {
    video = await api('GET', `/videos/${id}`);
  } catch (error) {
    if (error.status === 404 || error.status === 422) return missing();
    if (error.status === 403) return closed(error.message);
    if (!video) player.say('This does not load', error.message, { text: 'Try again', act: look });
    timer = setTimeout(look, LOOK_AGAIN);
    return undefined;
  }
  paint();
  await act();
  if (video.state === 'uploading' || video.state === 'processing' || video.state === 'playable') timer = setTimeout(look, LOOK_AGAIN);
  return undefined;
}

function missing() {
  document.title = 'Not found – Social Flow';
  setText($('title'), 'There is no such video');
  $('owner').replaceChildren();
  player.stop();
  player.say('There is no such video', 'It was deleted, is not for everybody, or the address is not complete.', { text: 'See other videos', act: () => { location.href = '/videos'; } });
}

function closed(message) {
  setText($('title'), 'Not for everybody');
  $('owner').replaceChildren();
  player.say('This video is not for everybody', message, user() ? null : { text: 'Sign in', act: () => openSignIn() });
}

function paint() {
  document.title = `${video.title || 'Untitled'} – Social Flow`;
  setText($('title'), video.title || 'Untitled');
  setText($('owner'), video.owner?.username ?? '');
  setText($('facts'), [viewsInWords(video.views), ago(video.published_at ?? video.created_at)].join(' · '));
  setText($('description'), video.description ?? '');
  $('description').hidden = !video.description;
  deeds();
  const list = $('chapters').querySelector('ol');
  $('chapters').hidden = video.chapters.length === 0;
  list.replaceChildren(...video.chapters.map(({ start, title }) => h('li', {},
    h('button', { class: 'chapter', type: 'button', onclick: () => { player.engine?.seek(start + 0.01); player.video.play().catch(() => {}); player.place.focus(); } },
      h('span', { class: 'clock' }, clockTime(start)), h('span', {}, title)))));
}

function deeds() {
  const like = h('button', { class: 'button', type: 'button', 'aria-pressed': String(Boolean(video.liked)), onclick: async () => {
    if (!user()) { openSignIn(); return; }
    like.disabled = true;
    try {
      const answer = await api(video.liked ? 'DELETE' : 'POST', `/videos/${id}/like`);
      Object.assign(video, answer ?? { liked: !video.liked });
      deeds();
    } catch (error) { toast(error.message); like.disabled = false; }
  } }, video.liked ? 'Liked' : 'Like', h('span', { class: 'muted' }, count(video.likes ?? 0)));
  const share = h('button', { class: 'button', type: 'button', onclick: async () => toast(await copy(`${location.origin}/video/${id}`) ? 'Link copied.' : `${location.origin}/video/${id}`) }, 'Copy link');
  const clip = video.playback && h('button', { class: 'button', type: 'button', 'data-clip': '', onclick: async () => {
    const { openClip } = await import('./clip.js');
    openClip({ kind: 'videos', id, player, title: video.title });
  } }, 'Clip');
  const mine = user()?.id === video.owner?.id && h('a', { class: 'button', href: `/studio/videos#${id}` }, 'Edit');
  const source = video.clip_of && h('a', { class: 'button', href: `/${video.clip_of.kind === 'video' ? 'video' : 'watch'}/${video.clip_of.id}` }, 'See where it is from');
  const chat = video.broadcast_id && h('a', { class: 'button', href: `/watch/${video.broadcast_id}` }, 'Chat replay');
  $('deeds').replaceChildren(like, share, ...[clip, source, chat, mine].filter(Boolean));
}

const WAITS = {
  uploading: ['Still uploading', 'It can be watched a moment after the upload has ended.'],
  processing: ['Being prepared', 'The picture appears here by itself.'],
};

/** The address again, with a grant that is good from now on: of what is not for everybody. */
const renew = async () => {
  const { playback } = await api('GET', `/videos/${id}`);
  return { hls: playback?.hls, renewIn: playback?.renew_in };
};

async function act() {
  const { state, playback } = video;
  if (playback && !playing) {
    playing = playback.hls;
    sizes = video.renditions.length;
    player.say('');
    extras?.close();
    extras = new Extras(player, video);
    watching = new Watching(video, player);
    await open();
    if (resume) { goTo(resume.currentTime, resume.paused); resume = null; } else jump();
  } else if (playback && state === 'ready' && video.renditions.length > sizes) {
    // a playlist of a video is read once: larger pictures that came meanwhile are in a new one
    sizes = video.renditions.length;
    const { currentTime, paused } = player.video;
    await open();
    goTo(currentTime, paused);
  } else if (!playback && state === 'failed') {
    player.say('This video could not be prepared', video.error?.message ?? '');
  } else if (!playback) {
    const [title, text] = WAITS[state] ?? WAITS.processing;
    player.say(title, video.progress > 0 && state === 'processing' ? `${text} ${Math.round(100 * video.progress)} % done.` : text);
  }
}

const open = () => {
  const { hls, license, renew_in: renewIn } = video.playback;
  return player.open(hls, { live: false, renew, renewIn, license, gone });
};

/** It was deleted, or is encrypted in another way now: then it goes on where it was. */
function gone() {
  const { currentTime, paused } = player.video;
  resume = { currentTime, paused };
  playing = '';
  setTimeout(look, 1000);
}

/** ?t=90 begins there. */
function jump() {
  const at = Number(new URLSearchParams(location.search).get('t'));
  if (at > 0) goTo(at, false);
}

function goTo(at, paused) {
  const seek = () => {
    if (!player.engine?.window) return;
    player.video.removeEventListener('loadeddata', seek);
    player.engine.seek(at);
    if (paused) player.video.pause();
  };
  player.video.addEventListener('loadeddata', seek);
  seek();
}

async function others() {
  const page = await api('GET', '/videos/feed?limit=12').catch(() => ({ items: [] }));
  const items = page.items.filter((item) => item.id !== id);
  $('more').parentElement.hidden = items.length === 0;
  $('main').classList.toggle('alone-video', items.length === 0);
  $('more').replaceChildren(...items.map((item) => {
    const ground = h('div', { class: 'past-picture' }, picture(here(item.thumbnail)), item.duration > 0 && h('span', { class: 'chip' }, clockTime(item.duration)));
    ground.style.setProperty('--hue', hue(item.owner?.username ?? item.id));
    return h('li', {}, h('a', { class: 'next-link', href: `/video/${item.id}` }, ground,
      h('span', { class: 'next-text' }, h('strong', {}, item.title || 'Untitled'), h('small', { class: 'muted' }, `${item.owner?.username ?? ''} · ${viewsInWords(item.views)}`))));
  }));
}

onChange(() => look());
addEventListener('pagehide', () => watching?.close());
look();
others();
