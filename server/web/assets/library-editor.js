// What can be changed of a video: what it is called, who may see it and when, its picture, captions, chapters; and how
// it was watched.
import { api, call } from './api.js';
import { h, picture, setText, toast } from './dom.js';
import { field, selectField } from './field.js';
import { bytes, clockTime } from './format.js';
import { FileInPlace } from './library-replace.js';
import { TrimPanel } from './library-trim.js';
import { here } from './video-card.js';

const WHO = [['public', 'Public: listed, anyone can watch'], ['unlisted', 'Unlisted: anyone with the link'], ['followers', 'Followers of yours'], ['private', 'Private: you alone']];
const PROTECTION = [['none', 'Not encrypted'], ['aes-128', 'AES-128: for HLS, in nearly every player'], ['clearkey', 'Clear Key: for HLS and DASH, in browsers']];
const PROTECTS = 'Files that are copied, and what caches keep, cannot be played without the key, which goes only to who may watch. It does not stop anyone who may watch from recording it, and pictures, captions and the preview stay as they are.';
const NS = 'http://www.w3.org/2000/svg';

export class Editor {
  constructor(id, { changed }) {
    Object.assign(this, { id, changed });
    this.element = h('div', { class: 'stack' }, h('span', { class: 'bone' }));
    this.#load();
  }

  async #load() {
    try {
      const { data, etag } = await call('GET', `/videos/${this.id}`);
      this.etag = etag;
      this.video = data;
      this.#build();
    } catch (error) { this.element.replaceChildren(h('p', { class: 'notice bad', role: 'alert' }, error.message)); }
  }

  #build() {
    const { video } = this;
    this.title = field('title', 'Title', { maxlength: 140, required: true, value: video.title });
    this.description = field('description', 'Description', { maxlength: 5000, rows: 5 }, 'Lines that begin with a time, as 1:30 The bridge, become chapters.', 'textarea');
    this.description.value = video.description;
    this.who = selectField('visibility', 'Who can see it', WHO);
    this.who.value = video.visibility;
    this.protection = selectField('protection', 'Encryption', PROTECTION, PROTECTS);
    this.protection.value = video.protection;
    this.from = field('publish_at', 'Shown from', { type: 'datetime-local', value: local(video.publish_at) }, 'Empty: at once.');
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.saved = h('span', { class: 'saved', role: 'status' });
    const form = h('form', { class: 'stack', novalidate: true, onsubmit: (event) => { event.preventDefault(); this.#save(); } },
      this.title.row, this.description.row, h('div', { class: 'columns' }, this.who.row, this.from.row), this.protection.row, this.trouble,
      h('div', { class: 'row' }, h('button', { class: 'button primary', type: 'submit' }, 'Save'), this.saved));
    this.element.replaceChildren(form, this.#pictures(), this.#captions(), this.#trim(), this.#file(), this.#figures());
  }

  async #put(changes) {
    const { data, etag } = await call('PUT', `/videos/${this.id}`, changes, { ifMatch: this.etag });
    this.etag = etag ?? `"${data.version}"`;
    this.video = data;
    this.changed(data);
  }

  async #save() {
    const title = this.title.value.trim();
    if (!title) { this.title.say('Give it a title.'); this.title.input.focus(); return; }
    this.trouble.hidden = true;
    setText(this.saved, '');
    try {
      await this.#put({
        title, description: this.description.value.trim(), visibility: this.who.value, protection: this.protection.value,
        publish_at: this.from.value ? new Date(this.from.value).toISOString() : null,
      });
      setText(this.saved, 'Saved.');
    } catch (error) {
      setText(this.trouble, error.status === 412 ? 'It was changed elsewhere meanwhile. Close this and open it again.' : error.message);
      this.trouble.hidden = false;
    }
  }

  #pictures() {
    const place = h('div', { class: 'candidates', role: 'radiogroup', 'aria-label': 'Picture' });
    const paint = () => place.replaceChildren(...(this.video.thumbnails ?? []).map((one, index) => {
      const chosen = here(one.url) === here(this.video.thumbnail);
      return h('button', {
        class: 'candidate', type: 'button', role: 'radio', 'aria-checked': String(chosen), 'aria-label': `Picture ${index + 1}`,
        onclick: async () => { try { await this.#put({ thumbnail: one.name }); paint(); } catch (error) { toast(error.message); } },
      }, picture(here(one.url)));
    }));
    paint();
    const own = h('input', { type: 'file', accept: 'image/jpeg,image/png,image/webp', class: 'visually-hidden', id: `own-${this.id}`, onchange: async () => {
      const [file] = own.files;
      if (!file) return;
      try {
        await api('PUT', `/videos/${this.id}/thumbnail`, file);
        await this.#load();
        this.changed(this.video);
      } catch (error) { toast(error.message); }
    } });
    return h('section', { class: 'stack-small', 'aria-label': 'Picture' }, h('h2', {}, 'Picture'),
      this.video.thumbnails?.length ? place : h('p', { class: 'muted' }, 'Pictures to choose from appear when it is prepared.'),
      h('div', {}, h('label', { class: 'button small', for: own.id }, 'Use a picture of your own'), own));
  }

  #captions() {
    const list = h('ul', { class: 'rows' });
    const paint = () => list.replaceChildren(...this.video.captions.map((one) => h('li', { class: 'row-line' },
      h('span', { class: 'row-text' }, `${one.label || one.language} · ${one.cues} lines`),
      h('a', { class: 'button small', href: here(one.url), download: `${one.language}.vtt` }, 'Download'),
      h('button', { class: 'button small', type: 'button', 'aria-label': `Delete the captions in ${one.label || one.language}`, onclick: async () => {
        try { await api('DELETE', `/videos/${this.id}/captions/${one.language}`); await this.#load(); } catch (error) { toast(error.message); }
      } }, 'Delete'))));
    paint();
    const language = field('language', 'Language', { maxlength: 35, placeholder: 'en, de, pt-BR', autocapitalize: 'none' });
    const file = h('input', { type: 'file', accept: '.srt,.vtt,text/vtt', class: 'visually-hidden', id: `captions-${this.id}`, onchange: async () => {
      const [chosen] = file.files;
      file.value = '';
      if (!chosen) return;
      if (!language.value.trim()) { language.say('Say which language, as en or de.'); language.input.focus(); return; }
      try {
        await api('PUT', `/videos/${this.id}/captions/${encodeURIComponent(language.value.trim())}`, { text: await chosen.text(), label: name(language.value.trim()) });
        await this.#load();
      } catch (error) { language.say(error.message); }
    } });
    return h('section', { class: 'stack-small', 'aria-label': 'Captions' }, h('h2', {}, 'Captions'), list,
      h('div', { class: 'row caption-row' }, language.row, h('label', { class: 'button small', for: file.id }, 'Upload .srt or .vtt'), file));
  }

  #trim() {
    return new TrimPanel(this.video, () => this.#load().then(() => this.changed(this.video))).element;
  }

  /** Another file in the place of this one's. */
  #file() {
    const file = new FileInPlace(this.video, () => this.#load().then(() => this.changed(this.video)));
    return file.element;
  }

  #figures() {
    const { video } = this;
    const place = h('div', {});
    api('GET', `/videos/${this.id}/retention`).then((answer) => place.replaceChildren(curve(answer, video.duration))).catch(() => {});
    const facts = video.facts ?? {};
    return h('section', { class: 'stack-small', 'aria-label': 'Figures' }, h('h2', {}, 'How it was watched'), place,
      h('p', { class: 'muted' }, [
        video.duration > 0 && clockTime(video.duration), facts.width && `${facts.width} × ${facts.height}`,
        video.source_bytes && `${bytes(video.source_bytes)} uploaded`, video.stored_bytes && `${bytes(video.stored_bytes)} stored`,
        video.renditions.length && video.renditions.map((one) => `${one.height}p`).join(', '),
      ].filter(Boolean).join(' · ')));
  }
}

