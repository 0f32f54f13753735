import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describedEvent, HookError, type Ref, readEvent } from '../src/index.js';

/** The rows of the table in the README. */
function tableRows(): { where: string; env: NodeJS.ProcessEnv; published: string[] }[] {
  const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const code = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, one]) => one as string);
  return text
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter(([, where = '']) => ['GitLab', 'GitHub', 'DockerHub'].includes(where))
    .map(([, where = '', variables = '', published = '']) => ({
      where,
      env: Object.fromEntries(code(variables).map((one) => one.split('=', 2))),
      published: code(published),
    }));
}

describe('the table in the README', () => {
  const services: Record<string, { env: NodeJS.ProcessEnv; image: string }> = {
    GitLab: {
      env: { GITLAB_CI: 'true', CI_REGISTRY_IMAGE: 'r.example.org/g/p' },
      image: 'r.example.org/g/p',
    },
    GitHub: { env: { GITHUB_ACTIONS: 'true', GITHUB_REPOSITORY: 'Me/Stack' }, image: 'ghcr.io/me/stack' },
    DockerHub: { env: { DOCKER_REPO: 'index.docker.io/me/stack' }, image: 'me/stack' },
  };

  it('has rows of every service', () =>
    expect(new Set(tableRows().map(({ where }) => where))).toEqual(new Set(Object.keys(services))));

  it.each(tableRows())('$where, $env publishes $published', ({ where, env, published }) => {
    const service = services[where]!;
    const event = readEvent({ ...service.env, ...env });
    expect(event.source).toBe(where);
    expect(event.references).toEqual(published.map((tag) => `${service.image}${tag}`));
    expect(event.reason === undefined).toBe(published.length > 0);
  });

  it.each<[Ref, string[]]>([
    [{ tag: 'rev-7' }, ['r.example.org/p:7']],
    [{ branch: 'master' }, ['r.example.org/p:latest']],
    [{ branch: 'main', main: 'trunk' }, []],
    [{ branch: 'main', pullRequest: true }, []],
    [{ tag: 'rev-7', pullRequest: true }, []],
  ])('holds for a push that is described by hand: %j', (ref, references) => {
    const event = describedEvent('r.example.org/p', ref, { SOURCE_COMMIT: 'abc' });
    expect(event).toMatchObject({ references, commit: 'abc', load: false });
  });
});

describe('readEvent', () => {
  it.each([
    [
      'DockerHub',
      { IMAGE_NAME: 'index.docker.io/me/stack:1.2', SOURCE_COMMIT: 'abc' },
      ['me/stack:1.2'],
      true,
    ],
    [
      'DockerHub without IMAGE_NAME',
      { DOCKER_REPO: 'index.docker.io/me/stack', DOCKER_TAG: 'a,b' },
      ['me/stack:a', 'me/stack:b'],
      true,
    ],
    [
      'a GitLab tag',
      { GITLAB_CI: 'true', CI_REGISTRY_IMAGE: 'r.example.org/g/p', CI_COMMIT_TAG: 'rev-7' },
      ['r.example.org/g/p:7'],
      false,
    ],
    [
      'the GitLab default branch',
      {
        GITLAB_CI: 'true',
        CI_REGISTRY_IMAGE: 'r.example.org/g/p',
        CI_COMMIT_BRANCH: 'trunk',
        CI_DEFAULT_BRANCH: 'trunk',
      },
      ['r.example.org/g/p:latest'],
      false,
    ],
    [
      'another GitLab branch',
      { GITLAB_CI: 'true', CI_REGISTRY_IMAGE: 'r.example.org/g/p', CI_COMMIT_BRANCH: 'try' },
      [],
      false,
    ],
    [
      'a GitHub tag',
      {
        GITHUB_ACTIONS: 'true',
        GITHUB_REPOSITORY: 'Me/Stack',
        GITHUB_REF_TYPE: 'tag',
        GITHUB_REF_NAME: 'rev-x',
      },
      ['ghcr.io/me/stack:x'],
      false,
    ],
    [
      'another GitHub tag',
      {
        GITHUB_ACTIONS: 'true',
        GITHUB_REPOSITORY: 'Me/Stack',
        GITHUB_REF_TYPE: 'tag',
        GITHUB_REF_NAME: 'v1',
      },
      [],
      false,
    ],
  ])('understands %s', (_name, env, references, load) => {
    expect(readEvent(env)).toMatchObject({ references, load });
  });

  it('refuses an environment that is none of them', () => expect(() => readEvent({})).toThrow(HookError));
  it('takes no tag that would be none', () => {
    const env = { GITLAB_CI: 'true', CI_REGISTRY_IMAGE: 'r.example.org/g/p', CI_COMMIT_TAG: 'rev-../x' };
    expect(readEvent(env).references).toEqual([]);
  });
});
