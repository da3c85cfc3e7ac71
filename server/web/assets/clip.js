// A clip of what is being watched: a panel below the player, which is the preview while it is open.
import { api } from './api.js';
import { copy, h, setText, toast } from './dom.js';
import { field } from './field.js';
import { user } from './session.js';
import { openSignIn } from './signin.js';
import { Trimmer } from './trimmer.js';

const AROUND = 90; // s that can be chosen from before the moment of asking
const AHEAD = 60; // s behind it, of what is there already
const USUAL = 30;
const LOOK_AGAIN = 700;

let panel = null;

/** kind: live | videos. player: which plays it. title: of what is watched. */
export async function openClip({ kind, id, player, title }) {
  if (panel) { panel.close(); return; }
  if (!user()) { openSignIn(); return; }
  let range;
  try { range = await api('GET', `/${kind}/${id}/clips/range`); } catch (error) { toast(error.message); return; }
  if (!range.allowed) { toast('Its owner does not let you make clips of this.'); return; }
  if (panel) return;
  panel = new Panel(kind, id, player, title, range);
}

class Panel {
  constructor(kind, id, player, title, range) {
    Object.assign(this, { kind, id, player, range });
    const { video } = player;
    const shown = range.origin ? player.mediaTime : null;
    // what is on the screen, on the time of the source; and how that differs from the time of the <video>
    const at = range.origin ? (shown ? (shown.getTime() - Date.parse(range.origin)) / 1000 : range.to) : video.currentTime;
    this.later = video.currentTime - at;
    this.back = { currentTime: video.currentTime, paused: video.paused, live: player.engine?.live && player.engine.following };
    const now = Math.min(Math.max(at, range.from + 1), Math.max(range.to, range.from + 1));
    const hi = range.live ? now : Math.min(range.to, now + AHEAD);
    const lo = Math.max(range.from, now - AROUND);
    const start = range.live || now - lo > USUAL ? Math.max(lo, now - USUAL) : lo;
    const end = Math.min(hi, Math.max(now, start + Math.min(USUAL, range.longest)));
    this.trimmer = new Trimmer({ lo, hi, start, end, longest: range.longest, zero: range.from, changed: (which, to) => this.#look(which, to) });
    this.title = field('clip-title', 'Title', { maxlength: 140, value: (title || '').slice(0, 140), autocomplete: 'off' });
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.make = h('button', { class: 'button primary', type: 'submit' }, 'Make clip');
    this.form = h('form', { class: 'stack-small', novalidate: true, onsubmit: (event) => { event.preventDefault(); this.#send(); } },
      this.trimmer.element, this.title.row, this.trouble,
      h('div', { class: 'row' }, this.make,
        h('button', { class: 'button', type: 'button', onclick: () => this.#play(this.trimmer.start, this.trimmer.end) }, 'Preview'),
        h('button', { class: 'button', type: 'button', onclick: () => this.close() }, 'Cancel')));
    this.element = h('section', { class: 'clip-panel card', 'aria-label': 'Make a clip', onkeydown: (event) => { if (event.key === 'Escape') this.close(); } },
      h('h2', {}, 'Make a clip'), this.form);
    document.querySelector('.about').prepend(this.element);
    this.stop = () => this.#loop();
    video.addEventListener('timeupdate', this.stop);
    this.trimmer.first.focus();
    this.element.scrollIntoView({ block: 'nearest' });
  }

  /** The player shows what a handle is at: the start, or the last moments before the end. */
  #look(which, to) {
    clearTimeout(this.waiting);
    const from = which === 'start' ? to : Math.max(this.trimmer.start, to - 2);
    this.waiting = setTimeout(() => this.#play(from, this.trimmer.end), 150);
  }

  #play(from, until) {
    this.until = until + this.later;
    this.player.engine?.seek(from + this.later);
    this.player.video.play().catch(() => {});
  }

  #loop() {
    if (this.until && this.player.video.currentTime >= this.until) {
      this.until = 0;
      this.player.video.pause();
    }
  }

  async #send() {
    this.trouble.hidden = true;
    this.make.disabled = true;
    setText(this.make, 'Making it…');
    try {
      const { start, end } = this.trimmer;
      const body = { title: this.title.value.trim(), from: Number(start.toFixed(3)), to: Number(end.toFixed(3)) };
      const made = await api('POST', `/${this.kind}/${this.id}/clips`, body);
      await this.#wait(made.id);
    } catch (error) {
      setText(this.trouble, error.message);
      this.trouble.hidden = false;
    }
    this.make.disabled = false;
    setText(this.make, 'Make clip');
  }

  async #wait(made) {
    for (;;) {
      if (this.closed) return;
      const clip = await api('GET', `/videos/${made}`);
      if (clip.state === 'failed') throw new Error(clip.error?.message ?? 'The clip could not be made. Try again.');
      if (clip.playback) { this.#done(made); return; }
      if (clip.progress > 0) setText(this.make, `Making it… ${Math.round(100 * clip.progress)} %`);
      await new Promise((resolve) => { setTimeout(resolve, LOOK_AGAIN); });
    }
  }

  #done(made) {
    const address = `${location.origin}/video/${made}`;
    const link = h('a', { class: 'button primary', href: `/video/${made}` }, 'Watch the clip');
    this.form.replaceChildren(h('p', { role: 'status' }, 'Your clip is there.'),
      h('div', { class: 'row' }, link,
        h('button', { class: 'button', type: 'button', onclick: async () => toast(await copy(address) ? 'Link copied.' : address) }, 'Copy link'),
        h('button', { class: 'button', type: 'button', onclick: () => this.close() }, 'Close')));
    link.focus();
  }

  /** The player goes on where it was. */
  close() {
    this.closed = true;
    panel = null;
    clearTimeout(this.waiting);
    const { video, engine } = this.player;
    video.removeEventListener('timeupdate', this.stop);
    this.element.remove();
    if (this.back.live) engine?.goLive?.();
    else if (this.until !== undefined) {
      engine?.seek(this.back.currentTime);
      if (!this.back.paused) video.play().catch(() => {});
    }
    document.querySelector('[data-clip]')?.focus();
  }
}

