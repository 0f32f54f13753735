import { describe, expect, it } from 'vitest';
import { HookError, readEvent } from '../src/index.js';

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
      ['me/stack:a'],
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
