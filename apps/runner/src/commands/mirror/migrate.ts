import { migrateV2, readPublicKeys, type SignaturePolicy, Trust, V3Mirror } from '@stackwright/buildcache';
import { isRegistryUrl } from '@stackwright/spack-env';
import { findSigner, mirrorPolicy, type SignerOptions, type TrustOptions } from '@stackwright/stack';
import { openStore, readObject } from '@stackwright/storage';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { note, printJson } from '../../context.js';
import { RunnerError } from '../../exit.js';
import {
  count,
  failures,
  openOptions,
  type StoreOptions,
  signerOptions,
  storeOptions,
  ticker,
  trustOptions,
} from './shared.js';

interface Options extends StoreOptions, TrustOptions, SignerOptions {
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  signerOptions(trustOptions(storeOptions(command)))
    .argument('<mirror>', 'path or URL of the mirror of layout v2')
    .argument('[to]', 'mirror to write; the same place when left out')
    .option('--json', 'print {"from","to","migrated","present","failed"}')
    .action(async (url: string, toUrl: string | undefined, options: Options) => {
      const registry = [url, toUrl ?? ''].find(isRegistryUrl);
      if (registry) {
        throw new RunnerError(
          'usage',
          `${registry} is a build cache in a registry, which has neither layout v2 nor v3.`,
          { hint: 'To fill it from a mirror of any layout: stackwright mirror copy FROM TO' },
        );
      }
      const from = await openStore(url, openOptions(context, options));
      const to = new V3Mirror(await openStore(toUrl ?? url, openOptions(context, options)), {
        kind: 'unsigned',
      });
      const progress = ticker(context, 'migrated');
      try {
        let policy: SignaturePolicy;
        if (options.trustPublished && !options.unsigned) {
          const { bytes } = await readObject(from, 'build_cache/_pgp/index.json');
          const names = Object.keys((JSON.parse(bytes.toString()) as { keys: object }).keys);
          const texts = await Promise.all(
            names.map(async (name) =>
              (await readObject(from, `build_cache/_pgp/${name}.pub`)).bytes.toString(),
            ),
          );
          const keys = (await Promise.all(texts.map((text) => readPublicKeys(text, url)))).flat();
          policy = { kind: 'trusted', trust: new Trust(keys), expiredKeys: options.expiredKeys };
        } else policy = await mirrorPolicy(callerOf(context), undefined, options);
        const signer = await findSigner(callerOf(context), options);
        const result = await migrateV2(from, to, {
          policy,
          signer,
          signal: context.signal,
          onProgress: progress.tick,
        });
        progress.end();
        if (result.migrated.length + result.present.length > 0)
          await to.updateIndex({ signal: context.signal });
        if (options.json) {
          printJson(context, {
            from: from.url,
            to: to.url,
            ...result,
            failed: result.failed.map((one) => ({ package: one.package, error: one.error.message })),
          });
        }
        if (!signer && result.migrated.length > 0)
          note(context, 'Note: no key was given, the new manifests are not signed.');
        note(
          context,
          `${count(result.migrated.length, 'package')} migrated, ${result.present.length} there before: ${to.url}`,
        );
        failures(result.failed);
      } finally {
        progress.end();
        await from.close();
        await to.close();
      }
    });
};
