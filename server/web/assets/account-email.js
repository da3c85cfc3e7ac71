// The address: verified or not, the mail again, another one.
import { api } from './api.js';
import { h, setText } from './dom.js';
import { field } from './field.js';
import { form } from './form.js';
import { action, panel } from './section.js';

export function emailPanel(me) {
  const said = h('p', { class: 'hint', role: 'status' });
  const again = action('Send the mail again', async () => {
    await api('POST', '/auth/verify-email/send');
    setText(said, `A link is on its way to ${me.email}. Links in older mails do not work any more.`);
  });
  const email = field('email', 'New address', { type: 'email', autocomplete: 'email', required: true, maxlength: 254, autocapitalize: 'none', spellcheck: 'false' });
  const asked = h('p', { class: 'notice', role: 'status', hidden: true });
  const made = form({
    label: 'Change the address', fields: { email }, submit: 'Send a link there', kind: '',
    check: () => [['email', !email.value.trim() ? 'Fill this in.' : email.input.validity.typeMismatch ? 'An address looks like name@example.org.' : '']],
    send: () => api('POST', '/auth/change-email', { email: email.value.trim() }),
    done: () => {
      setText(asked, `A link is on its way to ${email.value.trim()}. Until it is followed, your address stays as it is.`);
      asked.hidden = false;
    },
  });
  return panel('E-mail', 'For signing in, for a lost password, and for warnings.',
    h('div', { class: 'row' }, h('strong', { class: 'long' }, me.email), h('span', { class: `badge ${me.email_verified ? 'good' : 'interrupted'}` }, me.email_verified ? 'Verified' : 'Not verified')),
    !me.email_verified && h('p', {}, 'Follow the link in the mail that was sent to it. Until then the address is not yours alone: whoever reads its mail may claim it.'),
    !me.email_verified && h('div', { class: 'row' }, again.button), again.trouble, said,
    h('details', { class: 'more' }, h('summary', {}, 'Change the address'), h('div', { class: 'stack' }, made.element, asked)));
}
