// Sign in, register, forgot the password: one form that changes, in a dialog or in a page.
import { api, sentence } from './api.js';
import { day } from './format.js';
import { factorForm } from './factor.js';
import { field, passwordField } from './field.js';
import { busy, explain, quiet } from './form.js';
import { h, setText, toast } from './dom.js';
import { offered, possible, show } from './passkey.js';
import { begin } from './session.js';

/** The form in a box; `done(user)` is called once somebody is signed in. */
export function signInForm({ mode = 'login', done, problem = null } = {}) {
  const box = h('div', { class: 'sign-in' });
  const door = new Door(box, done);
  if (problem) door.refused(problem); else door.open(mode);
  return box;
}

/** The form in a dialog, on top of whatever is playing. */
export function openSignIn(mode = 'login', done = null) {
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'account-title' });
  dialog.append(
    h('button', { class: 'dialog-close icon-button', type: 'button', 'aria-label': 'Close', onclick: () => dialog.close() }, '×'),
    signInForm({ mode, done: (me) => { dialog.close(); done?.(me); } }));
  dialog.addEventListener('close', () => dialog.remove());
  let pressed = null; // a text that is selected out over the edge must not close what was typed
  dialog.addEventListener('pointerdown', (event) => { pressed = event.target; });
  dialog.addEventListener('click', (event) => { if (event.target === dialog && pressed === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector('input:not([hidden], :disabled)')?.focus();
}

/** Begin at a provider; the browser leaves this page. */
export async function goTo(provider, redirect = location.pathname + location.search) {
  try { sessionStorage.setItem('sf.after', redirect); } catch { /* then it ends at the front page */ }
  const { url } = await api('POST', `/auth/oauth/${encodeURIComponent(provider)}/start`, { redirect }, { anonymous: true });
  location.assign(url);
}

let providers = null;
/** Those that this server offers; asked once a page. */
export function listProviders() {
  providers ??= api('GET', '/auth/oauth', undefined, { anonymous: true }).then((answer) => answer.items)
    .catch(() => { providers = null; return []; });
  return providers;
}

class Door {
  constructor(box, done) {
    this.box = box;
    this.done = done;
    this.waiting = null; // for a passkey among the names that the browser fills in
  }

  /** The form for login, register or forgot; what was typed stays. */
  open(mode) {
    if (!this.form) this.#build();
    this.box.replaceChildren(this.form);
    this.#turn(mode);
  }

  #build() {
    this.heading = h('h2', { id: 'account-title' });
    this.lead = h('p', { class: 'muted' });
    this.email = field('email', 'E-mail', { required: true, maxlength: 254, autocapitalize: 'none', spellcheck: 'false' });
    this.name = field('username', 'Username', {
      autocomplete: 'nickname', required: true, minlength: 3, maxlength: 30, pattern: '[A-Za-z0-9_.\\-]+', autocapitalize: 'none', spellcheck: 'false',
    }, 'Everybody sees it. Letters, digits, . _ and -');
    this.password = passwordField('password', 'Password', 'current-password');
    this.submit = h('button', { class: 'button primary wide', type: 'submit' });
    this.trouble = h('div', { class: 'notice bad', role: 'alert', hidden: true });
    this.other = h('button', { class: 'link', type: 'button', onclick: () => this.#turn(this.mode === 'login' ? 'register' : 'login') });
    this.lost = h('button', { class: 'link', type: 'button', onclick: () => this.#turn('forgot') }, 'Forgot the password?');
    this.touch = h('button', { class: 'button wide', type: 'button', onclick: () => this.#passkey() }, 'Sign in with a passkey');
    this.elsewhere = h('div', { class: 'stack-small' });
    this.form = h('form', { class: 'account-form', 'aria-labelledby': 'account-title', novalidate: true },
      this.heading, this.lead, this.email.row, this.name.row, this.password.row, this.submit, this.trouble,
      this.touch, this.elsewhere, h('p', { class: 'center muted' }, this.other), h('p', { class: 'center muted' }, this.lost));
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.#submit(); });
    this.fields = { email: this.email, username: this.name, password: this.password };
    listProviders().then((items) => this.elsewhere.append(...items.map((one) => {
      const button = h('button', {
        class: 'button wide', type: 'button', onclick: () => busy(button, () => goTo(one.key).catch((error) => this.#say(error))),
      }, `Continue with ${one.title}`);
      return button;
    })));
  }

  #turn(mode) {
    this.form.dispatchEvent(new Event('input')); // what the button waits for is not about this
    this.mode = mode;
    const [registering, forgot] = [mode === 'register', mode === 'forgot'];
    setText(this.heading, { login: 'Welcome back', register: 'Create your account', forgot: 'Set a new password' }[mode]);
    setText(this.lead, forgot ? 'Type the address of your account. If it is known here, a mail with a link goes to it.' : '');
    this.lead.hidden = !forgot;
    setText(this.submit, { login: 'Sign in', register: 'Create account', forgot: 'Send the mail' }[mode]);
    setText(this.other, { login: 'New here? Create an account', register: 'I have an account: sign in', forgot: 'Back to signing in' }[mode]);
    setText(this.email.label, mode === 'login' ? 'E-mail or username' : 'E-mail');
    this.email.input.type = mode === 'login' ? 'text' : 'email';
    this.email.input.autocomplete = mode === 'login' ? 'username webauthn' : 'email';
    this.name.row.hidden = !registering;
    this.name.input.disabled = !registering;
    this.password.row.hidden = forgot;
    this.password.input.disabled = forgot;
    this.password.input.autocomplete = registering ? 'new-password' : 'current-password';
    this.password.cover();
    setText(this.password.hint, registering ? 'At least 10 characters; a sentence is good.' : '');
    this.lost.parentElement.hidden = mode !== 'login';
    this.elsewhere.hidden = forgot;
    this.touch.hidden = mode !== 'login' || !possible() || this.without === true;
    quiet(this);
    this.#wait();
  }

  get button() { return this.submit; }

  #say(error) {
    explain(error, {
      fields: this.fields, trouble: this.trouble, button: this.submit,
      at: { username_taken: ['username', 'This username is taken; choose another.'], email_taken: 'email', wrong_credentials: ['password', 'E-mail, username or password is wrong.'] },
    });
  }

  async #submit() {
    const { mode } = this;
    quiet(this);
    const typed = this.email.value.trim();
    const checks = [
      [this.email, !typed ? 'Fill this in.' : mode !== 'login' && this.email.input.validity.typeMismatch ? 'An address looks like name@example.org.' : ''],
      [this.name, mode === 'register' && !this.name.input.checkValidity() ? '3 to 30 letters, digits, . _ or -, please.' : ''],
      [this.password, mode === 'forgot' ? '' : !this.password.value ? 'Fill this in.' : mode === 'register' && this.password.value.length < 10 ? 'Ten characters at least.' : ''],
    ];
    for (const [one, text] of checks) one.say(text);
    const wrong = checks.find(([, text]) => text);
    if (wrong) { wrong[0].input.focus(); return; }
    await busy(this.submit, async () => {
      try {
        if (mode === 'forgot') {
          await api('POST', '/auth/reset-password', { email: typed }, { anonymous: true });
          this.#sent(typed);
        } else if (mode === 'register') {
          this.#in(await api('POST', '/auth/register', {
            email: typed, username: this.name.value.trim(), password: this.password.value,
          }, { anonymous: true }));
          toast('Welcome. A mail with a link is on its way, to verify your address.');
        } else {
          this.#in(await api('POST', '/auth/login', { email: typed, password: this.password.value }, { anonymous: true }));
        }
      } catch (error) {
        this.refused(error);
      }
    });
  }

  #sent(address) {
    const back = h('button', { class: 'button wide', type: 'button', onclick: () => this.open('login') }, 'Back to signing in');
    this.box.replaceChildren(h('div', { class: 'account-form' },
      h('h2', { id: 'account-title', tabindex: '-1' }, 'Look into your mail'),
      h('p', { role: 'status' }, `If an account here has the address ${address}, a link to set a new password is on its way there. It works once, and for a short time.`),
      h('p', { class: 'muted' }, 'Nothing came? Look among the spam, or ask again in a few minutes.'), back));
    back.focus();
  }

  #in(answer) {
    this.stop();
    begin(answer);
    this.done?.(answer.user, answer);
  }

  /** A sign-in that is not complete, or not possible. */
  refused(error) {
    if (error.code === 'second_factor_required') this.#factor(error.problem);
    else if (error.code === 'account_leaving') this.#leaving(error.problem);
    else {
      if (!this.form) this.open('login');
      this.#say(error);
    }
  }

  #factor({ challenge, factors }) {
    this.stop();
    const back = (error) => {
      this.open('login');
      if (error?.code) this.#say({ ...error, message: `${sentence(error.message)} Sign in once more.`, code: '', problem: {} });
    };
    const made = factorForm({
      id: 'account-title', heading: 'One more step', text: 'Your account asks for a second factor.', factors, cancel: () => back(),
      options: () => api('POST', '/auth/login/second-factor/options', { challenge }, { anonymous: true }),
      send: async ({ code, passkey }) => {
        try {
          this.#in(await api('POST', '/auth/login/second-factor', { challenge, ...(code ? { code } : { passkey }) }, { anonymous: true }));
        } catch (error) {
          if (error.code === 'account_leaving') this.#leaving(error.problem); else throw error;
        }
      },
      again: back,
    });
    this.box.replaceChildren(made.element);
    if (this.box.isConnected) made.focus();
  }

  /** Its owner has deleted it and may take it back. */
  #leaving({ restore, due_at: due }) {
    this.stop();
    const trouble = h('div', { class: 'notice bad', role: 'alert', hidden: true });
    const back = h('button', {
      class: 'button primary wide', type: 'button', onclick: () => busy(back, async () => {
        try {
          await api('POST', '/users/me/restore', { token: restore }, { anonymous: true });
          toast('Your account is back. Sign in.');
          this.open('login');
          this.password.input.focus();
        } catch (error) { explain(error, { trouble, button: back }); }
      }),
    }, 'Take my account back');
    this.box.replaceChildren(h('div', { class: 'account-form' },
      h('h2', { id: 'account-title' }, 'This account will be deleted'),
      h('p', {}, `You have deleted it. On ${day(due)} everything personal is erased; until then you can take it back.`),
      back, trouble, h('p', { class: 'center' }, h('button', { class: 'link', type: 'button', onclick: () => this.open('login') }, 'Leave it so'))));
    if (this.box.isConnected) back.focus();
  }

  async #passkey() {
    quiet(this);
    this.stop();
    await busy(this.touch, async () => {
      try {
        const options = await api('POST', '/auth/login/passkey/options', {}, { anonymous: true });
        await this.#enter(await show(options));
      } catch (error) {
        if (error.code === 'account_leaving') this.#leaving(error.problem);
        else explain(error, { trouble: this.trouble, button: this.touch });
        this.#wait();
      }
    });
  }

  async #enter(shown) {
    this.#in(await api('POST', '/auth/login/passkey', shown, { anonymous: true }));
  }

  /** Let the browser offer passkeys where it offers names, as long as the form is there. */
  async #wait() {
    this.stop();
    if (this.mode !== 'login' || this.without || !possible()) return;
    const stop = this.waiting = new AbortController();
    try {
      const options = await api('POST', '/auth/login/passkey/options', {}, { anonymous: true, signal: stop.signal });
      if (!await offered() || stop.signal.aborted || !this.box.isConnected) return;
      const shown = await show(options, { mediation: 'conditional', signal: stop.signal });
      if (this.box.isConnected) await this.#enter(shown);
    } catch (error) {
      if (error.code === 'passkeys_unavailable') { this.without = true; this.touch.hidden = true; }
      else if (error.code === 'account_leaving') this.#leaving(error.problem);
      else if (error.code && error.code !== 'passkey_failed' && this.waiting === stop) explain(error, { trouble: this.trouble });
    }
  }

  stop() {
    this.waiting?.abort();
    this.waiting = null;
  }
}
