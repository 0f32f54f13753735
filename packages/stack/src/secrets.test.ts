import { describe, expect, it } from 'vitest';
import {
  childEnvironment,
  isSecretName,
  Masking,
  referredVariables,
  secretsOf,
  withheldFrom,
  withoutSecrets,
} from './secrets.js';

describe('secrets', () => {
  const env = {
    SPACK_SIGNING_KEY: 'c2VjcmV0',
    AWS_ACCESS_KEY_ID: 'AKIAPUBLIC',
    CI_JOB_TOKEN: 'glcbt-1',
    PATH: '/bin',
  };

  it('are found by the names of variables', () => expect(secretsOf(env)).toEqual(['c2VjcmV0', 'glcbt-1']));

  it.each([
    'NPM_AUTH',
    'OPENAI_API_KEY_V2',
    'SLACK_WEBHOOK',
    'MY_PAT',
    'DB_DSN',
    'MYAPIKEY',
    'CI_JOB_JWT_V2',
    'DB_PASS',
  ])('are found in %s', (name) => expect(isSecretName(name)).toBe(true));

  it.each([
    'PATH',
    'GIT_AUTHOR_NAME',
    'SSH_AUTH_SOCK',
    'AWS_ACCESS_KEY_ID',
    'KEYBOARD',
    'MANPATH',
    'COMPASS',
  ])('are not suspected in %s', (name) => expect(isSecretName(name)).toBe(false));

  it('are taken out of a text, those in addresses too', () => {
    expect(withoutSecrets('key c2VjcmV0 at https://me:pass@host/x', secretsOf(env))).toBe(
      'key *** at https://me:***@host/x',
    );
  });

  it.each([
    ['s3://me:pass@bucket/x', 's3://me:***@bucket/x'],
    ['oci://me:pass@host:5000/r', 'oci://me:***@host:5000/r'],
    ['https://ghp_token@host/x.git', 'https://***@host/x.git'],
    ['ssh://git@host/x.git', 'ssh://git@host/x.git'],
    ['hello@1.0/abcdef at file.yaml:3:7', 'hello@1.0/abcdef at file.yaml:3:7'],
  ])('are taken out of addresses: %s', (text, clean) => expect(withoutSecrets(text, [])).toBe(clean));

  it.each([
    ['-----BEGIN PGP PRIVATE KEY BLOCK-----\nx', true],
    [Buffer.from('-----BEGIN PGP PUBLIC KEY BLOCK-----').toString('base64'), true],
    ['ghp_0123456789abcdefghijklmnopqrstuvwxyz', true],
    ['glpat-0123456789abcdefghij', true],
    ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig', true],
    ['/opt/software', false],
    ['https://github.com/spack/spack', false],
    ['-----BEGIN PGP PUBLIC KEY BLOCK-----\nx', false],
  ])('are known by their form: %s', (value, secret) => {
    expect(secretsOf({ HOUSE_OF_CARDS: value })).toHaveLength(secret ? 1 : 0);
    expect(withheldFrom({ HOUSE_OF_CARDS: value })('HOUSE_OF_CARDS')).toBe(secret);
    expect(childEnvironment({ HOUSE_OF_CARDS: value }, ['HOUSE_OF_CARDS'])).toEqual(
      secret ? {} : { HOUSE_OF_CARDS: value },
    );
  });

  it('are in a variable that holds the value of another', () => {
    const withheld = withheldFrom({
      MY_TOKEN: 'abcdef',
      COPY: 'x=abcdef',
      PROXY: 'http://a:b@h',
      OTHER: 'abc',
    });
    expect(['MY_TOKEN', 'COPY', 'PROXY', 'OTHER', 'UNSET'].map(withheld)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it('are taken out whole where one is the start of another', () => {
    const secrets = secretsOf({ A_TOKEN: 'abcdef', B_TOKEN: 'abcdefghi' });
    expect(withoutSecrets('abcdefghi', secrets)).toBe('***');
  });

  it('stay out of a child that does not need them', () => {
    expect(childEnvironment(env)).toEqual({ AWS_ACCESS_KEY_ID: 'AKIAPUBLIC', PATH: '/bin' });
    expect(childEnvironment(env, ['CI_JOB_TOKEN'])).toHaveProperty('CI_JOB_TOKEN');
  });

  it('stay out of a child also under names that tell nothing', () => {
    const odd = {
      HOUSE_OF_CARDS: 'hidden',
      LC_ALL: 'C',
      MODULEPATH: '/m',
      https_proxy: 'http://p',
      SPACK_ROOT: '/s',
    };
    expect(Object.keys(childEnvironment(odd))).toEqual(['LC_ALL', 'MODULEPATH', 'https_proxy', 'SPACK_ROOT']);
  });

  it('are no variables that a configuration may hand on', () => {
    const config = { a: ['$SCRATCH/x', { b: ['$', '{USER}-$MY_TOKEN'].join('') }] };
    expect(referredVariables(config)).toEqual(['SCRATCH', 'USER']);
  });
});

describe('a text that comes in pieces', () => {
  const secret = 'hunter2-and-some-more';
  it.each([
    ['lines', `one ${secret} two\n${secret}\nend`],
    ['one long line', `${'x'.repeat(70_000)}${secret}${'y'.repeat(70_000)}${secret}`],
    ['several lines of a secret', `a\n${secret}\nb`],
  ])('loses its secrets wherever it is cut: %s', (_name, text) => {
    for (const size of [1, 7, 13, 1000, 65_536, 65_540]) {
      if (size < 100 && text.length > 10_000) continue;
      const masking = new Masking([secret]);
      let shown = '';
      for (let at = 0; at < text.length; at += size) shown += masking.add(text.slice(at, at + size));
      expect(shown + masking.end() === text.replaceAll(secret, '***')).toBe(true);
    }
  });

  it('loses a secret of several lines', () => {
    const key = '-----BEGIN\nabc\n-----END';
    const masking = new Masking([key]);
    const shown = [...`before\n${key}\nafter\n`].map((sign) => masking.add(sign)).join('') + masking.end();
    expect(shown).toBe('before\n***\nafter\n');
  });
});
