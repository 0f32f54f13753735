import { JobGraphError } from '../error.js';
import { github } from '../github/engine.js';
import { gitlab } from '../gitlab/engine.js';
import { local } from '../local/engine.js';
import { slurm } from '../slurm/engine.js';
import type { Engine } from './engine.js';

/** Names of {@link engines}. */
export type EngineName = 'gitlab' | 'github' | 'slurm' | 'local';

/** Every engine that pipelines can be written for, by its name. */
export const engines: Readonly<Record<EngineName, Engine>> = { gitlab, github, slurm, local };

/** @throws JobGraphError (`unknown-engine`) when no engine has the name */
export function engineNamed(name: string): Engine {
  if (Object.hasOwn(engines, name)) return engines[name as EngineName];
  throw new JobGraphError('unknown-engine', `No engine is named ${JSON.stringify(name)}.`, {
    hint: `The engines are ${Object.keys(engines).join(', ')}.`,
  });
}
