// Back from a provider: a code that is traded for a session or a link, or what went wrong.
import { api } from './api.js';
import { h } from './dom.js';
import { link, say } from './landing-pages.js';
import { begin, user } from './session.js';
import { signInForm } from './signin.js';

const SAID = {
  expired: 'It took too long, or was begun in another browser.', denied: 'You did not allow it there.',
  unavailable: 'The provider does not answer right now.', failed: 'The provider gave an answer that cannot be trusted.',
};

function after() {
  try {
    const path = sessionStorage.getItem('sf.after');
    sessionStorage.removeItem('sf.after');
    return path;
  } catch { return null; }
}

/** A path of our own pages, whatever was said. */
const own = (path) => (/^\/(?![/\\])/.test(path ?? '') ? path : '/');

export async function arrive(given) {
  if (given.get('error')) {
    const linking = user() && after()?.startsWith('/account');
    say(linking ? 'Nothing was linked' : 'You are not signed in', h('p', {}, SAID[given.get('error')] ?? SAID.failed),
      h('div', { class: 'row' }, linking ? link('/account#security', 'Back to your account', 'primary') : link('/account', 'Try again', 'primary')));
  } else if (given.get('link')) await linked(given.get('link'));
  else if (given.get('code')) await signedIn(given.get('code'));
  else say('There is nothing here to complete', h('p', {}, 'Begin the sign-in again.'), h('div', {}, link('/account', 'Sign in', 'primary')));
}

async function linked(code) {
  try {
    const made = await api('POST', '/auth/oauth/links', { code });
    say(`${made.title} is linked`, h('p', {}, `${made.name || made.email || 'The account'} there opens your account here from now on.`), h('div', {}, link('/account#security', 'Back to your account', 'primary')));
  } catch (error) {
    say('Nothing was linked', h('p', { class: 'notice bad' }, error.code === 'bad_sign_in_code' ? 'It took too long, or was begun in another browser.' : error.message), h('div', {}, link('/account#security', 'Back to your account', 'primary')));
  }
}

async function signedIn(code) {
  try {
    const answer = await api('POST', '/auth/oauth/token', { code }, { anonymous: true });
    begin(answer);
    after();
    if (!answer.created) { location.replace(own(answer.redirect)); return; }
    say('Welcome', h('p', {}, `Your account is made. Others see you as ${answer.user.username}; you can change that.`),
      h('div', { class: 'row' }, link(own(answer.redirect), 'Go on', 'primary'), link('/account#profile', 'Choose a username')));
  } catch (error) {
    if (error.code === 'second_factor_required' || error.code === 'account_leaving') {
      const next = after();
      say('Signing in', signInForm({ problem: error, done: () => location.replace(own(next)) }));
    } else if (error.code === 'link_needed') {
      say('You have an account here', h('p', {}, 'Its address is the one that the provider vouches for. Sign in to it in the way you are used to; then link the provider under Security.'),
        signInForm({ mode: 'login', done: () => location.assign('/account#security') }));
    } else {
      say('You are not signed in', h('p', { class: 'notice bad' }, error.code === 'bad_sign_in_code' ? 'It took too long, or was begun in another browser.' : error.message), h('div', {}, link('/account', 'Try again', 'primary')));
    }
  }
}
