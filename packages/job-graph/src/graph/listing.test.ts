import { describe, expect, it } from 'vitest';
import { externals, prune, upToDate } from '../prune/prune.js';
import { mini } from './graphs.test.support.js';
import { listingOf, toDot, toMermaid, toText } from './listing.js';

const pruned = prune(mini, [
  externals,
  upToDate((job) => (job.node.name === 'libgreet' ? { mirror: 'file:///m' } : undefined)),
]);

describe('listingOf', () => {
  it('has every field of the command line contract', () => {
    const node = listingOf(pruned).nodes.find(({ name }) => name === 'libgreet');
    expect(node).toEqual({
      hash: 'j2ol626hob57hxe3b2c42t5kmvakg5sm',
      name: 'libgreet',
      version: '1.2.0',
      spec: 'libgreet@1.2.0+shared build_system=generic flavor=fancy arch=linux-debian12-x86_64_v3',
      root: true,
      external: false,
      dependencies: [
        'jrtxylmzw232laxox2s5a5wkhr7skrim',
        'qibsvtuw2c26wzrtweqbvbgxqvsbf4tm',
        'iwxnaxbhxccri5qsyservt72f3r7n4ak',
        'ksegdsibkwpo2xijfuaaw4a7t44seabl',
        's24lewxzwjrv6btcogtqttrlzs5a3yx4',
      ].map((hash) => expect.stringMatching(hash.slice(0, 7))),
      action: 'skip',
      reason: 'up to date on file:///m',
      level: 1,
    });
  });
});

describe('toText', () => {
  it('draws each root as a tree with states and reasons', () => {
    expect(toText(pruned)).toBe(`\
[x] greet-suite@2026.1/e53kk6p                on no mirror
[x] ├─ greet-scripts@0.9/5wdoaiw              on no mirror
[x] │  └─ hello-cli@2.0/t5vrvi7               on no mirror
 -  │     └─ libgreet@1.2.0/j2ol626           up to date on file:///m
[x] │        ├─ compiler-wrapper@1.0/jrtxylm  on no mirror
[x] │        ├─ gcc-runtime@12.2.0/iwxnaxb    on no mirror
 -  │        │  ├─ gcc@12.2.0/qibsvtu         external
 -  │        │  └─ glibc@2.36/ksegdsi         external
 -  │        └─ gmake@4.3/s24lewx             external
[x] └─ shout-cli@1.1/kjunczl                  on no mirror
[x]    └─ libshout@0.3.1/srwqpar              on no mirror
 -        ├─ libgreet@1.2.0/j2ol626           (above)
 -        └─ pkgconf@1.8.1/m65dwfq            external

7 to build in 4 stages, 5 left out.
`);
  });
});

describe('toDot and toMermaid', () => {
  it('have every node and every edge', () => {
    const edges = [...mini.jobs.values()].reduce((sum, job) => sum + job.dependencies.length, 0);
    const listing = listingOf(pruned);
    expect(toDot(listing).match(/ -> /g)).toHaveLength(edges);
    expect(toDot(listing).match(/\[label=/g)).toHaveLength(12);
    expect(toMermaid(listing).match(/ --> /g)).toHaveLength(edges);
    expect(toMermaid(listing).match(/\["/g)).toHaveLength(12);
  });
});
