// How the broadcast goes: its picture as viewers see it, the figures of the encoder, advice, and what happened.
import { api } from './api.js';
import { Chart } from './chart.js';
import { confirm, copy, h, setText, toast } from './dom.js';
import { bitrate, codec, count, liveFor, time } from './format.js';
import { Player } from './player.js';
import { inWords } from './studio-events.js';

const EVERY = 2000;
const STATES = { created: 'Waiting for your encoder', live: 'You are live', interrupted: 'Interrupted', ended: 'Ended' };

const FIRST = 'Give your broadcast a title. Then go live from this browser, or create it and start your encoder.';
const AGAIN = 'Create a broadcast, and go live from this browser or your encoder. Or just start the encoder with your key: you are live at once.';

export class Live {
  /** ended: called when the broadcast was ended from here, before anything else comes to know. */
  constructor({ changed, ended }) {
    Object.assign(this, { changed, ended });
    this.id = undefined;
    this.timer = 0;
    this.idle = h('p', { class: 'muted' });
    this.element = h('section', { class: 'panel stack studio-on', 'aria-label': 'On air' });
  }

  /** known: this account has been on air, so that it has a key and a title to go on with. */
  show(broadcast, { known = false } = {}) {
    const id = broadcast?.id ?? null;
    if (!id) setText(this.idle, known ? AGAIN : FIRST);
    if (id === this.id) return;
    this.close();
    this.id = id;
    if (!id) {
      this.element.replaceChildren(h('div', { class: 'studio-idle' },
        h('h1', {}, 'You are not live'),
        this.idle));
      return;
    }
    this.#build();
    this.#look();
  }

