import { expect, it } from 'vitest';
import { ScriptScan, shebangsOf } from './script-scan.js';

it.each<[string, string[] | undefined]>([
  ['#!/bin/sh\n', ['/bin/sh']],
  ['#! /usr/bin/perl -w\nmore', ['/usr/bin/perl']],
  ['#!/usr/bin/env python3\n', ['/usr/bin/env python3']],
  ['#!/usr/bin/env -S A=1 python3 -u\n', ['/usr/bin/env python3']],
  ['#!/bin/sh /opt/bin/sbang\n#!/opt/perl/bin/perl -w\n', ['/bin/sh /opt/bin/sbang', '/opt/perl/bin/perl']],
  ['#!/bin/sh /opt/bin/sbang\n--!/opt/bin/lua\n', ['/bin/sh /opt/bin/sbang', '/opt/bin/lua']],
  ['#!/bin/sh /opt/bin/sbang\n//!/opt/bin/node\n', ['/bin/sh /opt/bin/sbang', '/opt/bin/node']],
  ['#!/bin/sh /opt/bin/sbang\n<?php #!/opt/bin/php ?>\n', ['/bin/sh /opt/bin/sbang', '/opt/bin/php']],
  ['#!/bin/sh', ['/bin/sh']],
  ['#!relative\n', undefined],
  ['#!\n', undefined],
  ['\x7fELF', undefined],
])('of %j the scan takes %j', (head, asked) => expect(shebangsOf(Buffer.from(head))).toEqual(asked));

it('reads first lines that arrive in pieces, of programs only', async () => {
  const scan = new ScriptScan();
  const watch = async (name: string, mode: number, text: string) => {
    const content = [...text].map((letter) => Buffer.from(letter));
    const entry = { name, type: 'file', mode, size: text.length } as const;
    const seen: Buffer[] = [];
    for await (const chunk of scan.watch({ entry, content })) seen.push(chunk);
    expect(Buffer.concat(seen).toString()).toBe(text);
  };
  await watch('opt/x/bin/b', 0o755, '#!/bin/bash\necho');
  await watch('opt/x/bin/a', 0o755, '#!/bin/ash');
  await watch('opt/x/bin/no', 0o755, 'text of a program');
  await watch('opt/x/lib/none', 0o644, '#!/bin/none\n');
  await watch('opt/x/.spack/none', 0o755, '#!/bin/none\n');
  expect(scan.result()).toEqual(['/bin/ash', '/bin/bash']);
});
