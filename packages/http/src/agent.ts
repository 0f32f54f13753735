import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';
import { type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { HttpError } from './error.js';

export interface AgentOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Milliseconds for a connection. */
  readonly connect: number;
  /** Whether the certificates of servers are verified. */
  readonly verify: boolean;
}

/**
 * Connections by the environment: proxies of `http_proxy`, `https_proxy` and `no_proxy`, in lower or upper case;
 * certificate authorities of `SSL_CERT_FILE` and `NODE_EXTRA_CA_CERTS`.
 * @throws HttpError `invalid` for a proxy that is no URL and for a file that cannot be read
 */
export function openAgent({ env, connect, verify }: AgentOptions): Dispatcher {
  const connection = {
    timeout: connect,
    rejectUnauthorized: verify,
    // Made once: reading all authorities again for each connection takes milliseconds.
    secureContext: secureContext(env),
  };
  return new EnvHttpProxyAgent({
    // An empty text keeps undici from looking into the environment of the process.
    httpProxy: proxyOf('http_proxy', env),
    httpsProxy: proxyOf('https_proxy', env),
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
    // Proxies commonly tunnel to port 443 alone; plain HTTP is asked for by its whole URL.
    proxyTunnel: false,
    // Far more than the callers' own limits. A request that waits for a connection is timed as if it were connecting.
    connections: 256,
    connect: connection,
    requestTls: connection,
    proxyTls: connection,
    // Exchange has limits of its own that cover more.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

function proxyOf(name: string, env: NodeJS.ProcessEnv): string {
  const text = env[name] ?? env[name.toUpperCase()] ?? '';
  // Other programs take a proxy without a scheme.
  const url = text === '' || text.includes('://') ? text : `http://${text}`;
  if (url !== '' && !URL.canParse(url)) {
    throw new HttpError('invalid', `The variable ${name} is not the URL of a proxy.`, {
      hint: 'Write it as http://proxy.example.org:3128.',
    });
  }
  return url;
}

/** As in OpenSSL, curl and Python, `SSL_CERT_FILE` replaces the built-in authorities; `NODE_EXTRA_CA_CERTS` adds to them. */
function secureContext(env: NodeJS.ProcessEnv): tls.SecureContext | undefined {
  const { SSL_CERT_FILE: only, NODE_EXTRA_CA_CERTS: more } = env;
  // Node.js itself reads the variable of its own process when it starts.
  if (!only && (!more || more === process.env.NODE_EXTRA_CA_CERTS)) return undefined;
  const authorities = only ? [certificates('SSL_CERT_FILE', only)] : [...tls.rootCertificates];
  if (more) authorities.push(certificates('NODE_EXTRA_CA_CERTS', more));
  try {
    return tls.createSecureContext({ ca: authorities });
  } catch (error) {
    throw new HttpError(
      'invalid',
      `SSL_CERT_FILE or NODE_EXTRA_CA_CERTS holds no certificates in PEM form.`,
      {},
      { cause: error },
    );
  }
}

function certificates(variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new HttpError('invalid', `${variable} names ${path}, which cannot be read.`, {}, { cause: error });
  }
}
