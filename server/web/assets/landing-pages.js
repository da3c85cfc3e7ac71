// The page of each link: what it does, how it went, and where to go on.
import './header.js';
import { api } from './api.js';
import { download } from './download.js';
import { $, h } from './dom.js';
import { passwordField } from './field.js';
import { busy, explain, form } from './form.js';
import { arrive } from './landing-signin.js';
import { user } from './session.js';
import { signInForm } from './signin.js';

const main = $('main');

export function say(title, ...children) {
  const heading = h('h1', { tabindex: '-1' }, title);
  main.setAttribute('aria-busy', 'false');
  main.replaceChildren(h('section', { class: 'panel alone stack', 'aria-live': 'polite' }, heading, ...children));
  document.title = `${title} – Social Flow`;
  heading.focus({ preventScroll: true });
}

export const link = (href, text, kind = '') => h('a', { class: `button ${kind}`, href }, text);
const onward = () => h('div', { class: 'row' }, user() ? link('/account#security', 'To your account', 'primary') : link('/account', 'Sign in', 'primary'), link('/', 'See what is live'));

const incomplete = () => say('The link is not complete', h('p', {}, 'Open it from the mail once more, or copy all of it. After a reload of this page it has to be opened again.'), onward());

const PAGES = { verify, reset, email, export: archive, restore, signin: (_, given) => arrive(given) };

export function land(page, given) {
  const token = given.get('token');
  if (page === 'verify' && !token) return used('The link is not complete', 'Open it from the mail once more, or copy all of it. If you have followed it before, that may have been enough.');
  if (page !== 'signin' && page !== 'reset' && !token) return incomplete();
  return PAGES[page](token, given);
}

async function verify(token) {
  try {
    await api('POST', '/auth/verify-email', { token }, { anonymous: true });
    say('Your address is verified', h('p', {}, 'It is yours now: for signing in, and for a new password should you ever need one.'), onward());
  } catch (error) {
    if (error.code === 'bad_link') { await used('This link does not work any more', 'It may have been used already, and then all is well; else a newer mail has taken its place, or it is too old.'); return; }
    failed(error, {
      email_taken: ['Another account has this address', 'Somebody verified it first. If that was you, sign in to that account; else choose another address in your account.'],
    }, () => verify(token));
  }
}

/** A link opened twice, or its page loaded anew, is no fault where the account says that the address is verified. */
async function used(title, text) {
  const me = user() && await api('GET', '/auth/profile').catch(() => null);
  if (me?.email_verified) say('Your address is verified already', h('p', {}, `${me.email} is yours; there is nothing more to do.`), onward());
  else say(title, h('p', {}, `${text} ${me ? 'The address of the account that you are signed in to is not verified yet; there you can have a new mail sent.' : 'Sign in: your account says whether its address is verified, and sends a new mail.'}`), onward());
}

async function email(token) {
  try {
    await api('POST', '/auth/change-email/confirm', { token }, { anonymous: true });
    say('Your new address holds', h('p', {}, 'From now on mails go there. The old address has been told.'), onward());
  } catch (error) {
    failed(error, {
      bad_link: ['This link does not work any more', 'It was used already, a newer mail has taken its place, or it is too old. Ask for the change again in your account.'],
      email_taken: ['Another account has this address', 'Somebody verified it before you followed the link. Your account keeps the address that it has.'],
    }, () => email(token));
  }
}

/** Codes that the page has words for; anything else may be tried again. */
function failed(error, known, again) {
  const words = known[error.code];
  if (words) { say(words[0], h('p', {}, words[1]), onward()); return; }
  const retry = h('button', { class: 'button primary', type: 'button', onclick: () => busy(retry, again) }, 'Try again');
  say('That did not work yet', h('p', { class: 'notice bad' }, error.message), h('div', { class: 'row' }, retry));
}

function reset(token) {
  if (!token) {
    main.setAttribute('aria-busy', 'false');
    main.replaceChildren(h('div', { class: 'panel alone' }, signInForm({ mode: 'forgot', done: () => location.assign('/') })));
    return;
  }
  const password = passwordField('password', 'New password', 'new-password', 'At least 10 characters; a sentence is good.');
  const sent = form({
    label: 'Set a new password', fields: { password }, submit: 'Set the password',
    check: () => [['password', password.value.length < 10 ? 'Ten characters at least.' : '']],
    send: async () => {
      try {
        await api('POST', '/auth/reset-password/confirm', { token, password: password.value }, { anonymous: true });
      } catch (error) {
        if (error.code !== 'bad_link' && error.code !== 'email_taken') throw error;
        say('This link does not work any more', h('p', {}, 'It was used already, a newer mail has taken its place, or it is too old. Have a new one sent:'), signInForm({ mode: 'forgot', done: () => location.assign('/') }));
        return false;
      }
      return true;
    },
    done: (well) => {
      if (!well) return;
      say('The new password is set', h('p', {}, 'All sessions of the account have ended. Sign in with the new password.'),
        signInForm({ mode: 'login', done: () => location.assign('/account') }));
    },
  });
  say('Set a new password', sent.element);
  password.input.focus();
}

function archive(token) {
  const bar = h('progress', { max: 1, value: 0, 'aria-label': 'Come so far', hidden: true });
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const fetchIt = h('button', {
    class: 'button primary', type: 'button', onclick: () => busy(fetchIt, async () => {
      trouble.hidden = true;
      try {
        await download('POST', '/exports/file', { token }, { anonymous: true, onProgress: (share) => { bar.hidden = share === null; bar.value = share ?? 0; } });
        fetchIt.textContent = 'Download again';
      } catch (error) {
        if (error.code === 'no_export') say('The archive is not there any more', h('p', {}, 'Its time is over, or a newer one has taken its place. Ask for it again in your account.'), h('div', {}, link('/account#data', 'To your data', 'primary')));
        else explain(error, { trouble, button: fetchIt });
      } finally { bar.hidden = true; }
    }),
  }, 'Download');
  say('Your archive is ready', h('p', {}, 'One ZIP file with everything that is stored about you. Keep it where nobody else can read it.'), bar, h('div', { class: 'row' }, fetchIt), trouble);
}

function restore(token) {
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const back = h('button', {
    class: 'button primary', type: 'button', onclick: () => busy(back, async () => {
      try {
        await api('POST', '/users/me/restore', { token }, { anonymous: true });
        say('Your account is back', h('p', {}, 'Everything is as it was. Sign in to go on.'), signInForm({ mode: 'login', done: () => location.assign('/account') }));
      } catch (error) {
        if (error.code === 'not_leaving') say('There is nothing to take back', h('p', {}, 'The account was taken back already, or it has been erased.'), onward());
        else explain(error, { trouble, button: back });
      }
    }),
  }, 'Take my account back');
  say('Take your account back?', h('p', {}, 'You have deleted it. It can be taken back until it is erased.'), h('div', { class: 'row' }, back), trouble);
}
