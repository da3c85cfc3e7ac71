// Recovery codes: shown this once, to be copied, kept as a file, or printed.
import { copy, h, toast } from './dom.js';
import { save } from './section.js';
import { user } from './session.js';

/** done: called when the person says that they are kept. */
export function recoveryCodes(codes, done) {
  const text = `Social Flow: recovery codes of ${user()?.username ?? 'your account'}\nEach works once in place of your second factor.\n\n${codes.join('\n')}\n`;
  return h('section', { class: 'panel stack recovery', 'aria-labelledby': 'recovery-title' },
    h('h2', { id: 'recovery-title', tabindex: '-1' }, 'Keep these recovery codes'),
    h('p', {}, 'They are shown this once. When your phone or your passkey is lost, each of them signs in once in its place. Keep them where you would still have them then. Earlier codes are void.'),
    h('ul', { class: 'codes mono' }, ...codes.map((code) => h('li', {}, code))),
    h('div', { class: 'row' },
      h('button', { class: 'button small', type: 'button', onclick: async () => toast(await copy(codes.join('\n')) ? 'Copied.' : 'Select the codes and copy them.') }, 'Copy'),
      h('button', { class: 'button small', type: 'button', onclick: () => save(new Blob([text], { type: 'text/plain' }), 'social-flow-recovery-codes.txt') }, 'Download'),
      h('button', { class: 'button small primary', type: 'button', onclick: done }, 'I have kept them')));
}
