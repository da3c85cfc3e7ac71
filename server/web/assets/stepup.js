// "Is it still you?": asked when a route wants a password or another factor shown lately; then the action goes on.
import { api } from './api.js';
import { h } from './dom.js';
import { factorForm } from './factor.js';
import { passwordField } from './field.js';
import { busy, explain, quiet } from './form.js';
import { forget, leave, proven } from './session.js';

let asking = null;

/** True once shown; false when the person would rather not. Several actions at once ask once. */
export function stepUp() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

async function ask() {
  const held = await api('GET', '/auth/factors');
  return new Promise((resolve) => {
    let shown = false;
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'stepup-title' });
    const send = async (proof) => {
      proven(await api('POST', '/auth/step-up', proof));
      shown = true;
      dialog.close();
    };
    const cancel = () => dialog.close();
    const made = held.needed.length
      ? factorForm({
        id: 'stepup-title', heading: 'Confirm that it is you', text: 'This is a sensitive change. Show one of your factors again.',
        factors: held.needed, options: () => api('POST', '/auth/step-up/options', {}), send, cancel,
      })
      : held.password ? passwordForm(send, cancel) : nothing(dialog, cancel);
    dialog.append(made.element);
    dialog.addEventListener('close', () => { dialog.remove(); resolve(shown); });
    document.body.append(dialog);
    dialog.showModal();
    made.focus();
  });
}

function passwordForm(send, cancel) {
  const password = passwordField('password', 'Password', 'current-password');
  const fields = { password };
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const button = h('button', { class: 'button primary wide', type: 'submit' }, 'Continue');
  const parts = { fields, trouble, button, at: { wrong_proof: ['password', 'This is not your password.'] } };
  const element = h('form', { class: 'account-form', novalidate: true, 'aria-labelledby': 'stepup-title' },
    h('h2', { id: 'stepup-title' }, 'Confirm that it is you'), h('p', { class: 'muted' }, 'This is a sensitive change. Enter your password again.'),
    password.row, button, trouble,
    h('p', { class: 'center' }, h('button', { class: 'link', type: 'button', onclick: cancel }, 'Cancel')));
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    quiet(parts);
    if (!password.value) { password.say('Fill this in.'); password.input.focus(); return; }
    busy(button, async () => {
      try { await send({ password: password.value }); } catch (error) { explain(error, parts); password.input.select(); }
    });
  });
  return { element, focus: () => password.input.focus() };
}

/** An account that is opened from elsewhere alone: signing in again is what shows who is there. */
function nothing(dialog, cancel) {
  const again = h('button', {
    class: 'button primary wide', type: 'button', onclick: async () => {
      await leave();
      forget();
      dialog.close();
      const { openSignIn } = await import('./signin.js');
      openSignIn();
    },
  }, 'Sign in again');
  const element = h('div', { class: 'account-form' },
    h('h2', { id: 'stepup-title' }, 'Sign in again for this'),
    h('p', { class: 'muted' }, 'It is a while since you signed in, and this account has no password or passkey to show. Sign in once more, then repeat what you wanted to do.'),
    again, h('p', { class: 'center' }, h('button', { class: 'link', type: 'button', onclick: cancel }, 'Cancel')));
  return { element, focus: () => again.focus() };
}
