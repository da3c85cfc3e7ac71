// Icons as paths of our own, 24 × 24, drawn with the text's colour.
const PATHS = {
  play: 'M8 5.5v13l10.5-6.5z',
  pause: 'M7 5h3.6v14H7zM13.4 5H17v14h-3.6z',
  volume: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM14.5 8.6v1.7a2 2 0 0 1 0 3.4v1.7a3.7 3.7 0 0 0 0-6.8zM14.5 5v1.7a5.5 5.5 0 0 1 0 10.6V19a7.2 7.2 0 0 0 0-14z',
  muted: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM20.7 9.7l-1.2-1.2-2.2 2.2-2.2-2.2-1.2 1.2 2.2 2.3-2.2 2.2 1.2 1.2 2.2-2.2 2.2 2.2 1.2-1.2-2.2-2.2z',
  full: 'M4.5 4.5h6v2h-4v4h-2zM13.5 4.5h6v6h-2v-4h-4zM4.5 13.5h2v4h4v2h-6zM17.5 13.5h2v6h-6v-2h4z',
  unfull: 'M8.5 4.5h2v6h-6v-2h4zM13.5 4.5h2v4h4v2h-6zM4.5 13.5h6v6h-2v-4h-4zM13.5 13.5h6v2h-4v4h-2z',
  pip: 'M3 5h18v14H3zm2 2v10h14V7zm7 4h6v5h-6z',
  gear: 'M10.3 3h3.4l.5 2.4 1.6.9 2.3-.8 1.7 3-1.8 1.6v1.8l1.8 1.6-1.7 3-2.3-.8-1.6.9-.5 2.4h-3.4l-.5-2.4-1.6-.9-2.3.8-1.7-3L6 11.9v-1.8L4.2 8.5l1.7-3 2.3.8 1.6-.9zM12 8.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z',
  eye: 'M12 5.5c4.6 0 8 3.8 9.3 6.5-1.3 2.7-4.7 6.5-9.3 6.5S4 14.7 2.7 12C4 9.3 7.4 5.5 12 5.5zm0 2.3a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zm0 2a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4z',
  moon: 'M20 14.3A8.3 8.3 0 0 1 9.7 4a8.3 8.3 0 1 0 10.3 10.3z',
  sun: 'M12 7.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM11 2h2v3.2h-2zM11 18.8h2V22h-2zM2 11h3.2v2H2zM18.8 11H22v2h-3.2zM4.2 5.6l1.4-1.4 2.3 2.3-1.4 1.4zM16.1 17.5l1.4-1.4 2.3 2.3-1.4 1.4zM4.2 18.4l2.3-2.3 1.4 1.4-2.3 2.3zM16.1 6.5l2.3-2.3 1.4 1.4-2.3 2.3z',
  send: 'M3.5 4.2 21 12 3.5 19.8l2-6.6 7.5-1.2-7.5-1.2z',
  bin: 'M9 3.5h6l1 2h4v2H4v-2h4zM5.7 9h12.6l-.9 11.5H6.6z',
  copy: 'M8 3h12v13h-4v5H4V8h4zm2 2v3h6v6h2V5zm-4 5v9h8v-9z',
  check: 'm9.6 18.3-6-6L5.4 10.5l4.2 4.2 9-9 1.8 1.8z',
  more: 'M5 10.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zm7 0a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zm7 0a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z',
  close: 'm6.4 5 5.6 5.6L17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6l5.6-5.6L5 6.4z',
  reply: 'M10 5 3.5 11.2 10 17.4v-4c4.6 0 7.6 1.4 10 5-.8-5.6-4-9.6-10-10z',
  face: 'M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zm0 2a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM8.8 8.6a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6zm6.4 0a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6zM7.6 13.4h8.8a4.5 4.5 0 0 1-8.8 0z',
  pin: 'M8.5 3h7v1.8l-1 .7.5 5 3 2.5v2h-5.1L12 21l-.9-6H6v-2l3-2.5.5-5-1-.7z',
  people: 'M9 4.5a3.6 3.6 0 1 1 0 7.2 3.6 3.6 0 0 1 0-7.2zM2.5 19.5c0-3.9 2.6-6.3 6.5-6.3s6.5 2.4 6.5 6.3zM16 5.6a3 3 0 0 1 .4 6 6 6 0 0 0 .3-1.9 6 6 0 0 0-1.6-4zm1.4 13.9c0-2.5-.8-4.6-2.3-6 3.7.1 6.4 2.4 6.4 6z',
  back: 'M11.5 5.5 5 12l6.5 6.5V14H19v-4h-7.5z',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', PATHS[name]);
  path.setAttribute('fill-rule', 'evenodd');
  svg.append(path);
  return svg;
}

/** Put another icon into a button without touching the rest of it. */
export function setIcon(button, name) {
  if (button.dataset.icon === name) return;
  button.dataset.icon = name;
  button.querySelector('svg')?.remove();
  button.prepend(icon(name));
}
