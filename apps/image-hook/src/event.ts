import { HookError } from './error.js';

/** What was pushed, and what becomes of its image. */
export interface Event {
  /** Who calls, for messages. */
  readonly source: 'DockerHub' | 'GitLab' | 'GitHub' | 'command line';
  /** Full references to publish; none for a push whose image is built and checked only. */
  readonly references: readonly string[];
  /** Why nothing is published. */
  readonly reason?: string;
  readonly commit: string | undefined;
  readonly login?: { readonly username: string; readonly password: string };
  /** DockerHub pushes what its build hook leaves in the local Docker: there the image is loaded, not pushed. */
  readonly load: boolean;
}

/** What a service says of a push. */
export interface Ref {
  readonly tag?: string;
  readonly branch?: string;
  /** The main branch; `main` and `master` are where it is not known. */
  readonly main?: string;
  /** Somebody asks for a change: what it builds is never published. */
  readonly pullRequest?: boolean;
}

/**
 * Reads what happened from the environment of GitLab CI, GitHub Actions or DockerHub's build hook, by the table in the
 * README. The first two come first: a variable of DockerHub's name is anybody's there.
 * @throws HookError when the environment is none of these, or does not name a repository
 */
export function readEvent(env: NodeJS.ProcessEnv): Event {
  if (env.GITLAB_CI) return gitlab(env);
  if (env.GITHUB_ACTIONS) return github(env);
  if (env.IMAGE_NAME || env.DOCKER_REPO) return dockerHub(env);
  throw new HookError(
    'unknown-service',
    'This is neither GitLab CI nor GitHub Actions nor a DockerHub build hook.',
    {
      hint: 'Say what was pushed with --repository and --branch, --tag or --pull-request, or what to publish with --reference REGISTRY/REPOSITORY:TAG.',
    },
  );
}

/** What becomes of a push that is described by hand. @param repository the image without its tag */
export function describedEvent(repository: string, ref: Ref, env: NodeJS.ProcessEnv): Event {
  return { source: 'command line', ...publish(repository, ref), commit: commitOf(env), load: false };
}

/** The commit that the environment names, whoever set it. */
export function commitOf(env: NodeJS.ProcessEnv): string | undefined {
  return env.CI_COMMIT_SHA || env.GITHUB_SHA || env.SOURCE_COMMIT || undefined;
}

/** The tag of the image that a push publishes; undefined for none. */
export function imageTag({ tag, branch, main, pullRequest }: Ref): string | undefined {
  if (pullRequest) return undefined;
  if (tag !== undefined) return revision(tag);
  return branch !== undefined && isMain(branch, main) ? 'latest' : undefined;
}

