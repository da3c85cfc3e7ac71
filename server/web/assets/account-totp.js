// The authenticator app, and the recovery codes that stand in for it.
import { recoveryCodes } from './account-codes.js';
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { codeField } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { action, copyLine, panel } from './section.js';

export function appPanel(factors, { again, keep, done }) {
  const { totp, needed, recovery_codes_left: left } = factors;
  const setup = h('div', { class: 'stack', hidden: true });
  const begin = action(totp.enabled ? 'Replace it' : 'Add an authenticator app', async () => {
    const made = await api('POST', '/auth/enable-2fa', {});
    setup.replaceChildren(steps(made, setup, begin.button, (codes) => { keep(recoveryCodes(codes, done)); again(); }));
    setup.hidden = false;
    begin.button.hidden = true;
    setup.querySelector('input[name=code]').focus();
  }, { kind: totp.enabled ? '' : 'primary' });
  const remove = action('Remove it', async () => {
    const then = factors.passkeys.length ? 'Your passkeys stay, and are asked for instead.' : 'From then on your password alone signs in.';
    if (!await confirm('Remove the authenticator app?', then, 'Remove it')) return;
    await api('POST', '/auth/disable-2fa', {});
    toast('The authenticator app is removed.');
    again();
  }, { kind: 'danger' });
  const renew = action('Make new codes', async () => {
    if (!await confirm('Make new recovery codes?', 'The old ones stop working at once.', 'Make new codes')) return;
    const { recovery_codes: codes } = await api('POST', '/auth/recovery-codes', {});
    keep(recoveryCodes(codes, done));
    again();
  });
  return panel('Two-step sign-in', 'After the password, a code of an app on your phone is asked for.',
    h('div', { class: 'row between' },
      h('p', { class: 'row' }, h('strong', {}, 'Authenticator app'), h('span', { class: `badge ${totp.enabled ? 'good' : ''}` }, totp.enabled ? `On since ${day(totp.since)}` : 'Off')),
      h('div', { class: 'row' }, begin.button, totp.enabled && remove.button)),
    setup, begin.trouble, remove.trouble,
    needed.length > 0 && h('div', { class: 'row between' },
      h('p', { class: 'row' }, h('strong', {}, 'Recovery codes'), h('span', { class: `badge ${left > 3 ? '' : 'interrupted'}` }, `${left} left`)), renew.button),
    renew.trouble);
}

function steps(made, place, opener, confirmed) {
  const code = codeField('Code that the app shows');
  const close = () => { place.hidden = true; place.replaceChildren(); opener.hidden = false; opener.focus(); };
  const sent = form({
    label: 'Add an authenticator app', fields: { code }, submit: 'Turn it on',
    check: () => [['code', /^\d{6}$/.test(code.value.replace(/[\s-]/g, '')) ? '' : 'Six digits, as the app shows them.']],
    at: { wrong_proof: 'code' },
    send: () => api('POST', '/auth/enable-2fa/confirm', { code: code.value.replace(/[\s-]/g, '') }),
    done: ({ recovery_codes: codes }) => { close(); confirmed(codes); },
    foot: [h('button', { class: 'link', type: 'button', onclick: close }, 'Cancel')],
  });
  return h('div', { class: 'setup' },
    h('img', { class: 'qr', src: made.qr, alt: 'QR code for the authenticator app', width: 200, height: 200 }),
    h('div', { class: 'stack' },
      h('ol', { class: 'plain-steps' },
        h('li', {}, 'Open your authenticator app and scan the picture. On this phone: ', h('a', { href: made.otpauth_uri }, 'open it in the app'), '.'),
        h('li', {}, 'Type the six digits that it shows.')),
      sent.element,
      h('details', { class: 'more' }, h('summary', {}, 'The picture cannot be scanned?'), copyLine('Secret, for typing', made.secret.replace(/(.{4})(?=.)/g, '$1 ')))));
}
