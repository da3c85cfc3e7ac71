// Another file in the place of a video's: it is brought by tus, and one sees how far it is until the video has it.
import { api } from './api.js';
import { confirm, h, setText, toast } from './dom.js';
import { KINDS, Upload } from './library-upload.js';

const EVERY = 2000;
const STATES = { uploading: 'The new file is on its way', processing: 'The new file is being prepared', playable: 'The new file is being prepared', ready: 'The new file is taking the place of the old one', failed: '' };

export class FileInPlace {
  /** changed: called when the video has the new file. */
  constructor(video, changed) {
    Object.assign(this, { id: video.id, changed });
    this.choose = h('input', { type: 'file', accept: KINDS, class: 'visually-hidden', id: `file-${video.id}`, onchange: () => this.#send() });
    this.label = h('label', { class: 'button small', for: this.choose.id }, 'Choose another file');
    this.coming = h('ul', { class: 'uploads' });
    this.bar = h('progress', { max: 1, hidden: true, 'aria-label': 'Progress of the new file' });
    this.said = h('p', { class: 'muted', role: 'status', hidden: true });
    this.again = h('button', { class: 'button small', type: 'button', hidden: true, onclick: () => this.#act('POST', '/retry') }, 'Try again');
    this.back = h('button', { class: 'button small', type: 'button', hidden: true, onclick: () => this.#takeBack() }, 'Keep the old file');
    this.element = h('section', { class: 'stack-small', 'aria-label': 'File' }, h('h2', {}, 'File'),
      h('p', { class: 'muted' }, 'Another file takes the place of this one once all of it is prepared. The address, likes, views and captions stay, and who is watching goes on.'),
      this.coming, this.said, this.bar, h('div', { class: 'row' }, this.label, this.choose, this.again, this.back));
    this.#show(video);
  }

  #show({ state, replacement }) {
    this.draft = replacement;
    const moving = replacement && replacement.state !== 'failed';
    const said = replacement ? replacement.error?.message ?? STATES[replacement.state] : '';
    setText(this.said, replacement?.error ? `${said} The old file is as it was.` : said && `${said}.`);
    this.said.className = replacement?.error ? 'wrong' : 'muted';
    this.said.hidden = !said;
    this.bar.hidden = !moving || this.upload;
    if (replacement?.progress > 0) this.bar.value = replacement.progress; else this.bar.removeAttribute('value');
    this.label.hidden = Boolean(moving) || state !== 'ready' || Boolean(this.upload);
    this.again.hidden = replacement?.state !== 'failed';
    this.back.hidden = !replacement || replacement.state === 'ready' || Boolean(this.upload);
    clearTimeout(this.timer);
    if (moving || this.upload) this.timer = setTimeout(() => this.#look(), EVERY);
  }

  async #look() {
    if (!this.element.isConnected) return;
    try {
      const before = this.draft;
      const video = await api('GET', `/videos/${this.id}`);
      if (before && !video.replacement && !this.upload && video.events?.[0]?.kind !== 'failed') { this.changed(); return; }
      this.#show(video);
    } catch { this.timer = setTimeout(() => this.#look(), EVERY); }
  }

  #send() {
    const [file] = this.choose.files;
    this.choose.value = '';
    if (!file) return;
    const ended = () => { if (!one.paused) { this.upload = null; one.element.remove(); } this.#look(); };
    const one = new Upload(file, { replaces: this.id, begun: () => this.#look(), done: ended });
    this.upload = one;
    this.label.hidden = true;
    this.coming.replaceChildren(one.element);
    one.start();
  }

  async #takeBack() {
    if (!await confirm('Keep the old file?', 'What was uploaded to replace it is deleted.', 'Keep the old file')) return;
    await this.#act('DELETE', '');
  }

  async #act(method, path) {
    try { await api(method, `/videos/${this.draft.id}${path}`, method === 'POST' ? {} : undefined); } catch (error) { toast(error.message); }
    this.#look();
  }
}
