// Videos to watch: the newest, or what a search finds. The words stand in the address, so that it can be kept and sent.
import './header.js';
import { api } from './api.js';
import { $, setText } from './dom.js';
import { videoCard } from './video-card.js';

const WAIT = 250; // ms after the last key before it is searched
let cursor = null;
let round = 0;

const words = () => $('words').value.trim();

async function load({ more = false } = {}) {
  const mine = ++round;
  const query = words();
  const parameters = new URLSearchParams({ limit: '24' });
  if (query) parameters.set('q', query);
  if (more) parameters.set('cursor', cursor);
  $('more').disabled = true;
  try {
    const page = await api('GET', `/videos/${query ? 'search' : 'feed'}?${parameters}`);
    if (mine !== round) return;
    $('trouble').hidden = true;
    cursor = page.next_cursor;
    const list = $('cards');
    if (!more) list.replaceChildren();
    list.append(...page.items.map(videoCard));
    list.setAttribute('aria-busy', 'false');
    $('empty').hidden = list.childElementCount > 0;
    setText($('empty-title'), query ? `Nothing is called “${query}”` : 'No videos yet');
    setText($('empty-text'), query ? 'Try fewer words, or others.' : 'The first one could be yours.');
    $('count').hidden = !query || !page.items.length;
    if (query) setText($('count'), `${list.childElementCount}${cursor ? '+' : ''} found`);
    $('more').hidden = !cursor;
  } catch (error) {
    if (mine !== round) return;
    setText($('trouble'), error.message);
    $('trouble').hidden = false;
    for (const bone of document.querySelectorAll('.card.skeleton')) bone.remove();
  } finally {
    if (mine === round) $('more').disabled = false;
  }
}

function search() {
  const query = words();
  history.replaceState(null, '', query ? `?q=${encodeURIComponent(query)}` : location.pathname);
  load();
}

let timer = 0;
$('words').value = new URLSearchParams(location.search).get('q') ?? '';
$('words').addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(search, WAIT); });
$('search').addEventListener('submit', (event) => { event.preventDefault(); clearTimeout(timer); search(); });
$('more').addEventListener('click', () => load({ more: true }));
load();
