import { describe, expect, it } from 'vitest';
import { formatReference, OciError, parseReference } from './index.js';

const hex = 'a'.repeat(64);

describe('parseReference', () => {
  it.each([
    ['debian', 'docker.io/library/debian'],
    ['debian:12', 'docker.io/library/debian:12'],
    ['someone/image', 'docker.io/someone/image'],
    ['localhost:5000/a/b:c', 'localhost:5000/a/b:c'],
    ['ghcr.example.org/a/b', 'ghcr.example.org/a/b'],
    [`r.example.org/a:t@sha256:${hex}`, `r.example.org/a:t@sha256:${hex}`],
  ])('reads %s as %s', (text, full) => expect(formatReference(parseReference(text))).toBe(full));

  it.each(['', 'UPPER/case', 'a:b:c', 'a@sha256:1', 'a:', 'a//b', 'a@b@c', '-a'])('refuses "%s"', (text) =>
    expect(() => parseReference(text)).toThrow(OciError),
  );
});
