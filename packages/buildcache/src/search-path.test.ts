import { describe, expect, it } from 'vitest';
import { searchPaths } from './search-path.js';

describe('searchPaths', () => {
  const packages = [
    { prefix: '/opt/a', folders: ['.', 'bin', 'share/man'] },
    { prefix: '/opt/b', folders: ['.', 'bin', 'lib/pkgconfig'] },
  ];
  it('lists packages in order before what the base has', () => {
    const env = searchPaths(packages, ['PATH=/bin', 'LANG=C']);
    expect(env).toContain('PATH=/opt/a/bin:/opt/b/bin:/bin');
    expect(env).toContain('LANG=C');
    expect(env).toContain('PKG_CONFIG_PATH=/opt/b/lib/pkgconfig');
    expect(env).toContain('CMAKE_PREFIX_PATH=/opt/a:/opt/b');
  });
  it('leaves man its own places: an empty last part', () =>
    expect(searchPaths(packages)).toContain('MANPATH=/opt/a/share/man:'));
  it('has a PATH even with nothing on it', () => expect(searchPaths([])[0]).toMatch(/^PATH=.*\/usr\/bin/));
});
