import { HookError } from './error.js';

/** What was pushed, and where its image belongs. */
export interface Event {
  /** Who calls, for messages. */
  readonly source: 'DockerHub' | 'GitLab' | 'GitHub' | 'command line';
  /** Full references to publish, none for a push that publishes nothing. */
  readonly references: readonly string[];
  /** Why nothing is published. */
  readonly reason?: string;
  readonly commit: string | undefined;
  readonly login?: { readonly username: string; readonly password: string };
  /** DockerHub pushes what its build hook leaves in the local Docker: there the image is loaded, not pushed. */
  readonly load: boolean;
}

/**
 * Reads what happened from the environment of DockerHub's build hook, GitLab CI or GitHub Actions. A tag `rev-NAME`
 * publishes `:NAME`, a push to the main branch `:latest`, anything else nothing.
 * @throws HookError when the environment is none of these, or does not name a repository
 */
export function readEvent(env: NodeJS.ProcessEnv): Event {
  if (env.IMAGE_NAME || env.DOCKER_REPO) return dockerHub(env);
  if (env.GITLAB_CI) return gitlab(env);
  if (env.GITHUB_ACTIONS) return github(env);
  throw new HookError(
    'unknown-service',
    'This is neither a DockerHub build hook nor GitLab CI nor GitHub Actions.',
    { hint: 'Name what to publish with --reference REGISTRY/REPOSITORY:TAG.' },
  );
}

/** The tag that a branch or tag publishes; undefined for none. */
export function imageTag(ref: {
  readonly tag?: string;
  readonly branch?: string;
  readonly main?: string;
}): string | undefined {
  if (ref.tag !== undefined) return /^rev-([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$/.exec(ref.tag)?.[1];
  return ref.branch !== undefined && ref.branch === (ref.main ?? 'main') ? 'latest' : undefined;
}

function dockerHub(env: NodeJS.ProcessEnv): Event {
  // DockerHub's build rules have decided the tag already.
  const repository = env.DOCKER_REPO?.replace(/^(index\.)?docker\.io\//, '');
  const name =
    env.IMAGE_NAME ??
    (repository && env.DOCKER_TAG ? `${repository}:${env.DOCKER_TAG.split(',')[0]}` : undefined);
  if (!name)
    throw new HookError(
      'no-repository',
      'DOCKER_REPO is set, but neither IMAGE_NAME nor DOCKER_TAG says which image to build.',
    );
  return {
    source: 'DockerHub',
    references: [name.replace(/^index\.docker\.io\//, '')],
    commit: env.SOURCE_COMMIT || undefined,
    load: true,
  };
}

function gitlab(env: NodeJS.ProcessEnv): Event {
  const ref = {
    tag: env.CI_COMMIT_TAG || undefined,
    branch: env.CI_COMMIT_BRANCH,
    main: env.CI_DEFAULT_BRANCH,
  };
  const { CI_REGISTRY_IMAGE: image, CI_REGISTRY_USER: username, CI_REGISTRY_PASSWORD: password } = env;
  if (!image)
    throw new HookError(
      'no-repository',
      'CI_REGISTRY_IMAGE is not set: the project has no container registry.',
      { hint: 'Enable it, or give --reference.' },
    );
  return {
    source: 'GitLab',
    ...publish(image, ref),
    commit: env.CI_COMMIT_SHA,
    ...(username && password ? { login: { username, password } } : {}),
    load: false,
  };
}

function github(env: NodeJS.ProcessEnv): Event {
  const {
    GITHUB_REF_TYPE: type,
    GITHUB_REF_NAME: name,
    GITHUB_REPOSITORY: repository,
    GITHUB_ACTOR: username,
    GITHUB_TOKEN: password,
  } = env;
  if (!repository)
    throw new HookError('no-repository', 'GITHUB_REPOSITORY is not set.', { hint: 'Give --reference.' });
  const ref = type === 'tag' ? { tag: name } : { branch: name, main: env.STACKWRIGHT_MAIN_BRANCH };
  return {
    source: 'GitHub',
    ...publish(`ghcr.io/${repository.toLowerCase()}`, ref),
    commit: env.GITHUB_SHA,
    ...(username && password ? { login: { username, password } } : {}),
    load: false,
  };
}

function publish(image: string, ref: Parameters<typeof imageTag>[0]): Pick<Event, 'references' | 'reason'> {
  const tag = imageTag(ref);
  if (tag) return { references: [`${image}:${tag}`] };
  const what =
    ref.tag !== undefined ? `the tag ${ref.tag}` : `the branch ${ref.branch ?? 'of this pipeline'}`;
  return {
    references: [],
    reason: `${what} publishes nothing: a tag rev-NAME publishes :NAME, the branch ${ref.main ?? 'main'} :latest`,
  };
}
