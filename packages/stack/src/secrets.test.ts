import { describe, expect, it } from 'vitest';
import { environmentWithoutSecrets, secretsOf, withoutSecrets } from './secrets.js';

describe('secrets', () => {
  const env = {
    SPACK_SIGNING_KEY: 'c2VjcmV0',
    AWS_ACCESS_KEY_ID: 'AKIAPUBLIC',
    CI_JOB_TOKEN: 'glcbt-1',
    PATH: '/bin',
  };

  it('are found by the names of variables', () => expect(secretsOf(env)).toEqual(['c2VjcmV0', 'glcbt-1']));

  it('are taken out of a text, those in addresses too', () => {
    expect(withoutSecrets('key c2VjcmV0 at https://me:pass@host/x', secretsOf(env))).toBe(
      'key *** at https://me:***@host/x',
    );
  });

  it('stay out of a child that does not need them', () => {
    expect(environmentWithoutSecrets(env)).toEqual({ AWS_ACCESS_KEY_ID: 'AKIAPUBLIC', PATH: '/bin' });
    expect(environmentWithoutSecrets(env, ['CI_JOB_TOKEN'])).toHaveProperty('CI_JOB_TOKEN');
  });
});
