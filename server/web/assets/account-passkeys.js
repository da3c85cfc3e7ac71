// Passkeys: made, named, removed.
import { recoveryCodes } from './account-codes.js';
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { field } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { make, possible } from './passkey.js';
import { action, panel } from './section.js';

export function passkeysPanel(factors, { again, keep, done }) {
  const add = action('Add a passkey', async () => {
    const options = await api('POST', '/auth/passkeys/options', {});
    const made = await api('POST', '/auth/passkeys', await make(options));
    toast('The passkey is added.');
    if (made.recovery_codes) keep(recoveryCodes(made.recovery_codes, done));
    again();
  }, { kind: factors.passkeys.length ? '' : 'primary' });
  return panel('Passkeys', 'Sign in with your fingerprint, your face, or the PIN of your device. Nothing to remember, and nothing that a false site could catch.',
    factors.passkeys.length > 0 && h('ul', { class: 'rows' }, ...factors.passkeys.map((one) => row(one, again))),
    possible() ? h('div', { class: 'row' }, add.button) : h('p', { class: 'notice' }, 'This browser cannot make passkeys here: they need https.'),
    add.trouble);
}

function row(passkey, again) {
  const name = field('name', 'Name', { maxlength: 100, required: true, value: passkey.name, autocomplete: 'off' });
  const rename = h('button', { class: 'button small', type: 'button', 'aria-label': `Rename ${passkey.name}`, onclick: () => turn(true) }, 'Rename');
  const sent = form({
    label: `Rename ${passkey.name}`, fields: { name }, submit: 'Save',
    check: () => [['name', name.value.trim() ? '' : 'Fill this in.']],
    send: () => api('PATCH', `/auth/passkeys/${passkey.id}`, { name: name.value.trim() }), done: again,
    foot: [h('button', { class: 'link', type: 'button', onclick: () => turn(false) }, 'Cancel')],
  });
  const remove = action('Remove', async () => {
    if (!await confirm(`Remove ${passkey.name}?`, 'It signs in no more. Your device may still offer it; remove it there as well.', 'Remove it')) return;
    await api('DELETE', `/auth/passkeys/${passkey.id}`);
    toast('The passkey is removed.');
    again();
  }, { kind: 'danger', label: `Remove ${passkey.name}` });
  const used = passkey.last_used_at ? `last used ${day(passkey.last_used_at)}` : 'not used yet';
  const shown = h('div', { class: 'row-line' },
    h('div', { class: 'row-text' }, h('strong', {}, passkey.name), h('small', { class: 'muted' }, `Added ${day(passkey.created_at)}, ${used}${passkey.synced ? ', on all your devices' : ''}`)),
    h('div', { class: 'row' }, rename, remove.button));
  const turn = (editing) => {
    shown.hidden = editing;
    sent.element.hidden = !editing;
    (editing ? name.input : rename).focus();
  };
  sent.element.hidden = true;
  return h('li', {}, shown, sent.element, remove.trouble);
}
