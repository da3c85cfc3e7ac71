// The picture: chosen, shown at once, sent with its progress, taken away.
import { api, ApiError, problem } from './api.js';
import { h, setText, toast } from './dom.js';
import { hue } from './format.js';
import { action, panel } from './section.js';
import { know, token } from './session.js';

const MOST_BYTES = 8 * 1024 * 1024;
const KINDS = ['image/jpeg', 'image/png', 'image/webp', 'image/gif'];

/** changed: called after the picture has been set or taken away. */
export function avatarPanel(me, changed) {
  const face = h('div', { class: 'face large' });
  face.style.setProperty('--hue', hue(me.username));
  const input = h('input', { type: 'file', accept: KINDS.join(','), class: 'visually-hidden', id: 'avatar-file', tabindex: '-1', 'aria-hidden': 'true' });
  const choose = h('button', { class: 'button', type: 'button', onclick: () => input.click() }, 'Choose a picture');
  const bar = h('progress', { max: 1, value: 0, 'aria-label': 'Sent so far', hidden: true });
  const said = h('span', { class: 'muted', role: 'status' });
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const away = action('Remove', async () => {
    await api('DELETE', '/users/me/avatar');
    paint(null);
    changed();
    choose.focus();
    toast('The picture is gone.');
  }, { kind: 'danger', label: 'Remove the picture' });

  function paint(avatar) {
    face.replaceChildren(avatar ? h('img', { src: avatar.medium, alt: 'Your picture', width: 96, height: 96 }) : me.username.slice(0, 1).toUpperCase());
    away.button.hidden = !avatar;
    know({ picture: avatar?.small ?? null });
  }

  async function take(file) {
    trouble.hidden = true;
    const wrong = !KINDS.includes(file.type) ? 'Take a JPEG, PNG, WebP or GIF.' : file.size > MOST_BYTES ? 'The file is larger than 8 MB.' : '';
    if (wrong) { say(wrong); return; }
    const before = [...face.childNodes];
    const local = URL.createObjectURL(file);
    face.replaceChildren(h('img', { src: local, alt: '', width: 96, height: 96, class: 'pending' }));
    choose.disabled = true;
    bar.hidden = false;
    bar.value = 0;
    setText(said, 'Sending…');
    try {
      const fresh = await upload(file, (share) => { bar.value = share; if (share === 1) setText(said, 'Being made ready…'); });
      paint(fresh.avatar);
      changed();
      setText(said, 'Saved.');
    } catch (error) {
      face.replaceChildren(...before);
      setText(said, '');
      say(error.message);
    } finally {
      URL.revokeObjectURL(local);
      choose.disabled = false;
      bar.hidden = true;
    }
  }

  function say(text) { setText(trouble, text); trouble.hidden = false; }

  input.addEventListener('change', () => { if (input.files[0]) take(input.files[0]); input.value = ''; });
  const ground = panel('Picture', 'JPEG, PNG, WebP or GIF up to 8 MB. It is cut to a square from the middle; where it was taken is not kept.',
    h('div', { class: 'row avatar-row' }, face, h('div', { class: 'stack-small' }, h('div', { class: 'row' }, choose, away.button, input), bar, said)), trouble, away.trouble);
  ground.addEventListener('dragover', (event) => event.preventDefault());
  ground.addEventListener('drop', (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
  paint(me.avatar);
  return ground;
}

/** Send the file; fetch tells nothing of how far it is, so the older way. */
async function upload(file, progress) {
  const access = await token();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', '/api/v1/users/me/avatar');
    request.setRequestHeader('Content-Type', file.type);
    if (access) request.setRequestHeader('Authorization', `Bearer ${access}`);
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.upload.onload = () => progress(1);
    request.onerror = () => reject(new ApiError('The connection broke. Try again.'));
    request.onload = () => {
      let data = null;
      try { data = JSON.parse(request.responseText); } catch { /* not ours */ }
      if (request.status < 300) resolve(data);
      else reject(problem({ status: request.status, headers: { get: (name) => request.getResponseHeader(name) } }, data));
    };
    request.send(file);
  });
}
