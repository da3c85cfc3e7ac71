// Small surfaces over the page: menus, pickers, dialogs. One at a time; Escape and a click elsewhere close them, and
// the focus goes back to where it came from.
import { h } from './dom.js';
import { icon } from './icons.js';

let open = null;

/** build(close) → elements. On a phone it is a sheet at the foot of the screen. */
export function popup(anchor, label, build, { role = 'menu' } = {}) {
  const again = open?.anchor === anchor;
  open?.close(false);
  if (again) return;
  const surface = h('div', { class: 'menu chat-menu', role, 'aria-label': label, tabindex: -1 });
  const close = (back = true) => {
    if (open?.surface !== surface) return;
    open = null;
    surface.remove();
    document.removeEventListener('pointerdown', outside, true);
    removeEventListener('resize', shut);
    anchor.setAttribute('aria-expanded', 'false');
    if (back && anchor.isConnected) anchor.focus({ preventScroll: true });
  };
  const shut = () => close(false);
  const outside = (event) => { if (!surface.contains(event.target) && !anchor.contains(event.target)) close(false); };
  surface.append(...build(close).filter(Boolean));
  surface.addEventListener('keydown', (event) => move(event, surface, close));
  surface.addEventListener('focusout', (event) => { if (event.relatedTarget && !surface.contains(event.relatedTarget)) close(false); });
  // in a full screen or a dialog the body is behind
  (document.fullscreenElement ?? document.body).append(surface);
  open = { anchor, surface, close };
  anchor.setAttribute('aria-expanded', 'true');
  place(surface, anchor.getBoundingClientRect());
  document.addEventListener('pointerdown', outside, true);
  addEventListener('resize', shut);
  (surface.querySelector('input, button') ?? surface).focus({ preventScroll: true });
}

function place(surface, anchor) {
  const { width, height } = surface.getBoundingClientRect();
  if (innerWidth <= 36 * 16) return; // a sheet, by the style sheet
  const left = Math.min(Math.max(8, anchor.right - width), innerWidth - width - 8);
  const below = anchor.bottom + 4;
  const top = below + height < innerHeight - 8 ? below : Math.max(8, anchor.top - height - 4);
  surface.style.left = `${left}px`;
  surface.style.top = `${top}px`;
}

const WAYS = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 };

function move(event, surface, close) {
  if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); close(); return; }
  const buttons = [...surface.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement);
  const sideways = event.key === 'ArrowRight' || event.key === 'ArrowLeft';
  if (!(event.key in WAYS) || (at < 0 && sideways)) return;
  event.preventDefault();
  let next = at + WAYS[event.key];
  const here = buttons[at]?.getBoundingClientRect();
  if (here && !sideways) { // to the row below or above, of rows with many
    const way = WAYS[event.key];
    const rows = buttons.map((one, index) => ({ index, box: one.getBoundingClientRect() })).filter(({ box }) => way * (box.top - here.top) > 4);
    const near = Math.min(...rows.map(({ box }) => Math.abs(box.top - here.top)));
    const row = rows.filter(({ box }) => Math.abs(Math.abs(box.top - here.top) - near) < 4);
    next = row.sort((a, b) => Math.abs(a.box.left - here.left) - Math.abs(b.box.left - here.left))[0]?.index ?? (way > 0 ? 0 : buttons.length - 1);
  }
  buttons[(next + buttons.length) % buttons.length]?.focus();
}

export function item(text, act, { kind = '' } = {}) {
  return h('button', { class: `menu-item ${kind}`, type: 'button', role: 'menuitem', onclick: act }, text);
}

let number = 0;

/** A dialog with a heading and a way out. build(close) → elements. Resolves when it is closed. */
export function dialog(title, build) {
  return new Promise((resolve) => {
    const id = `dialog-${++number}`;
    const before = document.activeElement;
    const element = h('dialog', { class: 'dialog chat-dialog', 'aria-labelledby': id },
      h('h2', { id }, title),
      h('button', { class: 'icon-button dialog-close', type: 'button', 'aria-label': 'Close', onclick: () => element.close() }, icon('close')));
    element.append(...build(() => element.close()));
    element.addEventListener('close', () => { element.remove(); if (before?.isConnected) before.focus({ preventScroll: true }); resolve(); });
    (document.fullscreenElement ?? document.body).append(element);
    element.showModal();
  });
}
