// What was: recordings to watch, link and delete.
import { api } from './api.js';
import { confirm, h, picture, setText, toast } from './dom.js';
import { checkField } from './field.js';
import { clockTime, day, hue } from './format.js';

export class Past {
  constructor() {
    this.rows = new Map();
    this.list = h('ul', { class: 'past' });
    this.nothing = h('p', { class: 'muted' }, 'Nothing yet. Broadcasts are listed here when they have ended.');
    this.more = h('button', { class: 'button', type: 'button', hidden: true, onclick: () => this.#more() }, 'Show more');
    this.keep = checkField('keep_as_videos', 'Recorded broadcasts become videos', 'When they end, as visible as they were. They are in Your videos then.');
    this.keep.input.disabled = true;
    this.keep.input.addEventListener('change', () => this.#keep());
    this.element = h('section', { class: 'panel stack studio-past', 'aria-label': 'Past broadcasts' }, h('h2', {}, 'Past broadcasts'),
      this.keep.row, this.nothing, this.list, h('div', {}, this.more));
    api('GET', '/live/channel').then(({ keep_as_videos: keep }) => Object.assign(this.keep.input, { checked: keep, disabled: false })).catch(() => {});
  }

  async #keep() {
    const wanted = this.keep.value;
    try { await api('PUT', '/live/channel', { keep_as_videos: wanted }); } catch (error) { this.keep.value = !wanted; toast(error.message); }
  }

  show(page) {
    const ended = page.items.filter((item) => item.state === 'ended');
    for (const item of [...ended].reverse()) if (!this.rows.has(item.id)) this.list.prepend(this.#row(item));
    for (const item of ended) this.rows.get(item.id)?.update(item);
    if (this.cursor === undefined) this.cursor = page.next_cursor;
    this.#shown();
  }

  #shown() {
    this.more.hidden = !this.cursor;
    this.nothing.hidden = this.rows.size > 0;
  }

  async #more() {
    try {
      const page = await api('GET', `/live/mine?limit=20&cursor=${encodeURIComponent(this.cursor)}`);
      this.cursor = page.next_cursor;
      for (const item of page.items) if (item.state === 'ended' && !this.rows.has(item.id)) this.list.append(this.#row(item));
      this.#shown();
    } catch (error) { toast(error.message); }
  }

  #row(item) {
    const ground = h('div', { class: 'past-picture' }, picture(item.thumbnail));
    ground.style.setProperty('--hue', hue(item.owner?.username ?? item.id));
    const facts = h('small', { class: 'muted' });
    const name = h('a', { href: `/watch/${item.id}` }, item.title || 'Untitled');
    const bin = h('button', {
      class: 'button small', type: 'button', 'aria-label': `Delete ${item.title || 'this broadcast'}`, onclick: async () => {
        if (!await confirm(`Delete “${item.title || 'Untitled'}”?`, 'The recording and its chat are gone for good.', 'Delete')) return;
        bin.disabled = true;
        try {
          await api('DELETE', `/live/${item.id}`);
          row.remove();
          this.rows.delete(item.id);
          this.#shown();
          toast('Deleted.');
        } catch (error) { bin.disabled = false; toast(error.message); }
      },
    }, 'Delete');
    const row = h('li', { class: 'past-row' }, ground, h('div', { class: 'past-text' }, name, facts), bin);
    this.rows.set(item.id, {
      update: (fresh) => {
        setText(name, fresh.title || 'Untitled');
        const length = fresh.recording?.duration ?? (fresh.ended_at && fresh.started_at ? (Date.parse(fresh.ended_at) - Date.parse(fresh.started_at)) / 1000 : 0);
        setText(facts, [fresh.started_at ? `Streamed ${day(fresh.started_at)}` : `Created ${day(fresh.created_at)}`, length > 0 && clockTime(length), fresh.recording === null && 'not recorded'].filter(Boolean).join(' · '));
      },
    });
    this.rows.get(item.id).update(item);
    return row;
  }
}
