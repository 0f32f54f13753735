import { describe, expect, it } from 'vitest';
import { connectionOptions, credential, isPullRequest } from './credentials.js';

const url = new URL('https://cdash.example/api');
const header = { url, as: 'header', namedBy: 'stack' } as const;
const place = {
  id: undefined,
  idVariable: undefined,
  secretVariable: undefined,
  tokenVariable: undefined,
  profile: undefined,
  endpointUrl: undefined,
  view: undefined,
};
const pullRequest = { GITHUB_EVENT_NAME: 'pull_request_target' };

describe('a pull request', () => {
  it.each([
    { GITHUB_EVENT_NAME: 'pull_request' },
    { GITHUB_EVENT_NAME: 'pull_request_target' },
    { GITHUB_HEAD_REF: 'patch-1' },
    { CI_MERGE_REQUEST_IID: '3' },
    { CI_PIPELINE_SOURCE: 'merge_request_event' },
    { CI_PIPELINE_SOURCE: 'external_pull_request_event' },
    { CI_EXTERNAL_PULL_REQUEST_IID: '3' },
    { SPACK_PIPELINE_TYPE: 'spack_pull_request' },
  ])('is told by %o', (env) => expect(isPullRequest(env)).toBe(true));

  it.each([
    {},
    { GITHUB_EVENT_NAME: 'push' },
    { CI_PIPELINE_SOURCE: 'push', CI_MERGE_REQUEST_IID: '' },
    { SPACK_PIPELINE_TYPE: 'spack_protected_branch' },
  ])('is not told by %o', (env) => expect(isPullRequest(env)).toBe(false));
});

describe('a credential', () => {
  const env = { TOKEN: 'hidden', SPACK_SIGNING_KEY: 'a-signing-key', AWS_SESSION_TOKEN: 'a-session' };

  it('goes to the server that the stack of a branch names', () => {
    expect(credential(env, 'TOKEN', header)).toBe('hidden');
    expect(credential(env, 'NONE', header)).toBeUndefined();
  });

  it.each(['TOKEN=cdash.example', 'TOKEN=cdash.example:443, OTHER=x', 'OTHER=x,TOKEN=CDASH.example'])(
    'goes there from a pull request with leave: %s',
    (STACKWRIGHT_ALLOW) => {
      expect(credential({ ...env, ...pullRequest, STACKWRIGHT_ALLOW }, 'TOKEN', header)).toBe('hidden');
    },
  );

  it('needs no leave where the user named the server', () => {
    expect(credential({ ...env, ...pullRequest }, 'TOKEN', { ...header, namedBy: 'user' })).toBe('hidden');
  });

  it.each(['SPACK_SIGNING_KEY', 'COPY'])('is never the signing key: %s', (name) => {
    const all = { ...env, COPY: 'x a-signing-key', STACKWRIGHT_ALLOW: `${name}=cdash.example` };
    expect(() => credential(all, name, { ...header, namedBy: 'user' })).toThrow('it holds the signing key');
    expect(() => credential(all, name, { ...header, as: 's3' })).toThrow('it holds the signing key');
  });

  it('is no secret of S3, unless a request is signed with it', () => {
    expect(() => credential(env, 'AWS_SESSION_TOKEN', header)).toThrow('it holds a secret of S3');
    expect(credential(env, 'AWS_SESSION_TOKEN', { ...header, as: 's3' })).toBe('a-session');
  });

  it.each([
    ['http://cdash.example', false, 'others could read it on the way'],
    ['https://cdash.example', true, 'its certificate is not checked'],
  ])('is not sent to %s (certificate unchecked: %s)', (address, unverified, why) => {
    const asking = () => credential(env, 'TOKEN', { ...header, url: new URL(address), unverified });
    expect(asking).toThrow(why);
  });

  it.each(['http://127.0.0.1:1', 'http://localhost', 'http://[::1]:9'])('is sent to %s', (address) =>
    expect(credential(env, 'TOKEN', { ...header, url: new URL(address) })).toBe('hidden'),
  );

  it.each(['TOKEN', 'TOKEN=', '=host', 'TOKEN=https://host'])(
    'leave that says nothing is refused: %s',
    (text) => {
      const asking = () => credential({ ...env, ...pullRequest, STACKWRIGHT_ALLOW: text }, 'TOKEN', header);
      expect(asking).toThrow('does not say which variable a server may have');
    },
  );
});

describe('a mirror on S3', () => {
  const s3 = { ...place, url: 's3://bucket/x' };
  const aws = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'aws-secret' };
  const own = { ...s3, endpointUrl: 'https://s3.lab.example' };

  it("of Amazon or the environment's endpoint has the environment's credentials, in a pull request too", () => {
    expect(connectionOptions({ ...aws, ...pullRequest }, s3)).toMatchObject({ anonymous: undefined });
    const env = { ...aws, ...pullRequest, S3_ENDPOINT_URL: 'https://s3.lab.example' };
    expect(connectionOptions(env, own)).toMatchObject({ anonymous: undefined });
  });

  it('at an endpoint of the stack has them on a branch, and in a pull request with leave', () => {
    expect(connectionOptions(aws, own)).toMatchObject({ anonymous: undefined, endpoint: own.endpointUrl });
    expect(() => connectionOptions({ ...aws, ...pullRequest }, own)).toThrow(
      'AWS_SECRET_ACCESS_KEY is not sent',
    );
    const allowed = { ...aws, ...pullRequest, STACKWRIGHT_ALLOW: 'AWS_SECRET_ACCESS_KEY=s3.lab.example' };
    expect(connectionOptions(allowed, own)).toMatchObject({ anonymous: undefined });
  });

  it("at an endpoint of a pull request does not have the user's profile either", () => {
    expect(connectionOptions(pullRequest, { ...own, profile: 'mine' })).toMatchObject({ anonymous: true });
    expect(connectionOptions({}, { ...own, profile: 'mine' })).toMatchObject({
      anonymous: undefined,
      profile: 'mine',
    });
  });

  it('at an endpoint without TLS has none', () => {
    const open = { ...s3, endpointUrl: 'http://s3.lab.example' };
    expect(() => connectionOptions(aws, open)).toThrow('others could read it on the way');
    expect(connectionOptions({}, open)).toMatchObject({ anonymous: true });
  });

  it('is signed for with the pair that the stack names, whatever profile stands beside it', () => {
    const both = { ...own, idVariable: 'LAB_USER', secretVariable: 'LAB_SECRET', profile: 'mine' };
    const found = connectionOptions({ LAB_USER: 'u', LAB_SECRET: 's', AWS_SESSION_TOKEN: 'old' }, both);
    expect(found).not.toHaveProperty('profile');
    expect(found.env).toMatchObject({ AWS_ACCESS_KEY_ID: 'u', AWS_SESSION_TOKEN: undefined });
  });

  it('is signed for with the pair that the stack names', () => {
    const pair = { ...own, idVariable: 'LAB_USER', secretVariable: 'LAB_SECRET' };
    expect(
      connectionOptions({ ...aws, AWS_SESSION_TOKEN: 'old', LAB_USER: 'u', LAB_SECRET: 's' }, pair).env,
    ).toMatchObject({
      AWS_ACCESS_KEY_ID: 'u',
      AWS_SECRET_ACCESS_KEY: 's',
      AWS_SESSION_TOKEN: undefined,
    });
  });
});
