// Security: address, password, second factors, passkeys, accounts elsewhere.
import { emailPanel } from './account-email.js';
import { linksPanel } from './account-links.js';
import { passkeysPanel } from './account-passkeys.js';
import { passwordPanel } from './account-password.js';
import { appPanel } from './account-totp.js';
import { api } from './api.js';
import { h } from './dom.js';
import { loaded } from './section.js';

/** The panels depend on each other: what one changes, all of them read again. */
export default function build() {
  const notes = h('div', { class: 'stack', hidden: true }); // recovery codes, which are shown once: no reading again removes them
  const read = async () => {
    const [me, factors] = await Promise.all([api('GET', '/auth/profile'), api('GET', '/auth/factors')]);
    return { me, factors };
  };
  const again = () => body.load({ quietly: true });
  const keep = (element) => {
    notes.replaceChildren(element);
    notes.hidden = false;
    element.querySelector('h2')?.focus();
    notes.scrollIntoView({ block: 'center' });
  };
  const put = { again, keep, done: () => { notes.hidden = true; notes.replaceChildren(); } };
  const body = loaded(read, ({ me, factors }) => [
    emailPanel(me, put), passwordPanel(me, factors, put), appPanel(factors, put), passkeysPanel(factors, put),
  ]);
  body.place.className = 'stack-wide';
  return [notes, body.place, linksPanel()];
}
