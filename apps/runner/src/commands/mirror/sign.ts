import { requireSigner, type SignerOptions, selectPackages, type TrustOptions } from '@stackwright/stack';
import { callerOf } from '../../caller.js';
import type { Define } from '../../command.js';
import { note, printJson } from '../../context.js';
import {
  count,
  failures,
  open,
  repeatable,
  type StoreOptions,
  signerOptions,
  storeOptions,
  ticker,
  trusted,
  trustOptions,
} from './shared.js';

interface Options extends StoreOptions, TrustOptions, SignerOptions {
  readonly stack: readonly string[];
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  signerOptions(trustOptions(storeOptions(command)))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('[specs...]', 'only packages that satisfy one of these (a spec or /HASH)')
    .addOption(repeatable('--stack <dir>', "only what is in this stack's lock (repeatable)"))
    .option('--json', 'print {"mirror","key","signed","present","failed"}')
    .addHelpText('after', '\n--trust says who must have signed before, --key or --gpg who signs now.')
    .action(async (url: string, specs: string[], options: Options) => {
      const signer = await requireSigner(callerOf(context), options);
      const opened = await open(context, url, options);
      const mirror = await trusted(context, opened, options);
      const progress = ticker(context, 'signed');
      try {
        const refs = await selectPackages(callerOf(context), mirror, { specs, stacks: options.stack });
        const { signed, present, failed } = await mirror.sign(refs, signer, {
          signal: context.signal,
          onProgress: progress.tick,
        });
        progress.end();
        if (options.json) {
          printJson(context, {
            mirror: mirror.url,
            key: signer.fingerprint,
            signed,
            present,
            failed: failed.map((one) => ({ ...one.package, error: one.error.message })),
          });
        }
        note(
          context,
          `${count(signed.length, 'package')} signed, ${present.length} signed before: ${mirror.url}`,
        );
        failures(failed);
      } finally {
        progress.end();
        await mirror.close();
      }
    });
};
