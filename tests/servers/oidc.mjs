// An OpenID provider for tests: oidc-provider as it is, with its own pages to log in and consent.
// Arguments: port, client id, client secret, redirect URIs … It writes nothing and dies with its process.
import { Provider } from 'oidc-provider';

const [port, id, secret, ...redirects] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

// Accounts are made of what is typed: "ada" has a verified address, "ada!" one that is not, "ada?" none.
const account = (ctx, sub) => ({
    accountId: sub,
    claims: () => ({
        sub,
        name: `Person ${sub}`,
        preferred_username: sub.replace(/\W/g, ''),
        ...(sub.endsWith('?') ? {} : { email: `${sub.replace(/\W/g, '')}@example.org`, email_verified: !sub.endsWith('!') }),
    }),
});

const provider = new Provider(issuer, {
    clients: [
        { client_id: id, client_secret: secret, redirect_uris: redirects },
        { client_id: 'signs-es256', client_secret: secret, redirect_uris: redirects, id_token_signed_response_alg: 'ES256' },
        { client_id: 'public', token_endpoint_auth_method: 'none', redirect_uris: redirects },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
    cookies: { keys: ['for tests alone'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
    features: { devInteractions: { enabled: true } },
    findAccount: account,
    jwks: { keys: await keys() },
    pkce: { required: () => true },
});

async function keys() {
    const { generateKeyPair, exportJWK } = await import('jose');
    return Promise.all(['RS256', 'ES256'].map(async (alg) => {
        const { privateKey } = await generateKeyPair(alg, { extractable: true });
        return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${Date.now()}` };
    }));
}

provider.listen(Number(port), '127.0.0.1');