  #build() {
    this.state = h('span', { class: 'badge' });
    this.heading = h('h1', {});
    this.facts = h('p', { class: 'muted facts' });
    this.place = h('div', { class: 'player' });
    this.end = h('button', { class: 'button danger', type: 'button', onclick: () => this.#end() }, 'End broadcast');
    this.link = h('a', { class: 'button', href: `/watch/${this.id}`, target: '_blank', rel: 'noopener' }, 'Open page');
    this.share = h('button', { class: 'button', type: 'button', onclick: async () => toast(await copy(`${location.origin}/watch/${this.id}`) ? 'Link copied.' : `${location.origin}/watch/${this.id}`) }, 'Copy link');
    this.advice = h('ul', { class: 'advice', 'aria-live': 'polite', 'aria-label': 'Advice' });
    this.rate = new Chart('Bit rate', { write: bitrate, floor: 1e6 });
    this.frames = new Chart('Frame rate', { write: (value) => (value ? `${value.toFixed(value < 100 ? 1 : 0)} fps` : '–'), floor: 30 });
    this.keys = new Chart('Key-frame distance', { write: (value) => (value ? `${value.toFixed(1)} s` : '–'), floor: 4, wrong: (value) => value > 4.05 });
    this.measures = h('div', { class: 'measures' }, this.rate.element, this.frames.element, this.keys.element);
    this.events = h('ol', { class: 'events' });
    this.eventBox = h('details', { class: 'event-box', open: true }, h('summary', {}, 'What happened'), this.events);
    this.element.replaceChildren(
      h('div', { class: 'row between' }, h('div', { class: 'row' }, this.state, this.heading), h('div', { class: 'row' }, this.share, this.link, this.end)),
      this.facts, this.place, this.advice, this.measures, this.eventBox);
    // muted: the studio is usually where the microphone is
    this.player = new Player(this.place, { muted: true, simple: true, label: 'Preview' });
    this.playing = false;
  }

  async #look() {
    clearTimeout(this.timer);
    const { id } = this;
    try {
      const broadcast = await api('GET', `/live/${id}`);
      if (this.id !== id) return;
      this.#paint(broadcast);
      if (broadcast.state === 'ended') return this.changed();
    } catch (error) {
      if (this.id !== id) return;
      if (error.status === 404) { this.changed(); return; }
      setText(this.facts, error.message);
    }
    this.timer = setTimeout(() => this.#look(), EVERY);
  }

  #paint(broadcast) {
    const { state, health } = broadcast;
    setText(this.heading, broadcast.title || 'Untitled');
    this.state.className = `badge ${state}`;
    setText(this.state, STATES[state]);
    const video = broadcast.tracks?.find((track) => track.kind === 'video');
    const audio = broadcast.tracks?.find((track) => track.kind === 'audio');
    setText(this.facts, [
      state !== 'created' && `${count(broadcast.viewers ?? 0)} watching`,
      broadcast.started_at && liveFor(broadcast.started_at),
      video && `${codec(video.codec)} ${video.width} × ${video.height}`,
      audio && `${codec(audio.codec)} ${audio.sample_rate / 1000} kHz`,
      health?.line && `${(100 * health.line.loss).toFixed(1)} % lost on the way`,
    ].filter(Boolean).join(' · ') || 'Start your encoder with your server address and stream key.');
    this.end.hidden = state === 'ended';
    setText(this.end, state === 'created' ? 'Discard' : 'End broadcast');
    this.measures.hidden = !health;
    if (health && state === 'live') {
      this.rate.add(health.bitrate);
      this.frames.add(health.frame_rate);
      this.keys.add(health.key_distance);
    }
    this.#list(this.advice, (health?.advice ?? []).map((text) => [text, () => h('li', {}, text)]));
    this.#list(this.events, [...(broadcast.events ?? [])].sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).filter(notSaidBefore).slice(0, 50).map((event) => [
      `${event.at}${event.kind}${event.detail}`,
      () => {
        const { kind, text, raw } = inWords(event);
        return h('li', { title: raw || null }, h('time', { datetime: event.at }, time(event.at)), h('span', { class: 'event-kind' }, kind), h('span', {}, text));
      }]));
    this.eventBox.hidden = !broadcast.events?.length;
    this.#preview(broadcast);
  }

  /** Rebuild only what changed, so that a reader is not told again what it knows. */
  #list(list, entries) {
    const key = entries.map(([text]) => text).join('\n');
    if (list.dataset.key === key) return;
    list.dataset.key = key;
    list.replaceChildren(...entries.map(([, make]) => make()));
    list.hidden = !entries.length;
  }

  #preview({ state, playback }) {
    if (state === 'live') {
      this.player.note('');
      if (!this.playing) { this.playing = true; this.player.open(playback.hls, { live: true }); } else this.player.engine?.nudge();
    } else if (state === 'interrupted') {
      this.player.note('The stream was interrupted. It continues as soon as your encoder sends again; viewers wait.');
    } else if (state === 'created') {
      this.player.say('Nothing yet', 'Your picture appears here when the encoder is connected.');
    } else {
      this.player.note('');
      this.player.stop();
      this.player.say('Ended', 'It is among your past broadcasts.');
    }
  }

  async #end() {
    const waiting = this.state.classList.contains('created');
    const sure = waiting
      ? await confirm('Discard this broadcast?', 'Nothing was sent yet, so nothing is lost.', 'Discard')
      : await confirm('End this broadcast?', 'Your viewers see that it is over. It cannot be continued.', 'End broadcast');
    if (!sure) return;
    try {
      if (waiting) await api('DELETE', `/live/${this.id}`);
      else await api('POST', '/live/end', { stream_id: this.id });
      this.ended();
    } catch (error) { toast(error.message); }
    this.changed();
  }

  close() {
    clearTimeout(this.timer);
    this.player?.close();
    this.player = null;
    this.id = undefined;
  }
}

/** The same thing twice in a row is read once. */
const notSaidBefore = (event, index, all) => {
  const before = all[index + 1];
  return !before || before.kind !== event.kind || before.detail !== event.detail;
};
