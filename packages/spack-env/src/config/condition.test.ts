import { describe, expect, it } from 'vitest';
import { SpackEnvError } from '../error.js';
import { evaluateCondition } from './condition.js';

const facts = {
  host: { platform: 'linux', os: 'debian12', target: 'zen2' },
  hostname: 'node01',
  env: { HOME: '/root', EMPTY: '', CI: 'true' },
};

describe('evaluateCondition', () => {
  it.each([
    ['platform == "linux"', true],
    ["os != 'debian12'", false],
    ['target in ("zen2", "zen3")', true],
    ['"rhel" not in os', true],
    ['env.get("HOME") is not None', true],
    ['env.get("NOPE") is None', true],
    ['env.get("NOPE", "x") == "x"', true],
    ['not env.get("EMPTY")', true],
    ['"CI" in env and env["CI"] == "true"', true],
    ['platform == "darwin" or hostname.startswith("node")', true],
    ['not (platform in ("darwin", "windows"))', true],
    ['re.match(r"deb\\w+\\d+$", os)', true],
    ['re.search("12", os) and not re.match("12", os)', true],
    ['re.match("(?P<n>deb)", os).group("n") == "deb"', true],
    ['arch.satisfies("target=x86_64:")', true],
    ['arch.satisfies("platform=darwin")', false],
    ['"os=debian12" in arch', true],
    ['arch_str == "platform=linux os=debian12 target=zen2"', true],
    ['arch.target.family == "x86_64" and arch.target == "zen2"', true],
    ['target in {"zen2", "zen3"}', true],
    ['1 < 2 <= 3', true],
    ['len(os) == 8 and os[-2:] == "12"', true],
    ['True if platform == "linux" else False', true],
    ['os.lower().endswith(("12", "13"))', true],
    // What does not count must not fail.
    ['"NOPE" in env and env["NOPE"] == "x"', false],
    ['platform == "linux" or nothing', true],
  ])('%s is %s', (text, expected) => {
    expect(evaluateCondition(text, facts)).toBe(expected);
  });

  it.each([
    ['', 0],
    ['platform = "linux"', 9],
    ['open("/etc/passwd")', 0],
    ['platform.__class__', 9],
    ['[x for x in os]', 1],
    ['env["NOPE"] == "x"', 3],
    ['"abc', 0],
    ['platform == ("a"', 16],
    ['1 < "a"', 2],
    ['re.match("(", os)', 8],
    ['arch.satisfies("@")', 14],
    ['re.match("(a+)+$", "' + 'a'.repeat(60) + 'b")', 8],
    ['lambda: 1', 0],
    ['{"a": 1}', 4],
    ['('.repeat(500), 100],
  ])('refuses %j with the place', (text, offset) => {
    const at = { file: 'x.yaml', line: 3, column: 11 };
    try {
      evaluateCondition(text, facts, at);
    } catch (error) {
      expect(error).toBeInstanceOf(SpackEnvError);
      expect((error as SpackEnvError).findings[0]!.position).toEqual({ ...at, column: 11 + offset });
      return;
    }
    expect.fail('it was accepted');
  });

  it('ends in bounded time for a stack with many regular expressions that do not end', () => {
    const endless = `re.match("(a+)+$", "${'a'.repeat(60)}b")`;
    const own = { ...facts };
    const said = Array.from({ length: 100 }, () => {
      try {
        return evaluateCondition(endless, own);
      } catch (error) {
        return (error as Error).message;
      }
    });
    // Each may take a fifth of a second, and all a second.
    expect(said.filter((text) => /expression takes too long/.test(String(text))).length).toBeLessThanOrEqual(
      5,
    );
    expect(said.at(-1)).toMatch(/expressions of the stack take too long/);
    expect(() => evaluateCondition('re.match("a+", "aab")', facts)).not.toThrow();
  });
});
