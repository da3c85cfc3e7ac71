// One of your videos in the list: what became of it, and the way to change it.
import { api } from './api.js';
import { confirm, h, picture, setText, toast } from './dom.js';
import { ago, clockTime, day, hue } from './format.js';
import { here, viewsInWords } from './video-card.js';

const STATES = { uploading: 'Uploading', processing: 'Being prepared', playable: 'Playable, more sizes to come', ready: '', failed: 'Failed' };
const WHO = { public: 'Public', unlisted: 'Unlisted', private: 'Private', followers: 'Followers', subscribers: 'Subscribers', paid: 'Paid' };

export class Row {
  constructor(item, { changed, gone }) {
    Object.assign(this, { id: item.id, changed, gone });
    this.image = picture('');
    this.length = h('span', { class: 'chip', hidden: true });
    const ground = h('div', { class: 'past-picture' }, this.image, this.length);
    ground.style.setProperty('--hue', hue(item.owner?.username ?? item.id));
    this.name = h('a', { href: `/video/${item.id}` });
    this.facts = h('small', { class: 'muted' });
    this.bar = h('progress', { max: 1, hidden: true, 'aria-label': 'Progress' });
    this.wrong = h('small', { class: 'wrong', hidden: true });
    this.again = h('button', { class: 'button small', type: 'button', hidden: true, onclick: () => this.#again() }, 'Try again');
    this.change = h('button', { class: 'button small', type: 'button', onclick: () => this.edit() }, 'Edit');
    this.bin = h('button', { class: 'button small', type: 'button', onclick: () => this.#delete() }, 'Delete');
    this.place = h('div', { class: 'library-edit', hidden: true });
    this.element = h('li', {}, h('div', { class: 'past-row' }, ground, h('div', { class: 'past-text' }, this.name, this.facts, this.bar, this.wrong),
      h('div', { class: 'row' }, this.again, this.change, this.bin)), this.place);
    this.update(item);
  }

  update(item) {
    this.item = item;
    setText(this.name, item.title || 'Untitled');
    setText(this.facts, [
      STATES[item.state], WHO[item.visibility], item.state === 'ready' && viewsInWords(item.views),
      item.publish_at && Date.parse(item.publish_at) > Date.now() ? `shown from ${day(item.publish_at)}` : ago(item.published_at ?? item.created_at),
    ].filter(Boolean).join(' · '));
    const thumbnail = here(item.thumbnail);
    if (item.state !== 'uploading' && this.shown !== thumbnail) { this.shown = thumbnail; this.image.src = thumbnail; }
    this.length.hidden = !(item.duration > 0);
    setText(this.length, clockTime(item.duration ?? 0));
    const moving = ['uploading', 'processing', 'playable'].includes(item.state);
    this.bar.hidden = !moving;
    if (moving && item.progress > 0) this.bar.value = item.progress; else this.bar.removeAttribute('value');
    this.wrong.hidden = !item.error;
    setText(this.wrong, item.error?.message ?? '');
    this.again.hidden = item.state !== 'failed';
    for (const button of [this.change, this.bin, this.again]) button.setAttribute('aria-label', `${button.textContent}: ${item.title || 'Untitled'}`);
  }

  async #again() {
    try { await api('POST', `/videos/${this.id}/retry`, {}); } catch (error) { toast(error.message); }
    this.changed();
  }

  async #delete() {
    if (!await confirm(`Delete “${this.item.title || 'Untitled'}”?`, 'The video, its captions and its figures are gone for good.', 'Delete')) return;
    this.bin.disabled = true;
    try {
      await api('DELETE', `/videos/${this.id}`);
      this.gone();
      toast('Deleted.');
    } catch (error) { this.bin.disabled = false; toast(error.message); }
  }

  async edit() {
    const open = this.place.hidden;
    this.place.hidden = !open;
    setText(this.change, open ? 'Close' : 'Edit');
    this.change.setAttribute('aria-expanded', String(open));
    if (!open) { this.place.replaceChildren(); return; }
    const { Editor } = await import('./library-editor.js');
    this.place.replaceChildren(new Editor(this.id, { changed: (item) => { this.update({ ...this.item, ...item }); this.changed(); } }).element);
    this.place.scrollIntoView({ block: 'nearest' });
  }
}
