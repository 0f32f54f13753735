import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where `go install` puts programs, which is not on everyone's PATH. */
const goFolders = [
  process.env.GOBIN,
  process.env.GOPATH && join(process.env.GOPATH, 'bin'),
  join(homedir(), 'go/bin'),
];

/** Whether a program is on PATH: tests that need it skip where it is not. */
export function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The path of a program that a test needs; undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...goFolders];
  return folders
    .filter((folder): folder is string => Boolean(folder))
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** A git repository with all files of a folder, as servers and their local stand-ins want one. */
export function commitAll(folder: string): void {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      stdio: 'pipe',
    });
  git('init', '--quiet', '--initial-branch=main');
  git('remote', 'add', 'origin', 'https://git.example.invalid/group/project.git');
  git('add', '--all', '--force');
  git('commit', '--quiet', '-m', 'x');
}
