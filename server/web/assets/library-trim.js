// What is kept of a video: one stretch, chosen on its own picture. What is cut off is gone for good.
import { api } from './api.js';
import { confirm, h, setText } from './dom.js';
import { Engine } from './engine.js';
import { here } from './video-card.js';
import { Trimmer } from './trimmer.js';

const LOOK_AGAIN = 1000;

export class TrimPanel {
  /** done(): the video is another one now. */
  constructor(video, done) {
    Object.assign(this, { video, done });
    this.open = h('button', { class: 'button small', type: 'button', onclick: () => this.#open() }, 'Trim…');
    this.place = h('div', { class: 'stack-small' }, h('p', { class: 'muted' }, 'Cut off what stands before or behind. Likes, views, comments, captions and chapters stay.'), h('div', {}, this.open));
    this.element = h('section', { class: 'stack-small', 'aria-label': 'Trim', hidden: video.state !== 'ready' }, h('h2', {}, 'Trim'), this.place);
  }

  #open() {
    const { video } = this;
    this.screen = h('video', { class: 'trim-screen', controls: true, playsinline: true, preload: 'metadata', poster: here(video.thumbnail) ?? undefined });
    this.engine = new Engine(this.screen);
    this.engine.open(here(video.playback.hls), { live: false, license: video.playback.license ?? null });
    this.trimmer = new Trimmer({
      lo: 0, hi: video.duration, start: 0, end: video.duration,
      changed: (which, at) => this.engine.seek(which === 'start' ? at : Math.max(0, at - 0.1)),
    });
    const setTo = (which) => () => {
      const at = this.screen.currentTime;
      this.trimmer.set(which === 'start' ? at : this.trimmer.start, which === 'end' ? at : this.trimmer.end);
    };
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.cut = h('button', { class: 'button danger', type: 'button', onclick: () => this.#send() }, 'Trim the video');
    this.place.replaceChildren(this.screen, this.trimmer.element,
      h('div', { class: 'row' },
        h('button', { class: 'button small', type: 'button', onclick: setTo('start') }, 'Start here'),
        h('button', { class: 'button small', type: 'button', onclick: setTo('end') }, 'End here')),
      this.trouble,
      h('div', { class: 'row' }, this.cut, h('button', { class: 'button', type: 'button', onclick: () => this.#close() }, 'Cancel')));
    this.trimmer.first.focus();
  }

  #close() {
    this.closed = true;
    this.engine?.close();
    const fresh = new TrimPanel(this.video, this.done);
    this.element.replaceWith(fresh.element);
  }

  async #send() {
    const { start, end } = this.trimmer;
    if (!await confirm('Trim this video?', `${(end - start).toFixed(1)} s are kept, and the rest is gone for good: this cannot be undone.`, 'Trim it')) return;
    this.trouble.hidden = true;
    this.cut.disabled = true;
    setText(this.cut, 'Trimming…');
    try {
      const keep = [{ from: Number(start.toFixed(3)), to: Number(end.toFixed(3)) }];
      const draft = await api('POST', `/videos/${this.video.id}/trim`, { keep });
      await this.#wait(draft.id);
      this.engine?.close();
      this.done();
    } catch (error) {
      setText(this.trouble, error.message);
      this.trouble.hidden = false;
      this.cut.disabled = false;
      setText(this.cut, 'Trim the video');
    }
  }

  /** Until the draft has taken the video's place, or has failed. */
  async #wait(draft) {
    while (!this.closed) {
      const { replacement } = await api('GET', `/videos/${this.video.id}`);
      if (replacement?.id !== draft) return;
      if (replacement.state === 'failed') throw new Error(replacement.error?.message ?? 'It could not be trimmed. Try again.');
      if (replacement.progress > 0) setText(this.cut, `Trimming… ${Math.round(100 * replacement.progress)} %`);
      await new Promise((resolve) => { setTimeout(resolve, LOOK_AGAIN); });
    }
  }
}
