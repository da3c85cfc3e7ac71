// Elements from data. Text is always text: nothing here, or anywhere in the pages, parses markup.

/** h('p', {class: 'x', onclick: f, hidden: true}, 'text', child, null) → element. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else if (name === 'value') element.value = value;
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Write only on change: a live region must not speak again, and layout must not be touched for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A picture that fails leaves the plain ground behind it instead of a broken sign. */
export function picture(src, alt = '') {
  const image = h('img', { alt, decoding: 'async', loading: 'lazy' });
  image.addEventListener('load', () => { image.dataset.ready = ''; });
  image.addEventListener('error', () => { delete image.dataset.ready; });
  if (src) image.src = src;
  return image;
}

/** A question in a dialog; resolves to true when the answer is yes. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'confirm-title' },
      h('h2', { id: 'confirm-title' }, title), h('p', {}, text),
      h('div', { class: 'row end' },
        h('button', { class: 'button', type: 'button', onclick: () => dialog.close('') }, 'Keep it'),
        h('button', { class: 'button danger', type: 'button', onclick: () => dialog.close('yes') }, yes)));
    dialog.addEventListener('close', () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A short message at the foot of the page, said aloud too. */
export function toast(text) {
  let place = $('toasts');
  if (!place) document.body.append(place = h('div', { id: 'toasts', role: 'status', 'aria-live': 'polite' }));
  const note = h('p', { class: 'toast' }, text);
  place.append(note);
  setTimeout(() => note.remove(), 4500);
}

/** Copy to the clipboard; over plain HTTP from another machine there is no clipboard API, so the old way. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', { class: 'visually-hidden', value: text, readonly: true });
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