/** The NAME of `rev-NAME`, where it can be an image's tag. */
function revision(name: string): string | undefined {
  return /^rev-([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$/.exec(name)?.[1];
}

function isMain(branch: string, main: string | undefined): boolean {
  return main ? branch === main : branch === 'main' || branch === 'master';
}

function dockerHub(env: NodeJS.ProcessEnv): Event {
  const { IMAGE_NAME: image, DOCKER_TAG: tags, SOURCE_BRANCH: source } = env;
  const named = image?.replace(/^(index\.)?docker\.io\//, '');
  const repository = (env.DOCKER_REPO ?? named?.replace(/:[^:/]*$/, ''))?.replace(
    /^(index\.)?docker\.io\//,
    '',
  );
  const list = (tags ?? named?.slice(`${repository}:`.length) ?? '').split(',').map((tag) => tag.trim());
  const asked = list.filter((tag) => tag !== '');
  if (!repository || asked.length === 0)
    throw new HookError(
      'no-repository',
      'DOCKER_REPO is set, but neither IMAGE_NAME nor DOCKER_TAG says which image to build.',
    );
  const event = { source: 'DockerHub', commit: env.SOURCE_COMMIT || undefined, load: true } as const;
  const reason = unpublished(source, asked);
  if (reason) return { ...event, references: [], reason };
  // DockerHub pushes the names that its build rules gave. A revision's own name goes with them.
  const own = source === undefined ? undefined : revision(source);
  const all = own !== undefined && asked.includes(source ?? '') ? [...asked, own] : asked;
  return { ...event, references: [...new Set(all)].map((tag) => `${repository}:${tag}`) };
}

/** Why DockerHub's build publishes nothing. It builds branches and tags by rules, and pull requests to test them. */
function unpublished(source: string | undefined, tags: readonly string[]): string | undefined {
  // DockerHub's name for the image of an automated test, which pull requests start.
  if (tags.includes('this') || /^(refs\/)?pull\//.test(source ?? ''))
    return 'a pull request publishes nothing';
  if (source === undefined || revision(source) !== undefined || isMain(source, undefined)) return undefined;
  return `${source} publishes nothing: a branch or tag rev-NAME publishes :NAME, main and master what DockerHub's build rules name`;
}

function gitlab(env: NodeJS.ProcessEnv): Event {
  const { CI_PIPELINE_SOURCE: started = '' } = env;
  const ref: Ref = {
    tag: env.CI_COMMIT_TAG || undefined,
    branch: env.CI_COMMIT_BRANCH,
    main: env.CI_DEFAULT_BRANCH,
    pullRequest: /merge_request|pull_request/.test(started) || Boolean(env.CI_MERGE_REQUEST_IID),
  };
  const { CI_REGISTRY_IMAGE: image, CI_REGISTRY_USER: username, CI_REGISTRY_PASSWORD: password } = env;
  if (!image)
    throw new HookError(
      'no-repository',
      'CI_REGISTRY_IMAGE is not set: the project has no container registry.',
      { hint: 'Enable it, or give --reference.' },
    );
  const login = username && password ? { username, password } : undefined;
  return { source: 'GitLab', ...publish(image, ref), commit: env.CI_COMMIT_SHA, login, load: false };
}

/** What GitHub runs for those who may write to the repository, on its own branches and tags. */
const trusted = new Set(['push', 'workflow_dispatch', 'schedule', 'release', 'repository_dispatch']);

function github(env: NodeJS.ProcessEnv): Event {
  const {
    GITHUB_EVENT_NAME: event = 'push',
    GITHUB_REF_TYPE: type,
    GITHUB_REF_NAME: name,
    GITHUB_REPOSITORY: repository,
    GITHUB_ACTOR: username,
    GITHUB_TOKEN: password,
  } = env;
  if (!repository)
    throw new HookError('no-repository', 'GITHUB_REPOSITORY is not set.', { hint: 'Give --reference.' });
  const main = env.STACKWRIGHT_MAIN_BRANCH || undefined;
  const ref: Ref = {
    ...(type === 'tag' ? { tag: name } : { branch: name, main }),
    pullRequest: event.startsWith('pull_request'),
  };
  const image = `ghcr.io/${repository.toLowerCase()}`;
  const decided =
    trusted.has(event) || ref.pullRequest
      ? publish(image, ref)
      : { references: [], reason: `the event ${event} publishes nothing` };
  const login = username && password ? { username, password } : undefined;
  return { source: 'GitHub', ...decided, commit: env.GITHUB_SHA, login, load: false };
}

function publish(image: string, ref: Ref): Pick<Event, 'references' | 'reason'> {
  const tag = imageTag(ref);
  if (tag) return { references: [`${image}:${tag}`] };
  if (ref.pullRequest) return { references: [], reason: 'a pull request publishes nothing' };
  const what =
    ref.tag !== undefined ? `the tag ${ref.tag}` : `the branch ${ref.branch ?? 'of this pipeline'}`;
  return {
    references: [],
    reason: `${what} publishes nothing: a tag rev-NAME publishes :NAME, the branch ${ref.main ?? 'main or master'} :latest`,
  };
}