/** The share of viewers who saw each moment, as a curve with a sentence for who does not see it. */
function curve({ viewers: counts = [], watched_seconds: watched = 0 }, duration) {
  const viewers = Math.max(0, ...counts);
  const points = counts.length === 1 ? [1, 1] : counts.map((count) => count / viewers);
  if (!viewers || !points.length) return h('p', { class: 'muted' }, 'Nobody has watched it yet.');
  const svg = document.createElementNS(NS, 'svg');
  svg.setAttribute('viewBox', '0 0 300 80');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'chart retention');
  svg.setAttribute('role', 'img');
  const y = (share) => (78 - 74 * Math.min(1, share)).toFixed(1);
  const line = points.map((share, index) => `${index ? 'L' : 'M'}${((300 * index) / (points.length - 1)).toFixed(1)} ${y(share)}`).join('');
  for (const [kind, path] of [['chart-area', `${line}L300 80L0 80Z`], ['chart-line', line]]) {
    const made = document.createElementNS(NS, 'path');
    made.setAttribute('class', kind);
    made.setAttribute('d', path);
    svg.append(made);
  }
  const half = points.findIndex((share) => share < 0.5);
  const said = `${viewers} ${viewers === 1 ? 'viewer' : 'viewers'}, ${clockTime(watched)} watched; ${half < 0 ? 'more than half saw it to the end' : `half had left by ${clockTime((duration * half) / points.length)}`}.`;
  svg.setAttribute('aria-label', said);
  return h('div', { class: 'measure' }, svg, h('small', { class: 'muted' }, said));
}

const name = (language) => { try { return new Intl.DisplayNames(['en'], { type: 'language' }).of(language); } catch { return language; } };

function local(moment) {
  if (!moment) return '';
  const at = new Date(moment);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
