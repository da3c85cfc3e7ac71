// Showing a second factor: a code of the app, a recovery code, or a passkey. At the door, and to confirm later.
import { h, setText } from './dom.js';
import { codeField } from './field.js';
import { busy, explain, quiet } from './form.js';
import { possible, show } from './passkey.js';

/**
 * A form. factors: totp, passkey, recovery, as the API lists them. options: async () → the passkey's options.
 * send: async ({code} | {challenge, passkey}); throws ApiError. again: called when the attempt is over (bad_challenge).
 */
export function factorForm({ heading, text, factors, options, send, again, cancel, id = 'factor-title' }) {
  const codes = factors.includes('totp') || factors.includes('recovery');
  const both = factors.includes('totp') && factors.includes('recovery');
  let recovery = !factors.includes('totp');
  const code = codeField('', { recovery: true });
  const fields = { code };
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const submit = h('button', { class: 'button primary wide', type: 'submit' }, 'Continue');
  const other = both && h('button', { class: 'link', type: 'button', onclick: () => turn(!recovery) });
  const touch = factors.includes('passkey') && possible() && h('button', {
    class: `button wide ${codes ? '' : 'primary'}`, type: 'button', onclick: () => work(touch, async () => send(await show(await options()))),
  }, 'Use a passkey');
  const element = h('form', { class: 'account-form', novalidate: true, 'aria-labelledby': id },
    h('h2', { id }, heading), h('p', { class: 'muted' }, text),
    codes && code.row, codes && submit, touch, trouble,
    !codes && !touch && h('p', { class: 'notice bad' }, 'This browser cannot use passkeys here, and the account has nothing else to show. Use the device that holds the passkey.'),
    h('p', { class: 'center muted' }, other, cancel && h('button', { class: 'link', type: 'button', onclick: cancel }, 'Cancel')));

  function turn(next) {
    recovery = next;
    setText(code.label, recovery ? 'Recovery code' : 'Code of your authenticator app');
    setText(code.hint, recovery ? 'One of those you kept; each works once.' : 'Six digits.');
    code.input.setAttribute('inputmode', recovery ? 'text' : 'numeric');
    code.input.setAttribute('autocomplete', recovery ? 'off' : 'one-time-code');
    if (other) setText(other, recovery ? 'Use the app instead' : 'Use a recovery code');
    code.input.value = '';
    code.say('');
    if (element?.isConnected) code.input.focus();
  }

  const parts = {
    fields, trouble, button: submit,
    at: { wrong_factor: 'code', wrong_proof: 'code' },
  };

  async function work(button, run) {
    quiet(parts);
    await busy(button, async () => {
      try {
        await run();
      } catch (error) {
        if (error.code === 'bad_challenge' && again) again(error);
        else explain(error, button === submit ? parts : { trouble, button });
        if (button === submit) code.input.select();
      }
    });
  }

  element.addEventListener('submit', (event) => {
    event.preventDefault();
    const typed = code.input.value.trim();
    if (!typed) { code.say('Fill this in.'); code.input.focus(); return; }
    work(submit, () => send({ code: recovery ? typed : typed.replace(/[\s-]/g, '') }));
  });
  turn(recovery);
  return { element, focus: () => (codes ? code.input : touch || element).focus() };
}
