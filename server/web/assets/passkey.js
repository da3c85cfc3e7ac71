// Passkeys: what the server says and what browsers take differ in how they write bytes (WebAuthn level 3, 5.1).
import { ApiError } from './api.js';

export const possible = () => Boolean(window.PublicKeyCredential && navigator.credentials);

/** Whether the browser offers passkeys among the names that it would fill in. */
export async function offered() {
  try { return possible() && await PublicKeyCredential.isConditionalMediationAvailable(); } catch { return false; }
}

/** Ask for one that is there. options: as the API gives them. → {challenge, passkey} */
export async function show(options, { mediation, signal } = {}) {
  const given = options.public_key;
  const publicKey = { ...given, challenge: bytes(given.challenge), allowCredentials: listed(given.allowCredentials) };
  const found = await asked(() => navigator.credentials.get({ publicKey, mediation, signal }));
  const { response } = found;
  return {
    challenge: options.challenge,
    passkey: {
      id: found.id, rawId: text(found.rawId), type: found.type,
      response: {
        clientDataJSON: text(response.clientDataJSON), authenticatorData: text(response.authenticatorData),
        signature: text(response.signature), userHandle: response.userHandle ? text(response.userHandle) : null,
      },
    },
  };
}

/** Make a new one. → {challenge, passkey} */
export async function make(options) {
  const given = options.public_key;
  const publicKey = {
    ...given, challenge: bytes(given.challenge), user: { ...given.user, id: bytes(given.user.id) },
    excludeCredentials: listed(given.excludeCredentials),
  };
  const made = await asked(() => navigator.credentials.create({ publicKey }));
  const { response } = made;
  return {
    challenge: options.challenge,
    passkey: {
      id: made.id, rawId: text(made.rawId), type: made.type,
      response: {
        clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject),
        transports: response.getTransports?.() ?? [],
      },
    },
  };
}

const SAID = {
  NotAllowedError: 'No passkey was chosen, or it took too long. Try again.',
  InvalidStateError: 'This device holds a passkey for this account already.',
  SecurityError: 'Passkeys do not work at this address.',
  NotSupportedError: 'This device cannot hold such a passkey.',
};

async function asked(work) {
  if (!possible()) throw new ApiError('This browser cannot use passkeys here: they need https.', { code: 'no_passkeys' });
  try {
    return await work();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(SAID[error.name] ?? 'The passkey could not be used. Try again.', { code: 'passkey_failed' });
  }
}

const listed = (ids) => (ids ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

function bytes(base64url) {
  const plain = atob(base64url.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const plain = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join('');
  return btoa(plain).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
